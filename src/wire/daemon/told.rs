//! What a host tells of its daemons.

use super::SHORT_BYTES;
use crate::cron::entry_name;
use crate::head::Head;
use crate::request::MAX_ID_BYTES;
use crate::{FrameError, Outcome};
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Daemons of a host.
pub const MAX_DAEMONS: usize = 256;

/// What a daemon is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DaemonStatus {
    /// Nothing of it runs, and nothing is to. Spelt as in the seed.
    Stoped,
    /// Its package is fetched, installed or taken away.
    Installing,
    /// It was started, or is about to be, and has not been found to be up.
    Starting,
    Running,
    /// It was asked to end, and something of it is left.
    Stopping,
    /// It failed, and is tried again after a while.
    Backoff,
    /// It was ended for what it used, and is started again after a while.
    Killed,
    /// It failed too often, and is left alone until somebody says otherwise.
    Fatal,
}

impl DaemonStatus {
    pub const ALL: [DaemonStatus; 8] = [
        DaemonStatus::Stoped,
        DaemonStatus::Installing,
        DaemonStatus::Starting,
        DaemonStatus::Running,
        DaemonStatus::Stopping,
        DaemonStatus::Backoff,
        DaemonStatus::Killed,
        DaemonStatus::Fatal,
    ];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            DaemonStatus::Stoped => "stoped",
            DaemonStatus::Installing => "installing",
            DaemonStatus::Starting => "starting",
            DaemonStatus::Running => "running",
            DaemonStatus::Stopping => "stopping",
            DaemonStatus::Backoff => "backoff",
            DaemonStatus::Killed => "killed",
            DaemonStatus::Fatal => "fatal",
        }
    }

    #[must_use]
    pub fn named(name: &str) -> Option<DaemonStatus> {
        DaemonStatus::ALL.into_iter().find(|status| status.name() == name)
    }
}

impl fmt::Display for DaemonStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What operators want of a daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wanted {
    Running,
    /// Spelt as the status.
    Stoped,
    Removed,
}

impl Wanted {
    pub const ALL: [Wanted; 3] = [Wanted::Running, Wanted::Stoped, Wanted::Removed];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Wanted::Running => "running",
            Wanted::Stoped => "stoped",
            Wanted::Removed => "removed",
        }
    }

    #[must_use]
    pub fn named(name: &str) -> Option<Wanted> {
        Wanted::ALL.into_iter().find(|wanted| wanted.name() == name)
    }
}

/// A daemon as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DaemonTold {
    #[serde(deserialize_with = "entry_name")]
    pub name: String,
    /// The one that runs or, where nothing runs, that is to run: at most [`SHORT_BYTES`].
    #[serde(deserialize_with = "version")]
    pub version: String,
    pub status: DaemonStatus,
    pub wanted: Wanted,
    /// Its main process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<i32>,
    /// When it came to this status: milliseconds since 1970.
    pub since: u64,
    /// How often it was started again by itself since it was last wanted anew.
    #[serde(default)]
    pub restarts: u32,
    /// There is no such daemon any more.
    #[serde(default, skip_serializing_if = "is_false")]
    pub removed: bool,
}

/// Every daemon of a host as it is now: sent when a link is made, and not kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Daemons {
    /// The number of the latest result that this takes account of: results of higher ones are news.
    #[serde(default)]
    pub seq: u64,
    /// At most [`MAX_DAEMONS`].
    #[serde(deserialize_with = "all_told")]
    pub daemons: Vec<DaemonTold>,
}

/// What a daemon came to, and why. A `result` frame, sent until the server acknowledges `seq`; told
/// apart by `id`, of which there is one whatever becomes of either side's memory.
#[derive(Debug, Clone, Serialize)]
pub struct DaemonEvent {
    /// Grows from one result of an agent's store to the next.
    pub seq: u64,
    /// The daemon's name, a time and a number.
    pub id: String,
    pub daemon: DaemonTold,
    /// A failure with its reason in `detail`, and in `data` the last lines that the daemon wrote; or
    /// a success.
    #[serde(flatten)]
    pub outcome: Outcome,
}

impl DaemonEvent {
    /// `None` where this result is not a daemon's.
    pub(crate) fn from_head(head: &Head<'_>, line: &[u8]) -> Result<Option<DaemonEvent>, FrameError> {
        #[derive(Deserialize)]
        struct Told {
            seq: u64,
            #[serde(default)]
            daemon: Option<DaemonTold>,
        }
        let not_one = |e: serde_json::Error| FrameError::NotAnObject(e.to_string());
        let Told { seq, daemon: Some(daemon) } = serde_json::from_slice(line).map_err(not_one)? else {
            return Ok(None);
        };
        let id = match head.id() {
            Some(id) if (1..=MAX_ID_BYTES).contains(&id.len()) => id.to_owned(),
            _ => return Err(FrameError::NotAnObject("a result without a usable id".into())),
        };
        let outcome = serde_json::from_slice(line).map_err(not_one)?;
        Ok(Some(DaemonEvent { seq, id, daemon, outcome }))
    }
}

fn version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let version = String::deserialize(deserializer)?;
    if version.len() > SHORT_BYTES {
        return Err(de::Error::custom(format_args!("must be at most {SHORT_BYTES} bytes")));
    }
    Ok(version)
}

fn all_told<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<DaemonTold>, D::Error> {
    struct All;
    impl<'de> Visitor<'de> for All {
        type Value = Vec<DaemonTold>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "at most {MAX_DAEMONS} daemons")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut all = Vec::new();
            while let Some(told) = seq.next_element()? {
                if all.len() == MAX_DAEMONS {
                    return Err(de::Error::invalid_length(MAX_DAEMONS + 1, &self));
                }
                all.push(told);
            }
            Ok(all)
        }
    }
    deserializer.deserialize_seq(All)
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_false(flag: &bool) -> bool {
    !flag
}
