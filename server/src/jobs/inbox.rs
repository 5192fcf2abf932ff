//! What hosts tell of jobs and daemons, from a link to the database: kept in the
//! order in which it came, in bounded memory. What is owed and finds no room
//! stays with its link, which reads nothing more until there is some; anything
//! else is best effort and passed over.

use super::follow::Follow;
use super::owed::Owed;
use crate::agents::link::Link;
use crate::clock::EpochMs;
use crate::limits;
use aspire_wire::JobNotice;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::Notify;
use uuid::Uuid;

/// See the module.
#[derive(Debug, Default)]
pub struct Inbox {
    inner: Mutex<Inner>,
    /// Something is to be stored.
    pub(super) news: Notify,
    /// Held by whoever stores.
    pub(super) storing: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Inner {
    facts: VecDeque<Fact>,
    /// Of all facts that are not on disk, those that are just being stored included.
    bytes: usize,
    /// What each host has of them that is not owed.
    told: HashMap<Uuid, usize>,
    /// Links with something owed that found no room, by their place in memory.
    waiting: HashMap<usize, Arc<Link>>,
}

/// One thing that a host told.
#[derive(Debug)]
pub struct Fact {
    pub host: Uuid,
    pub at: EpochMs,
    pub what: What,
}

/// See [`Fact`].
#[derive(Debug)]
pub enum What {
    /// A job is on the host's disk.
    Accepted {
        job: Arc<str>,
        follow: Arc<Follow>,
    },
    Noticed(JobNotice),
    Owed(Box<Owed>),
    /// The host accepted the entry, a JSON object.
    CronSet {
        name: String,
        entry: String,
    },
    /// The host has no such entry any more.
    CronRemoved {
        name: String,
    },
    /// Entries that the host has, and whether it has no others.
    CronListed {
        entries: Vec<(String, String)>,
        all: bool,
    },
}

impl Fact {
    /// Bytes of memory.
    fn cost(&self) -> usize {
        limits::FACT_BYTES
            + match &self.what {
                What::Accepted { job, follow } => job.len() + follow.cost(),
                What::Noticed(notice) => notice.id.len() + notice.cron.as_ref().map_or(0, String::len),
                What::CronRemoved { name } => name.len(),
                What::Owed(owed) => owed.cost(),
                What::CronSet { name, entry } => name.len() + entry.len(),
                What::CronListed { entries, .. } => {
                    entries.iter().map(|(name, entry)| name.len() + entry.len()).sum()
                }
            }
    }
}

impl Inbox {
    /// Takes what is not owed, where there is room: in all, and for this host.
    pub fn tell(&self, fact: Fact) {
        let mut inner = self.inner();
        let told = inner.told.get(&fact.host).copied().unwrap_or(0);
        if inner.bytes >= limits::MAX_UNSTORED_BYTES || told >= limits::MAX_UNSTORED_BYTES_PER_LINK {
            drop(inner);
            return tracing::debug!(host = %fact.host, "news of a job passed over: too much waits");
        }
        inner.told.insert(fact.host, told + fact.cost());
        inner.push(fact);
        drop(inner);
        self.news.notify_one();
    }

    /// Takes what is owed; gives it back where there is no room. Then its link is woken when there is.
    pub fn offer(&self, host: Uuid, at: EpochMs, owed: Box<Owed>) -> Result<(), Box<Owed>> {
        let mut inner = self.inner();
        let link = &owed.link;
        if inner.bytes >= limits::MAX_UNSTORED_BYTES
            || link.unstored_bytes() >= limits::MAX_UNSTORED_BYTES_PER_LINK
        {
            inner.waiting.insert(Arc::as_ptr(link).addr(), link.clone());
            return Err(owed);
        }
        let link = link.clone();
        let fact = Fact { host, at, what: What::Owed(owed) };
        link.owe_ack(fact.cost());
        inner.push(fact);
        drop(inner);
        self.news.notify_one();
        Ok(())
    }

    /// Bytes of what is not on disk.
    pub fn unstored_bytes(&self) -> usize {
        self.inner().bytes
    }

    /// How many facts wait.
    pub(super) fn len(&self) -> usize {
        self.inner().facts.len()
    }

    /// The oldest facts, at most `most`. They count until they are said to be stored.
    pub(super) fn take(&self, most: usize) -> Vec<Fact> {
        let mut inner = self.inner();
        let count = inner.facts.len().min(most);
        inner.facts.drain(..count).collect()
    }

