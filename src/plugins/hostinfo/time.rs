//! `time`: what the host takes the time to be, and whether it may be trusted.

use crate::sys::{ClockState, clock_state};
use aspire_plugin::{Failure, Root, Text, args, clock, json};
use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};
use serde::Serialize;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::time::SystemTime;

/// Takes no arguments.
pub fn answer(args: &str) -> Result<String, Failure> {
    args::none(args)?;
    json(&Time::of(&Root::default(), clock::now(), clock_state())?)
}

/// The answer.
#[derive(Debug, Serialize)]
pub struct Time {
    /// The time, with the offset of the host's zone.
    pub now: String,
    /// The same in seconds since 1970, to the microsecond.
    pub epoch: f64,
    /// The zone: where /etc/localtime leads or, where it is a file, /etc/timezone.
    pub zone: Option<Text>,
    /// Seconds by which the zone is ahead of UTC now, by the rules in /etc/localtime.
    pub utc_offset: i32,
    /// Whether the kernel's clock is kept right from outside: adjtimex(2).
    pub synchronized: Option<bool>,
    /// Seconds that are being corrected.
    pub offset: Option<f64>,
    /// Seconds that the clock is wrong at most.
    pub max_error: Option<f64>,
    /// Seconds that it is probably wrong.
    pub est_error: Option<f64>,
    /// What counts the time: tsc, kvm-clock.
    pub clocksource: Option<Text>,
}

impl Time {
    pub fn of(root: &Root, now: SystemTime, clock: Option<ClockState>) -> Result<Time, Failure> {
        let now = Timestamp::try_from(now).map_err(|error| Failure::broken(format!("the clock: {error}")))?;
        let offset = rules(root).to_offset(now);
        Ok(Time {
            now: now.display_with_offset(offset).to_string(),
            epoch: epoch(now),
            zone: zone(root),
            utc_offset: offset.seconds(),
            synchronized: clock.map(|clock| clock.synchronized),
            offset: clock.map(|clock| clock.offset),
            max_error: clock.map(|clock| clock.max_error),
            est_error: clock.map(|clock| clock.est_error),
            clocksource: root.value("sys/devices/system/clocksource/clocksource0/current_clocksource"),
        })
    }
}

/// Rounded to what the float can hold.
#[allow(clippy::cast_precision_loss, reason = "microseconds of any year to come fit")]
fn epoch(now: Timestamp) -> f64 {
    now.as_microsecond() as f64 / 1e6
}

/// The C library goes by UTC, too, where it can read no rules.
fn rules(root: &Root) -> TimeZone {
    let file = root.read("etc/localtime").ok();
    file.and_then(|file| TimeZone::tzif("", &file).ok()).unwrap_or(TimeZone::fixed(Offset::UTC))
}

fn zone(root: &Root) -> Option<Text> {
    const FOLDER: &[u8] = b"/zoneinfo/";
    let name_of = |link: &[u8]| {
        let folder = link.windows(FOLDER.len()).position(|part| part == FOLDER)?;
        Some(&link[folder + FOLDER.len()..]).filter(|name| !name.is_empty()).map(Text::from)
    };
    let link = fs::read_link(root.path("etc/localtime")).ok();
    link.and_then(|link| name_of(link.as_os_str().as_bytes())).or_else(|| root.value("etc/timezone"))
}
