//! Jobs and daemons over the whole fleet. What hosts tell of them waits in the
//! [`inbox`] until [`book`] has brought it to the database, and only then is a
//! result acknowledged ([`owed`]); what jobs' commands write meanwhile goes
//! through the [`logs`]. [`follow`] knows which answers begin a job or change a
//! cron table.

pub mod book;
pub mod follow;
pub mod inbox;
pub mod logs;
pub mod owed;
pub mod removal;

pub use follow::Follow;
pub use inbox::{Fact, Inbox, What};
pub use logs::Logs;
pub use owed::Owed;

use crate::clock::{self, EpochMs};
use crate::hosts::Host;
use crate::requests::Target;
use aspire_wire::{JobNotice, Outcome};
use serde::Serialize;
use std::sync::Arc;

/// See the module.
#[derive(Debug, Default)]
pub struct Jobs {
    pub inbox: Inbox,
    pub logs: Arc<Logs>,
}

/// Whose job something is of, as the interface shows it.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Whose<'a> {
    #[serde(flatten)]
    pub target: &'a Target,
    pub job: &'a str,
}

impl Jobs {
    /// A host has answered a request that means more than its answer.
    pub fn answered(&self, host: &Host, request: &Arc<str>, follow: &Arc<Follow>, outcome: &Outcome) {
        let Some(what) = follow.meaning(request, outcome) else { return };
        if let (What::Accepted { .. }, Follow::Job { stream: true, .. }) = (&what, &**follow) {
            self.logs.begin(&target(host), request);
        }
        self.inbox.tell(Fact { host: host.id, at: clock::now(), what });
    }

    /// A host says where a job is.
    pub fn noticed(&self, host: &Host, notice: JobNotice) {
        self.logs.noticed(&target(host), &notice);
        self.inbox.tell(Fact { host: host.id, at: clock::now(), what: What::Noticed(notice) });
    }
}

/// A job's result as the interface shows it, a JSON object.
fn result_entry(target: &Target, job: &str, outcome: &Outcome) -> String {
    #[derive(Serialize)]
    struct Entry<'a> {
        #[serde(flatten)]
        whose: Whose<'a>,
        #[serde(flatten)]
        outcome: &'a Outcome,
    }
    let entry = Entry { whose: Whose { target, job }, outcome };
    serde_json::to_string(&entry).expect("wire types always serialise")
}

/// The host as the interface shows it.
pub fn target(host: &Host) -> Target {
    Target { host: host.id.to_string(), name: host.name() }
}

/// The last moment that RFC 3339 can write.
const END_OF_TIME: u64 = 253_402_300_799_999;

/// A host's time, which may be anything, as one that can be kept and shown.
pub fn kept_time(told: u64) -> EpochMs {
    i64::try_from(told.min(END_OF_TIME)).unwrap_or(0)
}
