//! The body of `POST /api/v1/requests`: what is not asked for is not sent.

use super::args::{self, How, Patience};
use super::error::Error;
use super::pace::Pace;
use super::whom::Whom;
use serde::Serialize;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::BTreeMap;

#[derive(Debug, Clone, Default, Serialize)]
pub struct Body<'a> {
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub hosts: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<&'a str>,
    pub method: Cow<'static, str>,
    /// Of a query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub args: Option<String>,
    /// Of `job.cancel`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<&'a str>,
    /// Of `daemon.init`.
    #[serde(flatten)]
    pub definition: Option<Map<String, Value>>,
    /// Of a daemon, or of a cron entry, as the next five.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timezone: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overlap: Option<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub catchup: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub splay: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmd: Option<String>,
    #[serde(flatten)]
    pub how: Option<HowBody<'a>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_delay: Option<u64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub queue: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<u64>,
    /// How its hosts are begun.
    #[serde(flatten)]
    pub pace: Pace,
}

/// How a command runs.
#[derive(Debug, Clone, Default, Serialize)]
pub struct HowBody<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    env: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cwd: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    limits: BTreeMap<String, Value>,
}

impl HowBody<'_> {
    pub fn timeout(seconds: u64) -> Self {
        HowBody { timeout: Some(seconds), ..HowBody::default() }
    }
}

impl<'a> Body<'a> {
    /// For these hosts, at this pace, with nothing in it.
    pub fn to(whom: &'a Whom, pace: &Pace) -> Body<'a> {
        let (target, pace) = (whom.target.as_deref(), pace.clone());
        Body { hosts: &whom.hosts, target, pace, ..Body::default() }
    }

    /// The name of the daemon that it is about.
    pub fn daemon(&self) -> Option<&str> {
        self.name.or_else(|| self.definition.as_ref()?.get("name")?.as_str())
    }

    /// With a command and how it runs.
    pub fn with_command(self, words: &[String], how: &'a How) -> Result<Body<'a>, Error> {
        let how = HowBody {
            timeout: how.timeout,
            user: how.user.as_deref(),
            group: how.group.as_deref(),
            env: args::object("--env", &how.env)?,
            cwd: how.cwd.as_deref(),
            limits: args::object("--limit", &how.limits)?,
        };
        Ok(Body { cmd: Some(args::line(words)?), how: Some(how), ..self })
    }

    /// With how long and how often the job is tried.
    pub fn with_patience(self, patience: &Patience) -> Body<'a> {
        let Patience { ttl, retries, retry_delay, queue } = *patience;
        Body { ttl, retries, retry_delay, queue, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_asked_for_is_not_sent() {
        let whom = Whom { hosts: vec!["a".into()], target: None };
        let how = How { timeout: Some(3), ..How::default() };
        let body = Body::to(&whom, &Pace::default()).with_command(&["ls".to_owned()], &how).unwrap();
        let json = serde_json::to_string(&Body { method: "sync.bash".into(), ..body }).unwrap();
        assert_eq!(json, r#"{"hosts":["a"],"method":"sync.bash","cmd":"ls","timeout":3}"#);
        let whom = Whom { hosts: Vec::new(), target: Some("has(name)".into()) };
        let body = Body { method: "job.cancel".into(), job: Some("j"), ..Body::to(&whom, &Pace::default()) };
        let json = serde_json::to_string(&body).unwrap();
        assert_eq!(json, r#"{"target":"has(name)","method":"job.cancel","job":"j"}"#);
        let pace = Pace { batch: Some("25%".into()), max_errors: Some(0.into()), ..Pace::default() };
        let json = serde_json::to_string(&Body { method: "agent.info".into(), ..Body::to(&whom, &pace) });
        let expected = r#"{"target":"has(name)","method":"agent.info","batch":"25%","max_errors":0}"#;
        assert_eq!(json.unwrap(), expected);
    }
}
