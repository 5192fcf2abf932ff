//! Jobs that servers have sent: one after another for each agent, each on disk before it is begun.

use super::judge::{Before, Course, Former, Verdict, judge, judge_undo};
use super::kept::{Kept, other_name};
use super::taken::{known_key, refused_key};
use crate::daemon::Daemons;
use crate::machine::limits::{
    BOOT_JOB_BYTES, DONE_BOOT_JOBS, STORE_RETRY, UNDO_TIMEOUT, UNFINISHED_BOOT_JOBS, UNTOLD_BOOT_JOBS,
};
use crate::machine::{Instant, Now, earliest};
use crate::store::{BootJobKey, BootJobRow, NewBootJob, Store, StoreError};
use crate::wire::boot::{Action, BootJob, BootResult, KnownAgent, MAX_AGENTS};
use crate::wire::daemon::Wanted;
use crate::wire::server_list::{self, Server};
use crate::wire::{DaemonInit, Outcome, Retcode};
use std::time::Duration;

const BEGUN: &str = "begun";
const UNDONE: &str = "undone";

/// What jobs work on.
pub struct Reach<'a> {
    pub now: Now,
    pub store: &'a mut Store,
    pub daemons: &'a mut Daemons,
    pub kept: &'a mut Kept,
    pub facts: &'a mut Vec<Fact>,
}

/// What the jobs tell their machine.
#[derive(Debug)]
pub enum Fact {
    /// One has come that was not known.
    Taken(BootJobKey),
    Begun(BootJobKey),
    /// It has ended, or failed and is being undone.
    Failing(BootJobKey, String),
    Ended(BootJobKey, BootResult),
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

#[derive(Debug)]
struct Job {
    place: i64,
    key: BootJobKey,
    job: BootJob,
    /// Whose answer had it.
    server: Server,
    stage: Stage,
    /// Whether what its stage asks for has been asked of the daemons by this boot.
    is_ordered: bool,
    until: Option<Instant>,
    course: Course,
}

/// How far it is, as on disk.
#[derive(Debug)]
enum Stage {
    Waiting,
    Begun(Box<Before>),
    /// It failed, and the host is brought back to what it was.
    Undone(Box<Before>),
}

/// What a look at a job came to.
enum Step {
    Waits,
    /// The daemons have something to do.
    Ordered,
    Ended(Outcome),
    /// As an earlier boot, or this one, has put it into words.
    EndedWith(u32, String),
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
                    store.boot_job_ended(place, errcode, &reason, now.wall, DONE_BOOT_JOBS)?;
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
        earliest(self.list.iter().map(|job| job.until).chain([self.pause]))
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
                let detail = format!("{UNFINISHED_BOOT_JOBS} jobs wait for their turn; send it later");
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
        let of_it = |job: &&mut Job| job.is_ordered && job.job.action.agent() == Some(name);
        if let Some(job) = self.list.iter_mut().find(of_it) {
            job.course.failed(outcome, daemons.seen(name).as_ref());
        }
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
            reach.store.boot_job_ended(job.place, errcode, message, reach.now.wall, DONE_BOOT_JOBS)?;
            let job = self.list.remove(index);
            reach.facts.push(Fact::Ended(job.key, end));
            has_moved = true;
        }
        Ok(has_moved)
    }
}

impl Job {
    fn new(place: i64, key: BootJobKey, job: BootJob, server: Server) -> Job {
        let (stage, course) = (Stage::Waiting, Course::default());
        Job { place, key, job, server, stage, is_ordered: false, until: None, course }
    }

    fn restored(row: BootJobRow) -> Result<Job, (u32, String)> {
        let job = BootJob::parse(&row.job).map_err(|bad| (u32::from(bad.retcode.code()), bad.reason))?;
        let lost =
            |what: &str| (u32::from(Retcode::Lost.code()), format!("the database has no {what} of it"));
        let server = server_list::entry(&row.server).map_err(|_| lost("server"))?;
        let before = || -> Option<Box<Before>> { serde_json::from_str(row.before.as_deref()?).ok() };
        let stage = match row.state.as_str() {
            BEGUN => Stage::Begun(before().ok_or_else(|| lost("beginning"))?),
            UNDONE => Stage::Undone(before().ok_or_else(|| lost("beginning"))?),
            _ => Stage::Waiting,
        };
        Ok(Job { stage, ..Job::new(row.place, row.key, job, server) })
    }

    /// Whose jobs are done one after another.
    fn owner(&self) -> String {
        let name = self.job.action.agent().unwrap_or_default();
        KnownAgent::named(name).map_or(name, |known| known.program).to_owned()
    }

