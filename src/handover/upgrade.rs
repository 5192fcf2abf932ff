//! Boot's part of its own upgrade.

use super::fetching::{Fetching, Order};
use super::is_for;
use super::own::Own;
use super::plan::{Job, Paths, Plan, Release, Stage};
use super::under_way::UnderWay;
use crate::daemon::DaemonSettings;
use crate::machine::limits::{HANDOVER_SECONDS, HELPER_AGAIN};
use crate::machine::{Content, Effect, Effects, Event, Instant, Now, Placed, Task};
use crate::task::PendingTask;
use crate::wire::{DaemonInit, Outcome, Retcode};
use std::mem::replace;
use std::path::PathBuf;
use std::time::Duration;

/// Of the copy, which is run.
const PROGRAM_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
const LOG: &str = "boot-upgrade.log";

/// What boot's machine is told.
#[derive(Debug, Clone)]
pub enum Fact {
    /// All is ready: the server is to be told that the job goes on (errcode 1), and once it knows,
    /// [`SelfUpgrade::acknowledged`] is called. It comes again after a restart.
    Accepted(Job),
    /// The job's result. It comes again at each start of boot, until another upgrade begins.
    Ended(Job, Outcome),
}

/// At most one upgrade of boot at a time, from its job to the outcome.
#[derive(Debug)]
pub struct SelfUpgrade {
    own: Own,
    paths: Paths,
    log: PathBuf,
    state: State,
    /// The last that has ended.
    last: Option<Box<Plan>>,
}

#[derive(Debug)]
enum State {
    /// An earlier boot may have left a plan. What is begun meanwhile waits.
    Reading(Option<Box<Order>>),
    Idle,
    Fetching(Box<Fetching>),
    /// What came of a download that failed goes, then it is told.
    Clearing(PendingTask<()>, Job, Box<Outcome>),
    Preparing(PendingTask<()>, Box<Plan>),
    /// The server is to know of it first.
    Prepared(Box<Plan>),
    UnderWay(Box<UnderWay>),
    /// Its end is written down.
    GivingUp(PendingTask<()>, Box<Plan>),
}

impl SelfUpgrade {
    /// Looks for what an earlier boot left. The answer comes to [`SelfUpgrade::handle`].
    pub fn restore(own: Own, settings: &DaemonSettings, fx: &mut Effects) -> SelfUpgrade {
        let paths = Paths::new(&settings.dir);
        fx.push(Effect::ReadFile { path: paths.plan() });
        SelfUpgrade { own, paths, log: settings.log.join(LOG), state: State::Reading(None), last: None }
    }

    /// Begins an upgrade to this definition's package, which is to be here within `timeout`. Of a job
    /// that is under way already, or has ended, nothing is done twice.
    pub fn begin(
        &mut self,
        now: Now,
        job: Job,
        init: &DaemonInit,
        settings: &DaemonSettings,
        timeout: Duration,
        fx: &mut Effects,
    ) -> Option<Fact> {
        let order = Order::new(job, init, &self.paths, settings, timeout);
        match &mut self.state {
            State::Idle => self.begin_order(now, order, fx),
            state if state.job() == Some(&order.job) => None,
            State::Reading(waiting @ None) => {
                *waiting = Some(Box::new(order));
                None
            }
            _ => Some(busy(order.job)),
        }
    }

    /// The server knows that this job goes on: it does.
    pub fn acknowledged(&mut self, now: Now, job: &Job) {
        if let State::Prepared(plan) = &self.state
            && plan.job == *job
        {
            self.state = State::UnderWay(Box::new(UnderWay::new(now, Plan::clone(plan), now.mono)));
        }
    }

    /// A server has answered a report: this boot works.
    pub fn report_answered(&mut self, now: Now, fx: &mut Effects) {
        if let State::UnderWay(under_way) = &mut self.state {
            under_way.confirm(now, &self.own, &self.paths, fx);
        }
    }

