//! Of a rollout: how many of its hosts may have heard of it, in the table `requests`.

use super::{Store, StoreError, retried};
use crate::clock::EpochMs;
use crate::requests::rollout::{Reason, Stopped};
use crate::requests::{Settled, Target};
use aspire_wire::{Outcome, Retcode};
use std::collections::HashSet;

impl Store {
    /// So many hosts of the rollout, in their order, are about to hear of it.
    pub async fn mark_begun(&self, id: &str, hosts: u32) -> Result<(), StoreError> {
        retried(|| async move {
            let update = sqlx::query("UPDATE requests SET begun = ? WHERE id = ?");
            update.bind(i64::from(hosts)).bind(id).execute(&self.pool).await?;
            Ok(())
        })
        .await
    }
}

/// The final states of the hosts that are not `there` when the server has ended without giving them
/// one, and how many of these were not begun, if so. `begun` and `stopped` are the columns: where the
/// rollout had stopped before, that is why.
pub(super) fn cut_short(
    targets: &[Target],
    there: &HashSet<i64>,
    begun: Option<i64>,
    stopped: Option<Stopped>,
    now: EpochMs,
) -> (Vec<(u32, Settled)>, Option<Stopped>) {
    let missing = (0u32..).zip(targets).filter(|(position, _)| !there.contains(&i64::from(*position)));
    let (lost, not_begun): (Vec<_>, Vec<_>) =
        missing.partition(|(position, _)| begun.is_none_or(|begun| i64::from(*position) < begun));
    let restart = || Stopped::new(Reason::Restart, "polaris was restarted", not_begun.len());
    let stopped = stopped.unwrap_or_else(restart);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_whose_end_was_not_recorded_have_the_reason_for_which_it_had_stopped() {
        let target = |n: usize| Target { host: n.to_string(), name: None };
        let targets: Vec<Target> = (0..5).map(target).collect();
        let there = HashSet::from([0, 3]);
        let detail = |(position, settled): &(u32, Settled)| {
            let entry: serde_json::Value = serde_json::from_str(settled.json()).unwrap();
            (*position, entry["detail"].as_str().unwrap().to_owned())
        };
        let lost = (1, "polaris was restarted while it ran".to_owned());
        let before = Stopped::new(Reason::Errors, "too many", 3);
        for (stopped, expected) in
            [(Some(before), "not begun: too many"), (None, "not begun: polaris was restarted")]
        {
            let (missing, now) = cut_short(&targets, &there, Some(2), stopped.clone(), 1);
            let missing: Vec<_> = missing.iter().map(detail).collect();
            assert_eq!(missing, [lost.clone(), (2, expected.to_owned()), (4, expected.to_owned())]);
            assert_eq!(now.is_some_and(|now| now.reason == Reason::Restart), stopped.is_none());
        }
    }
}
