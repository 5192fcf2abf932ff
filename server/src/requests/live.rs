//! One request while it runs: a slot for each host, filled once, and a log of
//! what came in.

use super::output::{self, Allowance};
use super::{Head, Settled, Target};
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
    metrics: metrics::Requests,
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
        metrics: metrics::Requests,
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

    /// Fills the slot, if nothing else did before.
    pub fn settle(&self, position: u32, outcome: &Outcome) {
        self.fill(position, Settled::new(&self.targets[position as usize], outcome, clock::now()));
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

    /// Asks that what still runs be ended. Whoever sees to the request's end does it, once.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::SeqCst);
        self.cancel.notify_one();
    }

    /// Waits until somebody has called [`Live::cancel`], however often this is asked.
    pub async fn cancelled(&self) {
        if !self.cancelled.load(Ordering::SeqCst) {
            self.cancel.notified().await;
        }
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
mod tests {
    use super::*;
    use aspire_wire::Retcode;
    use aspire_wire::session::StreamName::Stdout;
    use serde_json::{Value, json};

    fn live(hosts: usize, held_bytes: &Arc<AtomicUsize>) -> Live {
        let head = Head {
            id: "r".into(),
            method: "sync.bash".into(),
            cmd: None,
            params: "{}".into(),
            url: None,
            stream: true,
            follow: None,
            waits: None,
            digest: String::new(),
            created: 1,
            deadline: 2,
        };
        let targets = (0..hosts).map(|n| Target { host: n.to_string(), name: None });
        let metrics = metrics::Requests::default();
        Live::new(head, targets.collect(), Arc::default(), held_bytes.clone(), metrics)
    }

    fn piece(bytes: &[u8]) -> Output {
        Output::new("r", Stdout, bytes)
    }

    async fn log(live: &Live) -> Vec<Value> {
        let mut log = Vec::new();
        while let Some(lines) = live.since(log.len()).await {
            log.extend(lines.iter().map(|line| serde_json::from_slice::<Value>(line).unwrap()));
        }
        log
    }

    #[tokio::test]
    async fn output_stands_before_its_hosts_final_state_and_the_recorder_sees_none_of_it() {
        let live = live(2, &Arc::default());
        let done = Outcome::new(Retcode::NormalTermination);
        assert!(live.output(1, &piece(b"so ")));
        live.settle(0, &done);
        assert!(!live.output(0, &piece(b"too late")));
        assert!(live.output(1, &piece(b"\xff")));
        live.settle(1, &done);
        let told: Vec<_> =
            log(&live).await.iter().map(|line| (line["host"].clone(), line["data"].clone())).collect();
        assert_eq!(
            told,
            [("1", json!("so ")), ("0", json!(null)), ("1", json!("/w==")), ("1", json!(null))]
                .map(|(host, data)| (json!(host), data))
        );
        let news = live.news(9).unwrap();
        assert_eq!(news.settled.iter().map(|(n, _)| *n).collect::<Vec<_>>(), [0, 1]);
    }

    #[tokio::test]
    async fn at_the_cap_of_a_request_its_output_stops_for_good_and_its_results_do_not() {
        let held = Arc::default();
        let live = live(200, &held);
        let full = vec![b'x'; limits::MAX_OUTPUT_BYTES_PER_STREAM];
        let passed_on = (0..200).filter(|host| live.output(*host, &piece(&full))).count();
        assert!((50..=64).contains(&passed_on), "{passed_on}");
        assert!(held.load(Ordering::Relaxed) <= limits::MAX_OUTPUT_BYTES_PER_REQUEST);
        assert!(!live.output(199, &piece(b"small")), "it would stand after a gap");
        live.settle_rest(&Outcome::new(Retcode::NormalTermination));
        assert_eq!(log(&live).await.len(), passed_on + 200);
        drop(live);
        assert_eq!(held.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn small_pieces_cost_what_they_take() {
        let live = live(1, &Arc::default());
        let passed_on = (0..100_000).take_while(|_| live.output(0, &piece(b"x"))).count();
        assert!((10_000..30_000).contains(&passed_on), "{passed_on}");
    }

    #[test]
    fn where_memory_is_full_no_output_is_passed_on() {
        let held = Arc::new(AtomicUsize::new(limits::MAX_LIVE_RESULT_BYTES));
        let live = live(1, &held);
        assert!(!live.output(0, &piece(b"x")));
        held.store(0, Ordering::Relaxed);
        assert!(!live.output(0, &piece(b"y")), "it would stand after a gap");
    }
}
