//! From a wish to a process that is up.

use super::health::next_check;
use super::hits::Hits;
use super::launch;
use super::one::{Daemon, KnownUser, Main, Turn};
use super::table::{Event as Cause, State};
use super::work::{self, Work};
use crate::machine::limits::{LOOK_AGAIN, PIDFILE_WAIT, PRECHECK_TIMEOUT, STABLE_DAEMON, UNBORN_WAIT};
use crate::machine::{AsWhom, Effect, Exit, Identity, Instant, Now, Process, Survey, Task};
use crate::task::PendingTask;
use crate::wire::{DaemonInit, Outcome, Retcode};
use std::sync::Arc;
use std::time::Duration;

impl Daemon {
    /// Finds out as whom it runs. One that is started again by itself is started as the same.
    pub(super) fn look_up(&mut self, turn: &mut Turn<'_>) {
        let wanted = self.startable().unwrap_or(&self.init).clone();
        let own = &turn.place.own;
        match own.as_whom(wanted.user.as_ref(), wanted.group.as_ref()) {
            AsWhom::Own => self.is_user(&wanted, own.clone()),
            AsWhom::Other { user, group } if self.restarts.total() == 0 || !self.knows_user_of(&wanted) => {
                let task = Task::Identify { user, group };
                self.started = Some(wanted);
                self.work = Some(Work::LookUp(PendingTask::start(turn.now, task, turn.fx)));
                return;
            }
            AsWhom::Other { .. } => {}
            AsWhom::NotPermitted(reason) => {
                return self.failed(turn, Outcome::with_detail(Retcode::NotPermitted, reason));
            }
        }
        self.started = Some(wanted);
        self.precheck(turn);
    }

    /// What can be started: until another package is here, the one that came up last is better than
    /// nothing.
    pub(super) fn startable(&self) -> Option<&Arc<DaemonInit>> {
        if !self.needs_package() {
            return Some(&self.init);
        }
        let installed = self.installed.as_ref().filter(|package| package.is_whole)?;
        self.good.as_ref().filter(|good| good.has_package_of(&installed.init))
    }

    fn knows_user_of(&self, wanted: &DaemonInit) -> bool {
        self.user.as_ref().is_some_and(|known| (&known.user, &known.group) == (&wanted.user, &wanted.group))
    }

    pub(super) fn is_user(&mut self, of: &DaemonInit, identity: Identity) {
        self.user = Some(KnownUser { user: of.user.clone(), group: of.group.clone(), identity });
    }

    pub(super) fn precheck(&mut self, turn: &mut Turn<'_>) {
        let (Some(started), Some(identity)) = (&self.started, self.identity()) else { return };
        let Some(command) = &started.precheck else { return self.feed(turn, Cause::Passed) };
        let program = launch::script(command, started, identity, turn.place, None);
        self.work = Some(Work::Precheck(work::run(turn.now, program, PRECHECK_TIMEOUT, turn.fx)));
    }

    /// What it takes is made ready, and [`Daemon::begin`] does it: a later agent must know the
    /// family's name before there is a process of it.
    pub(super) fn start(&mut self, turn: &mut Turn<'_>) {
        let (Some(started), Some(identity)) = (&self.started, self.identity()) else { return };
        let family = launch::family(&self.init.name, turn.chance);
        self.to_start = Some(launch::daemon(started, identity, turn.place, &family));
        self.family = Some(family);
        self.hear(turn);
        (self.exit, self.failure, self.lines) = (None, None, None);
        self.precheck_tries = 0;
        self.is_changed = true;
    }

    /// The store knows of it.
    pub(super) fn begin(&mut self, turn: &mut Turn<'_>) {
        let Some(program) = self.to_start.take() else { return };
        let now = turn.now.mono;
        self.main = Some(Main { child: turn.fx.spawn(program), process: None });
        self.hits = Hits::default();
        (self.started_at, self.heard, self.failed_checks) = (now, now, 0);
        self.stable_at = Some(now + STABLE_DAEMON);
        self.due = Some(now + Duration::from_secs(self.current().start_delay));
    }

    pub(super) fn has_process(&mut self, process: Option<Process>) {
        if let Some(main) = &mut self.main {
            main.process = process;
            self.is_changed = true;
        }
    }

    /// Whether whoever is left may be the daemon itself, and not what a failed one left behind. How a
    /// process ended that an earlier agent had started nobody knows: then its pidfile tells. And it
    /// tells of a starter that took so long that it was believed to be the daemon.
    pub(super) fn may_have_forked(&self, now: Now) -> bool {
        let has_pidfile = self.current().pidfile.is_some();
        match (self.state, self.exit) {
            (State::Starting, None | Some(Exit::Code(0))) => true,
            (State::Starting, Some(Exit::Unknown)) => has_pidfile,
            (State::Running, Some(Exit::Code(0))) => has_pidfile && self.waits_for_pidfile(now).is_some(),
            _ => false,
        }
    }

