//! Brings what hosts told of jobs and daemons to the database, in its order and
//! many things in one transaction. A job's first result is its result; where it
//! is on disk, and not before, the host is told so.

use super::inbox::{Fact, What};
use super::owed::{Ended, Event, Of, state};
use super::{Follow, Jobs, kept_time};
use crate::clock::EpochMs;
use crate::limits;
use crate::store::cron::CronChange;
use crate::store::daemons::{DaemonChange, EventRow};
use crate::store::jobs::{JobKey, JobRow, ResultRow};
use crate::store::{Store, StoreError};
use crate::unbroken::to_the_end;
use aspire_wire::cron::MAX_CRON_NAME_BYTES;
use aspire_wire::request::MAX_ID_BYTES;
use aspire_wire::{JobNotice, JobState};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

/// Runs until `stop` says so. What is left then is [`store_all`]'s.
pub async fn keep_stored(jobs: &Jobs, store: &Store, mut stop: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            () = jobs.inbox.news.notified() => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        let _ = timeout(limits::RECORD_LINGER, stop.wait_for(|stop| *stop)).await;
        if let Err(error) = store_facts(jobs, store).await {
            tracing::error!(%error, "news of jobs not stored, to be tried again");
            sleep(limits::RECORD_RETRY).await;
            jobs.inbox.news.notify_one();
        }
        let _ = timeout(limits::RECORD_PAUSE, stop.wait_for(|stop| *stop)).await;
    }
}

/// When this has ended, all that had been told when it was called is in the database.
pub async fn store_all(jobs: &Arc<Jobs>, store: &Store) -> Result<(), StoreError> {
    let (jobs, store) = (jobs.clone(), store.clone());
    to_the_end(async move { store_facts(&jobs, &store).await }).await
}

/// Must not be left half-way: what it has taken would be lost. Takes what there is when it begins,
/// or hosts that tell on and on would keep it at work for ever.
async fn store_facts(jobs: &Jobs, store: &Store) -> Result<(), StoreError> {
    let _alone = jobs.inbox.storing.lock().await;
    let mut left = jobs.inbox.len();
    while left > 0 {
        let facts = jobs.inbox.take(limits::MAX_ROWS_PER_COMMIT.min(left));
        left -= facts.len();
        if let Err(error) = store_some(store, &facts).await {
            jobs.inbox.give_back(facts);
            return Err(error);
        }
        for fact in &facts {
            if let Some(ended) = fact.what.ended() {
                jobs.logs.ended(fact.host, &ended.job);
            }
        }
        jobs.inbox.stored(&facts);
    }
    Ok(())
}

async fn store_some(store: &Store, facts: &[Fact]) -> Result<(), StoreError> {
    let keys: BTreeSet<JobKey<'_>> = facts.iter().filter_map(job_of).collect();
    let keys: Vec<_> = keys.into_iter().collect();
    // Before the transaction, which begins with a write: nobody else changes these rows.
    let mut book = Book::new(store.load_jobs(&keys).await?);
    for fact in facts {
        book.enter(fact);
    }
    let changed: Vec<&JobRow> =
        book.rows.values().filter(|row| row.modified_now).map(|row| &row.row).collect();
    store.put_jobs(&changed, &book.results, &book.cron, &book.daemons).await
}

fn job_of(fact: &Fact) -> Option<JobKey<'_>> {
    let job = match &fact.what {
        What::Accepted { job, .. } => job,
        What::Noticed(notice) => notice.id.as_str(),
        What::Owed(_) => fact.what.ended()?.job.as_str(),
        What::CronSet { .. } | What::CronRemoved { .. } | What::CronListed { .. } => return None,
    };
    (1..=MAX_ID_BYTES).contains(&job.len()).then_some((fact.host, job))
}

/// What the database will hold.
#[derive(Debug, Default)]
struct Book<'a> {
    rows: HashMap<(Uuid, String), Page>,
    results: Vec<ResultRow<'a>>,
    cron: Vec<CronChange<'a>>,
    daemons: Vec<DaemonChange<'a>>,
}

#[derive(Debug)]
struct Page {
    row: JobRow,
    modified_now: bool,
}

