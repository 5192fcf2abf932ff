//! Jobs: commands that run apart from the request that began them, and whose
//! results are kept until the server has them.

use crate::command::{Command, Quantity, plain};
use crate::cron::MAX_CRON_NAME_BYTES;
use crate::head::Head;
use crate::request::MAX_ID_BYTES;
use crate::{FrameError, Outcome, Retcode};
use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::RangeInclusive;

/// `ttl`, in seconds: at most 30 days.
pub const TTL_SECONDS: RangeInclusive<u64> = 1..=2_592_000;
/// `ttl` where the request names none, in seconds.
pub const DEFAULT_TTL_SECONDS: u64 = 86_400;
/// `retries`.
pub const RETRIES: RangeInclusive<u64> = 0..=100;
/// `retry_delay`, in seconds.
pub const RETRY_DELAY_SECONDS: RangeInclusive<u64> = 0..=86_400;
/// `retry_delay` where the request names none, in seconds.
pub const DEFAULT_RETRY_DELAY_SECONDS: u64 = 10;
/// The fields of [`Terms`].
pub(crate) const TERMS: [&str; 3] = ["ttl", "retries", "retry_delay"];

/// `async.bash`, and what a cron entry runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    pub command: Command,
    pub terms: Terms,
}

/// How long a job may wait, and how often it is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// Seconds from its acceptance in which the job must have begun, in [`TTL_SECONDS`].
    #[serde(default = "default_ttl", deserialize_with = "ttl")]
    pub ttl: u64,
    /// How often a command that failed is run again, in [`RETRIES`].
    #[serde(default, deserialize_with = "retries")]
    pub retries: u32,
    /// Seconds from a failure to the next attempt, in [`RETRY_DELAY_SECONDS`].
    #[serde(default = "default_retry_delay", deserialize_with = "retry_delay")]
    pub retry_delay: u64,
}

impl Default for Terms {
    fn default() -> Self {
        Terms { ttl: DEFAULT_TTL_SECONDS, retries: 0, retry_delay: DEFAULT_RETRY_DELAY_SECONDS }
    }
}

/// Where a job is in its life. The last five are final.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// It waits for a free place, or for its next attempt.
    Queued,
    Running,
    /// Its command ended with exit status 0.
    Done,
    /// Its last attempt did not.
    Failed,
    Cancelled,
    /// Its time to live passed before it began.
    Expired,
    /// The agent or the host went down while it ran, and nobody knows how it ended.
    Lost,
}

impl JobState {
    pub const ALL: [JobState; 7] = [
        JobState::Queued,
        JobState::Running,
        JobState::Done,
        JobState::Failed,
        JobState::Cancelled,
        JobState::Expired,
        JobState::Lost,
    ];

    /// The final state that a job's result stands for.
    #[must_use]
    pub fn of_result(retcode: u16) -> JobState {
        let is = |code: Retcode| code.code() == retcode;
        if is(Retcode::NormalTermination) {
            JobState::Done
        } else if is(Retcode::Cancelled) {
            JobState::Cancelled
        } else if is(Retcode::Expired) {
            JobState::Expired
        } else if is(Retcode::Lost) {
            JobState::Lost
        } else {
            JobState::Failed
        }
    }

    #[must_use]
    pub fn named(name: &str) -> Option<JobState> {
        JobState::ALL.into_iter().find(|state| state.name() == name)
    }

    #[must_use]
    pub fn is_final(self) -> bool {
        self > JobState::Running
    }

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            JobState::Queued => "queued",
            JobState::Running => "running",
            JobState::Done => "done",
            JobState::Failed => "failed",
            JobState::Cancelled => "cancelled",
            JobState::Expired => "expired",
            JobState::Lost => "lost",
        }
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where a job is now, told while the link is up and not kept: the server's picture of what
/// has no result yet. Told again for every job under way when a link is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobNotice {
    /// The job's, 1 to [`MAX_ID_BYTES`] bytes.
    #[serde(deserialize_with = "told_id")]
    pub id: String,
    pub state: JobState,
    /// Attempts begun so far.
    pub attempts: u32,
    /// The cron entry that it is a run of, 1 to [`MAX_CRON_NAME_BYTES`] bytes.
    #[serde(default, deserialize_with = "cron", skip_serializing_if = "Option::is_none")]
    pub cron: Option<String>,
}

/// How a job ended. Sent until the server acknowledges `seq`; told apart by `id`, of which
/// there is one result whatever becomes of either side's memory.
#[derive(Debug, Clone, Serialize)]
pub struct JobResult {
    /// Grows from one result of an agent's store to the next.
    pub seq: u64,
    /// The job's: that of its request; of a cron run the entry's name and its time.
    pub id: String,
    #[serde(flatten)]
    pub run: Run,
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// When a job ran and on whose behalf. Times are milliseconds since 1970 in UTC.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Run {
    /// Attempts begun.
    pub attempts: u32,
    pub accepted: u64,
    /// When its last attempt began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<u64>,
    pub ended: u64,
    /// The cron entry that it was a run of, 1 to [`MAX_CRON_NAME_BYTES`] bytes.
    #[serde(default, deserialize_with = "cron", skip_serializing_if = "Option::is_none")]
    pub cron: Option<String>,
    /// When the entry was due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduled: Option<u64>,
    /// Earlier times of the entry that this run stands for, too.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub missed: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl JobResult {
    pub(crate) fn from_head(head: &Head<'_>, line: &[u8]) -> Result<JobResult, FrameError> {
        #[derive(Deserialize)]
        struct Seq {
            seq: u64,
        }
        let not_one = |e: serde_json::Error| FrameError::NotAnObject(e.to_string());
        let id = match head.id() {
            Some(id) if (1..=MAX_ID_BYTES).contains(&id.len()) => id.to_owned(),
            _ => return Err(FrameError::NotAnObject("a result without a usable id".into())),
        };
        // One after the other: a raw value does not survive serde's flattening.
        let Seq { seq } = serde_json::from_slice(line).map_err(not_one)?;
        let run = serde_json::from_slice(line).map_err(not_one)?;
        let outcome = serde_json::from_slice(line).map_err(not_one)?;
        Ok(JobResult { seq, id, run, outcome })
    }
}

