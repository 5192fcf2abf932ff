//! Jobs: which wait, which run, and how each comes to exactly one end.
//!
//! What a later agent must know is in the store before it is acted upon: a job
//! before it is accepted, an attempt before it begins, an end before it is
//! told. Here is what the clock needs of the jobs that have not ended.

mod queue;

use crate::machine::limits::{
    ENDED_JOBS, ENDED_JOBS_AGE, JOBS_A_TURN, STORE_RETRY, UNFINISHED_JOBS, UNFINISHED_JOBS_BYTES,
};
use crate::machine::{Instant, Now, Process, earliest};
use crate::store::{NewJob, Origin, Store, StoreError, Unfinished};
use crate::wire::frame::encode;
use crate::wire::job::Terms;
use crate::wire::session::Frame;
use crate::wire::{Job, JobNotice, JobState, Outcome, Retcode};
use queue::Queue;
use std::collections::HashMap;
use std::time::{Duration, SystemTime};

/// After this many ends, jobs that ended long ago are forgotten.
const ENDS_BETWEEN_TIDYING: u32 = 64;

#[derive(Debug)]
pub struct Jobs {
    by_id: HashMap<String, Known>,
    queue: Queue,
    /// What the definitions of all of them take.
    bytes: usize,
    /// Ends that the store did not take.
    unsaved: Vec<(String, Outcome)>,
    /// The store failed: it is left alone until then.
    pause: Option<Instant>,
    ends: u32,
}

/// A job that has not ended.
#[derive(Debug)]
struct Known {
    terms: Terms,
    state: JobState,
    attempts: u32,
    bytes: usize,
    cron: Option<String>,
}

/// What the jobs tell their machine.
#[derive(Debug)]
pub enum Fact {
    /// It waits again, or runs.
    Moved(JobNotice),
    /// It has come to its end, and its result is in the outbox with so many bytes, unless the
    /// store knew nothing of it any more.
    Ended { id: String, cron: Option<String>, outcome: Outcome, bytes: Option<usize> },
    /// The store failed; what was to be done is tried again.
    StoreFailed(StoreError),
}

/// What became of a job that was to be taken on.
#[derive(Debug)]
pub enum Taken {
    On,
    /// There is one of this id already.
    Before,
    Refused(Outcome),
}

/// What became of the wish to cancel a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancel {
    /// It waited, or had ended already, and is at its end.
    Ended,
    /// It runs: its command is to be ended.
    Running,
    Unknown,
}

/// A job that an earlier agent started and that may still run.
#[derive(Debug)]
pub struct Orphan {
    pub id: String,
    pub process: Process,
    /// Seconds, as the request has it.
    pub timeout: Option<u64>,
    pub ran: Duration,
}

impl Jobs {
    /// Takes up what an earlier agent left. `boot` is the kernel's boot id.
    pub fn restore(
        now: Now,
        boot: &str,
        store: &mut Store,
        facts: &mut Vec<Fact>,
    ) -> Result<(Jobs, Vec<Orphan>), StoreError> {
        let mut jobs = Jobs {
            by_id: HashMap::new(),
            queue: Queue::default(),
            bytes: 0,
            unsaved: Vec::new(),
            pause: None,
            ends: 0,
        };
        let (mut orphans, mut lost) = (Vec::new(), Vec::new());
        for left in store.unfinished()? {
            jobs.take_in(now, &left);
            match (left.state, left.process) {
                (JobState::Queued, _) => {}
                (_, Some(process)) if left.boot.as_deref() == Some(boot) => {
                    let ran = left.started.and_then(|started| now.wall.duration_since(started).ok());
                    let ran = ran.unwrap_or_default();
                    orphans.push(Orphan { id: left.id, process, timeout: left.timeout, ran });
                }
                (_, process) => lost.push((left.id, process.is_some())),
            }
        }
        for (id, began) in lost {
            let detail = if began {
                "the host was restarted while it ran"
            } else {
                "the agent ended just when it was starting it; nobody knows whether it ran"
            };
            jobs.end(now, id, Outcome::with_detail(Retcode::Lost, detail), store, facts);
        }
        Ok((jobs, orphans))
    }

