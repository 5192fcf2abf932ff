//! One daemon: what is wanted of it, what it is at, and the children of ours that see to it. What
//! happens is brought to the [`table`](super::table), and what that says is done.

use super::hits::Hits;
use super::package::{Package, Supply};
use super::restarts::{Restarts, Verdict};
use super::settings::DaemonSettings;
use super::table::{Action, Event as Cause, State, cell};
use super::work::Work;
use crate::machine::limits::{RESTART_DELAY_MIN, TRIES_OF_A_CHANGE};
use crate::machine::{
    ChildId, Effect, Effects, Event, Exit, Identity, Instant, Kin, Now, Process, Program, earliest,
};
use crate::task::{PendingTask, UnderWay};
use crate::wire::daemon::Wanted;
use crate::wire::{Account, DaemonInit, Outcome, Retcode};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// What all daemons of a host share.
#[derive(Debug)]
pub struct Place {
    pub settings: DaemonSettings,
    /// The agent's own user.
    pub own: Identity,
    /// The kernel's boot id.
    pub boot: String,
    /// Whether a server is told what becomes of them.
    pub tells: bool,
}

/// What a turn brings along.
pub struct Turn<'a> {
    pub now: Now,
    pub place: &'a Place,
    pub chance: &'a mut fastrand::Rng,
    pub fx: &'a mut Effects,
}

#[derive(Debug)]
pub struct Daemon {
    /// What the database says that it is to be.
    pub init: Arc<DaemonInit>,
    pub wanted: Wanted,
    pub(super) state: State,
    /// When it came to that.
    pub(super) since: SystemTime,
    /// Why it is not as it is wanted.
    pub(super) reason: Option<String>,
    /// What runs is to be replaced.
    pub(super) renew: bool,
    /// Somebody wants it otherwise, or anew: it waits no longer.
    pub(super) told: bool,
    /// The definition that it is brought up by, or runs by.
    pub(super) started: Option<Arc<DaemonInit>>,
    /// The one that came up last.
    pub(super) good: Option<Arc<DaemonInit>>,
    /// How often another has failed to since.
    pub(super) tries: u32,
    pub(super) installed: Option<Package>,
    pub(super) supply: Supply,
    /// How often it could not be had in a row.
    pub(super) failed_fetches: u32,
    pub(super) work: Option<Work>,
    pub(super) probe: Option<UnderWay>,
    pub(super) rotation: Option<PendingTask<()>>,
    /// Of all its processes.
    pub(super) family: Option<String>,
    pub(super) main: Option<Main>,
    /// It is started once the store knows of it.
    pub(super) to_start: Option<Program>,
    /// How the main process ended.
    pub(super) exit: Option<Exit>,
    /// Why it is being ended, where that is a failure.
    pub(super) failure: Option<Outcome>,
    /// The last that it wrote.
    pub(super) lines: Option<String>,
    /// What an earlier agent left is to be looked at first.
    pub(super) left: Option<Left>,
    /// Those that the pidfile may name.
    pub(super) candidates: Vec<Process>,
    /// The time of what is under way.
    pub(super) due: Option<Instant>,
    /// When it is looked for processes that are left, or have not shown themselves.
    pub(super) look: Option<Instant>,
    /// Until the next try.
    pub(super) wait: Duration,
    pub(super) started_at: Instant,
    /// From then on it counts as one that ran long.
    pub(super) stable_at: Option<Instant>,
    pub(super) precheck_tries: u32,
    pub(super) failed_checks: u32,
    pub(super) heard: Instant,
    pub(super) user: Option<KnownUser>,
    pub(super) restarts: Restarts,
    pub(super) hits: Hits,
    /// What the store does not know yet.
    pub(super) is_changed: bool,
    /// What is to be told of it, the oldest first.
    pub(super) outcomes: Vec<Outcome>,
}

/// Its main process: the one that was started, or the one that this left behind.
#[derive(Debug, Clone, Copy)]
pub struct Main {
    pub child: ChildId,
    pub process: Option<Process>,
}

/// What an earlier agent knew of its processes.
#[derive(Debug, Clone, Copy)]
pub struct Left {
    pub main: Option<Process>,
    /// It is being looked for who is left.
    pub is_asked: bool,
}

/// As whom it runs, and what the definition calls that.
#[derive(Debug)]
pub struct KnownUser {
    pub user: Option<Account>,
    pub group: Option<Account>,
    pub identity: Identity,
}

