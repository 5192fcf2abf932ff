//! Boot's short exchanges on the agents' port: what a host reports of its agents, what it is to do
//! about them, and what became of that. Names and spelling are those of the seed's section BootAgent.

mod definition;
mod job;
mod status;

pub use definition::{KNOWN_AGENTS, KnownAgent, Wish};
pub use job::{Action, BadBootJob, BootJob, ConfigChange, DEFAULT_JOB_TIMEOUT_SECONDS};
pub use status::{AgentStatus, AgentTold, BootResult, ResultAnswer, Status, StatusAnswer};

use std::ops::RangeInclusive;

/// The path of the report.
pub const STATUS_PATH: &str = "/agent/status";
/// The path by which results of jobs come.
pub const RESULT_PATH: &str = "/agent/job/result";
/// Seconds from one report to the next.
pub const STEP_SECONDS: RangeInclusive<u64> = 60..=3600;
/// The same where nobody says otherwise.
pub const DEFAULT_STEP_SECONDS: u64 = 600;
/// Jobs in one answer, and results in one report of them.
pub const MAX_BOOT_JOBS: usize = 64;
/// Agents of a host that boot looks after.
pub const MAX_AGENTS: usize = 64;
/// The largest body either way, in bytes.
pub const MAX_BOOT_BODY_BYTES: usize = 1024 * 1024;
/// `errcode` where all is well.
pub const OK: u32 = 0;
/// Boot itself, as a job names it.
pub const BOOT_NAMES: [&str; 2] = ["boot", "BootAgent"];

#[cfg(test)]
mod tests;
