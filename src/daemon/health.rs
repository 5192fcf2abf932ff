//! Whether a daemon is well: its checks, its own word, what it uses, and what it writes.

use super::launch;
use super::one::{Daemon, Turn};
use super::table::{Event as Cause, State};
use super::work;
use crate::machine::limits::CHECK_AGAIN;
use crate::machine::{Event, Instant, Probe, Program, Rotation, Survey, Task};
use crate::task::{End, PendingTask};
use crate::wire::daemon::Check;
use crate::wire::server_list::Server;
use crate::wire::{DaemonInit, Outcome, Retcode};
use log::warn;
use std::time::Duration;

impl Daemon {
    /// Finds out whether it is up, or well.
    pub(super) fn check(&mut self, turn: &mut Turn<'_>) {
        let Some(started) = self.started.clone() else { return };
        let now = turn.now.mono;
        if self.state == State::Running {
            self.due = Some(next_check(now, &started));
            self.survey(turn);
        } else if self.main.is_none() {
            self.due = self.waits_for_pidfile(turn.now);
            if self.due.is_none() {
                let reason = self.reason.take().unwrap_or_else(|| "it left no process behind".into());
                self.is_sick(turn, Outcome::with_detail(Retcode::CouldNotStart, reason));
            }
            return;
        }
        match self.program_of_check(turn, &started) {
            None if self.state == State::Starting => self.feed(turn, Cause::Passed),
            None => {}
            // The one before has its own time-out.
            Some(_) if self.probe.is_some() => {}
            Some(Ok(program)) => {
                let timeout = Duration::from_secs(started.check_timeout);
                self.probe = Some(work::run(turn.now, program, timeout, turn.fx));
            }
            Some(Err(reason)) => self.checked(turn, Some(reason)),
        }
    }

    /// `None` where nothing is to be asked.
    fn program_of_check(&self, turn: &Turn<'_>, started: &DaemonInit) -> Option<Result<Program, String>> {
        let probe = |probe| Program::Task(Task::Probe(probe));
        Some(match &started.check {
            Check::Process => return None,
            Check::Http(url) => Ok(probe(Probe::Http(url.clone()))),
            Check::Socket => {
                let socket = started.socket.as_deref().unwrap_or_default();
                match socket.strip_prefix("tcp:") {
                    None => Ok(probe(Probe::Unix(socket.into()))),
                    Some(address) => server(address).map(|server| probe(Probe::Tcp(server))),
                }
            }
            Check::Script(command) => match self.identity() {
                None => Err("its user is not known on this host".into()),
                Some(identity) => {
                    let main = self.main.and_then(|main| main.process);
                    Ok(launch::script(command, started, identity, turn.place, main))
                }
            },
        })
    }

    pub(super) fn step_probe(&mut self, turn: &mut Turn<'_>, event: &Event<'_>) {
        let Some(mut probe) = self.probe.take() else { return };
        let timeout = Duration::from_secs(self.started.as_ref().map_or(0, |started| started.check_timeout));
        match probe.handle(turn.now, event, turn.fx) {
            None => self.probe = Some(probe),
            Some(end) => {
                let complaint = match end {
                    // A task of ours says it in its own words.
                    End::Exited(crate::machine::Exit::Code(1)) if !self.is_checked_by_script() => {
                        Some(probe.words())
                    }
                    end => work::complaint(end, &probe, timeout),
                };
                self.checked(turn, complaint);
            }
        }
    }

    fn is_checked_by_script(&self) -> bool {
        self.started.as_ref().is_some_and(|started| matches!(started.check, Check::Script(_)))
    }

