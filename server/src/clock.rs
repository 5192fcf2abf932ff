//! The one place where the wall clock is read, and how its values look.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970-01-01T00:00:00Z, as the database keeps times.
pub type EpochMs = i64;

/// The wall clock's time.
pub fn now() -> EpochMs {
    of_system(system())
}

/// The same, for what takes the standard library's type.
pub fn system() -> SystemTime {
    SystemTime::now()
}

/// A length of time in whole milliseconds.
pub fn ms(duration: Duration) -> EpochMs {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// RFC 3339 in UTC, as the interfaces show times.
pub fn rfc3339(at: EpochMs) -> String {
    let since = Duration::from_millis(u64::try_from(at).unwrap_or(0));
    humantime::format_rfc3339_millis(UNIX_EPOCH + since).to_string()
}

/// A time of the standard library's as ours; before 1970 is 1970.
pub fn of_system(at: SystemTime) -> EpochMs {
    ms(at.duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// `2026-11-24 22:52`, by the clock on this machine's wall.
pub fn local_minute(at: EpochMs) -> String {
    let zone = jiff::tz::TimeZone::system();
    let at = jiff::Timestamp::from_millisecond(at).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    at.to_zoned(zone).strftime("%Y-%m-%d %H:%M").to_string()
}

/// The time that this RFC 3339 text means, whatever its offset; `None` where it is none.
pub fn of_rfc3339(text: &str) -> Option<EpochMs> {
    let Some((local, sign, offset)) = [("+", -1), ("-", 1)].into_iter().find_map(|(mark, sign)| {
        let place = text.len().checked_sub("+00:00".len()).filter(|place| text.is_char_boundary(*place))?;
        text[place..].strip_prefix(mark).map(|offset| (&text[..place], sign, offset))
    }) else {
        return of_utc(text);
    };
    let (hours, minutes) = offset.split_once(':')?;
    let minutes = hours.parse::<EpochMs>().ok()? * 60 + minutes.parse::<EpochMs>().ok()?;
    Some(of_utc(&format!("{local}Z"))? + sign * minutes * 60_000)
}

fn of_utc(text: &str) -> Option<EpochMs> {
    let since = humantime::parse_rfc3339(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(ms(since))
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_offset_is_taken_into_account() {
        let at = 1_795_305_600_000;
        for text in ["2026-11-22T00:00:00Z", "2026-11-22T01:30:00+01:30", "2026-11-21T19:00:00-05:00"] {
            assert_eq!(super::of_rfc3339(text), Some(at), "{text}");
        }
        for text in ["", "soon", "2026-11-22T00:00:00+xx:00", "\u{fc}+00:00", "2026-11-22T00:00:00"] {
            assert_eq!(super::of_rfc3339(text), None, "{text}");
        }
    }

    #[test]
    fn times_look_as_documented() {
        assert_eq!(super::rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(super::rfc3339(1_795_305_600_123), "2026-11-22T00:00:00.123Z");
    }
}
