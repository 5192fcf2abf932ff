//! Times as a person reads them: how long ago, and how long.

use super::output::cell;
use crate::clock::{self, EpochMs};
use serde_json::Value;
use std::time::Duration;

/// Units of a length of time that are shown; what is smaller is left out.
const SHOWN_UNITS: usize = 2;

/// `12m 3s ago`, `in 7m`; what is no time is shown as it is.
pub fn ago(at: &Value) -> String {
    since(at, clock::now())
}

/// `3days 2h`, of a number of seconds; what is none is shown as it is.
pub fn lasting(seconds: &Value) -> String {
    match seconds.as_u64() {
        Some(0) | None => cell(seconds),
        Some(seconds) => length(Duration::from_secs(seconds)),
    }
}

fn since(at: &Value, now: EpochMs) -> String {
    let Some(at_ms) = at.as_str().and_then(clock::of_rfc3339) else { return cell(at) };
    let seconds = (now - at_ms) / 1000;
    let shown = length(Duration::from_secs(seconds.unsigned_abs()));
    match seconds {
        0 => "now".into(),
        1.. => format!("{shown} ago"),
        _ => format!("in {shown}"),
    }
}

fn length(of: Duration) -> String {
    let whole = humantime::format_duration(of).to_string();
    whole.split(' ').take(SHOWN_UNITS).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn times_are_told_by_how_far_they_are() {
        let now = clock::of_rfc3339("2026-11-22T12:00:00Z").unwrap();
        for (at, shown) in [
            ("2026-11-22T12:00:00.400Z", "now"),
            ("2026-11-22T11:47:57Z", "12m 3s ago"),
            ("2026-11-19T09:59:57Z", "3days 2h ago"),
            ("2026-11-22T12:07:00Z", "in 7m"),
            ("soon\u{1b}", "soon\\u{1b}"),
        ] {
            assert_eq!(since(&json!(at), now), shown, "{at}");
        }
        assert_eq!(since(&Value::Null, now), "-");
    }

    #[test]
    fn lengths_have_their_two_largest_units() {
        let shown =
            [json!(0), json!(59), json!(600), json!(93_784), json!(null)].map(|value| lasting(&value));
        assert_eq!(shown, ["0", "59s", "10m", "1day 2h", "-"]);
    }
}
