//! The tables `[log]`, `[limits]`, `[audit]` and `[pki]`, and what else has no room in one file.

use super::file::in_range;
use crate::limits;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};
use std::path::PathBuf;
use std::time::Duration;
use tracing::level_filters::LevelFilter;

#[derive(Debug, Clone)]
pub struct Requests {
    /// A request for more hosts than this has to say for how many it is.
    pub confirm_above: usize,
}

/// Where the document server has its files.
#[derive(Debug, Clone)]
pub struct PackagesFolder {
    pub dir: PathBuf,
    /// The most of one file, in bytes.
    pub max_size: u64,
}

/// What is logged, and how.
#[derive(Debug, Clone, Copy)]
pub struct Log {
    pub level: LevelFilter,
    pub format: Format,
    /// Calls that only look, too.
    pub access: bool,
}

impl Default for Log {
    fn default() -> Log {
        LogTable::default().into()
    }
}

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// The time, the level, key=value.
    #[default]
    Text,
    /// A JSON object.
    Json,
}

/// What becomes of the audit log.
#[derive(Debug, Clone, Copy)]
pub struct Audit {
    /// How long entries are kept; `None`: for ever.
    pub keep: Option<Duration>,
}

/// What one caller may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections of the web listener at once.
    pub connections_per_address: u32,
    /// Requests for hosts.
    pub requests_per_second: u32,
    /// Other calls that change something.
    pub changes_per_second: u32,
    /// Calls that look.
    pub reads_per_second: u32,
    /// By the agents' port, from one address.
    pub enrolments_per_second: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits::from(LimitsTable::default())
    }
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct AuditTable {
    #[serde(deserialize_with = "keep")]
    keep: Option<Duration>,
}

impl From<AuditTable> for Audit {
    fn from(table: AuditTable) -> Audit {
        Audit { keep: Some(table.keep.unwrap_or(limits::AUDIT_KEPT)).filter(|keep| !keep.is_zero()) }
    }
}

/// A time with its unit; `0`: for ever.
fn keep<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let keep = humantime::parse_duration(&text).map_err(|_| {
        D::Error::custom(format!("must be a time such as \"365d\", or \"0\" for ever, got {text:?}"))
    })?;
    match keep {
        keep if keep.is_zero() || limits::AUDIT_KEEP.contains(&keep) => Ok(Some(keep)),
        _ => Err(D::Error::custom(format!("must be 1d to 36500d, or \"0\" for ever, got {text:?}"))),
    }
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct PkiTable {
    pub passphrase_file: Option<PathBuf>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct LogTable {
    level: Option<Level>,
    format: Format,
    access: bool,
}

#[derive(Debug, Clone, Copy, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl From<LogTable> for Log {
    fn from(table: LogTable) -> Log {
        let level = match table.level.unwrap_or(Level::Info) {
            Level::Error => LevelFilter::ERROR,
            Level::Warn => LevelFilter::WARN,
            Level::Info => LevelFilter::INFO,
            Level::Debug => LevelFilter::DEBUG,
            Level::Trace => LevelFilter::TRACE,
        };
        Log { level, format: table.format, access: table.access }
    }
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct LimitsTable {
    #[serde(deserialize_with = "connections")]
    connections_per_address: Option<u32>,
    #[serde(deserialize_with = "per_second")]
    requests_per_second: Option<u32>,
    #[serde(deserialize_with = "per_second")]
    changes_per_second: Option<u32>,
    #[serde(deserialize_with = "per_second")]
    reads_per_second: Option<u32>,
    #[serde(deserialize_with = "per_second")]
    enrolments_per_second: Option<u32>,
}

impl From<LimitsTable> for Limits {
    fn from(table: LimitsTable) -> Limits {
        Limits {
            connections_per_address: table.connections_per_address.unwrap_or(limits::CONNECTIONS_PER_ADDRESS),
            requests_per_second: table.requests_per_second.unwrap_or(limits::REQUESTS_PER_SECOND),
            changes_per_second: table.changes_per_second.unwrap_or(limits::CHANGES_PER_SECOND),
            reads_per_second: table.reads_per_second.unwrap_or(limits::READS_PER_SECOND),
            enrolments_per_second: table.enrolments_per_second.unwrap_or(limits::ENROLMENTS_PER_SECOND),
        }
    }
}

fn connections<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    limit(deserializer, "connections")
}

fn per_second<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    limit(deserializer, "a second")
}

fn limit<'de, D: Deserializer<'de>>(deserializer: D, unit: &str) -> Result<Option<u32>, D::Error> {
    let number = i64::deserialize(deserializer)?;
    in_range(number, &limits::LIMIT, unit).map(|number| u32::try_from(number).ok())
}

/// `[agents] certificate_days`.
pub(super) fn certificate_days<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    let days = i64::deserialize(deserializer)?;
    in_range(days, &limits::CERTIFICATE_DAYS, "days").map(|days| u32::try_from(days).ok())
}
