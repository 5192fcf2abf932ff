//! What a host tells and must not be passed over: it waits with its link where
//! there is no room for it, and where it is a result, the link is told once it
//! is on disk.

use super::{kept_time, result_entry, target};
use crate::agents::link::Link;
use crate::clock;
use crate::limits::{MAX_EVENT_DETAIL_CHARS, MAX_EVENT_OUTPUT_BYTES};
use crate::store::daemons::State;
use aspire_wire::daemon::{DaemonEvent, DaemonStatus, DaemonTold, Daemons, Wanted};
use aspire_wire::job::Run;
use aspire_wire::{JobResult, Outcome};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use std::sync::Arc;

/// See the module.
#[derive(Debug)]
pub struct Owed {
    pub link: Arc<Link>,
    /// To be acknowledged; `None` of what is told once a link.
    pub seq: Option<u64>,
    pub of: Of,
}

/// What it tells of.
#[derive(Debug)]
pub enum Of {
    Job(Ended),
    Daemon(Event),
    /// All that the host has.
    Daemons(Daemons),
}

/// A job's result.
#[derive(Debug)]
pub struct Ended {
    pub job: String,
    pub run: Run,
    pub retcode: u16,
    /// As the interface shows it, a JSON object.
    pub entry: String,
}

/// What became of a daemon.
#[derive(Debug)]
pub struct Event {
    pub id: String,
    pub seq: u64,
    pub daemon: DaemonTold,
    pub retcode: u16,
    pub detail: Option<String>,
    /// As the interface shows it, a JSON object.
    pub entry: String,
}

impl Owed {
    /// The result as it came by this link.
    pub fn result(link: &Arc<Link>, result: JobResult) -> Box<Owed> {
        let JobResult { seq, id: job, run, outcome } = result;
        let entry = result_entry(&target(&link.host), &job, &outcome);
        let of = Of::Job(Ended { job, run, retcode: outcome.retcode, entry });
        Box::new(Owed { link: link.clone(), seq: Some(seq), of })
    }

    /// The event as it came by this link, no larger than it may be.
    pub fn event(link: &Arc<Link>, event: DaemonEvent) -> Box<Owed> {
        let DaemonEvent { seq, id, daemon, outcome } = event;
        let outcome = bounded(outcome);
        let entry = event_entry(&id, &daemon, &outcome);
        let of =
            Of::Daemon(Event { id, seq, daemon, retcode: outcome.retcode, detail: outcome.detail, entry });
        Box::new(Owed { link: link.clone(), seq: Some(seq), of })
    }

    pub fn daemons(link: &Arc<Link>, told: Daemons) -> Box<Owed> {
        Box::new(Owed { link: link.clone(), seq: None, of: Of::Daemons(told) })
    }

    /// Bytes of memory.
    pub(super) fn cost(&self) -> usize {
        let told = |told: &DaemonTold| told.name.len() + told.version.len();
        match &self.of {
            Of::Job(ended) => {
                ended.job.len() + ended.run.cron.as_ref().map_or(0, String::len) + ended.entry.len()
            }
            Of::Daemon(event) => {
                let detail = event.detail.as_ref().map_or(0, String::len);
                event.id.len() + told(&event.daemon) + detail + event.entry.len()
            }
            Of::Daemons(all) => all.daemons.iter().map(|daemon| told(daemon) + size_of::<DaemonTold>()).sum(),
        }
    }
}

/// The daemon as it is kept.
pub(super) fn state(told: &DaemonTold) -> State<'_> {
    State {
        name: &told.name,
        version: &told.version,
        status: told.status.name(),
        wanted: told.wanted.name(),
        pid: told.pid.map(i64::from),
        since: kept_time(told.since),
        restarts: i64::from(told.restarts),
    }
}

