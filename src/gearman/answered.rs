//! Requests that were seen, so that one which is repeated is not run twice.
//!
//! A request is on disk from the moment when its command has a process, and its
//! reply as soon as it has left; where many come in a row, a little later and
//! together. A command whose agent ended in between is known to have been begun,
//! and that is what its repetition is told.

use crate::machine::limits::{
    ANSWERED_AGE, ANSWERED_BURST, ANSWERED_BYTES, ANSWERED_PACE, ANSWERED_REQUESTS, FORGOTTEN_REQUESTS,
    STORE_RETRY,
};
use crate::machine::{Instant, Now};
use crate::store::{Place, Store, StoreError};
use crate::wire::frame::{MAX_FRAME_BYTES, encode};
use crate::wire::session::FromAgent;
use crate::wire::{Outcome, Reply, Retcode};
use std::collections::{HashMap, VecDeque};

/// The requests under way, and the replies of the latest ones, bounded in
/// number and bytes: the oldest is forgotten first.
#[derive(Debug, Default)]
pub struct Answered {
    by_id: HashMap<String, Request>,
    oldest_first: VecDeque<String>,
    bytes: usize,
    /// Begun or answered, and not on disk yet.
    unwritten: Vec<String>,
    /// Forgotten here, and not on disk yet.
    forgotten: Vec<Place>,
    write_by: Option<Instant>,
    /// Writings that need not wait, and until when this was counted.
    credit: u32,
    credited: Instant,
}

#[derive(Debug)]
struct Request {
    disk: Disk,
    state: State,
}

/// Whether it survives the agent.
#[derive(Debug, Clone, Copy)]
enum Disk {
    /// A question, which may be asked twice. Its answer may be large.
    NotKept,
    /// It has done nothing that must not be done twice.
    NotNeeded,
    Waiting,
    At(Place),
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
                self.by_id.insert(id, Request { disk: Disk::At(place), state });
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
            State::OnDisk => match (store, request.disk) {
                (Some(store), Disk::At(place)) => store.reply(place).ok().flatten(),
                _ => None,
            }
            .filter(|frame| is_reply(id, frame))
            .map_or_else(|| Seen::Answered(no_reply(id, "its reply is not kept any more")), Seen::Answered),
            State::Interrupted => Seen::Answered(no_reply(
                id,
                "the agent was restarted while it ran; nobody knows how it ended",
            )),
        }
    }

    /// The request is under way.
    pub fn begin(&mut self, id: &str) {
        self.by_id.insert(id.to_owned(), Request { disk: Disk::NotNeeded, state: State::Running });
    }

    /// The same of one that changes nothing: once it is answered it is forgotten.
    pub fn begin_question(&mut self, id: &str) {
        self.by_id.insert(id.to_owned(), Request { disk: Disk::NotKept, state: State::Running });
    }

    /// Its command has a process.
    pub fn begun(&mut self, now: Now, id: &str) {
        if let Some(request) = self.by_id.get_mut(id) {
            request.disk = Disk::Waiting;
            self.is_new(now, id);
        }
    }

    /// In the next turn, so that what this is about goes on first; or when it is time again.
    fn is_new(&mut self, now: Now, id: &str) {
        self.unwritten.push(id.to_owned());
        let paces = now.mono.since(self.credited).as_millis() / ANSWERED_PACE.as_millis();
        let paces = u32::try_from(paces).unwrap_or(ANSWERED_BURST).min(ANSWERED_BURST);
        if self.credit + paces >= ANSWERED_BURST {
            (self.credit, self.credited) = (ANSWERED_BURST, now.mono);
        } else {
            self.credit += paces;
            self.credited = self.credited + ANSWERED_PACE * paces;
        }
        let when = if self.credit > 0 { now.mono } else { self.credited + ANSWERED_PACE };
        self.write_by.get_or_insert(when);
    }

    /// The request was answered. Returns the reply's frame.
    pub fn finish(&mut self, now: Now, reply: &Reply) -> Vec<u8> {
        let frame = encode(reply);
        let disk = self.by_id.get(&reply.id).map_or(Disk::NotNeeded, |request| request.disk);
        if matches!(disk, Disk::NotKept) {
            self.by_id.remove(&reply.id);
            return frame;
        }
        self.bytes += frame.len();
        self.by_id.insert(reply.id.clone(), Request { disk, state: State::Answered(frame.clone()) });
        self.oldest_first.push_back(reply.id.clone());
        if !matches!(disk, Disk::NotNeeded) {
            self.is_new(now, &reply.id);
        }
        self.forget_the_oldest();
        frame
    }

    fn forget_the_oldest(&mut self) {
        while self.bytes > ANSWERED_BYTES || self.oldest_first.len() > ANSWERED_REQUESTS {
            let Some(id) = self.oldest_first.pop_front() else { break };
            let Some(Request { disk, state }) = self.by_id.remove(&id) else { continue };
            if let State::Answered(frame) = state {
                self.bytes -= frame.len();
            }
            if let Disk::At(place) = disk {
                self.forgotten.push(place);
            }
        }
    }

    /// When [`Answered::write`] is to be called.
    pub fn deadline(&self) -> Option<Instant> {
        self.write_by
    }

    /// Brings what is new to disk.
    pub fn write(&mut self, now: Now, store: &mut Store) -> Result<(), StoreError> {
        self.write_by = None;
        self.credit = self.credit.saturating_sub(1);
        let written = self.write_new(now, store).and_then(|()| self.write_forgotten(now, store));
        if written.is_err() {
            self.write_by = Some(now.mono + STORE_RETRY);
            self.unwritten.retain(|id| self.by_id.contains_key(id));
        }
        written
    }

    fn write_new(&mut self, now: Now, store: &mut Store) -> Result<(), StoreError> {
        let mut places: HashMap<&str, Place> = HashMap::new();
        store.keep_requests(|rows| {
            for id in &self.unwritten {
                let Some(request) = self.by_id.get(id) else { continue };
                let known = places.get(id.as_str()).copied();
                let place = match (request.disk, known) {
                    (Disk::At(place), _) | (_, Some(place)) => place,
                    _ => rows.begun(id, now.wall)?,
                };
                places.insert(id, place);
                if let State::Answered(frame) = &request.state {
                    rows.answered(place, frame)?;
                }
            }
            Ok(())
        })?;
        // Not before: of what fails nothing is done, and the places are another's.
        for (id, place) in places {
            if let Some(request) = self.by_id.get_mut(id) {
                request.disk = Disk::At(place);
            }
        }
        self.unwritten.clear();
        Ok(())
    }

    fn write_forgotten(&mut self, now: Now, store: &mut Store) -> Result<(), StoreError> {
        if self.forgotten.len() >= FORGOTTEN_REQUESTS {
            store.forget_requests(now.wall, &self.forgotten, ANSWERED_AGE)?;
            self.forgotten.clear();
        }
        Ok(())
    }

    /// Requests whose replies are kept.
    pub fn len(&self) -> usize {
        self.oldest_first.len()
    }
}

