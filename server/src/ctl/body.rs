//! The body of `POST /api/v1/requests`: what is not asked for is not sent.

use super::args::{self, How, Patience};
use super::error::Error;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

#[derive(Debug, Default, Serialize)]
pub struct Body<'a> {
    pub hosts: &'a [String],
    pub method: &'static str,
    /// Of `job.cancel`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<&'a str>,
    /// Of a cron entry, as the next five.
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
}

/// How a command runs.
#[derive(Debug, Serialize)]
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

impl<'a> Body<'a> {
    /// With a command and how it runs.
    pub fn command(words: &[String], how: &'a How) -> Result<Body<'a>, Error> {
        let how = HowBody {
            timeout: how.timeout,
            user: how.user.as_deref(),
            group: how.group.as_deref(),
            env: args::object("--env", &how.env)?,
            cwd: how.cwd.as_deref(),
            limits: args::object("--limit", &how.limits)?,
        };
        Ok(Body { cmd: Some(args::line(words)?), how: Some(how), ..Body::default() })
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
        let (hosts, how) = (["a".to_owned()], How { timeout: Some(3), ..How::default() });
        let body = Body::command(&["ls".to_owned()], &how).unwrap();
        let body = Body { hosts: &hosts, method: "sync.bash", ..body };
        let json = serde_json::to_string(&body).unwrap();
        assert_eq!(json, r#"{"hosts":["a"],"method":"sync.bash","cmd":"ls","timeout":3}"#);
        let body = Body { hosts: &hosts, method: "job.cancel", job: Some("j"), ..Body::default() };
        let json = serde_json::to_string(&body).unwrap();
        assert_eq!(json, r#"{"hosts":["a"],"method":"job.cancel","job":"j"}"#);
    }
}
