//! Results on their way to the server: sent in order, a window of them at a
//! time, and again from the first after each reconnect, until each is
//! acknowledged. All of them are in the store; here is only what was sent.

use crate::machine::limits::{
    OUTBOX_BYTES, OUTBOX_RESULTS, OUTBOX_WINDOW_BYTES, OUTBOX_WINDOW_RESULTS, STORE_RETRY,
};
use crate::machine::{Instant, Now};
use crate::store::{Kept, Store, StoreError, Weight};
use crate::wire::frame::{MAX_FRAME_BYTES, encode};
use crate::wire::session::{Frame, FromAgent};
use crate::wire::{Outcome, Retcode};
use log::error;
use std::collections::BTreeMap;

#[derive(Debug)]
pub struct Outbox {
    weight: Weight,
    /// Sent on this link and not acknowledged: the bytes by the number.
    in_flight: BTreeMap<u64, usize>,
    /// Acknowledged, and not out of the store yet: at most a window of them.
    done: Vec<u64>,
    /// The store failed: it is left alone until then.
    pause: Option<Instant>,
    /// The last number that was sent on this link.
    sent: u64,
    /// Results that lost their output since the start.
    stripped: u64,
}

impl Outbox {
    pub fn new(store: &Store) -> Result<Self, StoreError> {
        let weight = store.outbox_weight()?;
        Ok(Outbox { weight, in_flight: BTreeMap::new(), done: Vec::new(), pause: None, sent: 0, stripped: 0 })
    }

    pub fn weight(&self) -> Weight {
        self.weight
    }

    /// Results that the server has not acknowledged.
    pub fn waiting(&self) -> usize {
        self.weight.results.saturating_sub(self.done.len())
    }

    /// Results that lost their output for want of room since the agent's start.
    pub fn stripped(&self) -> u64 {
        self.stripped
    }

    /// Whether another job could leave a result here.
    pub fn has_room(&self) -> bool {
        self.weight.results < OUTBOX_RESULTS
    }

    /// A result was put into the store. Where there is no room for all outputs the oldest go;
    /// returns how many.
    pub fn added(&mut self, bytes: usize, store: &mut Store) -> Result<u64, StoreError> {
        self.weight.results += 1;
        self.weight.bytes += bytes;
        let before = self.stripped;
        while self.weight.bytes > OUTBOX_BYTES {
            let Some(oldest) = store.oldest_with_output()? else { break };
            let bare = Kept { seq: oldest.seq, frame: without_output(&oldest.frame) };
            store.drop_output(&bare)?;
            self.weight.bytes -= oldest.frame.len().saturating_sub(bare.frame.len());
            self.stripped += 1;
        }
        Ok(self.stripped - before)
    }

    /// There is a new link: what was sent on the one before and not acknowledged goes again.
    pub fn begin_again(&mut self) {
        self.in_flight.clear();
        self.sent = 0;
    }

    /// The server has this result. One that was not sent to it is not its to acknowledge.
    pub fn acknowledged(&mut self, seq: u64) {
        if self.in_flight.remove(&seq).is_some() {
            self.done.push(seq);
        }
    }

    /// Takes what was acknowledged out of the store.
    pub fn tick(&mut self, now: Now, store: &mut Store) -> Result<(), StoreError> {
        if self.done.is_empty() || self.pause.is_some_and(|until| now.mono < until) {
            return Ok(());
        }
        match store.acknowledged(&self.done) {
            Ok(freed) => {
                self.pause = None;
                self.done.clear();
                self.weight.results = self.weight.results.saturating_sub(freed.results);
                self.weight.bytes = self.weight.bytes.saturating_sub(freed.bytes);
                Ok(())
            }
            Err(error) => {
                self.pause = Some(now.mono + STORE_RETRY);
                Err(error)
            }
        }
    }

    /// When the store is to be tried again.
    pub fn deadline(&self) -> Option<Instant> {
        self.pause
    }

    /// The frames that are to be sent now.
    pub fn next(&mut self, store: &mut Store) -> Result<Vec<Vec<u8>>, StoreError> {
        let in_flight_bytes: usize = self.in_flight.values().sum();
        let most = OUTBOX_WINDOW_RESULTS.saturating_sub(self.in_flight.len());
        let nothing_left = self.in_flight.len() >= self.weight.results;
        // Where acknowledged ones cannot leave the store, what follows them has to wait.
        if nothing_left || most == 0 || in_flight_bytes >= OUTBOX_WINDOW_BYTES || !self.done.is_empty() {
            return Ok(Vec::new());
        }
        let next = store.results_after(self.sent, most, OUTBOX_WINDOW_BYTES - in_flight_bytes)?;
        let mut frames = Vec::with_capacity(next.len());
        for kept in next {
            let seq = kept.seq;
            let readable = match self.readable(kept, store) {
                // What was taken before it goes now; this one is looked at again then.
                Err(_) if !frames.is_empty() => break,
                other => other?,
            };
            if let Some(frame) = readable {
                self.in_flight.insert(seq, frame.len());
                frames.push(frame);
            }
            self.sent = seq;
        }
        Ok(frames)
    }

