//! Cron entries, as they are set. What a schedule means is the agent's business.

use crate::command::{Quantity, plain};
use crate::job::Job;
use crate::request::{CallError, job, params_among};
use serde::de::{self, Deserializer, IgnoredAny};
use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;

/// The longest name of an entry, in bytes.
pub const MAX_CRON_NAME_BYTES: usize = 64;
/// The longest schedule, in bytes.
pub const MAX_SCHEDULE_BYTES: usize = 1024;
/// The longest name of a time zone, in bytes.
pub const MAX_ZONE_BYTES: usize = 64;
/// `splay`, in seconds.
pub const SPLAY_SECONDS: RangeInclusive<u64> = 0..=3600;

/// `cron.set`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CronSet {
    pub timing: Timing,
    /// Where the entry was given as a crontab `line`, the command's `cmd` is that whole line
    /// until it is split.
    pub job: Job,
}

/// When an entry runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timing {
    /// 1 to [`MAX_CRON_NAME_BYTES`] letters, digits, `.`, `_` and `-`; the first is a letter or a digit.
    #[serde(deserialize_with = "entry_name")]
    pub name: String,
    /// Five or six fields; `None` where a `line` was given.
    #[serde(default, deserialize_with = "schedule", skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// The name of a time zone; `None` is the host's own.
    #[serde(default, deserialize_with = "timezone", skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    #[serde(default)]
    pub overlap: Overlap,
    /// Whether what was due while the agent was down is made up for, by one run.
    #[serde(default)]
    pub catchup: bool,
    /// Seconds over which hosts spread their runs, in [`SPLAY_SECONDS`].
    #[serde(default, deserialize_with = "splay")]
    pub splay: u64,
}

/// The fields of [`Timing`].
const TIMING: [&str; 6] = ["name", "schedule", "timezone", "overlap", "catchup", "splay"];

/// What happens when an entry is due and its last run has not ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Overlap {
    /// This run is left out.
    #[default]
    Skip,
    /// It runs when the last one has ended. One waits at most; what is due beyond that is left out.
    Queue,
    Parallel,
}

/// `cron.remove`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CronName {
    /// The entry's.
    #[serde(deserialize_with = "entry_name")]
    pub name: String,
}

/// `cron.list`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CronFilter {
    /// Only this entry.
    #[serde(default, deserialize_with = "optional_name")]
    pub name: Option<String>,
}

impl CronSet {
    pub(crate) fn parse(line: &[u8]) -> Result<CronSet, CallError> {
        #[derive(Deserialize)]
        struct Given {
            line: Option<IgnoredAny>,
            cmd: Option<IgnoredAny>,
            user: Option<IgnoredAny>,
        }
        let refused = |reason: &str| Err(CallError::InvalidParams(reason.to_owned()));
        let timing: Timing = params_among(line)?;
        let given: Given = params_among(line)?;
        if given.line.is_none() {
            if timing.schedule.is_none() {
                return refused("schedule: missing, and there is no line in its place");
            }
            return Ok(CronSet { timing, job: job(line, &TIMING, None)? });
        }
        if timing.schedule.is_some() {
            return refused("schedule: the line says it already");
        }
        if given.cmd.is_some() {
            return refused("cmd: the line says it already");
        }
        if given.user.is_some() {
            return refused("user: the line says it already");
        }
        Ok(CronSet { timing, job: job(line, &TIMING, Some(("line", "cmd")))? })
    }
}

fn optional_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    entry_name(deserializer).map(Some)
}

/// The name of what an operator gives a name to: of a cron entry, of a daemon.
pub(crate) fn entry_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let name = String::deserialize(deserializer)?;
    plain("", &name, 1, MAX_CRON_NAME_BYTES)?;
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if !name.bytes().all(good) || !name.as_bytes()[0].is_ascii_alphanumeric() {
        let allowed = "letters, digits, '.', '_' and '-', beginning with a letter or a digit";
        return Err(de::Error::custom(format_args!("must be of {allowed}, got {name:?}")));
    }
    Ok(name)
}

fn schedule<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    bounded(deserializer, MAX_SCHEDULE_BYTES)
}

fn timezone<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    bounded(deserializer, MAX_ZONE_BYTES)
}

fn bounded<'de, D: Deserializer<'de>>(deserializer: D, most: usize) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(deserializer)?;
    plain("", &text, 1, most)?;
    Ok(Some(text))
}

fn splay<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    Quantity::seconds(SPLAY_SECONDS).read(deserializer)
}