    fn take_in(&mut self, now: Now, left: &Unfinished) {
        let known = Known {
            terms: left.terms,
            state: left.state,
            attempts: left.attempts,
            bytes: left.bytes,
            cron: left.cron.clone(),
        };
        self.bytes += known.bytes;
        if left.state == JobState::Queued {
            // However wrong the clock is now, none waits longer than it was to wait in all.
            let until = |time: SystemTime, most: u64| {
                let left = time.duration_since(now.wall).unwrap_or_default();
                now.mono + left.min(Duration::from_secs(most))
            };
            let Terms { ttl, retry_delay, .. } = left.terms;
            let is_new = left.attempts == 0;
            let due = if is_new { now.mono } else { until(left.due, retry_delay) };
            let expires = is_new.then(|| until(left.accepted + Duration::from_secs(ttl), ttl));
            self.queue.push(left.id.clone(), due, expires);
        }
        self.by_id.insert(left.id.clone(), known);
    }

    /// Takes a job on, once: when this returns no refusal, it is on disk.
    pub fn accept(
        &mut self,
        now: Now,
        id: &str,
        job: &Job,
        origin: Option<&Origin>,
        store: &mut Store,
    ) -> Taken {
        if self.by_id.len() >= UNFINISHED_JOBS || self.bytes >= UNFINISHED_JOBS_BYTES {
            let detail = format!("{} jobs have not ended; cancel some, or try again later", self.by_id.len());
            return Taken::Refused(Outcome::with_detail(Retcode::Busy, detail));
        }
        let new = NewJob { id, job, accepted: now.wall, origin };
        let bytes = match store.accept(&new) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Taken::Before,
            Err(error) => {
                return Taken::Refused(Outcome::with_detail(Retcode::StorageFailure, error.to_string()));
            }
        };
        let known = Known {
            terms: job.terms,
            state: JobState::Queued,
            attempts: 0,
            bytes,
            cron: origin.map(|origin| origin.entry.clone()),
        };
        self.bytes += bytes;
        self.by_id.insert(id.to_owned(), known);
        let expires = now.mono + Duration::from_secs(job.terms.ttl);
        self.queue.push(id.to_owned(), now.mono, Some(expires));
        Taken::On
    }

    /// The next job that is due. The store knows already that it runs.
    pub fn next(&mut self, now: Now, store: &mut Store, facts: &mut Vec<Fact>) -> Option<(String, Job)> {
        if self.pause.is_some_and(|until| now.mono < until) {
            return None;
        }
        let id = self.queue.due(now.mono)?.to_owned();
        match store.attempt(&id, now.wall) {
            Ok(job) => {
                self.queue.remove(&id);
                let known = self.by_id.get_mut(&id)?;
                known.attempts += 1;
                known.state = JobState::Running;
                facts.push(Fact::Moved(notice(&id, known)));
                Some((id, job))
            }
            Err(error) if error.is_of_the_row() => {
                self.queue.remove(&id);
                let outcome = Outcome::with_detail(Retcode::StorageFailure, error.to_string());
                self.end(now, id, outcome, store, facts);
                None
            }
            Err(error) => {
                self.fail(now, error, facts);
                None
            }
        }
    }

    /// The job's command has a process.
    pub fn has_process(
        &self,
        id: &str,
        process: Process,
        boot: &str,
        store: &mut Store,
    ) -> Result<(), StoreError> {
        if self.is_running(id) {
            store.attempt_runs(id, process, boot)?;
        }
        Ok(())
    }

    /// The job's command has come to its end: there is another attempt, or it was the last.
    /// `again` is false where no attempt may follow.
    pub fn attempt_ended(
        &mut self,
        now: Now,
        id: String,
        outcome: Outcome,
        again: bool,
        store: &mut Store,
        facts: &mut Vec<Fact>,
    ) {
        let Some(known) = self.by_id.get_mut(&id) else { return };
        let retried = [Retcode::Cancelled, Retcode::Lost].iter().all(|code| code.code() != outcome.retcode);
        if outcome.is_success() || !again || !retried || known.attempts > known.terms.retries {
            return self.end(now, id, outcome, store, facts);
        }
        let delay = Duration::from_secs(known.terms.retry_delay);
        if let Err(error) = store.retry(&id, now.wall + delay) {
            // It must not be said to run for ever: this attempt is the last.
            self.fail(now, error, facts);
            return self.end(now, id, outcome, store, facts);
        }
        known.state = JobState::Queued;
        facts.push(Fact::Moved(notice(&id, known)));
        self.queue.push(id, now.mono + delay, None);
    }

    /// Ends a job that waits. The command of one that runs is for the machine to end.
    pub fn cancel(&mut self, now: Now, id: &str, store: &mut Store, facts: &mut Vec<Fact>) -> Cancel {
        match self.by_id.get(id).map(|known| known.state) {
            None => Cancel::Unknown,
            // The store will take its end once it can.
            Some(_) if self.unsaved.iter().any(|(unsaved, _)| unsaved == id) => Cancel::Ended,
            Some(JobState::Queued) => {
                self.queue.remove(id);
                let outcome =
                    Outcome::with_detail(Retcode::Cancelled, "cancelled by a request before it ran");
                self.end(now, id.to_owned(), outcome, store, facts);
                Cancel::Ended
            }
            Some(_) => Cancel::Running,
        }
    }

    /// Ends what has waited too long, and tries again what the store did not take.
    pub fn tick(&mut self, now: Now, store: &mut Store, facts: &mut Vec<Fact>) {
        if self.pause.is_some_and(|until| now.mono >= until) {
            self.pause = None;
            self.save(now, store, facts);
        }
        for _ in 0..JOBS_A_TURN {
            let Some(id) = self.queue.expired(now.mono) else { break };
            let detail = "its time to live passed before it could begin";
            self.end(now, id, Outcome::with_detail(Retcode::Expired, detail), store, facts);
        }
    }

    /// Tries again to store the ends that the store did not take.
    pub fn save(&mut self, now: Now, store: &mut Store, facts: &mut Vec<Fact>) {
        let mut unsaved = std::mem::take(&mut self.unsaved).into_iter();
        while self.unsaved.is_empty()
            && let Some((id, outcome)) = unsaved.next()
        {
            self.end(now, id, outcome, store, facts);
        }
        self.unsaved.extend(unsaved);
    }

    /// `places` says whether a job that is due could begin.
    pub fn deadline(&self, places: bool) -> Option<Instant> {
        let due = if places { self.queue.next_due() } else { None };
        let due = due.map(|due| self.pause.map_or(due, |pause| due.max(pause)));
        earliest([due, self.queue.next_expiry(), self.pause])
    }

    pub fn is_running(&self, id: &str) -> bool {
        self.by_id.get(id).is_some_and(|known| known.state == JobState::Running)
    }

    /// Whether there is a job of this id that has not ended.
    pub fn knows(&self, id: &str) -> bool {
        self.by_id.contains_key(id)
    }

    /// Jobs that have not ended.
    pub fn unfinished(&self) -> usize {
        self.by_id.len()
    }

    /// The entry of each run that has not ended.
    pub fn entries(&self) -> impl Iterator<Item = &str> {
        self.by_id.values().filter_map(|known| known.cron.as_deref())
    }

    /// Where every job that has not ended is now.
    pub fn notices(&self) -> impl Iterator<Item = JobNotice> {
        self.by_id.iter().map(|(id, known)| notice(id, known))
    }

    /// The job's final state and its result go to the store; until that takes them the job is
    /// not at its end.
    fn end(&mut self, now: Now, id: String, outcome: Outcome, store: &mut Store, facts: &mut Vec<Fact>) {
        let frame = |result: &_| encode(&Frame::Result(result));
        let ended = store.end_job(&id, now.wall, &outcome, frame);
        match ended.map(Some).or_else(|error| if error.is_of_the_row() { Ok(None) } else { Err(error) }) {
            Ok(bytes) => {
                let known = self.by_id.remove(&id);
                self.bytes -= known.as_ref().map_or(0, |known| known.bytes);
                facts.push(Fact::Ended { id, cron: known.and_then(|known| known.cron), outcome, bytes });
                self.tidy(now, store, facts);
            }
            Err(error) => {
                self.unsaved.push((id, outcome));
                self.fail(now, error, facts);
            }
        }
    }

    fn tidy(&mut self, now: Now, store: &mut Store, facts: &mut Vec<Fact>) {
        self.ends += 1;
        if self.ends.is_multiple_of(ENDS_BETWEEN_TIDYING) {
            let oldest = now.wall.checked_sub(ENDED_JOBS_AGE).unwrap_or(SystemTime::UNIX_EPOCH);
            if let Err(error) = store.forget_jobs(ENDED_JOBS, oldest) {
                facts.push(Fact::StoreFailed(error));
            }
        }
    }

    fn fail(&mut self, now: Now, error: StoreError, facts: &mut Vec<Fact>) {
        self.pause = Some(now.mono + STORE_RETRY);
        facts.push(Fact::StoreFailed(error));
    }
}

fn notice(id: &str, known: &Known) -> JobNotice {
    JobNotice { id: id.to_owned(), state: known.state, attempts: known.attempts, cron: known.cron.clone() }
}
