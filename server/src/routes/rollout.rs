//! What a request says of how its hosts are begun, and of how many they are.

use super::json::typed;
use crate::app::App;
use crate::limits::{BATCH_HOSTS, MAX_ERRORS_HOSTS, PAUSE_SECONDS};
use crate::problem::Problem;
use crate::requests::rollout::Plan;
use serde::de::{Deserialize, Deserializer, Error as _};
use serde_json::{Map, Value};
use std::fmt;
use std::ops::RangeInclusive;

/// As it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
pub(super) struct Asked {
    /// The most hosts that are under way at once: a number, or a percentage of the request's hosts such
    /// as `"25%"`, rounded down and 1 at least. Without one all are begun at once.
    #[serde(default)]
    batch: Option<Share>,
    /// Whether one host is begun first, then two at once, then four, up to the batch, as they succeed.
    #[serde(default)]
    ramp: bool,
    /// The most hosts that may fail for others to be begun, as `batch`, rounded down.
    #[serde(default)]
    max_errors: Option<Share>,
    /// Seconds from the end of one host to the begin of the next in its place.
    #[serde(default)]
    pause: Option<u64>,
    /// How many hosts the request is for, where those are many.
    #[serde(default)]
    confirm: Option<u64>,
}

const KEYS: [&str; 5] = ["batch", "ramp", "max_errors", "pause", "confirm"];

/// A number of hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Share {
    Hosts(u64),
    Percent(u64),
}

impl Asked {
    /// Takes what is its own out of the body.
    pub fn take(body: &mut Map<String, Value>) -> Result<Asked, Problem> {
        let mut own = Map::new();
        for key in KEYS {
            own.extend(body.remove_entry(key));
        }
        let asked: Asked = typed(own)?;
        asked.check()?;
        Ok(asked)
    }

    fn check(&self) -> Result<(), Problem> {
        let Asked { batch, ramp, max_errors, pause, .. } = self;
        check_share("batch", *batch, &BATCH_HOSTS, 1)?;
        check_share("max_errors", *max_errors, &MAX_ERRORS_HOSTS, 0)?;
        let (least, most) = (*PAUSE_SECONDS.start(), *PAUSE_SECONDS.end());
        if let Some(pause) = pause.filter(|pause| !PAUSE_SECONDS.contains(pause)) {
            let reason = format!("pause: must be {least} to {most} seconds, got {pause}");
            return Err(Problem::field("pause", reason));
        }
        let lone = [("ramp", *ramp), ("max_errors", max_errors.is_some()), ("pause", pause.is_some())];
        match lone.iter().find(|(_, given)| *given && batch.is_none()) {
            Some((field, _)) => {
                let reason =
                    format!("{field}: is for a request with a batch: without one every host is begun");
                Err(Problem::field(*field, format!("{reason} at once")))
            }
            None => Ok(()),
        }
    }

    pub fn is_rollout(&self) -> bool {
        self.batch.is_some()
    }

    /// What that is for so many hosts.
    pub fn plan(&self, hosts: usize, ttl: Option<u64>) -> Option<Plan> {
        let batch = self.batch?.of(hosts).max(1);
        Some(Plan {
            batch,
            ramp: self.ramp,
            max_errors: self.max_errors.map(|share| share.of(hosts)),
            pause: self.pause.and_then(|pause| u32::try_from(pause).ok()).unwrap_or(0),
            ttl,
        })
    }

    /// What makes it another request, where it is a rollout.
    pub fn digested(&self) -> Option<String> {
        let Asked { batch, ramp, max_errors, pause, confirm: _ } = self;
        batch.map(|batch| format!("{batch:?} {ramp} {max_errors:?} {}", pause.unwrap_or(0)))
    }

    /// How many hosts the caller says they are.
    pub fn confirm(&self) -> Option<u64> {
        self.confirm
    }
}

/// Whether the caller knows how many hosts the request is for, where he has to or says so.
pub(super) fn check_confirmed(app: &App, confirm: Option<u64>, hosts: usize) -> Result<(), Problem> {
    let many = hosts > app.config.requests.confirm_above;
    let reason = match confirm {
        Some(told) if told == hosts as u64 => return Ok(()),
        None if !many => return Ok(()),
        Some(told) => format!("this is for {hosts} hosts, not for {told}: say \"confirm\": {hosts}"),
        None => format!("this is for {hosts} hosts: say \"confirm\": {hosts}"),
    };
    Err(Problem::field("confirm", format!("confirm: {reason}")).with_hosts(hosts))
}

