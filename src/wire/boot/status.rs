//! What goes either way.

use super::MAX_BOOT_JOBS;
use crate::daemon::DaemonStatus;
use crate::{Outcome, Retcode};
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::fmt;

/// The body of `POST /agent/status`. Whose host it is says the certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The display name.
    pub hostname: String,
    /// Boot's own, as `bootagent-1.2.4-x86_64`.
    pub version: String,
    /// Seconds that boot has run.
    pub uptime: u64,
    /// Seconds since 1970, by the host's clock.
    pub timestamp: u64,
    /// Seconds until the next report.
    pub step: u64,
    /// Sorted by name.
    pub agents: Vec<AgentTold>,
    /// Kinds of packages that this host takes: `deb`, `rpm`, `tar.gz`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<String>,
    /// Agents that somebody on the host asks for (`--install`) and that are not there: the server
    /// answers with a job for each, or says in `message` why not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wanted: Vec<String>,
}

/// One agent of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentTold {
    pub name: String,
    pub version: String,
    pub status: AgentStatus,
    /// Seconds that it has run; 0 where it does not.
    pub uptime: u64,
    /// The same as `status`, exactly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<DaemonStatus>,
    /// Why it is not as it is wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The seed's four words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AgentStatus {
    /// Nothing of it runs. Spelt as in the seed.
    Stoped,
    Running,
    /// It failed, more than once where its state is `fatal`, and does not run.
    Fatal,
    /// It was ended for what it used.
    Killed,
}

impl AgentStatus {
    pub const ALL: [AgentStatus; 4] =
        [AgentStatus::Stoped, AgentStatus::Running, AgentStatus::Fatal, AgentStatus::Killed];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            AgentStatus::Stoped => "stoped",
            AgentStatus::Running => "running",
            AgentStatus::Fatal => "fatal",
            AgentStatus::Killed => "killed",
        }
    }

    #[must_use]
    pub fn named(name: &str) -> Option<AgentStatus> {
        AgentStatus::ALL.into_iter().find(|status| status.name() == name)
    }
}

impl From<DaemonStatus> for AgentStatus {
    fn from(status: DaemonStatus) -> AgentStatus {
        match status {
            DaemonStatus::Stoped | DaemonStatus::Installing => AgentStatus::Stoped,
            DaemonStatus::Starting | DaemonStatus::Running | DaemonStatus::Stopping => AgentStatus::Running,
            DaemonStatus::Backoff | DaemonStatus::Fatal => AgentStatus::Fatal,
            DaemonStatus::Killed => AgentStatus::Killed,
        }
    }
}

/// What the server answers to a report. Jobs are to be done whatever `errcode` is: each is read by
/// itself ([`super::BootJob::parse`]), so that one that is wrong costs the others nothing.
#[derive(Debug, Serialize, Deserialize)]
pub struct StatusAnswer {
    /// [`super::OK`], or why the report was not taken in; the seed's sample has 2 (Normal termination).
    pub errcode: u32,
    /// In words, where there is something to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// At most [`MAX_BOOT_JOBS`].
    #[serde(default, deserialize_with = "jobs")]
    pub jobs: Vec<Box<RawValue>>,
}

impl StatusAnswer {
    /// Whether the server has taken the report in.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        [super::OK, u32::from(Retcode::NormalTermination.code())].contains(&self.errcode)
    }
}

/// An entry of the body of `POST /agent/job/result`, which is a list of at most [`MAX_BOOT_JOBS`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootResult {
    /// The job's.
    pub id: String,
    /// [`super::OK`]; 1 (Accepted) where the job goes on and another result follows; else the retcode
    /// of the failure.
    pub errcode: u32,
    /// `success`, or what is the matter.
    pub message: String,
}

impl BootResult {
    #[must_use]
    pub fn success(id: impl Into<String>) -> BootResult {
        BootResult { id: id.into(), errcode: super::OK, message: "success".into() }
    }

    /// Of what has come to its end.
    #[must_use]
    pub fn of(id: impl Into<String>, outcome: &Outcome) -> BootResult {
        if outcome.is_success() && outcome.retcode != Retcode::Accepted.code() {
            return BootResult::success(id);
        }
        let message = match &outcome.detail {
            Some(detail) => format!("{}: {detail}", outcome.message),
            None => outcome.message.clone(),
        };
        BootResult { id: id.into(), errcode: u32::from(outcome.retcode), message }
    }
}

/// What the server answers to results.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultAnswer {
    /// [`super::OK`]; otherwise all of the results are sent again.
    pub errcode: u32,
    /// In words, where there is something to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

fn jobs<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Box<RawValue>>, D::Error> {
    struct Jobs;
    impl<'de> Visitor<'de> for Jobs {
        type Value = Vec<Box<RawValue>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "at most {MAX_BOOT_JOBS} jobs")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut jobs = Vec::new();
            while let Some(job) = seq.next_element()? {
                if jobs.len() == MAX_BOOT_JOBS {
                    return Err(de::Error::invalid_length(MAX_BOOT_JOBS + 1, &self));
                }
                jobs.push(job);
            }
            Ok(jobs)
        }
    }
    deserializer.deserialize_seq(Jobs)
}
