//! The one place where the wall clock is read, and how its values look.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970-01-01T00:00:00Z, as the database keeps times.
pub type EpochMs = i64;

/// The wall clock's time.
pub fn now() -> EpochMs {
    let since = system().duration_since(UNIX_EPOCH).unwrap_or_default();
    ms(since)
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

#[cfg(test)]
mod tests {
    #[test]
    fn times_look_as_documented() {
        assert_eq!(super::rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(super::rfc3339(1_795_305_600_123), "2026-11-22T00:00:00.123Z");
    }
}