    /// Its starter has left: the process that it left behind is the daemon.
    pub(super) fn find_main(&mut self, turn: &mut Turn<'_>, survey: &Survey) {
        match self.current().pidfile.clone() {
            None => self.adopt(turn, survey.processes[0]),
            Some(pidfile) => {
                self.candidates.clone_from(&survey.processes);
                turn.fx.push(Effect::ReadFile { path: pidfile.into() });
            }
        }
    }

    /// The pidfile's word, which counts only where it names a process of the daemon.
    pub(super) fn has_pidfile(&mut self, turn: &mut Turn<'_>, content: Option<&[u8]>) {
        let candidates = std::mem::take(&mut self.candidates);
        if self.main.is_some() || candidates.is_empty() {
            return;
        }
        // More may follow, as in PostgreSQL's.
        let line =
            |content| String::from_utf8_lossy(content).lines().next().map(|line| line.trim().to_owned());
        let text = content.map(|content| line(content).unwrap_or_default());
        let named = text.as_ref().and_then(|text| text.parse::<i32>().ok());
        if let Some(process) = candidates.iter().find(|process| Some(process.pid) == named) {
            return self.adopt(turn, *process);
        }
        self.reason = Some(match text {
            None => "pidfile: there is none".into(),
            Some(text) => {
                let shown: String = text.chars().take(32).collect();
                format!("pidfile: it says {shown:?}, which is no process of this daemon")
            }
        });
        self.look = Some(turn.now.mono + LOOK_AGAIN);
    }

    fn adopt(&mut self, turn: &mut Turn<'_>, process: Process) {
        let child = turn.fx.adopt(process, true);
        self.main = Some(Main { child, process: Some(process) });
        (self.exit, self.look, self.is_changed) = (None, None, true);
    }

    /// Whether a daemon without a main process may yet show one, and until when.
    pub(super) fn waits_for_pidfile(&self, now: Now) -> Option<Instant> {
        let until = self.started_at + Duration::from_secs(self.current().start_delay) + PIDFILE_WAIT;
        (self.main.is_none() && now.mono < until).then_some(until)
    }

    /// It has come up.
    pub(super) fn is_up(&mut self, now: Now) {
        self.good.clone_from(&self.started);
        (self.tries, self.reason, self.failed_checks) = (0, None, 0);
        self.heard = now.mono;
        self.due = Some(next_check(now.mono, self.current()));
    }

    /// Takes over what an earlier agent left.
    pub(super) fn resume(&mut self, turn: &mut Turn<'_>, survey: &Survey) {
        let Some(left) = self.left else { return };
        let now = turn.now.mono;
        if survey.processes.is_empty() && left.main.is_none() && now < self.started_at + UNBORN_WAIT {
            self.look = Some(now + LOOK_AGAIN);
            return;
        }
        self.left = None;
        self.is_changed = true;
        (self.started_at, self.heard) = (now, now);
        if survey.processes.is_empty() {
            self.exit = Some(Exit::Unknown);
            return self.nobody_is_left(turn);
        }
        match left.main {
            Some(main) if survey.processes.contains(&main) => self.adopt(turn, main),
            // It may have left others behind, or that agent ended just when it had started it.
            _ if self.state == State::Starting => {
                self.exit = Some(Exit::Code(0));
                self.find_main(turn, survey);
            }
            None => self.adopt(turn, survey.processes[0]),
            Some(_) => {
                self.exit = Some(Exit::Unknown);
                return self.feed(turn, Cause::Left);
            }
        }
        match self.state {
            State::Starting => self.due = Some(now + Duration::from_secs(self.current().start_delay)),
            State::Running => {
                self.stable_at = Some(now);
                self.due = Some(next_check(now, self.current()));
            }
            _ => self.stop(turn),
        }
        if !self.state.is_ending() {
            self.hear(turn);
        }
    }

    /// Takes up what an earlier agent left: first, as whom it runs.
    pub(super) fn begin_restored(&mut self, turn: &mut Turn<'_>) {
        let started = self.current().clone();
        let own = &turn.place.own;
        match own.as_whom(started.user.as_ref(), started.group.as_ref()) {
            AsWhom::Other { user, group } => {
                let task = Task::Identify { user, group };
                self.work = Some(Work::LookUp(PendingTask::start(turn.now, task, turn.fx)));
            }
            AsWhom::Own | AsWhom::NotPermitted(_) => {
                self.is_user(&started, own.clone());
                self.survey(turn);
            }
        }
    }

    pub(super) fn unhear(&self, turn: &mut Turn<'_>) {
        if self.started.as_ref().is_some_and(|started| started.heartbeat > 0) {
            turn.fx.push(Effect::Unhear { path: turn.place.settings.heartbeat(&self.init.name) });
        }
    }

    /// Opens the way by which it says that it lives, where that is expected of it.
    fn hear(&self, turn: &mut Turn<'_>) {
        let (Some(identity), Some(started)) = (self.identity(), &self.started) else { return };
        if started.heartbeat > 0 {
            let path = turn.place.settings.heartbeat(&self.init.name);
            turn.fx.push(Effect::Hear { path, uid: identity.uid });
        }
    }
}
