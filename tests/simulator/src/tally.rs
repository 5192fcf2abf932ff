//! What a fleet has done, for whoever watches it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use tokio::sync::watch;
use tokio::time::Instant;

/// Counts of all hosts together.
#[derive(Debug, Default)]
pub struct Tally {
    up: watch::Sender<usize>,
    handshakes: Mutex<Vec<Instant>>,
    requests: AtomicU64,
    repeated: AtomicU64,
    replies: AtomicU64,
    failed: AtomicU64,
    redirected: AtomicU64,
}

impl Tally {
    /// Links that are ready.
    pub fn up(&self) -> usize {
        *self.up.borrow()
    }

    /// Waits until so many links are ready at once, or more.
    pub async fn are_up(&self, count: usize) {
        self.up.subscribe().wait_for(|up| *up >= count).await.expect("the sender is ours");
    }

    /// Waits until no link is.
    pub async fn are_down(&self) {
        self.up.subscribe().wait_for(|up| *up == 0).await.expect("the sender is ours");
    }

    /// When handshakes were complete, as the hosts see it, in no order. A host whose certificate is
    /// refused learns of that after its handshake.
    pub fn handshakes(&self) -> Vec<Instant> {
        self.times().clone()
    }

    /// Requests that the hosts took, those that were repeated left out.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Requests that a host had had before.
    pub fn repeated(&self) -> u64 {
        self.repeated.load(Ordering::Relaxed)
    }

    /// Replies that were written whole.
    pub fn replies(&self) -> u64 {
        self.replies.load(Ordering::Relaxed)
    }

    /// Tries that ended before there was a link, redirects left out.
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Redirects that were followed.
    pub fn redirected(&self) -> u64 {
        self.redirected.load(Ordering::Relaxed)
    }

    pub(crate) fn shook(&self) {
        self.times().push(Instant::now());
    }

    pub(crate) fn linked(&self) {
        self.up.send_modify(|up| *up += 1);
    }

    pub(crate) fn unlinked(&self) {
        self.up.send_modify(|up| *up -= 1);
    }

    pub(crate) fn took(&self, repeated: bool) {
        let count = if repeated { &self.repeated } else { &self.requests };
        count.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn replied(&self) {
        self.replies.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn has_failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn was_redirected(&self) {
        self.redirected.fetch_add(1, Ordering::Relaxed);
    }

    fn times(&self) -> MutexGuard<'_, Vec<Instant>> {
        self.handshakes.lock().expect("nothing panics while it holds the times")
    }
}
