//! Ending commands that nobody wants any more.

use super::{Active, Exec, Fact, Phase, Waiting};
use crate::machine::{Effects, Now};
use crate::wire::{Outcome, Retcode};

impl Exec {
    /// Ends everything, and refuses what comes from now on.
    pub fn close(&mut self, now: Now, reason: &str, fx: &mut Effects, facts: &mut Vec<Fact>) {
        self.closed = Some(reason.to_owned());
        for Waiting { id, .. } in self.waiting.drain(..) {
            facts.push(Fact::done(id, Outcome::with_detail(Retcode::Cancelled, reason)));
        }
        for active in std::mem::take(&mut self.active) {
            self.active.extend(cancelled(active, now, reason, fx, facts));
        }
    }

    /// Ends the command of this request. False where it neither runs nor waits.
    pub fn cancel(
        &mut self,
        now: Now,
        id: &str,
        reason: &str,
        fx: &mut Effects,
        facts: &mut Vec<Fact>,
    ) -> bool {
        if let Some(index) = self.waiting.iter().position(|waiting| waiting.id == id) {
            self.waiting.remove(index);
            facts.push(Fact::done(id.to_owned(), Outcome::with_detail(Retcode::Cancelled, reason)));
            return true;
        }
        let Some(index) = self.active.iter().position(|active| active.id == id) else { return false };
        let active = self.active.swap_remove(index);
        self.active.extend(cancelled(active, now, reason, fx, facts));
        self.fill_places(now, fx, facts);
        true
    }
}

/// Ends one; what still has to end by itself is given back.
fn cancelled(
    mut active: Active,
    now: Now,
    reason: &str,
    fx: &mut Effects,
    facts: &mut Vec<Fact>,
) -> Option<Active> {
    match &mut active.phase {
        Phase::Running(run) => {
            run.cancel(now, reason, fx);
            return Some(active);
        }
        Phase::Identifying(pending) => pending.task.cancel(fx),
        Phase::Reaching(pending) => pending.task.cancel(fx),
    }
    facts.push(Fact::done(active.id, Outcome::with_detail(Retcode::Cancelled, reason)));
    None
}
