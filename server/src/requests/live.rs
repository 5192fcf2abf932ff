//! One request while it runs: a slot for each host, filled once, and a log of
//! what came in.

mod begun;

use super::output::{self, Allowance};
use super::rollout::{CANCELLED, Reason, Stopped};
use super::{Head, Settled, Target, without_output};
use crate::clock::{self, EpochMs};
use crate::store::requests::News;
use crate::{limits, metrics};
use aspire_wire::Outcome;
use aspire_wire::session::Output;
use bytes::Bytes;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::Notify;

/// See the module. Whoever wants what comes in reads [`Live::since`] with a cursor of its own.
#[derive(Debug)]
pub struct Live {
    pub head: Head,
    pub targets: Vec<Target>,
    progress: Mutex<Progress>,
    /// The log has grown.
    arrival: Notify,
    /// All slots are filled.
    end: Notify,
    /// Somebody wants it to end.
    cancel: Notify,
    cancelled: AtomicBool,
    /// Tells the recorder.
    news: Arc<Notify>,
    /// Bytes of all live requests' logs together.
    held_bytes: Arc<AtomicUsize>,
    metrics: Arc<metrics::Requests>,
}

#[derive(Debug)]
struct Progress {
    slots: Vec<Option<Settled>>,
    /// Output and final states as lines of JSON, in the order in which they came.
    log: Vec<Bytes>,
    /// What `log` has of `held_bytes`.
    held: usize,
    allowance: Allowance,
    /// Positions in the order in which they were filled.
    arrived: Vec<u32>,
    finished: Option<EpochMs>,
    /// A slot holds no final state.
    waits: bool,
    /// Of a rollout: how many hosts, in their order, may have heard of it.
    begun: usize,
    /// Of a rollout: why the rest does not.
    stopped: Option<Stopped>,
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
        metrics: Arc<metrics::Requests>,
    ) -> Live {
        let progress = Progress {
            slots: vec![None; targets.len()],
            log: Vec::with_capacity(targets.len()),
            held: 0,
            allowance: if head.stream {
                Allowance::of(targets.len(), limits::MAX_OUTPUT_BYTES_PER_REQUEST)
            } else {
                Allowance::none()
            },
            arrived: Vec::with_capacity(targets.len()),
            finished: None,
            waits: false,
            begun: 0,
            stopped: None,
            recorded: None,
            closed: false,
        };
        Live {
            head,
            targets,
            progress: Mutex::new(progress),
            arrival: Notify::new(),
            end: Notify::new(),
            cancel: Notify::new(),
            cancelled: AtomicBool::new(false),
            news,
            held_bytes,
            metrics,
        }
    }

    /// Fills the slot, if nothing else did before. Where there is no room for what the command wrote,
    /// it goes without.
    pub fn settle(&self, position: u32, outcome: &Outcome) {
        let target = &self.targets[position as usize];
        let mut settled = Settled::new(target, outcome, clock::now());
        if settled.line().len() > limits::ALWAYS_KEPT_RESULT_BYTES && !self.has_room(settled.line().len()) {
            const WHY: &str = "the results of this request, or of all, take as much memory as they may";
            settled = Settled::new(target, &without_output(outcome, WHY), settled.at);
        }
        self.fill(position, settled);
    }

    fn has_room(&self, bytes: usize) -> bool {
        self.progress().held + bytes <= limits::MAX_RESULT_BYTES_PER_REQUEST
            && self.held_bytes.load(Ordering::Relaxed) + bytes <= limits::MAX_HELD_RESULT_BYTES
    }

    /// As [`Live::settle`], with what is not the host's final state: the request waits for it.
    /// Whether the slot was empty.
    pub fn settle_waiting(&self, position: u32, waiting: Settled) -> bool {
        self.fill(position, waiting)
    }

    fn fill(&self, position: u32, settled: Settled) -> bool {
        let (at, waits, retcode) = (settled.at, settled.waits, settled.retcode);
        let mut progress = self.progress();
        let slot = &mut progress.slots[position as usize];
        if slot.is_some() {
            return false;
        }
        let line = slot.insert(settled).line().clone();
        let cost = line.len();
        progress.held += cost;
        progress.log.push(line);
        progress.arrived.push(position);
        progress.waits |= waits;
        let ended = progress.arrived.len() == progress.slots.len();
        if ended {
            progress.finished = Some(if waits { clock::now() } else { at });
        }
        let finished = progress.finished;
        self.held_bytes.fetch_add(cost, Ordering::Relaxed);
        drop(progress);
        if !waits {
            self.metrics.result(retcode);
        }
        if let Some(finished) = finished {
            self.metrics.ended(finished - self.head.created);
        }
        self.arrival.notify_waiters();
        if ended {
            self.end.notify_waiters();
        }
        self.news.notify_one();
        true
    }

    /// Passes a piece of the host's output on to whoever reads the log. Once one is not, none of
    /// the same stream is any more: what was passed on is the beginning of what the host's final
    /// state holds. Whether it was.
    pub fn output(&self, position: u32, piece: &Output) -> bool {
        let length = output::length(piece);
        let mut progress = self.progress();
        if progress.slots[position as usize].is_some()
            || !progress.allowance.takes(position, piece.stream, length)
        {
            return false;
        }
        let line = output::line(&self.targets[position as usize], piece);
        let cost = line.len() + limits::OUTPUT_LINE_BYTES;
        let room = limits::MAX_LIVE_RESULT_BYTES.saturating_sub(self.held_bytes.load(Ordering::Relaxed));
        if cost > room || !progress.allowance.affords(cost) {
            progress.allowance = Allowance::none();
            return false;
        }
        self.held_bytes.fetch_add(cost, Ordering::Relaxed);
        progress.held += cost;
        progress.log.push(line);
        drop(progress);
        self.arrival.notify_waiters();
        true
    }

    /// Asks that what still runs be ended. Whoever sees to the request's end does it, once. Of a
    /// rollout no host is begun from here on.
    pub fn cancel(&self) {
        if self.head.rollout.is_some() {
            self.stop(Reason::Cancelled, CANCELLED);
        }
        self.cancelled.store(true, Ordering::SeqCst);
        self.cancel.notify_one();
    }

    /// Waits until somebody has called [`Live::cancel`], however often this is asked.
    pub async fn cancelled(&self) {
        if !self.is_cancelled() {
            self.cancel.notified().await;
        }
    }

    /// Whether somebody has called [`Live::cancel`].
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::SeqCst)
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
        if !self.is_finished() {
            notified.await;
        }
    }

    /// Whether every host has its final state.
    pub fn is_finished(&self) -> bool {
        self.progress().finished.is_some()
    }

    /// The next lines of the log after the first `cursor` ones; waits for one, and answers `None`
    /// when there are no more.
    pub async fn since(&self, cursor: usize) -> Option<Vec<Bytes>> {
        loop {
            let mut notified = std::pin::pin!(self.arrival.notified());
            notified.as_mut().enable();
            {
                let progress = self.progress();
                let new = progress.log[cursor..].iter().take(limits::MAX_LINES_PER_CHUNK);
                let new: Vec<_> = new.cloned().collect();
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
        let ended = progress.finished.filter(|_| complete && !progress.closed);
        if progress.recorded.is_some() && from == to && ended.is_none() {
            return None;
        }
        let slot = |n: &u32| progress.slots[*n as usize].clone().map(|settled| (*n, settled));
        let settled = progress.arrived[from..to].iter().filter_map(slot);
        Some(News {
            head: &self.head,
            targets: &self.targets,
            first: progress.recorded.is_none(),
            taken: to - from,
            settled: settled.filter(|(_, settled)| !settled.waits).collect(),
            ended,
            waits: progress.waits,
            stopped: progress.stopped.clone(),
        })
    }

    /// The database has what of `count` more results is for it, and the end if `ended`.
    pub(super) fn recorded(&self, count: usize, ended: bool) {
        let mut progress = self.progress();
        progress.recorded = Some(progress.recorded.unwrap_or(0) + count);
        progress.closed |= ended;
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
        let held = self.progress().held;
        self.held_bytes.fetch_sub(held, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