    pub fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Reading(_) | State::Idle | State::Prepared(_) => None,
            State::Fetching(fetching) => Some(fetching.deadline()),
            State::Clearing(task, ..) | State::Preparing(task, _) | State::GivingUp(task, _) => {
                Some(task.deadline())
            }
            State::UnderWay(under_way) => under_way.deadline(),
        }
    }

    /// Takes in an event. Those that are not its own are passed over.
    pub fn handle(&mut self, now: Now, event: &Event<'_>, fx: &mut Effects) -> Option<Fact> {
        if let Event::FileRead(path, content) = event {
            return if **path == self.paths.plan() { self.read(now, content, fx) } else { None };
        }
        match &mut self.state {
            State::Fetching(fetching) => {
                let ended = fetching.handle(now, event, fx)?;
                self.fetched(now, ended, fx)
            }
            State::Clearing(task, job, outcome) if is_for(event, task.child()) => {
                // What stays goes with the next.
                let _ = task.handle(now, event, fx)?;
                let fact = Fact::Ended(job.clone(), Outcome::clone(outcome));
                self.state = State::Idle;
                Some(fact)
            }
            State::Preparing(task, plan) if is_for(event, task.child()) => {
                match task.handle(now, event, fx)? {
                    Ok(()) => {
                        let plan = plan.clone();
                        let job = plan.job.clone();
                        self.state = State::Prepared(plan);
                        Some(Fact::Accepted(job))
                    }
                    Err(reason) => {
                        let plan = Plan::clone(plan);
                        self.give_up(now, plan, format!("could not prepare it: {reason}"), fx);
                        None
                    }
                }
            }
            State::GivingUp(task, plan) if is_for(event, task.child()) => {
                // Where it cannot be written, the next boot comes to the same.
                let _ = task.handle(now, event, fx)?;
                let plan = Plan::clone(plan);
                Some(self.ended(plan))
            }
            State::UnderWay(under_way) => {
                under_way.handle(now, event, &self.paths, fx);
                None
            }
            _ => None,
        }
    }

    fn begin_order(&mut self, now: Now, order: Order, fx: &mut Effects) -> Option<Fact> {
        if let Some(last) = self.last.as_ref().filter(|last| last.job == order.job) {
            return Some(Fact::Ended(order.job, outcome(last)));
        }
        let Release { version, checksum, .. } = &order.release;
        if self.installed().is(version, checksum.as_deref()) {
            return Some(Fact::Ended(order.job, Outcome::new(Retcode::NormalTermination)));
        }
        self.state = State::Fetching(Box::new(Fetching::begin(now, order, fx)));
        None
    }

    /// What is here, as far as is known. A plan knows that better than the program itself, but only
    /// while the program is the one that it left: somebody may have installed another since.
    fn installed(&self) -> Release {
        let own = || Release { version: self.own.version.clone(), checksum: None, package: None };
        let is_left = |last: &Plan| last.left.is_some() && last.left == self.own.stamp;
        // Who was never replaced is still what it was, whatever was put back beside it.
        let is_old = |last: &Plan| last.stage == Stage::RolledBack && last.old == self.own.life;
        let last = self.last.as_deref().filter(|last| is_left(last) || is_old(last));
        last.map_or_else(own, |last| last.installed().clone())
    }

    fn fetched(&mut self, now: Now, ended: Result<(), Outcome>, fx: &mut Effects) -> Option<Fact> {
        if let State::Fetching(fetching) = replace(&mut self.state, State::Idle) {
            match ended {
                Ok(()) => self.prepare(now, fetching.order, fx),
                Err(outcome) => {
                    let task = fetching.order.clear(now, fx);
                    self.state = State::Clearing(task, fetching.order.job, Box::new(outcome));
                }
            }
        }
        None
    }

    fn prepare(&mut self, now: Now, order: Order, fx: &mut Effects) {
        let Own { program, arguments, given, pid_file, life, unit, .. } = &self.own;
        let plan = Plan {
            job: order.job,
            stage: Stage::Prepared,
            reason: None,
            failed_at: None,
            wanted: order.release,
            before: self.installed(),
            program: program.clone(),
            arguments: arguments.clone(),
            given: given.clone(),
            pid_file: pid_file.clone(),
            old: life.clone(),
            unit: unit.clone(),
            is_enabled: false,
            found: None,
            left: None,
            deadline: HANDOVER_SECONDS,
            log: self.log.clone(),
        };
        let placed = |to, content, mode| Placed { to, content, mode };
        let files = vec![
            placed(self.paths.confirmed(), Content::Nothing, FILE_MODE),
            placed(self.paths.copy(), Content::CopyOf(self.own.image.clone()), PROGRAM_MODE),
            // The last: with it the rest counts.
            placed(self.paths.plan(), Content::Text(plan.text()), FILE_MODE),
        ];
        self.state = State::Preparing(PendingTask::start(now, Task::Place(files), fx), Box::new(plan));
    }

    fn read(&mut self, now: Now, content: &Result<Option<&[u8]>, String>, fx: &mut Effects) -> Option<Fact> {
        let plan = match content {
            Ok(None) => Ok(None),
            Ok(Some(text)) => Plan::parse(text).map(Some),
            Err(reason) => Err(reason.clone()),
        };
        match replace(&mut self.state, State::Idle) {
            State::Reading(order) => {
                let fact = self.take_up(now, plan);
                let Some(order) = order else { return fact };
                match &self.state {
                    // What ended before is told at the next start, if that is still wanted.
                    State::Idle => self.begin_order(now, *order, fx),
                    state if state.job() == Some(&order.job) => fact,
                    _ => Some(busy(order.job)),
                }
            }
            State::UnderWay(under_way) => self.look_at(now, under_way, plan, fx),
            other => {
                self.state = other;
                None
            }
        }
    }

    /// What an earlier boot left, or the helper.
    fn take_up(&mut self, now: Now, plan: Result<Option<Plan>, String>) -> Option<Fact> {
        match plan {
            Ok(None) => None,
            Ok(Some(plan)) if plan.stage.is_end() => Some(self.ended(plan)),
            Ok(Some(plan)) if plan.stage == Stage::Prepared => {
                let job = plan.job.clone();
                self.state = State::Prepared(Box::new(plan));
                Some(Fact::Accepted(job))
            }
            Ok(Some(plan)) => {
                log::info!("upgrade=under_way stage={} version={}", plan.stage.name(), plan.wanted.version);
                // Most likely a helper is at work, and has started us.
                let next_helper = now.mono + HELPER_AGAIN;
                self.state = State::UnderWay(Box::new(UnderWay::new(now, plan, next_helper)));
                None
            }
            Err(reason) => {
                log::warn!("upgrade=forgotten file={} reason={reason:?}", self.paths.plan().display());
                None
            }
        }
    }

    fn look_at(
        &mut self,
        now: Now,
        mut under_way: Box<UnderWay>,
        plan: Result<Option<Plan>, String>,
        fx: &mut Effects,
    ) -> Option<Fact> {
        match plan {
            Ok(Some(plan)) if plan.stage.is_end() => {
                under_way.cancel(fx);
                return Some(self.ended(plan));
            }
            Ok(Some(plan)) => {
                under_way.plan = plan;
                under_way.is_unreadable = false;
            }
            Ok(None) => {
                under_way.cancel(fx);
                let detail = format!("{} is gone: look what version runs", self.paths.plan().display());
                let outcome = Outcome::with_detail(Retcode::StorageFailure, detail);
                return Some(Fact::Ended(under_way.plan.job, outcome));
            }
            // It is looked at again.
            Err(_) if under_way.is_unreadable => {}
            Err(reason) => {
                under_way.is_unreadable = true;
                log::warn!("upgrade=unreadable reason={reason:?}");
            }
        }
        if under_way.is_hopeless() {
            under_way.cancel(fx);
            let reason = under_way.trouble();
            self.give_up(now, under_way.plan, reason, fx);
        } else {
            under_way.confirm_again(now, &self.own, &self.paths, fx);
            under_way.see_to_helper(now, &self.own, &self.paths, fx);
            self.state = State::UnderWay(under_way);
        }
        None
    }

    /// Before anything was done: what runs goes on.
    fn give_up(&mut self, now: Now, mut plan: Plan, reason: String, fx: &mut Effects) {
        plan.failed_at = Some(Stage::Prepared);
        plan.stage = Stage::RolledBack;
        plan.reason = Some(reason);
        plan.left.clone_from(&self.own.stamp);
        let file = Placed { to: self.paths.plan(), content: Content::Text(plan.text()), mode: FILE_MODE };
        self.state = State::GivingUp(PendingTask::start(now, Task::Place(vec![file]), fx), Box::new(plan));
    }

    fn ended(&mut self, plan: Plan) -> Fact {
        self.state = State::Idle;
        let fact = Fact::Ended(plan.job.clone(), outcome(&plan));
        self.last = Some(Box::new(plan));
        fact
    }
}

