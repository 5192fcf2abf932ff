//! Jobs that servers have sent: one after another for each agent, each on disk before it is begun.

use super::job::{Job, Step};
use super::kept::Kept;
use super::taken::{known_key, refused_key};
use crate::daemon::Daemons;
use crate::handover::{self, SelfUpgrade};
use crate::machine::limits::{BOOT_JOB_BYTES, STORE_RETRY, UNFINISHED_BOOT_JOBS, UNTOLD_BOOT_JOBS};
use crate::machine::{Effects, Instant, Now, earliest};
use crate::store::{BootJobKey, NewBootJob, Store, StoreError};
use crate::wire::boot::{BadBootJob, BootJob, BootResult};
use crate::wire::server_list::Server;
use crate::wire::{Outcome, Retcode};

/// What jobs work on.
pub struct Reach<'a> {
    pub now: Now,
    pub store: &'a mut Store,
    pub daemons: &'a mut Daemons,
    pub kept: &'a mut Kept,
    pub upgrade: &'a mut SelfUpgrade,
    pub fx: &'a mut Effects,
    pub facts: &'a mut Vec<Fact>,
}

/// What the jobs tell their machine.
#[derive(Debug)]
pub enum Fact {
    /// One has come that was not known.
    Taken(BootJobKey),
    Begun(BootJobKey),
    /// It has failed, and is being undone.
    Failing(BootJobKey, String),
    Ended(BootJobKey, BootResult),
    /// It goes on, which is to be told.
    Accepted(BootJobKey),
    /// The end of one that was told already is to be told again.
    ToldAgain,
    /// One is left to its server: why.
    Left(BootJobKey, &'static str),
    /// Boot's own settings are others.
    Configured,
    StoreFailed(StoreError),
}

/// Those that have not ended, in the order in which they came.
#[derive(Debug, Default)]
pub struct Jobs {
    list: Vec<Job>,
    /// The store failed: it is left alone until then.
    pause: Option<Instant>,
}

impl Jobs {
    /// Takes up what an earlier boot left.
    ///
    /// # Errors
    /// The database's.
    pub fn restore(store: &mut Store, now: Now) -> Result<Jobs, StoreError> {
        let mut jobs = Jobs::default();
        for row in store.boot_jobs()? {
            let place = row.place;
            match Job::restored(row) {
                Ok(job) => jobs.list.push(job),
                Err((errcode, reason)) => {
                    store.boot_job_ended(place, errcode, &reason, now.wall)?;
                }
            }
        }
        Ok(jobs)
    }

    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Those whose answers had them.
    pub fn servers(&self) -> impl Iterator<Item = &Server> {
        self.list.iter().map(|job| &job.server)
    }

    pub fn deadline(&self) -> Option<Instant> {
        // What is due could not be done before.
        self.pause.or_else(|| earliest(self.list.iter().map(|job| job.until)))
    }

    /// Takes in one of an answer's jobs.
    pub fn take(&mut self, text: &str, server: &Server, reach: &mut Reach<'_>) {
        if let Err(error) = self.try_take(text, server, reach) {
            reach.facts.push(Fact::StoreFailed(error));
        }
    }

