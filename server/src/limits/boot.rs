//! What boot tells, and what it is to do.

use std::ops::RangeInclusive;
use std::time::Duration;

/// Kinds of packages that a host may say it takes.
pub const MAX_PACKAGE_KINDS: usize = 16;
/// Characters that are kept of why an agent is not as it is wanted, and of what a result says.
pub const MAX_BOOT_REASON_CHARS: usize = 1000;
/// One job as hosts get it, in bytes.
pub const MAX_BOOT_JOB_BYTES: usize = 64 * 1024;
/// The jobs of one answer, in bytes: what does not fit goes with the next.
pub const MAX_ANSWERED_JOBS_BYTES: usize = aspire_wire::boot::MAX_BOOT_BODY_BYTES - MAX_BOOT_JOB_BYTES;
/// Jobs of one host, the oldest, that are looked through for those that it is to get.
pub const BOOT_JOBS_LOOKED_THROUGH: u64 = 512;
/// `ttl` of a job: seconds in which a host must have fetched it.
pub const BOOT_TTL_SECONDS: RangeInclusive<u64> = 60..=2_592_000;
/// The same where the caller does not say: a week.
pub const DEFAULT_BOOT_TTL_SECONDS: u64 = 604_800;
/// How much longer than the job's time and the host's step its result is waited for: others may come before
/// it, and what fails is undone.
pub const BOOT_RESULT_SLACK: Duration = Duration::from_mins(45);
/// How much longer than the job's time a host that reports may have it.
pub const BOOT_RESULT_LIMIT: Duration = Duration::from_hours(24);
/// From the failure of a job that a host asked for itself to the next.
pub const WANTED_RETRY: Duration = Duration::from_mins(10);
/// Characters of why it failed that the host is told.
pub const WANTED_REASON_CHARS: usize = 200;
/// How often jobs are looked through for those whose time is over, and silent hosts are counted.
pub const BOOT_SWEEP: Duration = Duration::from_secs(15);
/// Rows of one turn of that.
pub const BOOT_SWEPT_ROWS: i64 = 1000;
/// Files of the catalogue among which one job chooses: the newest for each kind and architecture.
pub const MAX_BOOT_FILES: usize = 64;
/// Jobs of people that have not ended.
pub const MAX_OPEN_BOOT_JOBS: i64 = 1000;
/// Jobs of people that have ended and are kept, the latest.
pub const KEPT_BOOT_JOBS: i64 = 1000;
/// The same of those that hosts asked for themselves, of which each has one for each agent.
pub const KEPT_WANTED_BOOT_JOBS: i64 = 10_000;
/// Versions that are out of date, of all agents together, among which one call may choose.
pub const MAX_OUTDATED_VERSIONS: usize = 2000;
/// Steps without a report after which a host is silent, in tenths.
pub const SILENT_STEP_TENTHS: i64 = 25;
