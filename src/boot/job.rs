//! One job, from its turn to its end.

use super::jobs::{Fact, Reach};
use super::judge::{Before, Course, Former, Verdict, judge, judge_undo};
use super::kept::other_name;
use crate::daemon::{Daemons, Seen};
use crate::handover;
use crate::machine::Instant;
use crate::machine::limits::{REASON_CHARS, UNDO_TIMEOUT};
use crate::store::{BootJobKey, BootJobRow, StoreError};
use crate::wire::boot::{Action, BOOT_NAMES, BootJob, BootResult, KnownAgent, MAX_AGENTS};
use crate::wire::daemon::Wanted;
use crate::wire::server_list::{self, Server};
use crate::wire::{DaemonInit, Outcome, Retcode};
use std::time::Duration;

const BEGUN: &str = "begun";
const UNDONE: &str = "undone";

#[derive(Debug)]
pub struct Job {
    pub place: i64,
    pub key: BootJobKey,
    asked: BootJob,
    /// Whose answer had it.
    pub server: Server,
    stage: Stage,
    /// Whether what its stage asks for has been asked of the daemons by this boot.
    is_ordered: bool,
    pub until: Option<Instant>,
    course: Course,
    /// What has come of boot's own upgrade, and has not been seen to.
    pub handover: Option<handover::Fact>,
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
pub enum Step {
    Waits,
    /// The daemons have something to do.
    Ordered,
    Ended(Outcome),
    /// As an earlier boot, or this one, has put it into words.
    EndedWith(u32, String),
}

impl Job {
    pub fn new(place: i64, key: BootJobKey, asked: BootJob, server: Server) -> Job {
        let (stage, course) = (Stage::Waiting, Course::default());
        Job { place, key, asked, server, stage, is_ordered: false, until: None, course, handover: None }
    }