    fn try_take(&mut self, text: &str, server: &Server, reach: &mut Reach<'_>) -> Result<(), StoreError> {
        let job = if text.len() > BOOT_JOB_BYTES { Err(too_long(text)) } else { BootJob::parse(text) };
        let key = match &job {
            Ok(job) => known_key(job),
            Err(bad) => refused_key(bad, text),
        };
        if key.id.is_empty() {
            reach.facts.push(Fact::Left(key, "id: it has none that a result could carry back"));
            return Ok(());
        }
        if let Some((place, is_told)) = reach.store.boot_job(&key)? {
            if is_told {
                reach.store.tell_boot_result_again(place)?;
                reach.facts.push(Fact::ToldAgain);
            }
            return Ok(());
        }
        if reach.store.untold_boot_jobs()? >= UNTOLD_BOOT_JOBS {
            reach.facts.push(Fact::Left(key, "no server takes the results of those before it"));
            return Ok(());
        }
        let job = job.map_err(|bad| Outcome::with_detail(bad.retcode, bad.reason));
        let job = match job {
            Ok(_) if self.list.len() >= UNFINISHED_BOOT_JOBS => {
                let detail = format!(
                    "{UNFINISHED_BOOT_JOBS} jobs wait for their turn; send it later, under another id"
                );
                Err(Outcome::with_detail(Retcode::Busy, detail))
            }
            job => job,
        };
        let end = job.as_ref().err().map(|refusal| BootResult::of(key.id.clone(), refusal));
        let end_told = end.as_ref().map(|end| (end.errcode, end.message.as_str()));
        let shown = server.to_string();
        let kept = if end.is_some() { "" } else { text };
        let new = NewBootJob { key: &key, job: kept, server: &shown, end: end_told };
        let place = reach.store.add_boot_job(&new, reach.now.wall)?;
        reach.facts.push(Fact::Taken(key.clone()));
        match (job, end) {
            (Ok(job), _) => self.list.push(Job::new(place, key, job, server.clone())),
            (Err(_), Some(end)) => reach.facts.push(Fact::Ended(key, end)),
            (Err(_), None) => unreachable!("a refusal is an end"),
        }
        Ok(())
    }

    /// An agent has failed.
    pub fn heard(&mut self, name: &str, outcome: &Outcome, daemons: &Daemons) {
        if let Some(job) = self.list.iter_mut().find(|job| job.is_at_work_on(name)) {
            job.agent_failed(outcome, daemons.seen(name).as_ref());
        }
    }

    /// Boot's own upgrade has come to something. False where nobody here waits for it.
    pub fn handed_over(&mut self, fact: handover::Fact) -> bool {
        let (handover::Fact::Accepted(of) | handover::Fact::Ended(of, _)) = &fact;
        let job = self.list.iter_mut().find(|job| job.is_upgrade(&of.id));
        job.map(|job| job.handover = Some(fact)).is_some()
    }

    /// Brings each on whose turn it is. True where the daemons have something to do, or another may
    /// have its turn.
    pub fn advance(&mut self, reach: &mut Reach<'_>) -> bool {
        self.pause.take_if(|pause| reach.now.mono >= *pause);
        if self.pause.is_some() {
            return false;
        }
        self.try_advance(reach).unwrap_or_else(|error| {
            self.pause = Some(reach.now.mono + STORE_RETRY);
            reach.facts.push(Fact::StoreFailed(error));
            false
        })
    }

    fn try_advance(&mut self, reach: &mut Reach<'_>) -> Result<bool, StoreError> {
        let (mut has_moved, mut busy, mut index) = (false, Vec::new(), 0);
        while index < self.list.len() {
            let job = &mut self.list[index];
            let owner = job.owner();
            if busy.contains(&owner) {
                index += 1;
                continue;
            }
            let end = match job.step(reach)? {
                Step::Ended(outcome) => BootResult::of(job.key.id.clone(), &outcome),
                Step::EndedWith(errcode, message) => BootResult { id: job.key.id.clone(), errcode, message },
                step => {
                    has_moved |= matches!(step, Step::Ordered);
                    busy.push(owner);
                    index += 1;
                    continue;
                }
            };
            let (errcode, message) = (end.errcode, end.message.as_str());
            reach.store.boot_job_ended(job.place, errcode, message, reach.now.wall)?;
            let job = self.list.remove(index);
            reach.facts.push(Fact::Ended(job.key, end));
            has_moved = true;
        }
        Ok(has_moved)
    }
}

fn too_long(text: &str) -> BadBootJob {
    let reason = format!("a job must be at most {BOOT_JOB_BYTES} bytes, got {}", text.len());
    // It is read for its id alone.
    let id = BootJob::parse(text).map_or_else(|bad| bad.id, |job| job.id);
    BadBootJob { id, retcode: Retcode::InvalidParams, reason }
}
