//! What survives the agent: its jobs and their results, over one store.

use super::Host;
use super::cron::Cron;
use super::trouble::Trouble;
use crate::daemon::{DaemonSettings, Daemons};
use crate::exec::{Exec, Wanted};
use crate::job::{self, Jobs, Orphan, Taken};
use crate::link::Outbox;
use crate::machine::limits::LISTED_JOBS;
use crate::machine::{Instant, Now, earliest};
use crate::store::{KnownJob, Store, StoreError};
use crate::wire::{Job, JobFilter, Outcome, Retcode};
use log::warn;
use serde::Serialize;
use serde_json::json;

#[derive(Debug)]
pub struct Kept {
    pub store: Store,
    pub jobs: Jobs,
    pub outbox: Outbox,
    pub cron: Cron,
    pub daemons: Daemons,
    pub trouble: Trouble,
}

impl Kept {
    /// Takes up what an earlier agent left.
    pub fn restore(
        now: Now,
        host: &Host,
        settings: DaemonSettings,
        seed: u64,
        mut store: Store,
        facts: &mut Vec<job::Fact>,
    ) -> Result<(Kept, Vec<Orphan>), StoreError> {
        let outbox = Outbox::new(&store)?;
        let (jobs, orphans) = Jobs::restore(now, &host.boot_id, &mut store, facts)?;
        let cron = Cron::restore(now, &host.id, &store, &jobs)?;
        let daemons = Daemons::restore(now, settings, host.own.clone(), &host.boot_id, &store, seed)?;
        for name in daemons.unreadable() {
            warn!("daemon=left_out name={name:?} reason=\"its definition cannot be read; define it anew\"");
        }
        Ok((Kept { store, jobs, outbox, cron, daemons, trouble: Trouble::default() }, orphans))
    }

    /// `async.bash`.
    pub fn take_on(&mut self, now: Now, id: &str, job: &Job, exec: &Exec) -> Outcome {
        let accepted = || Outcome::new(Retcode::Accepted).with_data(&json!({"job": id}));
        // An earlier agent took it on, and its answer may not have arrived.
        match self.store.job(id) {
            Ok(None) => {}
            Ok(Some(_)) => return accepted(),
            Err(error) => return Outcome::with_detail(Retcode::StorageFailure, error.to_string()),
        }
        if let Some(refusal) = exec.refusal(&job.command) {
            return refusal;
        }
        if !self.outbox.has_room() {
            let waiting = self.outbox.weight().results;
            let detail = format!("{waiting} results wait for the server; no more jobs until it has them");
            return Outcome::with_detail(Retcode::Busy, detail);
        }
        match self.jobs.accept(now, id, job, None, &mut self.store) {
            Taken::On | Taken::Before => accepted(),
            Taken::Refused(refusal) => refusal,
        }
    }

    /// The next job that is due, as what exec runs.
    pub fn next(&mut self, now: Now, facts: &mut Vec<job::Fact>) -> Option<(String, Wanted)> {
        let (id, job) = self.jobs.next(now, &mut self.store, facts)?;
        Some((id, Wanted { command: job.command, remembered: true }))
    }

    /// `job.list`.
    pub fn list(&self, filter: &JobFilter) -> Outcome {
        #[derive(Serialize)]
        struct List {
            jobs: Vec<KnownJob>,
            /// Of which the latest are shown.
            count: usize,
        }
        answer(self.store.jobs(filter.state, LISTED_JOBS).map(|(jobs, count)| Some(List { jobs, count })))
    }

    /// `job.status`.
    pub fn status(&self, id: &str) -> Outcome {
        answer(self.store.job(id))
    }

    /// A result was put into the outbox.
    pub fn result_added(&mut self, now: Now, bytes: Option<usize>) {
        let Some(bytes) = bytes else { return };
        match self.outbox.added(bytes, &mut self.store) {
            Ok(0) => {}
            Ok(stripped) => warn!(
                "outbox=full stripped={stripped} stripped_ever={} results={} \
                 reason=\"too many results wait for the server; the oldest lost their output\"",
                self.outbox.stripped(),
                self.outbox.weight().results
            ),
            Err(error) => self.trouble.say(now, "outbox", &error),
        }
    }

    /// Results that are to be sent now.
    pub fn results_to_send(&mut self, now: Now) -> Vec<Vec<u8>> {
        self.outbox.next(&mut self.store).unwrap_or_else(|error| {
            self.trouble.say(now, "outbox", &error);
            Vec::new()
        })
    }

    /// Looks after what the server has taken, and what is due.
    pub fn tick(&mut self, now: Now) {
        if let Err(error) = self.outbox.tick(now, &mut self.store) {
            self.trouble.say(now, "outbox", &error);
        }
        self.cron_tick(now);
    }

    pub fn deadline(&self, exec: &Exec) -> Option<Instant> {
        let daemons = self.daemons.deadline();
        let jobs = self.jobs.deadline(exec.has_free_place());
        earliest([jobs, self.cron.deadline(), daemons, self.outbox.deadline()])
    }
}

fn answer(found: Result<Option<impl Serialize>, StoreError>) -> Outcome {
    match found {
        Ok(Some(found)) => Outcome::new(Retcode::NormalTermination).with_data(&found),
        Ok(None) => Outcome::with_detail(Retcode::NotFound, "job: there is none of this id, or not any more"),
        Err(error) => Outcome::with_detail(Retcode::StorageFailure, error.to_string()),
    }
}