    fn checked(&mut self, turn: &mut Turn<'_>, complaint: Option<String>) {
        let Some(started) = &self.started else { return };
        let Some(complaint) = complaint else {
            if std::mem::take(&mut self.failed_checks) > 0 {
                (self.reason, self.is_changed) = (None, true);
            }
            if self.state == State::Starting {
                self.feed(turn, Cause::Passed);
            }
            return;
        };
        self.failed_checks += 1;
        let reason =
            format!("check {}: {complaint} ({} in a row)", check_name(&started.check), self.failed_checks);
        if self.failed_checks >= started.check_failures {
            return self.is_sick(turn, Outcome::with_detail(Retcode::Unhealthy, reason));
        }
        (self.reason, self.is_changed) = (Some(reason), true);
        if self.state == State::Starting {
            let interval = Duration::from_secs(started.check_interval);
            self.due = Some(turn.now.mono + interval.min(CHECK_AGAIN));
        }
    }

    fn is_sick(&mut self, turn: &mut Turn<'_>, outcome: Outcome) {
        self.reason.clone_from(&outcome.detail);
        self.failure = Some(outcome);
        self.read_last_lines(turn);
        self.feed(turn, Cause::Sick);
    }

    /// When it is to have said that it lives.
    pub(super) fn silence(&self) -> Option<Instant> {
        let is_heard = self.state == State::Running && self.left.is_none();
        let started = self.started.as_ref().filter(|_| is_heard)?;
        (started.heartbeat > 0).then(|| self.heard + Duration::from_secs(started.heartbeat))
    }

    pub(super) fn is_silent(&mut self, turn: &mut Turn<'_>) {
        let seconds = self.started.as_ref().map_or(0, |started| started.heartbeat);
        let detail = format!("heartbeat: nothing was heard of it for {seconds} seconds");
        self.is_sick(turn, Outcome::with_detail(Retcode::Unhealthy, detail));
    }

    /// A look at all of it while it runs.
    pub(super) fn sample(&mut self, turn: &mut Turn<'_>, survey: &Survey) {
        let Some(started) = &self.started else { return };
        let counts = self.state == State::Running;
        if let Some(excess) = self.hits.sample(turn.now.mono, survey, &started.limits, counts) {
            let outcome = Outcome::with_detail(Retcode::LimitExceeded, excess.to_string());
            self.reason.clone_from(&outcome.detail);
            self.failure = Some(outcome);
            self.read_last_lines(turn);
            self.feed(turn, Cause::Greedy);
        }
    }

    /// What it wrote is set aside before it is too much.
    pub(super) fn make_room(&mut self, turn: &mut Turn<'_>, written: u64) {
        let settings = &turn.place.settings;
        if written > settings.output_limit && self.rotation.is_none() {
            let path = settings.output(&self.init.name);
            let task = Task::Rotate(Rotation { path, files: settings.output_files });
            self.rotation = Some(PendingTask::start(turn.now, task, turn.fx));
        }
    }

    pub(super) fn step_rotation(&mut self, turn: &mut Turn<'_>, event: &Event<'_>) {
        let Some(rotation) = &mut self.rotation else { return };
        if let Some(end) = rotation.handle(turn.now, event, turn.fx) {
            self.rotation = None;
            if let Err(reason) = end {
                let name = &self.init.name;
                warn!("daemon=output name={name:?} reason={reason:?} kept=\"all that it wrote\"");
            }
        }
    }
}

/// On a whole second, so that what many daemons wake the agent for it does in one turn.
pub(super) fn next_check(now: Instant, init: &DaemonInit) -> Instant {
    let at = now.0 + Duration::from_secs(init.check_interval) + Duration::from_millis(500);
    Instant(Duration::from_secs(at.as_secs()))
}

fn check_name(check: &Check) -> &'static str {
    match check {
        Check::Process => "process",
        Check::Socket => "socket",
        Check::Http(_) => "http",
        Check::Script(_) => "script",
    }
}

/// What follows `tcp:`, which the wire has looked at.
fn server(address: &str) -> Result<Server, String> {
    let parts = address.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
    let (host, port) = parts.ok_or_else(|| format!("socket: not HOST:PORT: {address:?}"))?;
    Ok(Server { host: host.trim_matches(['[', ']']).to_owned(), port })
}
