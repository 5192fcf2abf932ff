//! What is wanted of a daemon, against what it is at.

use super::one::{Daemon, Turn};
use super::table::{Event as Cause, State};
use crate::machine::Now;
use crate::wire::daemon::Wanted;

impl Daemon {
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
                _ if self.needs_package() => is_package_here.then_some(Cause::Install),
                Wanted::Running => Some(Cause::Run),
                Wanted::Stoped => None,
            },
            State::Installing => (self.wanted == Wanted::Removed || !is_package_here).then_some(Cause::Halt),
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