impl State {
    fn job(&self) -> Option<&Job> {
        match self {
            State::Idle => None,
            State::Reading(order) => order.as_ref().map(|order| &order.job),
            State::Fetching(fetching) => Some(&fetching.order.job),
            State::Clearing(_, job, _) => Some(job),
            State::Preparing(_, plan) | State::Prepared(plan) | State::GivingUp(_, plan) => Some(&plan.job),
            State::UnderWay(under_way) => Some(&under_way.plan.job),
        }
    }
}

fn busy(job: Job) -> Fact {
    let detail = "another upgrade of boot is under way: when that has ended, send it under another id";
    Fact::Ended(job, Outcome::with_detail(Retcode::Busy, detail))
}

fn outcome(plan: &Plan) -> Outcome {
    if plan.stage == Stage::Done {
        return Outcome::new(Retcode::NormalTermination);
    }
    let retcode = match plan.failed_at {
        Some(Stage::Prepared) => Retcode::CouldNotStart,
        Some(Stage::Installing) => Retcode::InstallationFailed,
        _ => Retcode::Unhealthy,
    };
    let reason = plan.reason.as_deref().unwrap_or_default();
    let (wanted, before, log) = (&plan.wanted.version, &plan.before.version, plan.log.display());
    Outcome::with_detail(retcode, format!("{wanted}: {reason} (so it is {before} again; see {log})"))
}
