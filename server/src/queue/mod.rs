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
use crate::requests::Settled;
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
        self.inner().total == 0
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
            let settling = if room { entry.settle(outcome) } else { entry.settle(&without_output(outcome)) };
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

/// What became of it, without what it wrote.
fn without_output(outcome: &Outcome) -> Outcome {
    let dropped = "its output was not kept: too much waited to be stored";
    let detail = outcome.detail.as_ref().map_or(dropped.into(), |detail| format!("{detail}; {dropped}"));
    Outcome { detail: Some(detail), data: None, stderr: None, encoding: None, ..outcome.clone() }
}

/// What is said of a host for which a request waits: not its final state.
pub fn waiting(row: &QueueRow) -> Settled {
    let until = clock::rfc3339(row.expires);
    let detail = format!("queued: the host is offline; it waits until {until}");
    Settled::waiting(&row.target, &Outcome::with_detail(Retcode::Accepted, detail), row.created)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::requests::Target;

    fn row(host: Uuid, serial: usize) -> QueueRow {
        QueueRow {
            request: serial.to_string().into(),
            position: 0,
            serial: i64::try_from(serial).unwrap(),
            host,
            target: Target { host: host.to_string(), name: None },
            expires: 1000,
            sent: None,
            created: 1,
        }
    }

    /// A queue in which so many requests wait for the host.
    fn queue(host: Uuid, count: usize) -> Queue {
        Queue::new((0..count).map(|serial| row(host, serial)).collect())
    }

    fn codes(queue: &Queue) -> Vec<(String, u16)> {
        let settling = queue.take_settling(usize::MAX);
        let codes = settling.iter().map(|one| (one.request.to_string(), one.settled.retcode)).collect();
        queue.forget(&settling);
        codes
    }

    #[test]
    fn only_so_many_wait_for_one_host_and_for_all() {
        let (host, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let full = queue(host, MAX_QUEUED_PER_HOST);
        assert_eq!(full.no_room(host, 0).unwrap().retcode, Retcode::Busy.code());
        assert!(full.no_room(other, 0).is_none());
        let rows = (0..MAX_QUEUED).map(|n| row(Uuid::from_u128(n as u128 / 500), n));
        let full = Queue::new(rows.take(MAX_QUEUED - 1).collect());
        assert!(full.no_room(host, 0).is_none());
        assert!(full.no_room(host, 1).unwrap().detail.unwrap().contains("100000"));
    }

    #[test]
    fn what_is_not_answered_bounds_what_is_delivered() {
        let host = Uuid::from_u128(1);
        let queue = queue(host, 3);
        assert!(queue.sent(host, "0", 5, 9, DELIVERY_WINDOW_BYTES - 1));
        assert!(!queue.sent(host, "0", 5, 9, 1), "it is on its way");
        let (rows, window) = queue.deliverable(host, 9, 5);
        assert_eq!((rows.iter().map(|row| &*row.request).collect::<Vec<_>>(), window), (vec!["1", "2"], 1));
        queue.answered(host, "0", &Outcome::new(Retcode::NormalTermination));
        assert_eq!(queue.deliverable(host, 1, 5).1, DELIVERY_WINDOW_BYTES);
        queue.answered(host, "0", &Outcome::new(Retcode::LinkLost));
        assert_eq!(codes(&queue), [("0".to_owned(), 2)], "the first answer counts");
        assert!(queue.deliverable(host, 9, 1000).0.is_empty(), "too late");
    }

    #[test]
    fn an_answer_that_finds_no_room_counts_without_its_output() {
        let host = Uuid::from_u128(1);
        let queue = queue(host, 100);
        let large = Outcome::new(Retcode::NormalTermination).with_data(&"x".repeat(1024 * 1024));
        for n in 0..100 {
            assert!(queue.sent(host, &n.to_string(), 5, 9, 1));
            queue.answered(host, &n.to_string(), &large);
        }
        assert!(queue.deliverable(host, 1000, 5).0.is_empty(), "to ask again might run it twice");
        let kept = MAX_UNSTORED_ANSWER_BYTES / (1024 * 1024);
        let settling = queue.take_settling(usize::MAX);
        let whole = |one: &&Settling| one.settled.line().len() > 1024 * 1024;
        assert_eq!((settling.len(), settling.iter().filter(whole).count()), (100, kept));
        let last = &settling[99].settled;
        assert_eq!(last.retcode, 2);
        assert!(last.json().contains("its output was not kept"), "{}", last.json());
    }

    #[test]
    fn what_the_host_may_have_forgotten_is_not_sent_again() {
        let host = Uuid::from_u128(1);
        let mut rows = vec![row(host, 0), row(host, 1)];
        for row in &mut rows {
            row.expires = EpochMs::MAX;
        }
        let queue = Queue::new(rows);
        let limit = clock::ms(REDELIVERED);
        for now in [5, limit + 4, limit + 5] {
            assert!(queue.sent(host, "0", now, now + 9, 1), "{now}");
            queue.unsent(host, "0");
        }
        let ids = |now| {
            let rows = queue.deliverable(host, 9, now).0;
            rows.iter().map(|row| row.request.to_string()).collect::<Vec<_>>()
        };
        assert_eq!((ids(limit + 5).len(), ids(limit + 6)), (2, vec!["1".to_owned()]));
        queue.sweep(limit + 6, |_| true, |_| true);
        assert_eq!(codes(&queue), [("0".to_owned(), 206)]);
    }

    #[test]
    fn each_end_has_its_reason() {
        let (here, gone) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let mut rows: Vec<_> = (0..5).map(|n| row(if n < 3 { here } else { gone }, n)).collect();
        rows[1].sent = Some(3);
        rows[4].sent = Some(3);
        let queue = Queue::new(rows);
        assert!(queue.sent(here, "2", 5, 2000, 1));
        let ended = |now| {
            queue.sweep(now, |host| host == here, |_| true);
            let mut codes = codes(&queue);
            codes.sort();
            codes.into_iter().map(|(_, code)| code).collect::<Vec<_>>()
        };
        assert_eq!(ended(999), [207, 206], "the host that was removed: not heard of, and delivered before");
        assert_eq!(ended(1000), [3109, 206], "the one that is there: not heard of, and delivered before");
        assert!(ended(1999).is_empty(), "what was delivered has its own time");
        let given_up = queue.sweep(2000, |_| true, |_| true);
        assert_eq!(given_up, [(here, "2".into())], "nobody waits for its answer");
        assert_eq!(ended(2000), [205]);
        assert!(queue.is_empty());
    }

    #[test]
    fn what_did_not_leave_was_not_heard_of() {
        let host = Uuid::from_u128(1);
        let queue = queue(host, 2);
        for id in ["0", "1"] {
            assert!(queue.sent(host, id, 5, 9, 1));
        }
        queue.not_sent(host, "0", None);
        queue.not_sent(host, "1", Some(3));
        queue.sweep(1000, |_| true, |_| true);
        assert_eq!(codes(&queue), [("0".to_owned(), 3109), ("1".to_owned(), 206)]);
    }

    #[test]
    fn what_is_withdrawn_is_sent_no_more_and_nobody_is_told_that_it_never_was() {
        let host = Uuid::from_u128(1);
        let queue = queue(host, 2);
        assert!(queue.sent(host, "0", 5, 9, 1));
        queue.withdraw("0", &[host]);
        assert!(queue.take_settling(9).is_empty(), "it is the host's to end it");
        queue.unsent(host, "0");
        queue.withdraw("1", &[host]);
        assert!(queue.deliverable(host, 9, 5).0.is_empty());
        assert_eq!(codes(&queue), [("0".to_owned(), 206), ("1".to_owned(), 207)]);
    }
}