    fn step(&mut self, reach: &mut Reach<'_>) -> Result<Step, StoreError> {
        let now = reach.now.mono;
        if self.is_ordered && self.until.is_some_and(|until| now >= until) {
            let limit = if matches!(self.stage, Stage::Begun(_)) { self.limit() } else { UNDO_TIMEOUT };
            self.course.late = Some(limit.as_secs());
        }
        let Some(name) = self.job.action.agent().map(str::to_owned) else { return self.own(reach) };
        match &self.stage {
            Stage::Waiting => self.begin(&name, reach),
            Stage::Begun(before) if !self.is_ordered => {
                let before = before.clone();
                self.goes_on_until(now + self.limit());
                match order(&self.job.action, &before, true, reach) {
                    Ok(()) => Ok(Step::Ordered),
                    Err(outcome) => self.fails(*before, &outcome, reach),
                }
            }
            Stage::Begun(before) => {
                let seen = reach.daemons.seen(&name);
                match judge(&self.job.action, before, seen.as_ref(), &self.course) {
                    Verdict::NotYet => Ok(Step::Waits),
                    Verdict::Done => self.succeeds(&name, reach),
                    Verdict::Failed(outcome) => {
                        let before = (**before).clone();
                        self.fails(before, &outcome, reach)
                    }
                }
            }
            Stage::Undone(before) if !self.is_ordered => {
                let before = before.clone();
                self.goes_on_until(now + UNDO_TIMEOUT);
                undo(&name, &before, reach);
                Ok(Step::Ordered)
            }
            Stage::Undone(before) => {
                let Some(how) = judge_undo(before, reach.daemons.seen(&name).as_ref(), &self.course) else {
                    return Ok(Step::Waits);
                };
                let (errcode, why) = before.failure.clone().unwrap_or_default();
                Ok(Step::EndedWith(errcode, format!("{why}; {how}")))
            }
        }
    }

    fn limit(&self) -> Duration {
        Duration::from_secs(self.job.timeout)
    }

    fn goes_on_until(&mut self, until: Instant) {
        (self.is_ordered, self.until, self.course) = (true, Some(until), Course::default());
    }

    /// Boot's own.
    fn own(&self, reach: &mut Reach<'_>) -> Result<Step, StoreError> {
        let Action::Config(change) = &self.job.action else {
            let detail = "upgrade: this boot cannot replace itself; install its package by other means";
            return Ok(Step::Ended(Outcome::with_detail(Retcode::UnknownMethod, detail)));
        };
        reach.kept.change(change, reach.store)?;
        reach.facts.push(Fact::Configured);
        Ok(Step::Ended(Outcome::new(Retcode::NormalTermination)))
    }

    fn begin(&mut self, name: &str, reach: &mut Reach<'_>) -> Result<Step, StoreError> {
        if let Some(refusal) = refusal(&self.job.action, name, reach.daemons) {
            return Ok(Step::Ended(refusal));
        }
        let seen = reach.daemons.seen(name);
        let former = seen.as_ref().map(Former::from);
        let target = match target(&self.job.action, former.as_ref(), &self.server) {
            Ok(target) => target,
            Err(reason) => return Ok(Step::Ended(Outcome::with_detail(Retcode::InvalidParams, reason))),
        };
        let before = Before { agent: former, target, failure: None };
        if before.target.is_some() && is_so_already(&self.job.action, &before) {
            let verdict = judge(&self.job.action, &before, seen.as_ref(), &Course::default());
            if matches!(verdict, Verdict::Done) {
                return self.succeeds(name, reach);
            }
        }
        reach.store.boot_job_is(self.place, BEGUN, &kept(&before))?;
        reach.facts.push(Fact::Begun(self.key.clone()));
        self.goes_on_until(reach.now.mono + self.limit());
        self.stage = Stage::Begun(Box::new(before.clone()));
        match order(&self.job.action, &before, false, reach) {
            Ok(()) => Ok(Step::Ordered),
            Err(refusal) => Ok(Step::Ended(refusal)),
        }
    }

    fn succeeds(&self, name: &str, reach: &mut Reach<'_>) -> Result<Step, StoreError> {
        if matches!(self.job.action, Action::Install(_) | Action::Uninstall(_)) {
            reach.kept.unwant(name, reach.store)?;
        }
        Ok(Step::Ended(Outcome::new(Retcode::NormalTermination)))
    }

