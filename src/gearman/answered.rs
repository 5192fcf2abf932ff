//! Requests that were seen, so that one which is repeated is not run twice.
//!
//! A request is on disk from the moment when its command has a process, and its
//! reply as soon as it has left. A command whose agent ended in between is
//! known to have been begun, and that is what its repetition is told.

use crate::machine::limits::{ANSWERED_AGE, ANSWERED_BYTES, ANSWERED_REQUESTS, FORGOTTEN_REQUESTS};
use crate::machine::{Instant, Now};
use crate::store::{Place, Store, StoreError};
use crate::wire::frame::encode;
use crate::wire::{Outcome, Reply, Retcode};
use std::collections::{HashMap, VecDeque};

/// The requests under way, and the replies of the latest ones, bounded in
/// number and bytes: the oldest is forgotten first.
#[derive(Debug, Default)]
pub struct Answered {
    by_id: HashMap<String, Request>,
    oldest_first: VecDeque<String>,
    bytes: usize,
    /// Answered, and not on disk yet.
    unwritten: Vec<String>,
    /// Forgotten here, and not on disk yet.
    forgotten: Vec<Place>,
    write_by: Option<Instant>,
}

#[derive(Debug)]
struct Request {
    /// On disk, where it is there.
    place: Option<Place>,
    state: State,
}

#[derive(Debug)]
enum State {
    Running,
    /// The frame that answered it.
    Answered(Vec<u8>),
    /// An earlier agent answered it.
    OnDisk,
    /// An earlier agent began it.
    Interrupted,
}

/// What is known of a request's id.
#[derive(Debug, PartialEq, Eq)]
pub enum Seen {
    Never,
    /// It is under way; its reply will come.
    Running,
    /// The frame that answers it.
    Answered(Vec<u8>),
}

impl Answered {
    /// Takes up what an earlier agent left.
    pub fn restore(&mut self, store: &Store) -> Result<(), StoreError> {
        for (place, id, has_reply) in store.requests()? {
            if !self.by_id.contains_key(&id) {
                let state = if has_reply { State::OnDisk } else { State::Interrupted };
                self.oldest_first.push_back(id.clone());
                self.by_id.insert(id, Request { place: Some(place), state });
            }
        }
        self.forget_the_oldest();
        Ok(())
    }

    pub fn seen(&self, id: &str, store: Option<&Store>) -> Seen {
        let Some(request) = self.by_id.get(id) else { return Seen::Never };
        match &request.state {
            State::Running => Seen::Running,
            State::Answered(frame) => Seen::Answered(frame.clone()),
            State::OnDisk => match store.zip(request.place).map(|(store, place)| store.reply(place)) {
                Some(Ok(Some(frame))) => Seen::Answered(frame),
                _ => Seen::Answered(no_reply(id, "its reply is not kept any more")),
            },
            State::Interrupted => Seen::Answered(no_reply(
                id,
                "the agent was restarted while it ran; nobody knows how it ended",
            )),
        }
    }

    /// The request is under way.
    pub fn begin(&mut self, id: &str) {
        self.by_id.insert(id.to_owned(), Request { place: None, state: State::Running });
    }

    /// Its command has a process.
    pub fn begun(&mut self, id: &str, now: Now, store: &mut Store) -> Result<(), StoreError> {
        if let Some(request) = self.by_id.get_mut(id) {
            request.place = Some(store.request_begun(id, now.wall)?);
        }
        Ok(())
    }

    /// The request was answered. Returns the reply's frame.
    pub fn finish(&mut self, now: Now, reply: &Reply) -> Vec<u8> {
        let frame = encode(reply);
        self.bytes += frame.len();
        let place = self.by_id.get(&reply.id).and_then(|request| request.place);
        self.by_id.insert(reply.id.clone(), Request { place, state: State::Answered(frame.clone()) });
        self.oldest_first.push_back(reply.id.clone());
        if place.is_some() {
            self.unwritten.push(reply.id.clone());
            // In the next turn: the reply leaves first.
            self.write_by.get_or_insert(now.mono);
        }
        self.forget_the_oldest();
        frame
    }

    fn forget_the_oldest(&mut self) {
        while self.bytes > ANSWERED_BYTES || self.oldest_first.len() > ANSWERED_REQUESTS {
            let Some(id) = self.oldest_first.pop_front() else { break };
            let Some(Request { place, state }) = self.by_id.remove(&id) else { continue };
            if let State::Answered(frame) = state {
                self.bytes -= frame.len();
            }
            self.forgotten.extend(place);
        }
    }

    /// When [`Answered::write`] is to be called.
    pub fn deadline(&self) -> Option<Instant> {
        self.write_by
    }