impl Daemon {
    pub fn new(now: Now, init: impl Into<Arc<DaemonInit>>) -> Self {
        Daemon {
            init: init.into(),
            wanted: Wanted::Running,
            state: State::Stopped,
            since: now.wall,
            reason: None,
            renew: false,
            told: false,
            started: None,
            good: None,
            tries: 0,
            installed: None,
            supply: Supply::default(),
            failed_fetches: 0,
            work: None,
            probe: None,
            rotation: None,
            family: None,
            main: None,
            to_start: None,
            exit: None,
            failure: None,
            lines: None,
            left: None,
            candidates: Vec::new(),
            due: None,
            look: None,
            wait: Duration::ZERO,
            started_at: now.mono,
            stable_at: None,
            precheck_tries: 0,
            failed_checks: 0,
            heard: now.mono,
            user: None,
            restarts: Restarts::default(),
            hits: Hits::default(),
            is_changed: true,
            outcomes: Vec::new(),
        }
    }

    /// Takes in an event, and brings the daemon on towards what is wanted.
    pub fn handle(&mut self, turn: &mut Turn<'_>, event: &Event<'_>) {
        if let Some(left) = &mut self.left
            && !std::mem::replace(&mut left.is_asked, true)
        {
            self.begin_restored(turn);
        }
        match event {
            Event::Tick => self.tick(turn),
            Event::Surveyed(family, survey) if self.family.as_deref() == Some(*family) => {
                self.surveyed(turn, survey);
            }
            Event::FileRead(path, file) => self.has_read(turn, path, file.as_ref().ok().copied().flatten()),
            Event::Heard(path, _) if *path == turn.place.settings.heartbeat(&self.init.name) => {
                self.heard = turn.now.mono;
            }
            Event::Started(child, process) if self.is_main(*child) => self.has_process(*process),
            Event::NotStarted(child, error) if self.is_main(*child) => {
                let outcome = Outcome::with_detail(Retcode::CouldNotStart, error.to_string());
                self.failure.get_or_insert(outcome);
                if let Some(work) = self.work.take() {
                    work.cancel(turn.fx);
                }
                self.nobody_is_left(turn);
            }
            Event::Exited(child, exit) if self.is_main(*child) => self.main_ended(turn, *exit),
            Event::Started(child, _)
            | Event::NotStarted(child, _)
            | Event::Output(child, ..)
            | Event::OutputEnded(child, _)
            | Event::OutputFailed(child, ..)
            | Event::Exited(child, _)
                if self.waits_for(*child) =>
            {
                self.step(turn, *child, event);
            }
            // Nor is there anything else that it could do now and could not before.
            _ if !self.is_changed => return,
            _ => {}
        }
        self.reconcile(turn);
    }

    /// The agent ends.
    pub fn leave(&mut self, fx: &mut Effects) {
        if let Some(work @ (Work::LookUp(_) | Work::Precheck(_))) = &self.work {
            work.cancel(fx);
        }
        if let Some(probe) = &self.probe {
            probe.cancel(fx);
        }
    }

    pub fn is_gone(&self) -> bool {
        self.state == State::Gone
    }

    fn is_main(&self, child: ChildId) -> bool {
        self.main.is_some_and(|main| main.child == child)
    }

    /// Whether this is a child of ours that sees to it.
    fn waits_for(&self, child: ChildId) -> bool {
        [
            self.work.as_ref().map(Work::child),
            self.supply.child(),
            self.probe.as_ref().map(UnderWay::child),
            self.rotation.as_ref().map(PendingTask::child),
        ]
        .contains(&Some(child))
    }

    fn step(&mut self, turn: &mut Turn<'_>, child: ChildId, event: &Event<'_>) {
        if self.work.as_ref().is_some_and(|work| work.child() == child) {
            self.step_work(turn, event);
        } else if self.supply.child() == Some(child) {
            self.step_supply(turn, event);
        } else if self.probe.as_ref().is_some_and(|probe| probe.child() == child) {
            self.step_probe(turn, event);
        } else if self.rotation.as_ref().is_some_and(|rotation| rotation.child() == child) {
            self.step_rotation(turn, event);
        }
    }

