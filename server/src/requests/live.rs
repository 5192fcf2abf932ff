//! One request while it runs: a slot for each host, filled once.

use super::{Head, Settled, Target};
use crate::clock::{self, EpochMs};
use crate::limits;
use crate::store::requests::News;
use aspire_wire::Outcome;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::Notify;

/// See the module. Whoever wants the results reads [`Live::since`] with a cursor of its own.
#[derive(Debug)]
pub struct Live {
    pub head: Head,
    pub targets: Vec<Target>,
    progress: Mutex<Progress>,
    /// A slot was filled.
    arrival: Notify,
    /// All slots are filled.
    end: Notify,
    /// Tells the recorder.
    news: Arc<Notify>,
    /// Bytes of all live requests' results together.
    held_bytes: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct Progress {
    slots: Vec<Option<Settled>>,
    /// Positions in the order in which they were filled.
    arrived: Vec<u32>,
    finished: Option<EpochMs>,
    /// Whether the request's row is in the database, and how many of `arrived` are.
    recorded: Option<usize>,
    /// The end is in the database too.
    closed: bool,
}

impl Live {
    pub(super) fn new(
        head: Head,
        targets: Vec<Target>,
        news: Arc<Notify>,
        held_bytes: Arc<AtomicUsize>,
    ) -> Live {
        let progress = Progress {
            slots: vec![None; targets.len()],
            arrived: Vec::with_capacity(targets.len()),
            finished: None,
            recorded: None,
            closed: false,
        };
        Live {
            head,
            targets,
            progress: Mutex::new(progress),
            arrival: Notify::new(),
            end: Notify::new(),
            news,
            held_bytes,
        }
    }

    /// Fills the slot, if nothing else did before.
    pub fn settle(&self, position: u32, outcome: &Outcome) {
        let at = clock::now();
        let settled = Settled::new(&self.targets[position as usize], outcome, at);
        let bytes = settled.line().len();
        let mut progress = self.progress();
        let slot = &mut progress.slots[position as usize];
        if slot.is_some() {
            return;
        }
        *slot = Some(settled);
        progress.arrived.push(position);
        let ended = progress.arrived.len() == progress.slots.len();
        if ended {
            progress.finished = Some(at);
        }
        drop(progress);
        self.held_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.arrival.notify_waiters();
        if ended {
            self.end.notify_waiters();
        }
        self.news.notify_one();
    }

    /// Every slot that is still empty gets this.
    pub fn settle_rest(&self, outcome: &Outcome) {
        for position in self.unsettled() {
            self.settle(position, outcome);
        }
    }

    /// Positions whose slots are empty.
    pub fn unsettled(&self) -> Vec<u32> {
        let progress = self.progress();
        (0u32..).zip(&progress.slots).filter(|(_, slot)| slot.is_none()).map(|(n, _)| n).collect()
    }

    /// What has arrived so far, in the order asked, and when the request ended.
    pub fn results(&self) -> (Vec<Settled>, Option<EpochMs>) {
        let progress = self.progress();
        (progress.slots.iter().flatten().cloned().collect(), progress.finished)
    }

    /// Waits until every host has its final state.
    pub async fn ended(&self) {
        let mut notified = std::pin::pin!(self.end.notified());
        notified.as_mut().enable();
        if self.progress().finished.is_none() {
            notified.await;
        }
    }

    /// The next results after the first `cursor` ones, in the order of their arrival;
    /// waits for one, and answers `None` when there are no more.
    pub async fn since(&self, cursor: usize) -> Option<Vec<Settled>> {
        loop {
            let mut notified = std::pin::pin!(self.arrival.notified());
            notified.as_mut().enable();
            {
                let progress = self.progress();
                let slot = |n: &u32| progress.slots[*n as usize].clone();
                let new = progress.arrived[cursor..].iter().take(limits::MAX_RESULTS_PER_CHUNK);
                let new: Vec<_> = new.filter_map(slot).collect();
                if !new.is_empty() {
                    return Some(new);
                }
                if progress.finished.is_some() {
                    return None;
                }
            }
            notified.await;
        }
    }

    /// At most `limit` results that the database does not have yet; `None` where it is up to date.
    pub(super) fn news(&self, limit: usize) -> Option<News<'_>> {
        let progress = self.progress();
        let from = progress.recorded.unwrap_or(0);
        let to = progress.arrived.len().min(from + limit);
        let complete = to == progress.arrived.len();
        let finished = progress.finished.filter(|_| complete && !progress.closed);
        if progress.recorded.is_some() && from == to && finished.is_none() {
            return None;
        }
        let slot = |n: &u32| progress.slots[*n as usize].clone().map(|settled| (*n, settled));
        Some(News {
            head: &self.head,
            targets: &self.targets,
            first: progress.recorded.is_none(),
            settled: progress.arrived[from..to].iter().filter_map(slot).collect(),
            finished,
        })
    }

    /// The database has `count` more results, and the end if `finished`.
    pub(super) fn recorded(&self, count: usize, finished: bool) {
        let mut progress = self.progress();
        progress.recorded = Some(progress.recorded.unwrap_or(0) + count);
        progress.closed |= finished;
    }

    /// Nothing of it would be lost.
    pub(super) fn is_closed(&self) -> bool {
        self.progress().closed
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().expect("nothing panics while it holds a request")
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        let bytes: usize = self.results().0.iter().map(|settled| settled.line().len()).sum();
        self.held_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Where a host's reply belongs.
#[derive(Debug, Clone)]
pub struct ReplyTo {
    pub request: Arc<Live>,
    pub position: u32,
}

impl ReplyTo {
    pub fn settle(&self, outcome: &Outcome) {
        self.request.settle(self.position, outcome);
    }
}