impl<'a> Book<'a> {
    fn new(rows: Vec<JobRow>) -> Book<'a> {
        let pages =
            rows.into_iter().map(|row| ((row.host, row.job.clone()), Page { row, modified_now: false }));
        Book { rows: pages.collect(), ..Book::default() }
    }

    fn enter(&mut self, fact: &'a Fact) {
        let (host, at) = (fact.host, fact.at);
        if let Some((host, job)) = job_of(fact) {
            let new = || Page { row: JobRow::new(host, job, at), modified_now: false };
            let page = self.rows.entry((host, job.to_owned())).or_insert_with(new);
            if page.row.learn(&fact.what) {
                page.row.modified = at;
                page.modified_now = true;
                if let Some(ended) = fact.what.ended() {
                    self.results.push(ResultRow { host, job: &ended.job, entry: &ended.entry, at });
                }
            }
        }
        match &fact.what {
            What::CronSet { name, entry } => self.cron.push(CronChange::Set { host, name, entry, at }),
            What::CronRemoved { name } => self.cron.push(CronChange::Removed { host, name }),
            What::CronListed { entries, all } => {
                self.cron.push(CronChange::Listed { host, entries, all: *all, at });
            }
            What::Owed(owed) => match &owed.of {
                Of::Job(_) => {}
                Of::Daemon(event) => self.daemons.push(happened(host, at, event)),
                Of::Daemons(all) => {
                    let daemons = all.daemons.iter().filter(|told| !told.removed).map(state).collect();
                    self.daemons.push(DaemonChange::All { host, at, seq: kept_seq(all.seq), daemons });
                }
            },
            What::Accepted { .. } | What::Noticed(_) => {}
        }
    }
}

impl What {
    fn ended(&self) -> Option<&Ended> {
        match self {
            What::Owed(owed) => match &owed.of {
                Of::Job(ended) => Some(ended),
                Of::Daemon(_) | Of::Daemons(_) => None,
            },
            _ => None,
        }
    }
}

fn happened(host: Uuid, at: EpochMs, event: &Event) -> DaemonChange<'_> {
    let Event { id, seq, daemon, retcode, detail, entry } = event;
    let row = EventRow {
        id,
        seq: kept_seq(*seq),
        removed: daemon.removed,
        retcode: i64::from(*retcode),
        detail: detail.as_deref(),
        entry,
    };
    DaemonChange::Event { host, at, daemon: state(daemon), event: row }
}

/// No host gets there by counting.
fn kept_seq(seq: u64) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}

impl JobRow {
    fn new(host: Uuid, job: &str, at: EpochMs) -> JobRow {
        JobRow { host, job: job.to_owned(), created: at, modified: at, ..JobRow::default() }
    }

    /// Whether it says anything new. What is final stays as it is.
    fn learn(&mut self, what: &What) -> bool {
        match what {
            What::Accepted { job, follow } => self.accepted_as(job, follow),
            What::Noticed(notice) => !self.state.is_final() && self.noticed(notice),
            What::Owed(_) if !self.state.is_final() => {
                what.ended().inspect(|ended| self.ended_with(ended)).is_some()
            }
            _ => false,
        }
    }

    /// News of it may have come before the answer that began it.
    fn accepted_as(&mut self, request: &str, follow: &Follow) -> bool {
        let Follow::Job { cmd, .. } = follow else { return false };
        let new = self.cmd.is_none();
        self.request = Some(request.to_owned());
        self.cmd = Some(cmd.clone());
        new
    }

    fn noticed(&mut self, notice: &JobNotice) -> bool {
        if notice.state.is_final() {
            return false;
        }
        // Each link tells of all that is under way once more.
        let known = self.cron.is_some() || self.request.is_some();
        let before = (known, self.state, self.attempts);
        self.begun_by(notice.cron.as_deref());
        self.state = notice.state;
        self.attempts = i64::from(notice.attempts);
        before != (true, self.state, self.attempts)
    }

    fn ended_with(&mut self, ended: &Ended) {
        let run = &ended.run;
        self.begun_by(run.cron.as_deref());
        self.state = JobState::of_result(ended.retcode);
        self.attempts = i64::from(run.attempts);
        self.retcode = Some(i64::from(ended.retcode));
        self.accepted = Some(kept_time(run.accepted));
        self.started = run.started.map(kept_time);
        self.ended = Some(kept_time(run.ended));
        self.scheduled = run.scheduled.map(kept_time);
        self.missed = i64::try_from(run.missed).unwrap_or(i64::MAX);
    }

    /// A job has the id of its request, unless it is a run of a cron entry.
    fn begun_by(&mut self, cron: Option<&str>) {
        match cron.filter(|name| name.len() <= MAX_CRON_NAME_BYTES) {
            Some(name) => self.cron = Some(name.to_owned()),
            None => self.request = Some(self.job.clone()),
        }
    }
}
