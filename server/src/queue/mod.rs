//! Requests that wait for their hosts. The table `queue` is what survives;
//! this is the same in memory, so that a link costs no query. The [`courier`]
//! delivers what waits when a host has a link, and again by the next link
//! until a reply is on disk: a host that has seen it answers it anew and does
//! not run it twice, as long and as far as it remembers, and no further is
//! anything delivered again.

pub mod courier;

use crate::clock::{self, EpochMs};
use crate::jobs::Follow;
use crate::limits::{
    DELIVERY_WINDOW_BYTES, MAX_QUEUED, MAX_QUEUED_PER_HOST, MAX_UNSTORED_ANSWER_BYTES, REDELIVERED,
};
use crate::requests::{Settled, without_output};
use crate::store::queue::QueueRow;
use aspire_wire::{Outcome, Retcode};
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::Notify;
use uuid::Uuid;

/// See the module.
#[derive(Debug, Default)]
pub struct Queue {
    inner: Mutex<Inner>,
    /// The courier has something to do.
    news: Notify,
    /// Held by whoever changes the table.
    writing: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Inner {
    /// In the order in which each host gets them.
    hosts: HashMap<Uuid, VecDeque<Entry>>,
    total: usize,
    /// The latest row's.
    serial: i64,
    /// Hosts to deliver to.
    kicked: HashSet<Uuid>,
    /// Outcomes that are not in the database.
    settling: Vec<Settling>,
    settling_bytes: usize,
}

#[derive(Debug)]
struct Entry {
    row: QueueRow,
    state: State,
    /// Somebody has cancelled it: it does not leave (again).
    cancelled: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    /// It is on a link that still lives.
    Sent {
        due: EpochMs,
        cost: usize,
    },
    /// Its outcome is on its way to the database.
    Over,
}

/// The final state of one host, on its way to the database.
#[derive(Debug)]
pub struct Settling {
    pub host: Uuid,
    pub request: Arc<str>,
    pub position: u32,
    pub settled: Settled,
}

/// One request on its way to a host.
#[derive(Debug)]
pub struct Delivery {
    queue: Arc<Queue>,
    host: Uuid,
    pub request: Arc<str>,
    pub follow: Option<Arc<Follow>>,
}

impl Delivery {
    /// The host has answered.
    pub fn answered(&self, outcome: &Outcome) {
        self.queue.answered(self.host, &self.request, outcome);
    }

