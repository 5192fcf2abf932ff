//! Requests that were seen, so that one which is repeated is not run twice.
//!
//! A request is on disk from the moment when its command has a process; its
//! reply follows a little later, with others. A command whose agent ended in
//! between is known to have been begun, and that is what its repetition is told.

use crate::machine::limits::{ANSWERED_AGE, ANSWERED_BYTES, ANSWERED_LINGER, ANSWERED_REQUESTS};
use crate::machine::{Instant, Now};
use crate::store::{Store, StoreError};
use crate::wire::frame::encode;
use crate::wire::{Outcome, Reply, Retcode};
use std::collections::{HashMap, VecDeque};

/// The requests under way, and the replies of the latest ones, bounded in
/// number and bytes: the oldest is forgotten first.
#[derive(Debug, Default)]
pub struct Answered {
    by_id: HashMap<String, State>,
    oldest_first: VecDeque<String>,
    bytes: usize,
    /// Answered, and not on disk yet.
    unwritten: Vec<String>,
    /// Forgotten here, and not on disk yet.
    forgotten: Vec<String>,
    write_by: Option<Instant>,
}

#[derive(Debug, PartialEq, Eq)]
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
        for (id, has_reply) in store.requests()? {
            if !self.by_id.contains_key(&id) {
                let state = if has_reply { State::OnDisk } else { State::Interrupted };
                self.oldest_first.push_back(id.clone());
                self.by_id.insert(id, state);
            }
        }
        self.forget_the_oldest();
        Ok(())
    }

    pub fn seen(&self, id: &str, store: Option<&Store>) -> Seen {
        match self.by_id.get(id) {
            None => Seen::Never,
            Some(State::Running) => Seen::Running,
            Some(State::Answered(frame)) => Seen::Answered(frame.clone()),
            Some(State::OnDisk) => match store.map(|store| store.reply(id)) {
                Some(Ok(Some(frame))) => Seen::Answered(frame),
                _ => Seen::Answered(no_reply(id, "its reply is not kept any more")),
            },
            Some(State::Interrupted) => Seen::Answered(no_reply(
                id,
                "the agent was restarted while it ran; nobody knows how it ended",
            )),
        }
    }

    /// The request is under way.
    pub fn begin(&mut self, id: &str) {
        self.by_id.insert(id.to_owned(), State::Running);
    }

    /// The request was answered. Returns the reply's frame.
    pub fn finish(&mut self, now: Now, reply: &Reply) -> Vec<u8> {
        let frame = encode(reply);
        self.bytes += frame.len();
        self.by_id.insert(reply.id.clone(), State::Answered(frame.clone()));
        self.oldest_first.push_back(reply.id.clone());
        self.unwritten.push(reply.id.clone());
        self.write_by.get_or_insert(now.mono + ANSWERED_LINGER);
        self.forget_the_oldest();
        frame
    }

    fn forget_the_oldest(&mut self) {
        while self.bytes > ANSWERED_BYTES || self.oldest_first.len() > ANSWERED_REQUESTS {
            let Some(id) = self.oldest_first.pop_front() else { break };
            if let Some(State::Answered(frame)) = self.by_id.remove(&id) {
                self.bytes -= frame.len();
            }
            self.forgotten.push(id);
        }
    }

    /// When [`Answered::write`] is to be called.
    pub fn deadline(&self) -> Option<Instant> {
        self.write_by
    }

    /// Brings what is new to disk.
    pub fn write(&mut self, now: Now, store: &mut Store) -> Result<(), StoreError> {
        self.write_by = None;
        let (unwritten, forgotten) =
            (std::mem::take(&mut self.unwritten), std::mem::take(&mut self.forgotten));
        let replies = unwritten.iter().filter_map(|id| match self.by_id.get(id) {
            Some(State::Answered(frame)) => Some((id.as_str(), frame.as_slice())),
            _ => None,
        });
        store.keep_replies(now.wall, replies, &forgotten, ANSWERED_AGE)
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
            store.request_begun(id, at(0).wall).unwrap();
        }
        let frame = answered.finish(at(0), &reply("whole", 3));
        assert_eq!(answered.deadline(), Some(at(1).mono));
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
        for n in 0..ANSWERED_REQUESTS + 10 {
            let id = n.to_string();
            answered.begin(&id);
            store.request_begun(&id, at(0).wall).unwrap();
            answered.finish(at(0), &reply(&id, 1));
        }
        answered.write(at(1), &mut store).unwrap();
        assert_eq!(store.requests().unwrap().len(), ANSWERED_REQUESTS);
        store.request_begun("young", at(5).wall).unwrap();
        answered.write(at(2 + ANSWERED_AGE.as_secs()), &mut store).unwrap();
        assert_eq!(store.requests().unwrap(), [("young".to_owned(), false)]);
    }
}