    /// Brings what is new to disk.
    pub fn write(&mut self, now: Now, store: &mut Store) -> Result<(), StoreError> {
        self.write_by = None;
        let unwritten = std::mem::take(&mut self.unwritten);
        let replies = unwritten.iter().filter_map(|id| match self.by_id.get(id)? {
            Request { place: Some(place), state: State::Answered(frame) } => Some((*place, frame.as_slice())),
            _ => None,
        });
        store.keep_replies(replies)?;
        if self.forgotten.len() >= FORGOTTEN_REQUESTS {
            store.forget_requests(now.wall, &std::mem::take(&mut self.forgotten), ANSWERED_AGE)?;
        }
        Ok(())
    }

    /// Requests whose replies are kept.
    pub fn len(&self) -> usize {
        self.oldest_first.len()
    }
}

fn no_reply(id: &str, detail: &str) -> Vec<u8> {
    encode(&Reply::new(id, Outcome::with_detail(Retcode::Lost, detail)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, SystemTime};

    fn reply(id: &str, size: usize) -> Reply {
        let outcome = Outcome::new(Retcode::NormalTermination).with_output(&vec![b'x'; size], b"");
        Reply::new(id, outcome)
    }

    fn at(seconds: u64) -> Now {
        let since = Duration::from_secs(seconds);
        Now { mono: Instant(since), wall: SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000) + since }
    }

    #[test]
    fn a_request_is_new_then_running_then_answered() {
        let mut answered = Answered::default();
        assert_eq!(answered.seen("a", None), Seen::Never);
        answered.begin("a");
        assert_eq!(answered.seen("a", None), Seen::Running);
        let frame = answered.finish(at(0), &reply("a", 3));
        assert_eq!(answered.seen("a", None), Seen::Answered(frame));
    }

    #[test]
    fn number_and_bytes_are_bounded_and_the_running_are_never_forgotten() {
        let mut answered = Answered::default();
        answered.begin("running");
        for (count, size) in [(3000, 10), (200, 65536)] {
            for n in 0..count {
                answered.finish(at(0), &reply(&format!("{size}-{n}"), size));
                assert!(answered.len() <= ANSWERED_REQUESTS && answered.bytes <= ANSWERED_BYTES);
            }
            assert_eq!(answered.seen(&format!("{size}-0"), None), Seen::Never);
            assert_ne!(answered.seen(&format!("{size}-{}", count - 1), None), Seen::Never);
        }
        assert_eq!(answered.seen("running", None), Seen::Running);
    }

    #[test]
    fn the_next_agent_knows_what_was_begun_and_what_was_answered() {
        let mut store = Store::in_memory().unwrap();
        let mut answered = Answered::default();
        for id in ["whole", "half"] {
            answered.begin(id);
            answered.begun(id, at(0), &mut store).unwrap();
        }
        let frame = answered.finish(at(0), &reply("whole", 3));
        assert_eq!(answered.deadline(), Some(at(0).mono));
        answered.write(at(1), &mut store).unwrap();
        assert_eq!(answered.deadline(), None);

        let mut next = Answered::default();
        next.restore(&store).unwrap();
        assert_eq!(next.seen("whole", Some(&store)), Seen::Answered(frame));
        let Seen::Answered(lost) = next.seen("half", Some(&store)) else { panic!("it would run again") };
        assert!(String::from_utf8(lost).unwrap().contains("\"retcode\":3110"));
        assert_eq!(next.seen("other", Some(&store)), Seen::Never);
    }

    #[test]
    fn the_disk_forgets_what_memory_forgets_and_what_is_old() {
        let mut store = Store::in_memory().unwrap();
        let mut answered = Answered::default();
        for n in 0..ANSWERED_REQUESTS + FORGOTTEN_REQUESTS {
            let id = n.to_string();
            answered.begin(&id);
            answered.begun(&id, at(0), &mut store).unwrap();
            answered.finish(at(0), &reply(&id, 1));
        }
        answered.write(at(1), &mut store).unwrap();
        let kept = store.requests().unwrap();
        assert_eq!((kept.len(), &kept[0].1), (ANSWERED_REQUESTS, &FORGOTTEN_REQUESTS.to_string()));
        assert!(kept.iter().all(|(_, _, has_reply)| *has_reply));
        store.request_begun("young", at(5).wall).unwrap();
        store.forget_requests(at(2 + ANSWERED_AGE.as_secs()).wall, &[], ANSWERED_AGE).unwrap();
        let left: Vec<_> = store.requests().unwrap().into_iter().map(|(_, id, _)| id).collect();
        assert_eq!(left, ["young"]);
    }
}