    /// The link ended before.
    pub fn lost(&self) {
        self.queue.unsent(self.host, &self.request);
        self.queue.kick(self.host);
    }
}

impl Queue {
    /// As the database has it.
    pub fn new(rows: Vec<QueueRow>) -> Queue {
        let queue = Queue::default();
        queue.add(rows);
        queue
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many requests wait, counted by host.
    pub fn len(&self) -> usize {
        self.inner().total
    }

    /// Bytes of answers that are not in the database.
    pub fn unstored_bytes(&self) -> usize {
        self.inner().settling_bytes
    }

    /// The host has a link.
    pub fn kick(&self, host: Uuid) {
        let mut inner = self.inner();
        if inner.hosts.contains_key(&host) {
            inner.kicked.insert(host);
            self.news.notify_one();
        }
    }

    /// Takes in rows that are in the database.
    fn add(&self, rows: Vec<QueueRow>) {
        let mut inner = self.inner();
        for row in rows {
            inner.serial = inner.serial.max(row.serial);
            inner.total += 1;
            inner.kicked.insert(row.host);
            inner.hosts.entry(row.host).or_default().push_back(Entry::new(row));
        }
        self.news.notify_one();
    }

    /// Why no request can wait for this host, where `taken` have just found room for others.
    fn no_room(&self, host: Uuid, taken: usize) -> Option<Outcome> {
        let inner = self.inner();
        let here = inner.hosts.get(&host).map_or(0, VecDeque::len);
        let full = if here >= MAX_QUEUED_PER_HOST {
            format!("{here} requests wait for this host already, which is as many as may")
        } else if inner.total + taken >= MAX_QUEUED {
            format!("{MAX_QUEUED} requests wait for their hosts already, which is as many as may")
        } else {
            return None;
        };
        Some(Outcome::with_detail(Retcode::Busy, full))
    }

    fn next_serial(&self) -> i64 {
        let mut inner = self.inner();
        inner.serial += 1;
        inner.serial
    }

    /// What may be delivered to the host now, at most `most`, and how many bytes of it.
    fn deliverable(&self, host: Uuid, most: usize, now: EpochMs) -> (Vec<QueueRow>, usize) {
        let inner = self.inner();
        let Some(entries) = inner.hosts.get(&host) else { return Default::default() };
        let under_way: usize = entries.iter().map(Entry::under_way).sum();
        let waiting = entries.iter().filter(|entry| entry.may_leave(now));
        let waiting = waiting.take(most).map(|entry| entry.row.clone()).collect();
        (waiting, DELIVERY_WINDOW_BYTES.saturating_sub(under_way))
    }

    /// The request is about to be sent; whether it still waited. [`Queue::not_sent`] undoes it.
    fn sent(&self, host: Uuid, request: &str, now: EpochMs, due: EpochMs, cost: usize) -> bool {
        self.inner().entry(host, request).is_some_and(|entry| {
            let waited = entry.state == State::Waiting;
            if waited {
                entry.state = State::Sent { due, cost };
                entry.row.sent.get_or_insert(now);
            }
            waited
        })
    }

    /// It is not on any link: it is sent again, unless somebody has cancelled it.
    fn unsent(&self, host: Uuid, request: &str) {
        let mut inner = self.inner();
        let Some(entry) = inner.entry(host, request) else { return };
        let State::Sent { .. } = entry.state else { return };
        entry.state = State::Waiting;
        if entry.cancelled {
            let settling = entry.settle(&entry.withdrawn());
            inner.push(settling);
            drop(inner);
            self.news.notify_one();
        }
    }

    /// It did not leave after all; `before` is when it was sent before, if it was.
    fn not_sent(&self, host: Uuid, request: &str, before: Option<EpochMs>) {
        if let Some(entry) = self.inner().entry(host, request)
            && let State::Sent { .. } = entry.state
        {
            entry.row.sent = before;
        }
        self.unsent(host, request);
    }

    fn answered(&self, host: Uuid, request: &str, outcome: &Outcome) {
        let mut inner = self.inner();
        let room = inner.settling_bytes < MAX_UNSTORED_ANSWER_BYTES;
        let Some(entry) = inner.entry(host, request) else { return };
        if let State::Sent { .. } = entry.state {
            // Not asked again: the agent may have forgotten by then that it has run it.
            const WHY: &str = "too much waited to be stored";
            let kept = if room { outcome } else { &without_output(outcome, WHY) };
            let settling = entry.settle(kept);
            inner.push(settling);
            inner.kicked.insert(host);
        }
        drop(inner);
        self.news.notify_one();
    }

    /// Ends what has waited long enough, and what waits for hosts that are no more (`known` says
    /// no); has hosts looked at for which something waits and which are `linked`. Answers which
    /// replies nobody waits for any more.
    fn sweep(
        &self,
        now: EpochMs,
        known: impl Fn(Uuid) -> bool,
        linked: impl Fn(Uuid) -> bool,
    ) -> Vec<(Uuid, Arc<str>)> {
        let mut inner = self.inner();
        let Inner { hosts, kicked, .. } = &mut *inner;
        let (mut over, mut given_up) = (Vec::new(), Vec::new());
        for (host, entries) in hosts {
            let known = known(*host);
            for entry in &mut *entries {
                let Some(why) = entry.end_at(now, known) else { continue };
                if let State::Sent { .. } = entry.state {
                    given_up.push((*host, entry.row.request.clone()));
                    kicked.insert(*host);
                }
                over.push(entry.settle(&why));
            }
            if entries.iter().any(|entry| entry.state == State::Waiting) && linked(*host) {
                kicked.insert(*host);
            }
        }
        for settling in over {
            inner.push(settling);
        }
        given_up
    }

    /// Ends what is on no link: it is not sent any more. What is on one, its host has to end; should
    /// that link end before, it is not sent by the next.
    fn withdraw(&self, request: &str, hosts: &[Uuid]) {
        let mut inner = self.inner();
        for host in hosts {
            let Some(entry) = inner.entry(*host, request) else { continue };
            entry.cancelled = true;
            if entry.state == State::Waiting {
                let settling = entry.settle(&entry.withdrawn());
                inner.push(settling);
            }
        }
    }

    fn take_kicked(&self) -> HashSet<Uuid> {
        std::mem::take(&mut self.inner().kicked)
    }

    /// The oldest outcomes, at most `most`.
    fn take_settling(&self, most: usize) -> Vec<Settling> {
        let mut inner = self.inner();
        let count = inner.settling.len().min(most);
        inner.settling.drain(..count).collect()
    }

    /// They could not be stored.
    fn give_back(&self, settling: Vec<Settling>) {
        self.inner().settling.splice(..0, settling);
    }

    /// They are in the database.
    fn forget(&self, settled: &[Settling]) {
        let mut inner = self.inner();
        for Settling { host, request, settled, .. } in settled {
            inner.settling_bytes -= settled.line().len();
            let Some(entries) = inner.hosts.get_mut(host) else { continue };
            let before = entries.len();
            entries.retain(|entry| entry.row.request != *request);
            let (gone, empty) = (before - entries.len(), entries.is_empty());
            if empty {
                inner.hosts.remove(host);
            }
            inner.total -= gone;
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("nothing panics while it holds the queue")
    }
}

impl Inner {
    fn entry(&mut self, host: Uuid, request: &str) -> Option<&mut Entry> {
        self.hosts.get_mut(&host)?.iter_mut().find(|entry| &*entry.row.request == request)
    }

    fn push(&mut self, settling: Settling) {
        self.settling_bytes += settling.settled.line().len();
        self.settling.push(settling);
    }
}

impl Entry {
    fn new(row: QueueRow) -> Entry {
        Entry { row, state: State::Waiting, cancelled: false }
    }

    /// How one that was cancelled ends where it is on no link.
    fn withdrawn(&self) -> Outcome {
        let heard = "it was delivered before it was cancelled, and the host is away: it may have run";
        match self.row.sent {
            None => Outcome::new(Retcode::CancelledBeforeDelivery),
            Some(_) => Outcome::with_detail(Retcode::LinkLost, heard),
        }
    }

    /// Bytes that were delivered and not answered.
    fn under_way(&self) -> usize {
        match self.state {
            State::Sent { cost, .. } => cost,
            State::Waiting | State::Over => 0,
        }
    }

    fn may_leave(&self, now: EpochMs) -> bool {
        self.state == State::Waiting && self.row.expires > now && !self.is_forgotten(now)
    }

    /// Whether the host, if it has run it, may know nothing of that any more.
    fn is_forgotten(&self, now: EpochMs) -> bool {
        self.row.sent.is_some_and(|sent| now - sent > clock::ms(REDELIVERED))
    }

    fn settle(&mut self, outcome: &Outcome) -> Settling {
        self.state = State::Over;
        let QueueRow { host, request, position, target, .. } = &self.row;
        let settled = Settled::new(target, outcome, clock::now());
        Settling { host: *host, request: request.clone(), position: *position, settled }
    }

    /// Why it waits no longer.
    fn end_at(&self, now: EpochMs, known: bool) -> Option<Outcome> {
        let heard = self.row.sent.is_some();
        let (code, why) = match self.state {
            State::Over => return None,
            State::Sent { due, .. } if due > now => return None,
            State::Sent { .. } => {
                (Retcode::NoReplyInTime, "it was delivered and not answered: it may still run")
            }
            State::Waiting if !known && heard => (
                Retcode::LinkLost,
                "it was delivered, and the host was removed before it had answered: it may have run",
            ),
            State::Waiting if !known => {
                (Retcode::CancelledBeforeDelivery, "the host was removed while it waited")
            }
            State::Waiting if self.is_forgotten(now) => (
                Retcode::LinkLost,
                "it was delivered and not answered for so long that to send it again might run it twice: \
                 it may have run",
            ),
            State::Waiting if self.row.expires > now => return None,
            State::Waiting if heard => (
                Retcode::LinkLost,
                "it was delivered, and the host did not come back in time: it may have run",
            ),
            State::Waiting => (Retcode::Expired, "the host did not come back in time"),
        };
        Some(Outcome::with_detail(code, why))
    }
}

/// What is said of a host for which a request waits: not its final state.
pub fn waiting(row: &QueueRow) -> Settled {
    let until = clock::rfc3339(row.expires);
    let detail = format!("queued: the host is offline; it waits until {until}");
    Settled::waiting(&row.target, &Outcome::with_detail(Retcode::Accepted, detail), row.created)
}

#[cfg(test)]
mod tests;
