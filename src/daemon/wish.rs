//! What is wanted of a daemon, and what it is at against that.

use super::health::next_check;
use super::one::{Daemon, Turn};
use super::package::Supply;
use super::restarts::Restarts;
use super::table::{Event as Cause, State};
use crate::machine::Now;
use crate::wire::DaemonInit;
use crate::wire::daemon::Wanted;
use std::sync::Arc;

impl Daemon {
    /// Takes another definition. False where it is the one that it has.
    pub fn define(&mut self, now: Now, init: DaemonInit) -> bool {
        let was_to_go = self.wanted == Wanted::Removed;
        if init == *self.init && !was_to_go {
            return false;
        }
        if was_to_go {
            self.wanted = Wanted::Running;
        }
        let init = Arc::new(init);
        if self.started.as_ref().is_some_and(|started| init.runs_as(started)) {
            // What does not change the processes holds from now on.
            self.started = Some(init.clone());
            if self.state == State::Running {
                self.due = Some(next_check(now.mono, &init));
            }
        }
        self.init = init;
        self.begin_anew();
        true
    }

    /// False where that is wanted already, and so it is.
    pub fn want(&mut self, wanted: Wanted) -> bool {
        if self.wanted == wanted && !self.is_waiting() && self.next_fetch().is_none() {
            return false;
        }
        self.wanted = wanted;
        self.begin_anew();
        true
    }

    /// What runs is ended, and it is started again.
    pub fn restart(&mut self) {
        self.renew = self.state != State::Stopped;
        self.wanted = Wanted::Running;
        self.begin_anew();
    }

    /// Whether it is left alone for a while, or for good.
    fn is_waiting(&self) -> bool {
        matches!(self.state, State::Fatal | State::Backoff | State::Killed)
    }

    fn begin_anew(&mut self) {
        self.restarts = Restarts::default();
        (self.tries, self.reason) = (0, None);
        self.told = self.is_waiting();
        if self.next_fetch().is_some() {
            self.supply = Supply::Idle;
        }
        self.failed_fetches = 0;
        self.is_changed = true;
    }

    /// Brings to the table what is wanted and not so, until nothing is left to be begun.
    pub(super) fn reconcile(&mut self, turn: &mut Turn<'_>) {
        while self.left.is_none()
            && let Some(wish) = self.wish(turn.now)
        {
            self.feed(turn, wish);
        }
        self.fetch_what_is_needed(turn);
    }

    fn wish(&self, now: Now) -> Option<Cause> {
        let is_package_here = self.supply.has(&self.init);
        match self.state {
            State::Stopped => match self.wanted {
                Wanted::Removed => Some(Cause::Remove),
                _ if self.needs_package() && is_package_here => Some(Cause::Install),
                Wanted::Running => self.startable().map(|_| Cause::Run),
                Wanted::Stoped => None,
            },
            State::Installing => {
                let is_another = self.needs_package() && !is_package_here;
                (self.wanted == Wanted::Removed || is_another).then_some(Cause::Halt)
            }
            State::Checking | State::Starting | State::Running => self.is_stale().then_some(Cause::Halt),
            State::Failing | State::Killing => {
                (self.renew || self.wanted != Wanted::Running).then_some(Cause::Halt)
            }
            State::Backoff | State::Killed if self.due.is_some_and(|due| now.mono >= due) => Some(Cause::Due),
            State::Backoff | State::Killed | State::Fatal => self.told.then_some(Cause::Halt),
            State::Removing => (self.wanted != Wanted::Removed).then_some(Cause::Halt),
            State::Halting | State::Gone => None,
        }
    }

    /// Whether what runs is not what is to run. Until another package is here, what runs is better
    /// than nothing.
    fn is_stale(&self) -> bool {
        let another = self.started.as_ref().is_some_and(|started| !self.init.runs_as(started));
        let may_go = !self.needs_package() || self.supply.has(&self.init);
        self.renew || self.wanted != Wanted::Running || another && may_go
    }
}