    /// What was to change is brought back first.
    fn fails(
        &mut self,
        mut before: Before,
        outcome: &Outcome,
        reach: &mut Reach<'_>,
    ) -> Result<Step, StoreError> {
        if before.target.is_none() {
            return Ok(Step::Ended(outcome.clone()));
        }
        let BootResult { errcode, message, .. } = BootResult::of(self.key.id.clone(), outcome);
        reach.facts.push(Fact::Failing(self.key.clone(), message.clone()));
        before.failure = Some((errcode, message));
        reach.store.boot_job_is(self.place, UNDONE, &kept(&before))?;
        self.stage = Stage::Undone(Box::new(before));
        self.is_ordered = false;
        self.step(reach)
    }
}

/// Why it is not even begun.
fn refusal(action: &Action, name: &str, daemons: &Daemons) -> Option<Outcome> {
    let is_there = |name: &str| daemons.seen(name).is_some();
    if let Some(other) = other_name(name).filter(|other| is_there(other)) {
        let detail = format!("name: this agent is here under its name {other:?}; call it so");
        return Some(Outcome::with_detail(Retcode::Busy, detail));
    }
    match action {
        _ if is_there(name) => None,
        Action::Install(_) if daemons.count() < MAX_AGENTS => None,
        Action::Install(_) => {
            let detail = format!("there are {MAX_AGENTS} agents already; uninstall some");
            Some(Outcome::with_detail(Retcode::Busy, detail))
        }
        _ => Some(Outcome::with_detail(Retcode::NotFound, "name: there is no agent of this name")),
    }
}

fn target(action: &Action, former: Option<&Former>, server: &Server) -> Result<Option<DaemonInit>, String> {
    match action {
        Action::Install(wish) => wish.definition(None, server).map(Some),
        Action::Upgrade(wish) => wish.definition(former.map(|former| &former.definition), server).map(Some),
        _ => Ok(None),
    }
}

/// Whether the agent is defined so, and to run as the job has it.
fn is_so_already(action: &Action, before: &Before) -> bool {
    let Some(former) = &before.agent else { return false };
    let is_wanted = !matches!(action, Action::Install(_)) || former.wanted == Wanted::Running;
    is_wanted && Some(&former.definition) == before.target.as_ref()
}

/// Asks it of the daemons. To ask again changes nothing.
fn order(action: &Action, before: &Before, is_again: bool, reach: &mut Reach<'_>) -> Result<(), Outcome> {
    let (now, daemons, store) = (reach.now, &mut *reach.daemons, &mut *reach.store);
    match action {
        Action::Install(_) | Action::Upgrade(_) => {
            if let Some(target) = &before.target {
                accepted(daemons.init(now, target.clone(), store))?;
            }
            if let Action::Install(wish) = action {
                accepted(daemons.want(&wish.name, Wanted::Running, store))?;
            }
            Ok(())
        }
        Action::Uninstall(name) => {
            // One that has gone is what is wanted.
            daemons.want(name, Wanted::Removed, store);
            Ok(())
        }
        Action::Start(name) => accepted(daemons.want(name, Wanted::Running, store)),
        Action::Stop(name) => accepted(daemons.want(name, Wanted::Stoped, store)),
        Action::Restart(name) => {
            let family = before.agent.as_ref().and_then(|former| former.family.clone());
            let is_begun = daemons.seen(name).is_some_and(|seen| seen.renew || seen.family != family);
            if is_again && is_begun { Ok(()) } else { accepted(daemons.restart(name, store)) }
        }
        Action::Config(_) | Action::UpgradeBoot(_) => Ok(()),
    }
}

/// What could not be written yet is, as soon as it can.
fn accepted(outcome: Outcome) -> Result<(), Outcome> {
    let is_taken = outcome.is_success() || outcome.retcode == Retcode::StorageFailure.code();
    if is_taken { Ok(()) } else { Err(outcome) }
}

/// Asks for what was there before.
fn undo(name: &str, before: &Before, reach: &mut Reach<'_>) {
    let (daemons, store) = (&mut *reach.daemons, &mut *reach.store);
    match &before.agent {
        None => drop(daemons.want(name, Wanted::Removed, store)),
        Some(former) => {
            daemons.init(reach.now, former.definition.clone(), store);
            daemons.want(name, former.wanted, store);
        }
    }
}

fn kept(before: &Before) -> String {
    serde_json::to_string(before).expect("definitions always serialise")
}

fn too_long(text: &str) -> crate::wire::boot::BadBootJob {
    let reason = format!("a job must be at most {BOOT_JOB_BYTES} bytes, got {}", text.len());
    // It is read for its id alone.
    let id = BootJob::parse(text).map_or_else(|bad| bad.id, |job| job.id);
    crate::wire::boot::BadBootJob { id, retcode: Retcode::InvalidParams, reason }
}