    pub fn restored(row: BootJobRow) -> Result<Job, (u32, String)> {
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
    pub fn owner(&self) -> String {
        let name = self.asked.action.agent().unwrap_or_default();
        KnownAgent::named(name).map_or(name, |known| known.program).to_owned()
    }

    /// Whether it is about this agent, and is being done.
    pub fn is_at_work_on(&self, name: &str) -> bool {
        self.is_ordered && self.asked.action.agent() == Some(name)
    }

    /// Whether it is the upgrade of boot that has this id.
    pub fn is_upgrade(&self, id: &str) -> bool {
        matches!(self.asked.action, Action::UpgradeBoot(_)) && self.key.id == id
    }

    pub fn agent_failed(&mut self, outcome: &Outcome, seen: Option<&Seen>) {
        self.course.failed(outcome, seen);
    }

    pub fn step(&mut self, reach: &mut Reach<'_>) -> Result<Step, StoreError> {
        let now = reach.now.mono;
        if self.is_ordered && self.until.is_some_and(|until| now >= until) {
            let limit = if matches!(self.stage, Stage::Begun(_)) { self.limit() } else { UNDO_TIMEOUT };
            self.course.late = Some(limit.as_secs());
        }
        let Some(name) = self.asked.action.agent().map(str::to_owned) else { return self.own(reach) };
        match &self.stage {
            Stage::Waiting => self.begin(&name, reach),
            Stage::Begun(before) if !self.is_ordered => {
                let before = before.clone();
                self.goes_on_until(now + self.limit());
                match order(&self.asked.action, &before, true, reach) {
                    None => Ok(Step::Ordered),
                    Some(refusal) => self.fails(*before, &refusal, reach),
                }
            }
            Stage::Begun(before) => {
                let seen = reach.daemons.seen(&name);
                match judge(&self.asked.action, before, seen.as_ref(), &self.course) {
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
        Duration::from_secs(self.asked.timeout)
    }

    fn goes_on_until(&mut self, until: Instant) {
        (self.is_ordered, self.until, self.course) = (true, Some(until), Course::default());
    }

    /// Boot's own.
    fn own(&mut self, reach: &mut Reach<'_>) -> Result<Step, StoreError> {
        match &self.asked.action {
            Action::Config(change) => {
                reach.kept.change(change, reach.store)?;
                reach.facts.push(Fact::Configured);
                Ok(Step::Ended(Outcome::new(Retcode::NormalTermination)))
            }
            _ if !self.is_ordered => self.begin_upgrade(reach),
            _ => self.goes_on_with_upgrade(reach),
        }
    }

    fn begin_upgrade(&mut self, reach: &mut Reach<'_>) -> Result<Step, StoreError> {
        let Action::UpgradeBoot(wish) = &self.asked.action else { return Ok(Step::Waits) };
        let init = match wish.definition(None, &self.server) {
            Ok(init) => init,
            Err(reason) => return Ok(Step::Ended(Outcome::with_detail(Retcode::InvalidParams, reason))),
        };
        if let Some(refusal) = reach.daemons.refusal_of_package(&init) {
            return Ok(Step::Ended(refusal));
        }
        if matches!(self.stage, Stage::Waiting) {
            let before = Before::default();
            reach.store.boot_job_is(self.place, BEGUN, &kept(&before))?;
            reach.facts.push(Fact::Begun(self.key.clone()));
            self.stage = Stage::Begun(Box::new(before));
        }
        self.is_ordered = true;
        let job = upgrade_of(&self.key.id);
        let settings = reach.daemons.settings();
        let begun = reach.upgrade.begin(reach.now, job, &init, settings, self.limit(), reach.fx);
        self.handover = begun.or(self.handover.take());
        self.goes_on_with_upgrade(reach)
    }

    fn goes_on_with_upgrade(&mut self, reach: &mut Reach<'_>) -> Result<Step, StoreError> {
        match &self.handover {
            None => return Ok(Step::Waits),
            Some(handover::Fact::Ended(_, outcome)) => return Ok(Step::Ended(outcome.clone())),
            Some(handover::Fact::Accepted(job)) => {
                let accepted = u32::from(Retcode::Accepted.code());
                match reach.store.boot_job_said(self.place)? {
                    // An earlier boot has told it, or this one before it was told of it again.
                    Some((said, is_told)) if said == accepted => {
                        if is_told {
                            reach.upgrade.acknowledged(reach.now, job);
                        }
                    }
                    _ => {
                        let message = "the package is here; another boot takes over";
                        reach.store.boot_job_says(self.place, accepted, message)?;
                        reach.facts.push(Fact::Accepted(self.key.clone()));
                    }
                }
            }
        }
        self.handover = None;
        Ok(Step::Waits)
    }

    fn begin(&mut self, name: &str, reach: &mut Reach<'_>) -> Result<Step, StoreError> {
        if let Some(refusal) = refusal(&self.asked.action, name, reach.daemons) {
            let is_gone = refusal.retcode == Retcode::NotFound.code();
            if is_gone && matches!(self.asked.action, Action::Uninstall(_)) && reach.kept.wants(name) {
                // It never came here: what is taken away is the wish for it.
                return self.succeeds(name, reach);
            }
            return Ok(Step::Ended(refusal));
        }
        let seen = reach.daemons.seen(name);
        let former = seen.as_ref().map(Former::from);
        let target = match target(&self.asked.action, former.as_ref(), &self.server) {
            Ok(target) => target,
            Err(reason) => return Ok(Step::Ended(Outcome::with_detail(Retcode::InvalidParams, reason))),
        };
        let before = Before { agent: former, target, failure: None };
        if before.target.is_some() && is_so_already(&self.asked.action, &before) {
            let verdict = judge(&self.asked.action, &before, seen.as_ref(), &Course::default());
            if matches!(verdict, Verdict::Done) {
                return self.succeeds(name, reach);
            }
        }
        reach.store.boot_job_is(self.place, BEGUN, &kept(&before))?;
        reach.facts.push(Fact::Begun(self.key.clone()));
        self.goes_on_until(reach.now.mono + self.limit());
        self.stage = Stage::Begun(Box::new(before.clone()));
        match order(&self.asked.action, &before, false, reach) {
            None => Ok(Step::Ordered),
            Some(refusal) => Ok(Step::Ended(refusal)),
        }
    }

    fn succeeds(&self, name: &str, reach: &mut Reach<'_>) -> Result<Step, StoreError> {
        if matches!(self.asked.action, Action::Install(_) | Action::Uninstall(_)) {
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
        // Words that say how the host is follow these, and are not to be cut off.
        let message: String = message.chars().take(REASON_CHARS).collect();
        reach.facts.push(Fact::Failing(self.key.clone(), message.clone()));
        before.failure = Some((errcode, message));
        reach.store.boot_job_is(self.place, UNDONE, &kept(&before))?;
        self.stage = Stage::Undone(Box::new(before));
        self.is_ordered = false;
        self.step(reach)
    }
}

/// As the handover knows this job.
pub fn upgrade_of(id: &str) -> handover::Job {
    handover::Job { id: id.to_owned(), name: BOOT_NAMES[0].to_owned() }
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

/// Asks it of the daemons, and returns why they will not. To ask again changes nothing.
fn order(action: &Action, before: &Before, is_again: bool, reach: &mut Reach<'_>) -> Option<Outcome> {
    let (now, daemons, store) = (reach.now, &mut *reach.daemons, &mut *reach.store);
    let outcome = match action {
        Action::Install(_) | Action::Upgrade(_) => {
            let target = before.target.clone()?;
            let outcome = daemons.init(now, target, store);
            match action {
                Action::Install(wish) if !is_refusal(&outcome) => {
                    daemons.want(&wish.name, Wanted::Running, store)
                }
                _ => outcome,
            }
        }
        Action::Uninstall(name) => {
            // One that has gone is what is wanted.
            daemons.want(name, Wanted::Removed, store);
            return None;
        }
        Action::Start(name) => daemons.want(name, Wanted::Running, store),
        Action::Stop(name) => daemons.want(name, Wanted::Stoped, store),
        Action::Restart(name) => {
            let family = before.agent.as_ref().and_then(|former| former.family.clone());
            let is_begun = daemons.seen(name).is_some_and(|seen| seen.renew || seen.family != family);
            if is_again && is_begun {
                return None;
            }
            daemons.restart(name, store)
        }
        Action::Config(_) | Action::UpgradeBoot(_) => return None,
    };
    Some(outcome).filter(is_refusal)
}

/// What could not be written yet is, as soon as it can.
fn is_refusal(outcome: &Outcome) -> bool {
    !outcome.is_success() && outcome.retcode != Retcode::StorageFailure.code()
}

/// Asks for what was there before.
fn undo(name: &str, before: &Before, reach: &mut Reach<'_>) {
    let (daemons, store) = (&mut *reach.daemons, &mut *reach.store);
    match &before.agent {
        None => drop(daemons.want(name, Wanted::Removed, store)),
        Some(former) => {
            daemons.bring_back(reach.now, former.definition.clone(), store);
            daemons.want(name, former.wanted, store);
        }
    }
}

fn kept(before: &Before) -> String {
    serde_json::to_string(before).expect("definitions always serialise")
}
