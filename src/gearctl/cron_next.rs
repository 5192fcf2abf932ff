//! `cron.next`: when a schedule fires, without an agent.

use super::{CommandLine, GearctlError};
use crate::cron::{Schedule, Zone};
use chrono::DateTime;
use serde::Deserialize;
use serde_json::json;
use std::time::SystemTime;

const DEFAULT_COUNT: usize = 5;
const MAX_COUNT: usize = 1000;

/// What may be asked instead of the schedule alone.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    schedule: String,
    /// The machine's own zone where it is absent.
    timezone: Option<String>,
    /// RFC 3339; now where it is absent.
    after: Option<String>,
    count: Option<usize>,
}

impl Question {
    /// A schedule never begins with a brace.
    fn parse(text: &str) -> Result<Self, GearctlError> {
        if !text.trim_start().starts_with('{') {
            return Ok(Question { schedule: text.into(), timezone: None, after: None, count: None });
        }
        let mut json = serde_json::Deserializer::from_str(text);
        let question = serde_path_to_error::deserialize(&mut json)
            .map_err(|error| GearctlError::Arguments(error.to_string()))?;
        json.end().map_err(|error| GearctlError::Arguments(error.to_string()))?;
        Ok(question)
    }
}

/// `{"next":[…]}`, times of RFC 3339 with the zone's offset.
pub fn run(now: SystemTime, line: &CommandLine) -> Result<String, GearctlError> {
    let text = line.arguments.as_deref().ok_or(GearctlError::Missing("-a SCHEDULE"))?;
    let question = Question::parse(text)?;
    let count = question.count.unwrap_or(DEFAULT_COUNT);
    if !(1..=MAX_COUNT).contains(&count) {
        return Err(GearctlError::Arguments(format!("count: {count} is out of range 1-{MAX_COUNT}")));
    }
    let after = question.after.as_deref().map_or(Ok(now), rfc3339)?;
    let zone = question.timezone.as_deref().map_or_else(Zone::local, Zone::named)?;
    let schedule = Schedule::parse(&question.schedule)?;
    let times = std::iter::successors(schedule.next(&zone, after), |time| schedule.next(&zone, *time));
    let next: Vec<String> = times.take(count).map(|time| zone.rfc3339(time)).collect();
    Ok(json!({ "next": next }).to_string())
}

fn rfc3339(text: &str) -> Result<SystemTime, GearctlError> {
    match DateTime::parse_from_rfc3339(text) {
        Ok(time) => Ok(time.into()),
        Err(error) => Err(GearctlError::Arguments(format!(
            "after: {text:?} is no time such as 2026-03-29T00:00:00Z: {error}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    fn ask(arguments: &str) -> Result<String, String> {
        let line = CommandLine {
            command: "cron.next".into(),
            arguments: Some(arguments.into()),
            config: None,
            socket: None,
        };
        // 2026-11-22T06:30:00Z, and a little.
        let now = UNIX_EPOCH + Duration::from_millis(1_795_329_000_500);
        run(now, &line).map_err(|error| error.to_string())
    }

    #[test]
    fn the_documented_question_has_the_documented_answer() {
        let question = r#"{"schedule":"0 0 8-10 * * *","timezone":"Europe/Berlin","after":"2026-03-29T00:00:00Z","count":5}"#;
        let answer = r#"{"next":["2026-03-29T08:00:00+02:00","2026-03-29T09:00:00+02:00","2026-03-29T10:00:00+02:00","2026-03-30T08:00:00+02:00","2026-03-30T09:00:00+02:00"]}"#;
        assert_eq!(ask(question).unwrap(), answer);
    }

    #[test]
    fn what_is_absent_has_its_default() {
        let answer = ask(r#"{"schedule":"0 7 * * *","timezone":"UTC"}"#).unwrap();
        assert!(answer.starts_with(r#"{"next":["2026-11-22T07:00:00+00:00","2026-11-23T"#), "{answer}");
        assert_eq!(answer.matches("T07:00:00").count(), DEFAULT_COUNT);
        assert_eq!(ask("0 7 * * *").unwrap().matches("T07:00:00").count(), DEFAULT_COUNT);
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (arguments, reason) in [
            ("0 25 * * *", "hour: 25 is out of range 0-23 (column 3)"),
            (r#"{"schedule":"0 25 * * *"}"#, "hour: 25 is out of range 0-23 (column 3)"),
            (r#"{"schedule":"* * * * *","zone":"UTC"}"#, "unknown field `zone`"),
            (r#"{"timezone":"UTC"}"#, "missing field `schedule`"),
            (r#"{"schedule":"* * * * *","count":0}"#, "count: 0 is out of range 1-1000"),
            (r#"{"schedule":"* * * * *","count":1001}"#, "count: 1001 is out of range 1-1000"),
            (r#"{"schedule":"* * * * *","count":-1}"#, "count: invalid value"),
            (r#"{"schedule":"* * * * *","after":"yesterday"}"#, "after: \"yesterday\""),
            (r#"{"schedule":"* * * * *","timezone":"Mars/Base"}"#, "no zone Mars/Base"),
            (r#"{"schedule":"* * * * *"} x"#, "trailing"),
            ("{", "EOF"),
        ] {
            let error = ask(arguments).unwrap_err();
            assert!(error.contains(reason), "{arguments}: {error}");
        }
    }
}