    /// The frame, or what can still be said in its place: one that is no result would end the
    /// link, and every one after it.
    fn readable(&mut self, kept: Kept, store: &mut Store) -> Result<Option<Vec<u8>>, StoreError> {
        if is_result(&kept) {
            return Ok(Some(kept.frame));
        }
        let text = String::from_utf8_lossy(&kept.frame);
        let id = text.split("\"id\":\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default();
        error!("result=damaged seq={} id={id:?} bytes={}", kept.seq, kept.frame.len());
        let outcome =
            Outcome::with_detail(Retcode::StorageFailure, "its result was damaged on the agent's disk");
        let instead = store.say_instead(kept.seq, id, &outcome, |result| encode(&Frame::Result(result)))?;
        self.weight.bytes = self.weight.bytes.saturating_sub(kept.frame.len());
        match &instead {
            Some(frame) => self.weight.bytes += frame.len(),
            None => self.weight.results = self.weight.results.saturating_sub(1),
        }
        Ok(instead)
    }
}

fn is_result(kept: &Kept) -> bool {
    let Some((b'\n', line)) = kept.frame.split_last() else { return false };
    let is_one_line = line.len() < MAX_FRAME_BYTES && !line.contains(&b'\n');
    let seq = match FromAgent::parse(line) {
        Ok(FromAgent::Result(result)) => result.seq,
        Ok(FromAgent::Event(event)) => event.seq,
        _ => return false,
    };
    is_one_line && seq == kept.seq
}

/// The same result with a word in the place of its output.
fn without_output(frame: &[u8]) -> Vec<u8> {
    match FromAgent::parse(frame.trim_ascii_end()) {
        Ok(FromAgent::Result(mut result)) => {
            drop_output(&mut result.outcome);
            encode(&Frame::Result(&result))
        }
        Ok(FromAgent::Event(mut event)) => {
            drop_output(&mut event.outcome);
            encode(&Frame::Event(&event))
        }
        _ => frame.to_vec(),
    }
}

fn drop_output(outcome: &mut Outcome) {
    let lost = outcome.data.take().map_or(0, |data| data.get().len())
        + outcome.stderr.take().map_or(0, |stderr| stderr.len());
    outcome.encoding = None;
    outcome.dropped = Some(outcome.dropped.unwrap_or(0) + lost as u64);
    let word = "its output was dropped: too many results waited for the server";
    outcome.detail = Some(match outcome.detail.take() {
        Some(detail) => format!("{detail}; {word}"),
        None => word.to_owned(),
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::DaemonEvent;
    use serde_json::json;

    /// A daemon's event, as the store has it.
    fn event(seq: u64) -> Kept {
        let daemon =
            json!({"name": "a", "version": "1", "status": "backoff", "wanted": "running", "since": 7});
        let daemon = serde_json::from_value(daemon).unwrap();
        let outcome = Outcome::new(Retcode::ExitedWithAnError).with_data(&"last words");
        let event = DaemonEvent { seq, id: format!("a@7-{seq}"), daemon, outcome };
        Kept { seq, frame: encode(&Frame::Event(&event)) }
    }

    #[test]
    fn what_a_daemon_tells_is_sent_as_what_a_job_tells() {
        assert!(is_result(&event(3)));
        assert!(!is_result(&Kept { seq: 4, ..event(3) }), "of another number");
        let damaged = Kept { frame: event(3).frame[9..].to_vec(), ..event(3) };
        assert!(!is_result(&damaged));
    }

    #[test]
    fn a_daemons_last_words_can_go_for_want_of_room() {
        let bare = Kept { frame: without_output(&event(3).frame), ..event(3) };
        assert!(is_result(&bare), "it is the same event");
        let bare: serde_json::Value = serde_json::from_slice(&bare.frame).unwrap();
        assert_eq!((&bare["data"], &bare["dropped"]), (&json!(null), &json!(12)));
        assert_eq!(bare["daemon"]["status"], "backoff");
    }
}
