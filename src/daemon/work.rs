//! The one child of ours that a daemon waits for.

use super::one::{Daemon, Turn};
use super::package;
use super::table::{Event as Cause, State};
use crate::machine::limits::{PRECHECK_AGAIN, PRECHECK_TIMEOUT, SCRIPT_OUTPUT_BYTES};
use crate::machine::{ChildId, Effects, Event, Exit, Identity, Instant, Now, Program};
use crate::task::{End, PendingTask, UnderWay};
use crate::wire::{Account, Outcome, Retcode};
use aspire_package::Installed;
use std::time::Duration;

#[derive(Debug)]
pub enum Work {
    LookUp(PendingTask<Option<Identity>>),
    Precheck(UnderWay),
    Install(PendingTask<Result<Installed, aspire_package::Error>>),
    Uninstall(PendingTask<Result<(), aspire_package::Error>>),
    /// The command that ends it.
    Stop(UnderWay),
}

impl Work {
    pub fn child(&self) -> ChildId {
        match self {
            Work::LookUp(task) => task.child(),
            Work::Install(task) => task.child(),
            Work::Uninstall(task) => task.child(),
            Work::Precheck(script) | Work::Stop(script) => script.child(),
        }
    }

    pub fn deadline(&self) -> Instant {
        match self {
            Work::LookUp(task) => task.deadline(),
            Work::Install(task) => task.deadline(),
            Work::Uninstall(task) => task.deadline(),
            Work::Precheck(script) | Work::Stop(script) => script.deadline(),
        }
    }

    /// Nothing more is heard of it.
    pub fn cancel(&self, fx: &mut Effects) {
        match self {
            Work::LookUp(task) => task.cancel(fx),
            Work::Install(task) => task.cancel(fx),
            Work::Uninstall(task) => task.cancel(fx),
            Work::Precheck(script) | Work::Stop(script) => script.cancel(fx),
        }
    }
}

/// Runs a command that comes to its end.
pub fn run(now: Now, program: Program, timeout: Duration, fx: &mut Effects) -> UnderWay {
    UnderWay::start(now, program, timeout, SCRIPT_OUTPUT_BYTES, fx)
}

/// Why a command did not do what it was for. `None` where it did.
pub fn complaint(end: End, script: &UnderWay, timeout: Duration) -> Option<String> {
    let words = || {
        let words = script.words();
        let said =
            if words.is_empty() { String::from_utf8_lossy(script.answer()).trim().to_owned() } else { words };
        if said.is_empty() { String::new() } else { format!(": {said}") }
    };
    Some(match end {
        End::Exited(Exit::Code(0)) => return None,
        End::NotStarted(error) => error.to_string(),
        End::TimedOut => format!("it took longer than {} seconds{}", timeout.as_secs(), words()),
        End::Exited(Exit::Code(code)) => format!("exit status {code}{}", words()),
        End::Exited(Exit::Signal(signal)) => format!("killed by signal {signal}{}", words()),
        End::Exited(Exit::Unknown) => "nobody knows how it ended".into(),
    })
}

impl Daemon {
    pub(super) fn step_work(&mut self, turn: &mut Turn<'_>, event: &Event<'_>) {
        let Some(work) = self.work.take() else { return };
        match work {
            Work::LookUp(mut task) => match task.handle(turn.now, event, turn.fx) {
                None => self.work = Some(Work::LookUp(task)),
                Some(found) => self.looked_up(turn, found),
            },
            Work::Precheck(mut script) => match script.handle(turn.now, event, turn.fx) {
                None => self.work = Some(Work::Precheck(script)),
                Some(end) => {
                    let complaint = complaint(end, &script, PRECHECK_TIMEOUT);
                    self.prechecked(turn, complaint);
                }
            },
            Work::Stop(mut script) => match script.handle(turn.now, event, turn.fx) {
                None => self.work = Some(Work::Stop(script)),
                Some(end) => {
                    let timeout = self.started.as_ref().map_or(0, |started| started.stop_timeout);
                    let complaint = complaint(end, &script, Duration::from_secs(timeout));
                    // It did what it was for where nobody is left but those that came from the daemon.
                    if let Some(reason) = complaint.filter(|_| self.main.is_some()) {
                        self.reason = Some(format!("stop: {reason}"));
                        self.is_changed = true;
                    }
                    self.survey(turn);
                }
            },
            Work::Install(mut task) => match task.handle(turn.now, event, turn.fx) {
                None => self.work = Some(Work::Install(task)),
                Some(Ok(Ok(installed))) => self.is_installed(turn, installed),
                Some(Ok(Err(error))) => self.is_not_installed(turn, package::outcome(&error)),
                Some(Err(reason)) => {
                    let outcome = Outcome::with_detail(Retcode::InstallationFailed, reason);
                    self.is_not_installed(turn, outcome);
                }
            },
            Work::Uninstall(mut task) => match task.handle(turn.now, event, turn.fx) {
                None => self.work = Some(Work::Uninstall(task)),
                Some(Ok(Ok(()))) => self.is_uninstalled(turn),
                Some(Ok(Err(error))) => self.failed(turn, package::outcome(&error)),
                Some(Err(reason)) => {
                    let outcome = Outcome::with_detail(Retcode::InstallationFailed, reason);
                    self.failed(turn, outcome);
                }
            },
        }
    }

    fn looked_up(&mut self, turn: &mut Turn<'_>, found: Result<Option<Identity>, String>) {
        if self.left.is_some() {
            // Without one, no script is run.
            let started = self.current().clone();
            if let Ok(Some(identity)) = found {
                self.is_user(&started, identity);
            }
            return self.survey(turn);
        }
        let failure = match found {
            Ok(Some(identity)) => {
                let started = self.current().clone();
                self.is_user(&started, identity);
                return self.precheck(turn);
            }
            Ok(None) => Outcome::with_detail(Retcode::NoSuchUserOrGroup, unknown(self)),
            Err(reason) => {
                let detail = format!("user: the user database did not answer: {reason}");
                Outcome::with_detail(Retcode::CouldNotStart, detail)
            }
        };
        self.failed(turn, failure);
    }

    fn prechecked(&mut self, turn: &mut Turn<'_>, complaint: Option<String>) {
        let Some(complaint) = complaint else { return self.feed(turn, Cause::Passed) };
        self.precheck_tries += 1;
        if self.precheck_tries <= self.current().precheck_retries && self.state == State::Checking {
            self.reason = Some(format!("precheck: {complaint}"));
            self.is_changed = true;
            self.due = Some(turn.now.mono + PRECHECK_AGAIN);
            return;
        }
        self.precheck_tries = 0;
        self.failed(turn, Outcome::with_detail(Retcode::CouldNotStart, format!("precheck: {complaint}")));
    }
}

fn unknown(daemon: &Daemon) -> String {
    let shown = |account: &Option<Account>| account.as_ref().map_or("root".to_owned(), Account::to_string);
    let user = shown(&daemon.current().user);
    match &daemon.current().group {
        None => format!("user: this host has no user {user}"),
        Some(group) => format!("user, group: this host has no user {user} or no group {group}"),
    }
}
