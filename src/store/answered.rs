//! Requests that were seen, so that one which is repeated is not run twice.

use crate::machine::limits::{ANSWERED_BYTES, ANSWERED_REQUESTS};
use crate::wire::Reply;
use crate::wire::frame::encode;
use std::collections::{HashMap, VecDeque};

/// The requests under way, and the replies of the latest ones, bounded in
/// number and bytes: the oldest is forgotten first.
#[derive(Debug, Default)]
pub struct Answered {
    by_id: HashMap<String, Option<Vec<u8>>>,
    oldest_first: VecDeque<String>,
    bytes: usize,
}

/// What is known of a request's id.
#[derive(Debug, PartialEq, Eq)]
pub enum Seen<'a> {
    Never,
    /// It is under way; its reply will come.
    Running,
    /// The frame that answered it.
    Answered(&'a [u8]),
}

impl Answered {
    pub fn seen(&self, id: &str) -> Seen<'_> {
        match self.by_id.get(id) {
            None => Seen::Never,
            Some(None) => Seen::Running,
            Some(Some(frame)) => Seen::Answered(frame),
        }
    }

    /// The request is under way.
    pub fn begin(&mut self, id: &str) {
        self.by_id.insert(id.to_owned(), None);
    }

    /// The request was answered. Returns the reply's frame.
    pub fn finish(&mut self, reply: &Reply) -> Vec<u8> {
        let frame = encode(reply);
        self.bytes += frame.len();
        self.by_id.insert(reply.id.clone(), Some(frame.clone()));
        self.oldest_first.push_back(reply.id.clone());
        while self.bytes > ANSWERED_BYTES || self.oldest_first.len() > ANSWERED_REQUESTS {
            let Some(id) = self.oldest_first.pop_front() else { break };
            let forgotten = self.by_id.remove(&id).flatten();
            self.bytes -= forgotten.map_or(0, |frame| frame.len());
        }
        frame
    }

    /// Requests whose replies are kept.
    pub fn len(&self) -> usize {
        self.oldest_first.len()
    }

    pub fn is_empty(&self) -> bool {
        self.oldest_first.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Outcome, Retcode};

    fn reply(id: &str, size: usize) -> Reply {
        let outcome = Outcome::new(Retcode::NormalTermination).with_output(&vec![b'x'; size], b"");
        Reply::new(id, outcome)
    }

    #[test]
    fn a_request_is_new_then_running_then_answered() {
        let mut answered = Answered::default();
        assert_eq!(answered.seen("a"), Seen::Never);
        answered.begin("a");
        assert_eq!(answered.seen("a"), Seen::Running);
        let frame = answered.finish(&reply("a", 3));
        assert_eq!(answered.seen("a"), Seen::Answered(&frame));
    }

    #[test]
    fn number_and_bytes_are_bounded_and_the_running_are_never_forgotten() {
        let mut answered = Answered::default();
        answered.begin("running");
        for (count, size) in [(3000, 10), (200, 65536)] {
            for n in 0..count {
                answered.finish(&reply(&format!("{size}-{n}"), size));
                assert!(answered.len() <= ANSWERED_REQUESTS && answered.bytes <= ANSWERED_BYTES);
            }
            assert_eq!(answered.seen(&format!("{size}-0")), Seen::Never);
            assert_ne!(answered.seen(&format!("{size}-{}", count - 1)), Seen::Never);
        }
        assert_eq!(answered.seen("running"), Seen::Running);
        let held: usize = answered.by_id.values().flatten().map(Vec::len).sum();
        assert_eq!(held, answered.bytes);
    }
}