    fn tick(&mut self, turn: &mut Turn<'_>) {
        let now = turn.now.mono;
        if self.look.take_if(|look| now >= *look).is_some() {
            self.survey(turn);
        }
        if self.due.take_if(|due| now >= *due).is_some() {
            self.feed(turn, Cause::Due);
        }
        if self.silence().is_some_and(|silent| now >= silent) {
            self.is_silent(turn);
        }
        let is_due = |deadline: Option<Instant>| deadline.is_some_and(|deadline| now >= deadline);
        if is_due(self.work.as_ref().map(Work::deadline)) {
            self.step_work(turn, &Event::Tick);
        }
        if is_due(self.supply.deadline()) {
            self.step_supply(turn, &Event::Tick);
        }
        if is_due(self.probe.as_ref().map(UnderWay::deadline)) {
            self.step_probe(turn, &Event::Tick);
        }
        if is_due(self.rotation.as_ref().map(PendingTask::deadline)) {
            self.step_rotation(turn, &Event::Tick);
        }
    }

    pub fn deadline(&self) -> Option<Instant> {
        earliest([
            self.due,
            self.look,
            self.silence(),
            self.work.as_ref().map(Work::deadline),
            self.supply.deadline(),
            self.probe.as_ref().map(UnderWay::deadline),
            self.rotation.as_ref().map(PendingTask::deadline),
        ])
    }

    /// Brings what happened to the table, and does what it says.
    pub(super) fn feed(&mut self, turn: &mut Turn<'_>, cause: Cause) {
        let Some((action, next)) = cell(self.state, cause) else { return };
        self.enter(turn, next);
        match action {
            Action::Install => self.install(turn),
            Action::Precheck => self.look_up(turn),
            Action::Start => self.start(turn),
            Action::Check => self.check(turn),
            Action::Stop => self.stop(turn),
            Action::StopRest => self.stop_rest(turn),
            Action::Kill => self.kill(turn),
            Action::Abort => {
                if let Some(work) = self.work.take() {
                    work.cancel(turn.fx);
                }
            }
            Action::Wait => self.due = Some(turn.now.mono + self.wait),
            Action::Uninstall => self.uninstall(turn),
            Action::Alarm | Action::Settle => {}
        }
    }

    fn enter(&mut self, turn: &mut Turn<'_>, next: State) {
        if next == self.state {
            return;
        }
        if !(self.state.is_ending() && next.is_ending()) {
            (self.due, self.look) = (None, None);
        }
        if let Some(probe) = self.probe.take() {
            probe.cancel(turn.fx);
        }
        (self.state, self.since, self.is_changed) = (next, turn.now.wall, true);
        match next {
            State::Stopped => {
                (self.started, self.renew, self.told) = (None, false, false);
            }
            State::Running => self.is_up(turn.now),
            _ => {}
        }
    }

    /// What was under way failed, and nothing of it runs.
    pub(super) fn failed(&mut self, turn: &mut Turn<'_>, outcome: Outcome) {
        self.reason = outcome.detail.clone().or_else(|| Some(outcome.message.clone()));
        self.outcomes.push(outcome);
        self.is_changed = true;
        let was_stable = self.stable_at.take().is_some_and(|stable| turn.now.mono >= stable);
        let is_of_change = self.started.as_ref().is_none_or(|started| *started == self.init);
        if self.is_on_trial() && is_of_change && self.wanted != Wanted::Removed {
            self.tries += 1;
            if self.tries >= TRIES_OF_A_CHANGE {
                self.wait = Duration::ZERO;
                self.roll_back();
                return self.feed(turn, Cause::Failed);
            }
        }
        let verdict = self.restarts.failed(turn.now.mono, was_stable, &self.init, turn.chance);
        match verdict {
            Verdict::Again(wait) => {
                let is_over = self.state == State::Killing;
                self.wait = if is_over { wait.max(RESTART_DELAY_MIN) } else { wait };
                self.feed(turn, Cause::Failed);
            }
            Verdict::Spent => self.feed(turn, Cause::Spent),
        }
    }

    /// Whether this definition has not come up yet, and another has.
    pub(super) fn is_on_trial(&self) -> bool {
        self.good.as_ref().is_some_and(|good| *good != self.init)
    }

    /// The definition of what runs, or of what is to.
    pub(super) fn current(&self) -> &Arc<DaemonInit> {
        self.started.as_ref().unwrap_or(&self.init)
    }

    pub(super) fn identity(&self) -> Option<&Identity> {
        self.user.as_ref().map(|known| &known.identity)
    }

    pub(super) fn kin(&self, place: &Place) -> Option<Kin> {
        Some(Kin {
            family: self.family.clone()?,
            main: self.main.and_then(|main| main.process),
            output: place.settings.output(&self.init.name),
        })
    }

    /// Looks at who is left of it.
    pub(super) fn survey(&self, turn: &mut Turn<'_>) {
        turn.fx.push_all(self.kin(turn.place).map(Effect::Survey));
    }
}
