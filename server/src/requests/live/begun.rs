//! Of a rollout: which of its hosts were begun, and why the rest is not. A host
//! is begun or stopped, whoever is quicker, and never both.

use super::Live;
use crate::requests::Target;
use crate::requests::rollout::{Reason, Stopped};
use aspire_wire::{Outcome, Retcode};
use bytes::Bytes;
use serde::Serialize;
use std::sync::atomic::Ordering;

/// A line beside the entries, which have no `method`.
#[derive(Serialize)]
struct Line<'a, T> {
    #[serde(flatten)]
    what: &'a T,
    method: &'static str,
}

impl Live {
    /// The host's turn has come: whether it may still be sent the request. `linked` says that it can,
    /// as far as one knows, which is told to whoever reads the log. The hosts come in their order.
    pub fn begin(&self, position: u32, linked: bool) -> bool {
        let target: &Target = &self.targets[position as usize];
        let line = linked.then(|| line(target, "begun"));
        let mut progress = self.progress();
        if progress.stopped.is_some() || progress.slots[position as usize].is_some() {
            return false;
        }
        progress.begun = position as usize + 1;
        if let Some(line) = line {
            progress.held += line.len();
            self.held_bytes.fetch_add(line.len(), Ordering::Relaxed);
            progress.log.push(line);
        }
        drop(progress);
        self.arrival.notify_waiters();
        true
    }

    /// No more hosts are begun, and each that was not gets its final state. Nothing happens where
    /// all were, or where it has stopped before.
    pub fn stop(&self, reason: Reason, detail: &str) {
        let mut progress = self.progress();
        let begun = progress.begun;
        let not_begun: Vec<u32> = (0u32..)
            .zip(&progress.slots)
            .skip(begun)
            .filter_map(|(position, slot)| slot.is_none().then_some(position))
            .collect();
        if not_begun.is_empty() || progress.stopped.is_some() {
            return;
        }
        let stopped = Stopped::new(reason, detail, not_begun.len());
        let line = line(&stopped, "stopped");
        progress.held += line.len();
        self.held_bytes.fetch_add(line.len(), Ordering::Relaxed);
        progress.log.push(line);
        let outcome = stopped.outcome();
        progress.stopped = Some(stopped);
        drop(progress);
        for position in not_begun {
            self.settle(position, &outcome);
        }
    }

    /// Why hosts were not begun, if some were not.
    pub fn stopped(&self) -> Option<Stopped> {
        self.progress().stopped.clone()
    }

    /// The server ends: whoever waits gets an answer.
    pub fn shut_down(&self, why: &str) {
        if self.head.rollout.is_some() {
            self.stop(Reason::Shutdown, why);
        }
        self.settle_rest(&Outcome::with_detail(Retcode::LinkLost, why));
    }

    /// The hosts that got their final states after the first `cursor` ones, and whether they succeeded.
    pub fn settled_after(&self, cursor: usize) -> Vec<(u32, bool)> {
        let progress = self.progress();
        let success = |n: &u32| progress.slots[*n as usize].as_ref().is_some_and(|settled| settled.success);
        progress.arrived[cursor..].iter().map(|n| (*n, success(n))).collect()
    }

    /// Waits until there are such hosts.
    pub async fn settles_after(&self, cursor: usize) {
        loop {
            let mut notified = std::pin::pin!(self.arrival.notified());
            notified.as_mut().enable();
            if self.progress().arrived.len() > cursor {
                return;
            }
            notified.await;
        }
    }
}

impl Stopped {
    pub fn new(reason: Reason, detail: &str, not_begun: usize) -> Stopped {
        Stopped { reason, detail: detail.to_owned(), not_begun }
    }

    /// The final state of each host that was not begun.
    pub fn outcome(&self) -> Outcome {
        Outcome::with_detail(Retcode::CancelledBeforeDelivery, format!("not begun: {}", self.detail))
    }

    /// As whoever reads a stream gets it, with its `\n`.
    pub fn line(&self) -> Bytes {
        line(self, "stopped")
    }
}

fn line(what: &impl Serialize, method: &'static str) -> Bytes {
    aspire_wire::frame::encode(&Line { what, method }).into()
}
