//! Time zones: which offset holds when.

use super::{CronError, tzdata};
use crate::wire::cron::MAX_ZONE_BYTES;
use chrono::{DateTime, FixedOffset, Offset as _, SecondsFormat};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A time zone with its rules, as they were when it was read. Clones share them.
#[derive(Clone)]
pub struct Zone {
    name: Arc<str>,
    rules: TimeZone,
}

/// By the name.
impl PartialEq for Zone {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_tuple("Zone").field(&self.name).finish()
    }
}

impl Zone {
    /// The zone of this name in the system's tzdata, such as `Europe/Berlin`.
    /// `UTC` is always there.
    ///
    /// # Errors
    /// [`CronError::Zone`] with the name: it can be no name, there is no such
    /// zone, or its file is damaged.
    pub fn named(name: &str) -> Result<Self, CronError> {
        check_name(name).map_err(CronError::Zone)?;
        if name == "UTC" {
            return Ok(Self::utc());
        }
        let rules = tzdata::named(name).map_err(CronError::Zone)?;
        Self::of(name, &rules)
    }

    /// The machine's own zone, which is that of /etc/localtime; the variable
    /// `TZ` is not looked at. Its name is `localtime` where it is not known.
    ///
    /// # Errors
    /// [`CronError::Zone`]: the file is there and cannot be used.
    pub fn local() -> Result<Self, CronError> {
        match tzdata::local().map_err(CronError::Zone)? {
            None => Ok(Self::utc()),
            Some((name, rules)) => Self::of(&name, &rules),
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The time in this zone with its offset, to the second, as RFC 3339 has it.
    pub fn rfc3339(&self, time: SystemTime) -> String {
        let unix = unix_seconds(time);
        // The format knows whole minutes only, which all offsets since 1972 are.
        let offset = i32::try_from(self.offset(unix) / 60 * 60).ok().and_then(FixedOffset::east_opt);
        DateTime::from_timestamp(unix, 0)
            .unwrap_or(DateTime::UNIX_EPOCH)
            .with_timezone(&offset.unwrap_or(chrono::Utc.fix()))
            .to_rfc3339_opts(SecondsFormat::Secs, false)
    }

    /// Seconds east of UTC at this Unix time.
    pub(super) fn offset(&self, unix: i64) -> i64 {
        self.rules.to_offset(timestamp(unix)).seconds().into()
    }

    /// The next change of the rules after this Unix time, and the offset from then on.
    pub(super) fn change_after(&self, unix: i64) -> Option<(i64, i64)> {
        let change = self.rules.following(timestamp(unix)).next()?;
        Some((change.timestamp().as_second(), change.offset().seconds().into()))
    }

    /// The last change of the rules up to and with this Unix time, and the offset before it.
    pub(super) fn change_until(&self, unix: i64) -> Option<(i64, i64)> {
        let change = self.rules.preceding(timestamp(unix + 1)).next()?.timestamp().as_second();
        Some((change, self.offset(change - 1)))
    }

    fn utc() -> Self {
        Zone { name: "UTC".into(), rules: TimeZone::UTC }
    }

    fn of(name: &str, rules: &[u8]) -> Result<Self, CronError> {
        match TimeZone::tzif(name, rules) {
            Ok(rules) => Ok(Zone { name: name.into(), rules }),
            Err(error) => Err(CronError::Zone(format!("{name}: its file cannot be used: {error}"))),
        }
    }
}

/// The zones in use, each read once, so that many entries share one zone's
/// rules. What tzdata says later is for a new `Zones`.
#[derive(Debug, Default)]
pub struct Zones {
    named: BTreeMap<String, Zone>,
    local: Option<Zone>,
}

impl Zones {
    /// # Errors
    /// As [`Zone::named`].
    pub fn named(&mut self, name: &str) -> Result<Zone, CronError> {
        if let Some(zone) = self.named.get(name) {
            return Ok(zone.clone());
        }
        let zone = Zone::named(name)?;
        self.named.retain(|_, zone| Arc::strong_count(&zone.name) > 1);
        self.named.insert(name.to_owned(), zone.clone());
        Ok(zone)
    }

    /// # Errors
    /// As [`Zone::local`].
    pub fn local(&mut self) -> Result<Zone, CronError> {
        let zone = match &self.local {
            Some(zone) => zone.clone(),
            None => Zone::local()?,
        };
        self.local = Some(zone.clone());
        Ok(zone)
    }
}

/// A name becomes part of a path, so it is made of plain words alone: no dot,
/// nothing empty between slashes, and so no way out of the folder.
fn check_name(name: &str) -> Result<(), String> {
    if name.len() > MAX_ZONE_BYTES {
        return Err(format!("a name has at most {MAX_ZONE_BYTES} bytes, not {}", name.len()));
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_+-".contains(&byte);
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(plain);
    if !name.split('/').all(is_word) {
        return Err(format!("{name:?} is no name of a time zone, such as Europe/Berlin"));
    }
    // Those count leap seconds, which neither the system's clock nor cron does.
    if name.starts_with("right/") {
        return Err(format!("{name}: its seconds are not those of this system"));
    }
    Ok(())
}

/// Whole seconds since 1970, rounded down.
pub fn unix_seconds(time: SystemTime) -> i64 {
    let whole = |since: Duration| i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => whole(since),
        Err(before) => {
            let before = before.duration();
            -whole(before) - i64::from(before.subsec_nanos() > 0)
        }
    }
}

pub fn from_unix(seconds: i64) -> SystemTime {
    let distance = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 { UNIX_EPOCH - distance } else { UNIX_EPOCH + distance }
}

/// What is beyond the years that it knows is their end.
fn timestamp(unix: i64) -> Timestamp {
    let (least, most) = (Timestamp::MIN.as_second(), Timestamp::MAX.as_second());
    Timestamp::from_second(unix.clamp(least, most)).expect("it is in its range")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_knows_its_changes() {
        let zone = Zone::named("America/New_York").unwrap();
        // 8 March and 1 November 2026.
        let (spring, autumn) = (1_772_953_200, 1_793_512_800);
        let (winter, summer) = (-5 * 3600, -4 * 3600);
        assert_eq!([zone.offset(spring - 1), zone.offset(spring)], [winter, summer]);
        assert_eq!(zone.change_after(spring - 1), Some((spring, summer)));
        assert_eq!(zone.change_after(spring), Some((autumn, winter)));
        assert_eq!(zone.change_until(autumn - 1), Some((spring, winter)));
        assert_eq!(zone.change_until(autumn), Some((autumn, summer)));
        // By the rule behind the last change that the file lists.
        assert_eq!(zone.offset(4_118_083_200), summer);
        let utc = Zone::named("UTC").unwrap();
        assert_eq!((utc.offset(0), utc.change_after(0), utc.change_until(0)), (0, None, None));
    }

    #[test]
    fn times_have_the_zones_offset() {
        for (zone, unix, expected) in [
            ("Europe/Berlin", 1_774_764_000, "2026-03-29T08:00:00+02:00"),
            ("UTC", 0, "1970-01-01T00:00:00+00:00"),
            ("Asia/Kathmandu", 1_767_225_600, "2026-01-01T05:45:00+05:45"),
            // -00:44:30, which the format cannot say.
            ("Africa/Monrovia", 0, "1969-12-31T23:16:00-00:44"),
        ] {
            assert_eq!(Zone::named(zone).unwrap().rfc3339(from_unix(unix)), expected);
        }
    }

    #[test]
    fn seconds_are_rounded_down_on_either_side_of_1970() {
        for (milliseconds, expected) in [(1500, 1), (1000, 1), (0, 0), (-1, -1), (-1000, -1), (-1001, -2)] {
            let distance = Duration::from_millis(i64::unsigned_abs(milliseconds));
            let time = if milliseconds < 0 { UNIX_EPOCH - distance } else { UNIX_EPOCH + distance };
            assert_eq!(unix_seconds(time), expected, "{milliseconds} ms");
        }
        assert_eq!(unix_seconds(from_unix(-5)), -5);
    }

    #[test]
    fn a_zone_is_read_once() {
        let mut zones = Zones::default();
        let (first, second) = (zones.named("Europe/Berlin").unwrap(), zones.named("Europe/Berlin").unwrap());
        assert!(Arc::ptr_eq(&first.name, &second.name));
        assert!(zones.named("Nowhere").is_err());
        zones.named("Asia/Tokyo").unwrap();
        zones.named("Asia/Kathmandu").unwrap();
        // Nobody holds Tokyo's any more.
        assert_eq!(zones.named.keys().collect::<Vec<_>>(), ["Asia/Kathmandu", "Europe/Berlin"]);
        assert_eq!(zones.local().unwrap(), zones.local().unwrap());
    }
}
