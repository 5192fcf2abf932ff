//! From a process that ends, or is to, to where nobody is left of the daemon.

use super::launch;
use super::one::{Daemon, Turn};
use super::table::{Event as Cause, State};
use super::work::{self, Work};
use crate::machine::limits::{KILL_AGAIN, LAST_LINES_BYTES, LOOK_AGAIN};
use crate::machine::{Effect, Exit, Survey};
use crate::wire::daemon::{Stop, signal_name};
use crate::wire::{Outcome, Retcode};
use std::path::Path;
use std::time::Duration;

impl Daemon {
    pub(super) fn main_ended(&mut self, turn: &mut Turn<'_>, exit: Exit) {
        let kin = self.kin(turn.place);
        self.main = None;
        self.exit = Some(exit);
        self.read_last_lines(turn);
        turn.fx.push_all(kin.map(Effect::Survey));
    }

    pub(super) fn read_last_lines(&self, turn: &mut Turn<'_>) {
        let path = turn.place.settings.output(&self.init.name);
        turn.fx.push(Effect::ReadEnd { path, most_bytes: LAST_LINES_BYTES });
    }

    /// Who is left of it now.
    pub(super) fn surveyed(&mut self, turn: &mut Turn<'_>, survey: &Survey) {
        self.make_room(turn, survey.written);
        if self.left.is_some() {
            return self.resume(turn, survey);
        }
        if !self.state.has_processes() || self.to_start.is_some() {
            return;
        }
        if self.main.is_some() {
            return self.sample(turn, survey);
        }
        if survey.processes.is_empty() {
            return self.nobody_is_left(turn);
        }
        if self.may_have_forked(turn.now) {
            return self.find_main(turn, survey);
        }
        if let Some(exit) = self.exit.take() {
            // Whoever is left has lost the one that it came from.
            self.keep_as_failure(exit);
            self.feed(turn, Cause::Left);
        }
        self.look = Some(turn.now.mono + LOOK_AGAIN);
    }

    pub(super) fn nobody_is_left(&mut self, turn: &mut Turn<'_>) {
        if matches!(self.work, Some(Work::Stop(_))) {
            // It may have more to do than to end the daemon.
            return;
        }
        self.main = None;
        self.is_changed = true;
        let family = self.family.take();
        self.unhear(turn);
        if self.state == State::Halting {
            return self.feed(turn, Cause::Passed);
        }
        let came_up = self.state != State::Starting;
        let exit = self.exit.take();
        let outcome = self.failure.take().unwrap_or_else(|| of_exit(exit, came_up));
        debug_assert!(family.is_some(), "processes have a family");
        let lines = self.lines.take().filter(|lines| !lines.is_empty());
        let outcome = match lines {
            Some(lines) => outcome.with_data(&lines),
            None => outcome,
        };
        self.failed(turn, outcome);
    }

    fn keep_as_failure(&mut self, exit: Exit) {
        let came_up = self.state != State::Starting;
        if self.failure.is_none() && matches!(self.state, State::Starting | State::Running) {
            self.failure = Some(of_exit(Some(exit), came_up));
        }
    }

    /// Asks it to end.
    pub(super) fn stop(&mut self, turn: &mut Turn<'_>) {
        let Some(started) = self.started.clone() else { return };
        if self.to_start.take().is_some() {
            // There is no process of it yet.
            return self.nobody_is_left(turn);
        }
        let timeout = Duration::from_secs(started.stop_timeout);
        self.due = Some(turn.now.mono + timeout);
        let main = self.main.and_then(|main| main.process);
        match (&started.stop, self.main) {
            (Stop::Kill(signal), Some(main)) => {
                turn.fx.push(Effect::Signal { child: main.child, signal: *signal });
            }
            (Stop::Kill(signal), None) => self.signal_all(turn, *signal),
            (Stop::Process(command), _) => match (self.identity(), &self.family) {
                (Some(identity), Some(family)) => {
                    let program = launch::stop(command, &started, identity, turn.place, main, family);
                    self.work = Some(Work::Stop(work::run(turn.now, program, timeout, turn.fx)));
                }
                _ => self.signal_all(turn, libc::SIGTERM),
            },
        }
        if self.main.is_none() {
            self.look = Some(turn.now.mono + LOOK_AGAIN);
        }
    }

    /// Their main process is gone, and nobody else tells them.
    pub(super) fn stop_rest(&mut self, turn: &mut Turn<'_>) {
        if self.due.is_none() {
            let timeout = self.started.as_ref().map_or(0, |started| started.stop_timeout);
            self.due = Some(turn.now.mono + Duration::from_secs(timeout));
        }
        self.signal_all(turn, libc::SIGTERM);
        self.look = Some(turn.now.mono + LOOK_AGAIN);
    }

    /// Its time to end by itself is over.
    pub(super) fn kill(&mut self, turn: &mut Turn<'_>) {
        self.signal_all(turn, libc::SIGKILL);
        self.due = Some(turn.now.mono + KILL_AGAIN);
        self.look = Some(turn.now.mono + LOOK_AGAIN);
    }

    fn signal_all(&self, turn: &mut Turn<'_>, signal: i32) {
        turn.fx.push_all(self.kin(turn.place).map(|kin| Effect::SignalFamily { kin, signal }));
    }

    /// The end of what it wrote, or its pidfile.
    pub(super) fn has_read(&mut self, turn: &mut Turn<'_>, path: &Path, content: Option<&[u8]>) {
        if path == turn.place.settings.output(&self.init.name) {
            let text = content.map(String::from_utf8_lossy);
            self.lines = text.map(|text| whole_lines(&text));
        } else if self.init.pidfile.as_deref().map(Path::new) == Some(path) {
            self.has_pidfile(turn, content);
        }
    }
}

/// Without the rest of a line that begins before what was read.
fn whole_lines(text: &str) -> String {
    let is_cut = text.len() >= LAST_LINES_BYTES;
    let whole = if is_cut { text.split_once('\n').map_or(text, |(_, whole)| whole) } else { text };
    whole.trim_end().to_owned()
}

fn of_exit(exit: Option<Exit>, came_up: bool) -> Outcome {
    let when = if came_up { "" } else { " before it was up" };
    match exit {
        Some(Exit::Code(code)) => {
            let detail = format!("it ended with exit status {code}{when}");
            Outcome { exitcode: Some(code), ..Outcome::with_detail(Retcode::ExitedWithAnError, detail) }
        }
        Some(Exit::Signal(signal)) => {
            let detail = format!("it was killed by {}{when}", signal_name(signal));
            Outcome { signal: Some(signal), ..Outcome::with_detail(Retcode::KilledByASignal, detail) }
        }
        Some(Exit::Unknown) | None => {
            let detail = format!("it ended{when}, and nobody knows how: it was not the agent's own child");
            Outcome::with_detail(Retcode::Lost, detail)
        }
    }
}
