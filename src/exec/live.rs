//! What is sent of a command's output while it runs: a place in each of its
//! captures, so that the pieces together are what the reply has, only sooner.

use super::output::Capture;
use crate::machine::Instant;
use crate::machine::limits::LIVE_INTERVAL;
use crate::wire::session::StreamName;

#[derive(Debug, Default)]
pub struct Live {
    /// Bytes that were sent of standard output and standard error.
    sent: [usize; 2],
    /// No piece goes before. A command that writes byte by byte must not cost a frame each.
    not_before: Option<Instant>,
}

/// A piece of one stream.
pub type Piece<'a> = (StreamName, &'a [u8]);

impl Live {
    /// When there will be something to send, if nothing else happens.
    pub fn deadline(&self, captures: [&Capture; 2]) -> Option<Instant> {
        let waiting =
            captures.iter().zip(self.sent).any(|(capture, sent)| !capture.text_from(sent).is_empty());
        self.not_before.filter(|_| waiting)
    }

    /// What is to be sent now.
    pub fn pieces<'a>(&mut self, now: Instant, captures: [&'a Capture; 2]) -> Vec<Piece<'a>> {
        if self.not_before.is_some_and(|time| now < time) {
            return Vec::new();
        }
        let pieces = self.take(captures, Capture::text_from);
        if !pieces.is_empty() {
            self.not_before = Some(now + LIVE_INTERVAL);
        }
        pieces
    }

    /// What is left once the output is whole.
    pub fn rest<'a>(&mut self, captures: [&'a Capture; 2]) -> Vec<Piece<'a>> {
        self.take(captures, Capture::from)
    }

    fn take<'a>(
        &mut self,
        captures: [&'a Capture; 2],
        from: fn(&'a Capture, usize) -> &'a [u8],
    ) -> Vec<Piece<'a>> {
        let names = [StreamName::Stdout, StreamName::Stderr];
        let streams = names.into_iter().zip(captures).zip(&mut self.sent);
        let pieces = streams.map(|((name, capture), sent)| {
            let piece = from(capture, *sent);
            *sent += piece.len();
            (name, piece)
        });
        pieces.filter(|(_, piece)| !piece.is_empty()).collect()
    }
}