    /// They could not be stored: they are the oldest again.
    pub(super) fn give_back(&self, facts: Vec<Fact>) {
        let mut inner = self.inner();
        for fact in facts.into_iter().rev() {
            inner.facts.push_front(fact);
        }
    }

    /// They are on disk: results are acknowledged, in their order, and links that wait may go on.
    pub(super) fn stored(&self, facts: &[Fact]) {
        let mut links: HashMap<*const Link, Settling<'_>> = HashMap::new();
        let (mut bytes, mut told) = (0, Vec::new());
        for fact in facts {
            let cost = fact.cost();
            bytes += cost;
            let What::Owed(owed) = &fact.what else {
                told.push((fact.host, cost));
                continue;
            };
            let new = || Settling { link: &owed.link, bytes: 0, seqs: Vec::new() };
            let settling = links.entry(Arc::as_ptr(&owed.link)).or_insert_with(new);
            settling.bytes += cost;
            settling.seqs.extend(owed.seq);
        }
        for Settling { link, bytes, seqs } in links.into_values() {
            link.acknowledge(&seqs, bytes);
        }
        let mut inner = self.inner();
        inner.bytes -= bytes;
        for (host, cost) in told {
            inner.forget(host, cost);
        }
        let waiting = std::mem::take(&mut inner.waiting);
        if inner.facts.is_empty() {
            // An idle fleet keeps no memory of a busy one.
            inner.facts = VecDeque::new();
        }
        drop(inner);
        for link in waiting.into_values() {
            link.wake();
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("nothing panics while it holds the inbox")
    }
}

/// What one link gets once what it brought is stored.
struct Settling<'a> {
    link: &'a Arc<Link>,
    bytes: usize,
    seqs: Vec<u64>,
}

impl Inner {
    fn push(&mut self, fact: Fact) {
        self.bytes += fact.cost();
        self.facts.push_back(fact);
    }

