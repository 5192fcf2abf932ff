//! Results on their way to the server: sent in order, a window of them at a
//! time, and again from the first after each reconnect, until each is
//! acknowledged. All of them are in the store; here is only what was sent.

use crate::machine::limits::{OUTBOX_BYTES, OUTBOX_RESULTS, OUTBOX_WINDOW_BYTES, OUTBOX_WINDOW_RESULTS};
use crate::store::{Kept, Store, StoreError, Weight};
use crate::wire::frame::encode;
use crate::wire::session::{Frame, FromAgent};
use std::collections::BTreeMap;

#[derive(Debug)]
pub struct Outbox {
    weight: Weight,
    /// Sent on this link and not acknowledged: the bytes by the number.
    in_flight: BTreeMap<u64, usize>,
    /// The last number that was sent on this link.
    sent: u64,
    /// Results that lost their output since the start.
    stripped: u64,
}

impl Outbox {
    pub fn new(store: &Store) -> Result<Self, StoreError> {
        let weight = store.outbox_weight()?;
        Ok(Outbox { weight, in_flight: BTreeMap::new(), sent: 0, stripped: 0 })
    }

    pub fn weight(&self) -> Weight {
        self.weight
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
    pub fn acknowledged(&mut self, seq: u64, store: &mut Store) -> Result<(), StoreError> {
        if self.in_flight.remove(&seq).is_none() {
            return Ok(());
        }
        if let Some(bytes) = store.acknowledged(seq)? {
            self.weight.results -= 1;
            self.weight.bytes = self.weight.bytes.saturating_sub(bytes);
        }
        Ok(())
    }

    /// The frames that are to be sent now.
    pub fn next(&mut self, store: &Store) -> Result<Vec<Vec<u8>>, StoreError> {
        let in_flight_bytes: usize = self.in_flight.values().sum();
        let most = OUTBOX_WINDOW_RESULTS.saturating_sub(self.in_flight.len());
        let nothing_left = self.in_flight.len() == self.weight.results;
        if nothing_left || most == 0 || in_flight_bytes >= OUTBOX_WINDOW_BYTES {
            return Ok(Vec::new());
        }
        let next = store.results_after(self.sent, most, OUTBOX_WINDOW_BYTES - in_flight_bytes)?;
        let frames = next.into_iter().map(|Kept { seq, frame }| {
            self.in_flight.insert(seq, frame.len());
            self.sent = seq;
            frame
        });
        Ok(frames.collect())
    }
}

/// The same result with a word in the place of its output.
fn without_output(frame: &[u8]) -> Vec<u8> {
    let Ok(FromAgent::Result(mut result)) = FromAgent::parse(frame.trim_ascii_end()) else {
        return frame.to_vec();
    };
    let outcome = &mut result.outcome;
    let lost = outcome.data.take().map_or(0, |data| data.get().len())
        + outcome.stderr.take().map_or(0, |stderr| stderr.len());
    outcome.encoding = None;
    outcome.dropped = Some(outcome.dropped.unwrap_or(0) + lost as u64);
    let word = "its output was dropped: too many results waited for the server";
    outcome.detail = Some(match outcome.detail.take() {
        Some(detail) => format!("{detail}; {word}"),
        None => word.to_owned(),
    });
    encode(&Frame::Result(&result))
}
