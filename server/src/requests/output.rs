//! What commands write while they run, as it is passed on: in lines of JSON
//! between the final states, and only so much of it.

use crate::limits::MAX_OUTPUT_BYTES_PER_STREAM;
use aspire_wire::Encoding;
use aspire_wire::session::{Output, StreamName};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Serialize;

/// What may still be passed on of one request's or one job's output.
#[derive(Debug)]
pub struct Allowance {
    /// Bytes of each host's streams, as the command wrote them. Empty where nothing is passed on.
    streams: Vec<[usize; 2]>,
    /// Bytes of memory.
    memory: usize,
}

impl Allowance {
    /// `memory` is in bytes.
    pub fn of(hosts: usize, memory: usize) -> Allowance {
        Allowance { streams: vec![[MAX_OUTPUT_BYTES_PER_STREAM; 2]; hosts], memory }
    }

    pub fn none() -> Allowance {
        Allowance { streams: Vec::new(), memory: 0 }
    }

    pub fn is_none(&self) -> bool {
        self.streams.is_empty()
    }

    /// The streams begin anew; the memory does not.
    pub fn renew(&mut self) {
        self.streams.fill([MAX_OUTPUT_BYTES_PER_STREAM; 2]);
    }

    /// Whether the host may send a piece of this length; a stream that breaks the rules is at its end.
    pub fn takes(&mut self, position: u32, stream: StreamName, length: Option<usize>) -> bool {
        let Some(streams) = self.streams.get_mut(position as usize) else { return false };
        let left = &mut streams[stream as usize];
        let rest = length.and_then(|length| left.checked_sub(length));
        *left = rest.unwrap_or(0);
        rest.is_some() && length != Some(0)
    }

    /// Whether there is so much memory left; it is taken.
    pub fn affords(&mut self, cost: usize) -> bool {
        let rest = self.memory.checked_sub(cost);
        self.memory = rest.unwrap_or(self.memory);
        rest.is_some()
    }
}

/// Bytes that the command wrote; `None` where the piece is not what it says.
pub fn length(piece: &Output) -> Option<usize> {
    match piece.encoding {
        None => Some(piece.data.len()),
        Some(Encoding::Base64) => STANDARD.decode(&piece.data).ok().map(|bytes| bytes.len()),
    }
}

/// The piece as whoever reads the answer gets it, with its `\n`. An entry has no `method`.
pub fn line(whose: &impl Serialize, piece: &Output) -> Bytes {
    #[derive(Serialize)]
    struct Line<'a, W> {
        #[serde(flatten)]
        whose: &'a W,
        method: &'static str,
        stream: StreamName,
        data: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        encoding: Option<Encoding>,
    }
    let Output { stream, data, encoding, .. } = piece;
    let (stream, encoding) = (*stream, *encoding);
    aspire_wire::frame::encode(&Line { whose, method: "output", stream, data, encoding }).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use StreamName::{Stderr, Stdout};

    #[test]
    fn each_stream_of_each_host_has_an_allowance_of_its_own() {
        let mut allowance = Allowance::of(2, 0);
        assert!(allowance.takes(0, Stdout, Some(MAX_OUTPUT_BYTES_PER_STREAM)));
        assert!(!allowance.takes(0, Stdout, Some(1)));
        assert!(allowance.takes(0, Stderr, Some(1)) && allowance.takes(1, Stdout, Some(1)));
        assert!(!Allowance::none().takes(0, Stdout, Some(1)));
    }

    #[test]
    fn after_a_piece_that_does_not_pass_none_does() {
        for wrong in [None, Some(MAX_OUTPUT_BYTES_PER_STREAM)] {
            let mut allowance = Allowance::of(1, 0);
            assert!(allowance.takes(0, Stdout, Some(1)));
            assert!(!allowance.takes(0, Stdout, wrong));
            assert!(!allowance.takes(0, Stdout, Some(1)));
        }
    }

    #[test]
    fn nothing_is_not_passed_on_and_does_no_harm() {
        let mut allowance = Allowance::of(1, 0);
        assert!(!allowance.takes(0, Stdout, Some(0)));
        assert!(allowance.takes(0, Stdout, Some(1)));
    }

    #[test]
    fn a_piece_is_as_long_as_what_the_command_wrote() {
        assert_eq!(length(&Output::new("r", Stdout, "größe".as_bytes())), Some(7));
        assert_eq!(length(&Output::new("r", Stdout, b"\xff\xfe")), Some(2));
        let wrong = Output { data: "!".into(), ..Output::new("r", Stdout, b"\xff") };
        assert_eq!(length(&wrong), None);
    }
}
