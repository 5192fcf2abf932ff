//! Of a rollout: how many of its hosts may have heard of it, in the table `requests`.

use super::{Store, StoreError};
use crate::clock::EpochMs;
use crate::requests::rollout::{Reason, Stopped};
use crate::requests::{Settled, Target};
use aspire_wire::{Outcome, Retcode};
use std::collections::HashSet;

impl Store {
    /// So many hosts of the rollout, in their order, are about to hear of it.
    pub async fn mark_begun(&self, id: &str, hosts: u32) -> Result<(), StoreError> {
        let update = sqlx::query("UPDATE requests SET begun = ? WHERE id = ?");
        update.bind(i64::from(hosts)).bind(id).execute(&self.pool).await?;
        Ok(())
    }
}

/// The final states of the hosts that are not `there` when the server has ended without giving them
/// one, and how many of these were not begun, if so. `begun` is the column.
pub(super) fn cut_short(
    targets: &[Target],
    there: &HashSet<i64>,
    begun: Option<i64>,
    now: EpochMs,
) -> (Vec<(u32, Settled)>, Option<Stopped>) {
    let missing = (0u32..).zip(targets).filter(|(position, _)| !there.contains(&i64::from(*position)));
    let (lost, not_begun): (Vec<_>, Vec<_>) =
        missing.partition(|(position, _)| begun.is_none_or(|begun| i64::from(*position) < begun));
    let stopped = Stopped::new(Reason::Restart, "polaris was restarted", not_begun.len());
    let outcome = Outcome::with_detail(Retcode::LinkLost, "polaris was restarted while it ran");
    let settle = |(position, target): (u32, &Target), outcome: &Outcome| {
        (position, Settled::new(target, outcome, now))
    };
    let lost = lost.into_iter().map(|host| settle(host, &outcome));
    let any = !not_begun.is_empty();
    let outcome = stopped.outcome();
    let not_begun = not_begun.into_iter().map(|host| settle(host, &outcome));
    (lost.chain(not_begun).collect(), any.then_some(stopped))
}