/// What is none would end the link.
fn is_reply(id: &str, frame: &[u8]) -> bool {
    let Some((b'\n', line)) = frame.split_last() else { return false };
    let is_one_line = line.len() < MAX_FRAME_BYTES && !line.contains(&b'\n');
    is_one_line && matches!(FromAgent::parse(line), Ok(FromAgent::Reply(reply)) if reply.id == id)
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
            answered.begun(at(9), id);
        }
        answered.begin("nothing");
        answered.finish(at(9), &reply("nothing", 3));
        let frame = answered.finish(at(9), &reply("whole", 3));
        assert_eq!(answered.deadline(), Some(at(9).mono));
        answered.write(at(10), &mut store).unwrap();
        assert_eq!(answered.deadline(), None);

        let mut next = Answered::default();
        next.restore(&store).unwrap();
        assert_eq!(next.seen("whole", Some(&store)), Seen::Answered(frame));
        let Seen::Answered(lost) = next.seen("half", Some(&store)) else { panic!("it would run again") };
        assert!(String::from_utf8(lost).unwrap().contains("\"retcode\":3110"));
        assert_eq!(next.seen("nothing", Some(&store)), Seen::Never);
    }

    #[test]
    fn after_a_quiet_time_they_are_written_at_once_and_of_many_in_a_row_together() {
        let mut store = Store::in_memory().unwrap();
        let mut answered = Answered::default();
        let mut now = at(100);
        let (mut writings, mut at_once) = (0, 0);
        for n in 0..1000 {
            let id = n.to_string();
            answered.begin(&id);
            answered.begun(now, &id);
            answered.finish(now, &reply(&id, 1));
            at_once += u32::from(answered.deadline() == Some(now.mono) && at_once == n);
            if answered.deadline().is_some_and(|by| by <= now.mono) {
                answered.write(now, &mut store).unwrap();
                writings += 1;
            }
            now.mono = now.mono + Duration::from_millis(1);
        }
        assert_eq!(at_once, ANSWERED_BURST);
        assert!((24..30).contains(&writings), "{writings} in a second");
    }

    #[test]
    fn a_question_is_not_asked_twice_at_a_time_and_costs_no_memory_of_commands() {
        let mut answered = Answered::default();
        answered.begin("command");
        answered.finish(at(0), &reply("command", 1));
        for n in 0..4 {
            let id = n.to_string();
            answered.begin_question(&id);
            assert_eq!(answered.seen(&id, None), Seen::Running);
            assert!(answered.finish(at(0), &reply(&id, 1_000_000)).len() > 1_000_000);
            assert_eq!(answered.seen(&id, None), Seen::Never);
        }
        assert!(matches!(answered.seen("command", None), Seen::Answered(_)));
        assert_eq!((answered.len(), answered.deadline()), (1, None));
    }

    #[test]
    fn the_disk_forgets_what_memory_forgets_and_what_is_old() {
        let mut store = Store::in_memory().unwrap();
        let mut answered = Answered::default();
        for n in 0..ANSWERED_REQUESTS + FORGOTTEN_REQUESTS {
            let id = n.to_string();
            answered.begin(&id);
            answered.begun(at(0), &id);
            answered.finish(at(0), &reply(&id, 1));
        }
        answered.write(at(1), &mut store).unwrap();
        let kept = store.requests().unwrap();
        assert_eq!((kept.len(), &kept[0].1), (ANSWERED_REQUESTS, &FORGOTTEN_REQUESTS.to_string()));
        assert!(kept.iter().all(|(_, _, has_reply)| *has_reply));
        store.keep_requests(|rows| rows.begun("young", at(5).wall).map(drop)).unwrap();
        store.forget_requests(at(2 + ANSWERED_AGE.as_secs()).wall, &[], ANSWERED_AGE).unwrap();
        let left: Vec<_> = store.requests().unwrap().into_iter().map(|(_, id, _)| id).collect();
        assert_eq!(left, ["young"]);
    }
}
