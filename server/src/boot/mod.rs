//! Boot, the agent that installs the others, as its server sees it.
//!
//! A host's boot reports every few minutes by a short exchange on the agents' port. What it tells is checked
//! ([`report`]) and kept as it is; the answer ([`answer`]) has the jobs that the host is to do. Which file of
//! the catalogue a job means for a host, says [`catalogue`], which of two versions is newer [`version`].
//! Results come by another exchange. What nobody tells, that a job's time is over, the [`sweep`] finds.
//!
//! All of a job is in the database, and whoever changes what its hosts are at writes to the job's own row
//! first: so two hosts never take the same place of a batch, and a restart of polaris changes nothing.

pub mod answer;
pub mod catalogue;
pub mod report;
pub mod sweep;
pub mod version;

use crate::store::boot_jobs::BootJobRow;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// Who made a job that a host asked for itself: no user has this name.
pub const WANTED: &str = "boot --install";

/// Where a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = BootJobState)]
pub enum JobState {
    /// Some of its hosts may still get it, or have it.
    Open,
    /// All of its hosts have ended.
    Ended,
    /// Somebody cancelled it: hosts that have it go on.
    Cancelled,
    /// More hosts failed than may: hosts that have it go on.
    Stopped,
}

impl JobState {
    pub const ALL: [JobState; 4] = [JobState::Open, JobState::Ended, JobState::Cancelled, JobState::Stopped];

    pub fn name(self) -> &'static str {
        match self {
            JobState::Open => "open",
            JobState::Ended => "ended",
            JobState::Cancelled => "cancelled",
            JobState::Stopped => "stopped",
        }
    }

    pub fn named(name: &str) -> Option<JobState> {
        JobState::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// Where a job is on one of its hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = BootHostState)]
pub enum HostState {
    /// The host has not fetched it.
    Waiting,
    /// The host has it.
    Sent,
    Done,
    Failed,
    /// The host did not fetch it in time.
    Expired,
    /// The host does not get it any more.
    Cancelled,
}

impl HostState {
    pub const ALL: [HostState; 6] = [
        HostState::Waiting,
        HostState::Sent,
        HostState::Done,
        HostState::Failed,
        HostState::Expired,
        HostState::Cancelled,
    ];

    pub fn name(self) -> &'static str {
        match self {
            HostState::Waiting => "waiting",
            HostState::Sent => "sent",
            HostState::Done => "done",
            HostState::Failed => "failed",
            HostState::Expired => "expired",
            HostState::Cancelled => "cancelled",
        }
    }

    pub fn named(name: &str) -> Option<HostState> {
        HostState::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// What a result of a job came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// There is no such job of this host.
    Unknown,
    /// It was known, or comes after the end.
    Before,
    /// The host goes on with it.
    GoesOn,
    /// Whether it succeeded.
    Ended(bool),
}

/// The job as a host gets it that is to have this one of its files; `None` where it is damaged.
pub fn text(row: &BootJobRow, file: Option<usize>) -> Option<Box<RawValue>> {
    let mut job: Map<String, Value> = serde_json::from_str(&row.job).ok()?;
    if let Some(url) = &row.url {
        job.insert("url".into(), url.as_str().into());
    }
    if let Some(file) = file {
        row.files.get(file)?.put(&mut job);
    }
    to_raw_value(&job).ok()
}