/// `job.status` and `job.cancel`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobName {
    /// The id of the request that began it, 1 to [`MAX_ID_BYTES`] bytes.
    #[serde(deserialize_with = "job")]
    pub job: String,
}

/// `job.list`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobFilter {
    /// Only the jobs in this state.
    #[serde(default)]
    pub state: Option<JobState>,
}

fn job<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let job = String::deserialize(deserializer)?;
    plain("", &job, 1, MAX_ID_BYTES)?;
    Ok(job)
}

/// Whatever its characters: a host may be asked for any job that it tells of.
fn told_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let id = String::deserialize(deserializer)?;
    if (1..=MAX_ID_BYTES).contains(&id.len()) {
        return Ok(id);
    }
    Err(de::Error::custom(format_args!("id: must be 1 to {MAX_ID_BYTES} bytes, got {}", id.len())))
}

/// No entry has another name: it is not kept, and a result is not refused for it, or it would come
/// again for ever.
fn cron<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let name = Option::<String>::deserialize(deserializer)?;
    Ok(name.filter(|name| (1..=MAX_CRON_NAME_BYTES).contains(&name.len())))
}

fn default_ttl() -> u64 {
    DEFAULT_TTL_SECONDS
}

fn default_retry_delay() -> u64 {
    DEFAULT_RETRY_DELAY_SECONDS
}

fn ttl<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    Quantity::seconds(TTL_SECONDS).read(deserializer)
}

fn retries<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let retries = Quantity { range: RETRIES, one: "retry", many: "retries" }.read(deserializer)?;
    u32::try_from(retries).map_err(de::Error::custom)
}

fn retry_delay<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    Quantity::seconds(RETRY_DELAY_SECONDS).read(deserializer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::encode;
    use crate::session::{Frame, FromAgent};

    #[test]
    fn a_result_is_read_as_it_was_written() {
        let run = Run { attempts: 1, accepted: 100, started: Some(101), ended: 102, ..Run::default() };
        let outcome = Outcome::new(Retcode::NormalTermination).with_output(b"hi\n", b"");
        let result = JobResult { seq: 41, id: "r-1".into(), run, outcome };
        let frame = encode(&Frame::Result(&result));
        let text = std::str::from_utf8(&frame).unwrap();
        assert_eq!(
            text,
            "{\"method\":\"result\",\"seq\":41,\"id\":\"r-1\",\"attempts\":1,\"accepted\":100,\
             \"started\":101,\"ended\":102,\"resp\":\"success\",\"retcode\":2,\
             \"message\":\"Normal termination\",\"data\":\"hi\\n\",\"stderr\":\"\"}\n"
        );
        let Ok(FromAgent::Result(read)) = FromAgent::parse(frame.trim_ascii_end()) else { panic!("{text}") };
        assert_eq!((read.seq, &read.id, &read.run), (41, &result.id, &result.run));
        assert_eq!(read.outcome.data.unwrap().get(), "\"hi\\n\"");
        for bad in [
            r#"{"method":"result","seq":1,"attempts":1,"accepted":1,"ended":1,"resp":"success","retcode":2,"message":""}"#,
            r#"{"method":"result","id":"a","attempts":1,"accepted":1,"ended":1,"resp":"success","retcode":2,"message":""}"#,
        ] {
            assert!(FromAgent::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_are_as_long_as_they_may_be_and_no_longer() {
        let frames = |id: usize, cron: usize| {
            let (id, cron) = ("i".repeat(id), "c".repeat(cron));
            [
                format!(r#"{{"method":"job","id":"{id}","state":"running","attempts":1,"cron":"{cron}"}}"#),
                format!(
                    r#"{{"method":"result","seq":1,"id":"{id}","attempts":1,"accepted":1,"ended":1,"cron":"{cron}","resp":"success","retcode":2,"message":""}}"#
                ),
            ]
        };
        for id in [0, MAX_ID_BYTES + 1] {
            for frame in frames(id, 1) {
                assert!(FromAgent::parse(frame.as_bytes()).is_err(), "{frame}");
            }
        }
        for (cron, kept) in
            [(0, false), (1, true), (MAX_CRON_NAME_BYTES, true), (MAX_CRON_NAME_BYTES + 1, false)]
        {
            for frame in frames(MAX_ID_BYTES, cron) {
                let cron = match FromAgent::parse(frame.as_bytes()) {
                    Ok(FromAgent::Job(notice)) => notice.cron,
                    Ok(FromAgent::Result(result)) => result.run.cron,
                    other => panic!("{other:?}"),
                };
                assert_eq!(cron.is_some(), kept, "{frame}");
            }
        }
    }

    #[test]
    fn every_result_stands_for_one_final_state() {
        for code in Retcode::ALL {
            assert!(JobState::of_result(code.code()).is_final(), "{code:?}");
        }
        assert_eq!(JobState::of_result(2), JobState::Done);
        assert_eq!(JobState::of_result(3103), JobState::Failed);
        for state in JobState::ALL {
            assert_eq!(serde_json::to_string(&state).unwrap(), format!("\"{state}\""));
        }
    }
}