    /// So much of what the host told is stored.
    fn forget(&mut self, host: Uuid, cost: usize) {
        if let Some(told) = self.told.get_mut(&host) {
            *told -= cost;
            if *told == 0 {
                self.told.remove(&host);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agents::samples::host;
    use crate::jobs::owed::{Ended, Of};
    use aspire_wire::JobState;
    use aspire_wire::daemon::Daemons;
    use aspire_wire::job::Run;
    use std::net::SocketAddr;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::{Context, Wake};

    fn link() -> Arc<Link> {
        Arc::new(Link::new(host(3), SocketAddr::from(([127, 0, 0, 1], 1))))
    }

    fn ended(link: &Arc<Link>, seq: u64, bytes: usize) -> Box<Owed> {
        let (run, entry) = (Run::default(), "x".repeat(bytes));
        let of = Of::Job(Ended { job: seq.to_string(), run, retcode: 2, entry });
        Box::new(Owed { link: link.clone(), seq: Some(seq), of })
    }

    /// The numbers that the link would acknowledge next.
    fn acks(link: &Link) -> Vec<u64> {
        let frames = std::iter::from_fn(|| link.pop()).collect::<Vec<_>>().concat();
        let lines = frames.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines
            .map(|line| serde_json::from_slice::<serde_json::Value>(line).unwrap()["seq"].as_u64().unwrap())
            .collect()
    }

    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    #[test]
    fn one_link_does_not_take_up_all_the_room() {
        let (inbox, greedy, other) = (Inbox::default(), link(), link());
        let size = 100_000;
        let taken =
            (0..1000).take_while(|n| inbox.offer(greedy.host.id, 1, ended(&greedy, *n, size)).is_ok());
        let taken = taken.count();
        let most = limits::MAX_UNSTORED_BYTES_PER_LINK.div_ceil(size + limits::FACT_BYTES);
        assert_eq!(taken, most);
        assert!(inbox.offer(other.host.id, 1, ended(&other, 1, size)).is_ok());
        assert!(acks(&greedy).is_empty(), "nothing is acknowledged before it is stored");
        let facts = inbox.take(usize::MAX);
        inbox.stored(&facts);
        assert_eq!(acks(&greedy), (0..taken as u64).collect::<Vec<_>>());
        assert_eq!((acks(&other), inbox.unstored_bytes(), greedy.unstored_bytes()), (vec![1], 0, 0));
        assert!(inbox.offer(greedy.host.id, 1, ended(&greedy, 7, size)).is_ok());
    }

    #[test]
    fn all_links_together_are_bounded_and_what_is_not_owed_is_passed_over() {
        let inbox = Inbox::default();
        let size = limits::MAX_UNSTORED_BYTES_PER_LINK;
        let links: Vec<_> = (0..100).map(|_| link()).collect();
        let taken =
            links.iter().filter(|link| inbox.offer(link.host.id, 1, ended(link, 1, size)).is_ok()).count();
        assert_eq!(taken, limits::MAX_UNSTORED_BYTES.div_ceil(size + limits::FACT_BYTES));
        let woken = Arc::new(Woken::default());
        let late = &links[99];
        late.poll(&Context::from_waker(&woken.clone().into()));
        assert!(inbox.offer(late.host.id, 1, ended(late, 1, size)).is_err());
        let before = inbox.unstored_bytes();
        let notice = JobNotice { id: "j".into(), state: JobState::Running, attempts: 1, cron: None };
        inbox.tell(Fact { host: Uuid::nil(), at: 1, what: What::Noticed(notice) });
        assert_eq!((inbox.unstored_bytes(), woken.0.load(Ordering::Relaxed)), (before, false));
        inbox.stored(&inbox.take(1));
        assert!(woken.0.load(Ordering::Relaxed), "there is room, although nothing of its own was stored");
    }

    #[test]
    fn one_host_that_tells_without_an_end_is_heard_so_far() {
        let inbox = Inbox::default();
        let (chatty, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let notice = || JobNotice {
            id: "j".repeat(100),
            state: JobState::Running,
            attempts: 1,
            cron: Some("c".repeat(50)),
        };
        let tell = |host| inbox.tell(Fact { host, at: 1, what: What::Noticed(notice()) });
        (0..100_000).for_each(|_| tell(chatty));
        let cost = limits::FACT_BYTES + 150;
        let most = limits::MAX_UNSTORED_BYTES_PER_LINK.div_ceil(cost);
        assert_eq!((inbox.len(), inbox.unstored_bytes()), (most, most * cost));
        tell(other);
        assert_eq!(inbox.len(), most + 1);
        inbox.stored(&inbox.take(usize::MAX));
        assert_eq!((inbox.unstored_bytes(), inbox.inner().told.len()), (0, 0));
        tell(chatty);
        assert_eq!(inbox.len(), 1);
    }

    #[test]
    fn what_could_not_be_stored_keeps_its_place_and_its_weight() {
        let (inbox, link) = (Inbox::default(), link());
        for seq in 0..4 {
            inbox.offer(link.host.id, 1, ended(&link, seq, 10)).unwrap();
        }
        let before = inbox.unstored_bytes();
        let first = inbox.take(2);
        inbox.give_back(first);
        assert_eq!(inbox.unstored_bytes(), before);
        inbox.stored(&inbox.take(4));
        assert_eq!(acks(&link), [0, 1, 2, 3]);
    }

    #[test]
    fn what_is_told_once_a_link_is_not_passed_over_and_nothing_is_said_of_it() {
        let (inbox, link) = (Inbox::default(), link());
        let daemons = || Owed::daemons(&link, Daemons { seq: 0, daemons: Vec::new() });
        let size = limits::MAX_UNSTORED_BYTES_PER_LINK;
        assert!(inbox.offer(link.host.id, 1, ended(&link, 1, size)).is_ok());
        let Err(daemons) = inbox.offer(link.host.id, 1, daemons()) else { panic!("there is no room") };
        inbox.stored(&inbox.take(1));
        assert_eq!(acks(&link), [1]);
        assert!(inbox.offer(link.host.id, 1, daemons).is_ok());
        inbox.stored(&inbox.take(1));
        assert!(link.pop().is_none());
        assert_eq!((inbox.unstored_bytes(), link.unstored_bytes()), (0, 0));
    }

    #[test]
    fn a_link_that_has_ended_is_told_nothing() {
        let (inbox, link) = (Inbox::default(), link());
        inbox.offer(link.host.id, 1, ended(&link, 1, 10)).unwrap();
        link.close("gone");
        inbox.stored(&inbox.take(1));
        assert!(acks(&link).is_empty());
    }
}