fn event_entry(id: &str, told: &DaemonTold, outcome: &Outcome) -> String {
    #[derive(Serialize)]
    struct Entry<'a> {
        id: &'a str,
        version: &'a str,
        status: DaemonStatus,
        wanted: Wanted,
        #[serde(skip_serializing_if = "Option::is_none")]
        pid: Option<i32>,
        since: String,
        restarts: u32,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        removed: bool,
        #[serde(flatten)]
        outcome: &'a Outcome,
        /// When it came here.
        told: String,
    }
    let entry = Entry {
        id,
        version: &told.version,
        status: told.status,
        wanted: told.wanted,
        pid: told.pid,
        since: clock::rfc3339(kept_time(told.since)),
        restarts: told.restarts,
        removed: told.removed,
        outcome,
        told: clock::rfc3339(clock::now()),
    };
    serde_json::to_string(&entry).expect("wire types always serialise")
}

/// Reasons are of use by their beginning, and what was written last by its end.
fn bounded(mut outcome: Outcome) -> Outcome {
    shorten(&mut outcome.message);
    outcome.detail.as_mut().into_iter().for_each(shorten);
    outcome.stderr = outcome.stderr.map(|text| end_of(&text));
    outcome.data = outcome.data.map(bounded_data);
    outcome
}

fn bounded_data(data: Box<RawValue>) -> Box<RawValue> {
    if data.get().len() <= MAX_EVENT_OUTPUT_BYTES {
        return data;
    }
    // What is no text is none from here on, for cut short it is no JSON any more.
    let text = serde_json::from_str(data.get()).unwrap_or_else(|_| data.get().to_owned());
    to_raw_value(&end_of(&text)).expect("strings always serialise")
}

fn shorten(text: &mut String) {
    if let Some((end, _)) = text.char_indices().nth(MAX_EVENT_DETAIL_CHARS) {
        text.truncate(end);
        text.push('…');
    }
}

fn end_of(text: &str) -> String {
    if text.len() <= MAX_EVENT_OUTPUT_BYTES {
        return text.to_owned();
    }
    let from = text.ceil_char_boundary(text.len() - MAX_EVENT_OUTPUT_BYTES);
    format!("…{}", &text[from..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use aspire_wire::Retcode;
    use serde_json::{Value, json};

    fn cut(outcome: Outcome) -> Value {
        serde_json::to_value(bounded(outcome)).unwrap()
    }

    #[test]
    fn what_is_short_stays_as_it_came() {
        let data = json!({"cpu": "12%", "memory": 104_857_600});
        let outcome = Outcome::with_detail(Retcode::LimitExceeded, "cpu").with_data(&data);
        let expected = json!({"resp": "failed", "retcode": 3305, "message": "Limit exceeded", "detail": "cpu",
                              "data": data});
        assert_eq!(cut(outcome), expected);
    }

    #[test]
    fn of_a_long_reason_the_beginning_is_kept_and_of_what_was_written_the_end() {
        let written = format!("{}the end", "ü".repeat(500_000));
        let detail = format!("why {}", "ü".repeat(500_000));
        let outcome = Outcome::with_detail(Retcode::ExitedWithAnError, detail).with_data(&written);
        let outcome = Outcome { stderr: Some(written), message: "m".repeat(900_000), ..outcome };
        let cut = cut(outcome);
        let text = |key: &str| cut[key].as_str().unwrap().to_owned();
        assert!(text("detail").starts_with("why ü") && text("detail").ends_with("ü…"));
        assert_eq!(text("detail").chars().count(), MAX_EVENT_DETAIL_CHARS + 1);
        for key in ["data", "stderr"] {
            assert!(text(key).starts_with("…ü") && text(key).ends_with("üthe end"));
            assert!(text(key).len() <= MAX_EVENT_OUTPUT_BYTES + '…'.len_utf8());
        }
        assert_eq!(text("message").chars().count(), MAX_EVENT_DETAIL_CHARS + 1);
    }

    #[test]
    fn long_data_that_is_no_text_is_cut_as_text() {
        let data: Vec<u32> = (0..100_000).collect();
        let cut = cut(Outcome::new(Retcode::Unhealthy).with_data(&data));
        assert!(cut["data"].as_str().unwrap().ends_with("99998,99999]"), "{cut}");
    }
}