/// Whether there can be so many.
pub(super) fn check_share(
    field: &str,
    share: Option<Share>,
    hosts: &RangeInclusive<u64>,
    least_percent: u64,
) -> Result<(), Problem> {
    match share {
        None => return Ok(()),
        Some(Share::Hosts(number)) if hosts.contains(&number) => return Ok(()),
        Some(Share::Percent(percent)) if (least_percent..=100).contains(&percent) => return Ok(()),
        Some(_) => {}
    }
    let (least, most) = (hosts.start(), hosts.end());
    let got = share.map(|share| share.to_string()).unwrap_or_default();
    let reason = format!("{field}: must be {least} to {most} hosts, or {least_percent}% to 100%, got {got}");
    Err(Problem::field(field, reason))
}

impl Share {
    /// So many hosts of all these; a part of a host is none.
    pub fn of(self, hosts: usize) -> u32 {
        let number = match self {
            Share::Hosts(number) => number,
            Share::Percent(percent) => hosts as u64 * percent / 100,
        };
        u32::try_from(number).unwrap_or(u32::MAX)
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Share::Hosts(number) => write!(f, "{number}"),
            Share::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Share, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let share = match &value {
            Value::Number(number) => number.as_u64().map(Share::Hosts),
            Value::String(text) => percent(text).map(Share::Percent),
            _ => None,
        };
        let wanted = r#"must be a whole number of hosts, or a percentage of them such as "25%""#;
        share.ok_or_else(|| D::Error::custom(format!("{wanted}, got {value}")))
    }
}

/// Whole ones, written with digits alone.
fn percent(text: &str) -> Option<u64> {
    let digits = text.strip_suffix('%')?;
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if plain { digits.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn asked(body: Value) -> Result<Asked, Value> {
        let Value::Object(mut body) = body else { panic!("no object") };
        Asked::take(&mut body).map_err(|problem| serde_json::to_value(problem).unwrap())
    }

    #[test]
    fn shares_are_of_the_requests_hosts() {
        for (batch, max_errors, hosts, expected) in [
            (json!(3), json!(2), 10, (3, 2)),
            (json!("25%"), json!("5%"), 10, (2, 0)),
            (json!("25%"), json!("5%"), 1000, (250, 50)),
            (json!("1%"), json!("0%"), 3, (1, 0)),
            (json!("100%"), json!("100%"), 7, (7, 7)),
            (json!(10_000), json!(10_000), 3, (10_000, 10_000)),
        ] {
            let plan = asked(json!({"batch": batch, "max_errors": max_errors})).unwrap().plan(hosts, None);
            let Plan { batch, max_errors, .. } = plan.unwrap();
            assert_eq!((batch, max_errors.unwrap()), expected);
        }
        assert_eq!(asked(json!({"confirm": 3})).unwrap().plan(9, None), None);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (body, field, reason) in [
            (json!({"batch": 0}), "batch", "must be 1 to 10000 hosts, or 1% to 100%, got 0"),
            (json!({"batch": 10_001}), "batch", "got 10001"),
            (json!({"batch": "0%"}), "batch", "got 0%"),
            (json!({"batch": "101%"}), "batch", "got 101%"),
            (json!({"batch": "99999999999999999999%"}), "batch", "must be a whole number of hosts"),
            (json!({"batch": "5"}), "batch", "such as \"25%\", got \"5\""),
            (json!({"batch": "+5%"}), "batch", "must be a whole number"),
            (json!({"batch": 1.5}), "batch", "got 1.5"),
            (json!({"batch": -1}), "batch", "got -1"),
            (json!({"batch": 1, "max_errors": "x%"}), "max_errors", "must be a whole number"),
            (json!({"batch": 1, "max_errors": "101%"}), "max_errors", "or 0% to 100%"),
            (json!({"batch": 1, "pause": 3601}), "pause", "must be 0 to 3600 seconds, got 3601"),
            (json!({"batch": 1, "pause": 0.5}), "pause", "expected u64"),
            (json!({"batch": 1, "ramp": 1}), "ramp", "expected a boolean"),
            (json!({"max_errors": 1}), "max_errors", "is for a request with a batch"),
            (json!({"ramp": true}), "ramp", "is for a request with a batch"),
            (json!({"pause": 0}), "pause", "is for a request with a batch"),
            (json!({"confirm": "all"}), "confirm", "expected u64"),
        ] {
            let problem = asked(body.clone()).expect_err(&body.to_string());
            assert_eq!((&problem["field"], &problem["status"]), (&json!(field), &json!(422)), "{body}");
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.starts_with(&format!("{field}: ")) && detail.contains(reason), "{body}: {detail}");
        }
    }
}
