//! Frames: JSON objects, one a line, UTF-8, `\n` at the end.

use serde::Serialize;

/// The longest frame, in bytes, its `\n` included.
pub const MAX_FRAME_BYTES: usize = 1024 * 1024;

/// A buffer that grew beyond this many bytes is given back once it is empty.
const KEPT_CAPACITY_BYTES: usize = 16 * 1024;

/// The peer broke the rules of framing: the link ends.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("the peer sent a frame of more than {MAX_FRAME_BYTES} bytes")]
    TooLong,
    #[error("the peer sent a frame that is not a JSON object: {0}")]
    NotAnObject(String),
}

/// Cuts a stream of bytes into frames. Holds at most [`MAX_FRAME_BYTES`] of an
/// unfinished frame, however the bytes arrive.
#[derive(Debug, Default)]
pub struct FrameReader {
    buffer: Vec<u8>,
    /// Where the first frame not yet taken begins.
    start: usize,
    /// Bytes from `start` on in which there is no `\n`.
    scanned: usize,
}

impl FrameReader {
    /// Takes in what arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole line without its `\n`, or `None` until more has arrived.
    /// Call it until it answers `None`.
    ///
    /// # Errors
    /// [`FrameError::TooLong`], and from then on always that.
    pub fn next_line(&mut self) -> Result<Option<&[u8]>, FrameError> {
        let rest = &self.buffer[self.start..];
        let newline = memchr::memchr(b'\n', &rest[self.scanned..]);
        let Some(offset) = newline else {
            self.scanned = rest.len();
            self.drop_taken();
            return if self.scanned >= MAX_FRAME_BYTES { Err(FrameError::TooLong) } else { Ok(None) };
        };
        let length = self.scanned + offset;
        if length >= MAX_FRAME_BYTES {
            return Err(FrameError::TooLong);
        }
        let begin = self.start;
        self.start += length + 1;
        self.scanned = 0;
        Ok(Some(&self.buffer[begin..begin + length]))
    }

    /// Whether all that was pushed has been taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.start == self.buffer.len()
    }

    /// Bytes of memory held.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.buffer.capacity()
    }

    fn drop_taken(&mut self) {
        self.buffer.drain(..self.start);
        self.start = 0;
        if self.buffer.is_empty() && self.buffer.capacity() > KEPT_CAPACITY_BYTES {
            self.buffer = Vec::new();
        }
    }
}

/// One frame's bytes, `\n` included.
///
/// # Panics
/// Never for the types of this crate: their keys are strings and nothing in
/// them refuses to be serialised.
#[must_use]
pub fn encode(message: &impl Serialize) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(message).expect("wire types always serialise");
    bytes.push(b'\n');
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(reader: &mut FrameReader) -> Result<Vec<Vec<u8>>, FrameError> {
        let mut lines = Vec::new();
        while let Some(line) = reader.next_line()? {
            lines.push(line.to_vec());
        }
        Ok(lines)
    }

    #[test]
    fn a_frame_of_exactly_the_limit_passes_and_one_byte_more_does_not() {
        for (length, passes) in [(MAX_FRAME_BYTES, true), (MAX_FRAME_BYTES + 1, false)] {
            let mut bytes = vec![b'x'; length - 1];
            bytes.push(b'\n');
            let mut reader = FrameReader::default();
            reader.push(&bytes);
            assert_eq!(lines(&mut reader).is_ok(), passes, "frame of {length} bytes");
        }
    }

    #[test]
    fn a_line_that_never_ends_is_refused_at_the_limit() {
        let mut reader = FrameReader::default();
        for _ in 0..MAX_FRAME_BYTES / 4096 - 1 {
            reader.push(&[b'x'; 4096]);
            assert_eq!(reader.next_line(), Ok(None));
        }
        reader.push(&[b'x'; 4096]);
        assert_eq!(reader.next_line(), Err(FrameError::TooLong));
        assert!(reader.capacity() <= 2 * MAX_FRAME_BYTES);
    }

    #[test]
    fn a_large_buffer_is_given_back() {
        let mut reader = FrameReader::default();
        reader.push(&vec![b'x'; 100_000]);
        reader.push(b"\n");
        assert!(!reader.is_empty());
        assert_eq!(lines(&mut reader).map(|l| l.len()), Ok(1));
        assert!(reader.is_empty());
        assert_eq!(reader.capacity(), 0);
    }

    proptest! {
        /// However the bytes are cut, the same lines come out.
        #[test]
        fn cutting_does_not_matter(
            bytes in prop::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..400),
            cuts in prop::collection::vec(1usize..20, 1..40),
        ) {
            let mut whole = FrameReader::default();
            whole.push(&bytes);
            let expected = lines(&mut whole).unwrap();
            let mut pieces = FrameReader::default();
            let mut found = Vec::new();
            let (mut rest, mut cuts) = (&bytes[..], cuts.iter().cycle());
            while !rest.is_empty() {
                let (piece, tail) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
                pieces.push(piece);
                found.extend(lines(&mut pieces).unwrap());
                rest = tail;
            }
            prop_assert_eq!(found, expected);
        }
    }
}
