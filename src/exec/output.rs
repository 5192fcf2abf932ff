//! What is kept of one stream of a command's output.

use std::collections::TryReserveError;

/// The first bytes of a stream, up to a limit; the rest is only counted.
#[derive(Debug)]
pub struct Capture {
    kept: Vec<u8>,
    limit: usize,
    dropped: u64,
}

impl Capture {
    /// `limit` in bytes.
    pub fn new(limit: usize) -> Self {
        Capture { kept: Vec::new(), limit, dropped: 0 }
    }

    /// Takes in what was read.
    ///
    /// # Errors
    /// There is no memory for it: it was dropped whole.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), TryReserveError> {
        let (kept, dropped) = bytes.split_at(bytes.len().min(self.limit - self.kept.len()));
        if let Err(error) = self.kept.try_reserve(kept.len()) {
            self.dropped += bytes.len() as u64;
            return Err(error);
        }
        self.kept.extend_from_slice(kept);
        self.dropped += dropped.len() as u64;
        Ok(())
    }

    /// Drops everything, so that there is memory again.
    pub fn give_up(&mut self) {
        self.dropped += self.kept.len() as u64;
        self.limit = 0;
        self.kept = Vec::new();
    }

    /// Nothing follows. A character that the limit cut in two is dropped whole,
    /// so that text stays text.
    pub fn end(&mut self) {
        if self.dropped > 0 {
            let whole = whole_characters(&self.kept);
            self.dropped += (self.kept.len() - whole) as u64;
            self.kept.truncate(whole);
        }
    }

    /// What was kept.
    pub fn kept(&self) -> &[u8] {
        &self.kept
    }

    /// Bytes that were dropped.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// What was kept from this place on.
    pub fn from(&self, place: usize) -> &[u8] {
        self.kept.get(place..).unwrap_or_default()
    }

    /// The same without a character at the end of which a part may still come.
    pub fn text_from(&self, place: usize) -> &[u8] {
        let bytes = self.from(place);
        &bytes[..whole_characters(bytes)]
    }
}

/// Bytes without the beginning of a character at their end.
fn whole_characters(bytes: &[u8]) -> usize {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        _ => bytes.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::Capture;

    fn captured(limit: usize, pieces: &[&[u8]]) -> (Vec<u8>, u64) {
        let mut capture = Capture::new(limit);
        for piece in pieces {
            capture.push(piece).unwrap();
        }
        capture.end();
        (capture.kept, capture.dropped)
    }

    #[test]
    fn the_head_is_kept_and_the_rest_counted() {
        for (length, dropped) in [(99u64, 0u64), (100, 0), (101, 1), (1000, 900)] {
            let bytes = vec![b'x'; usize::try_from(length).unwrap()];
            let (kept, count) = captured(100, &[&bytes]);
            assert_eq!((kept.len() as u64, count), (length - dropped, dropped));
        }
        assert_eq!(captured(4, &[b"abc", b"def", b"ghi"]), (b"abcd".to_vec(), 5));
    }

    #[test]
    fn a_character_cut_by_the_limit_is_dropped_whole() {
        assert_eq!(captured(4, &["aé世".as_bytes()]), ("aé".as_bytes().to_vec(), 3));
        assert_eq!(captured(5, &["aé世".as_bytes()]), ("aé".as_bytes().to_vec(), 3));
        assert_eq!(captured(6, &["aé世".as_bytes()]), ("aé世".as_bytes().to_vec(), 0));
    }

    #[test]
    fn what_is_given_up_is_counted_and_nothing_more_is_kept() {
        let mut capture = Capture::new(10);
        capture.push(b"abc").unwrap();
        capture.give_up();
        capture.push(b"def").unwrap();
        assert_eq!((capture.kept(), capture.dropped()), (&b""[..], 6));
        assert_eq!((capture.from(2), capture.text_from(2)), (&b""[..], &b""[..]));
    }

    #[test]
    fn bytes_that_are_no_text_are_kept_as_they_are() {
        assert_eq!(captured(3, &[b"a\xff\xff\xff"]), (b"a\xff\xff".to_vec(), 1));
        assert_eq!(captured(9, &["é".as_bytes().split_at(1).0]), (vec![0xc3], 0));
    }
}
