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
    /// There is no memory for it; nothing of it was kept.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), TryReserveError> {
        let (kept, dropped) = bytes.split_at(bytes.len().min(self.limit - self.kept.len()));
        self.kept.try_reserve(kept.len())?;
        self.kept.extend_from_slice(kept);
        self.dropped += dropped.len() as u64;
        Ok(())
    }

    /// What was kept, and how many bytes were dropped. A character that the
    /// limit cut in two is dropped whole, so that text stays text.
    pub fn into_parts(mut self) -> (Vec<u8>, u64) {
        if self.dropped > 0
            && let Err(error) = std::str::from_utf8(&self.kept)
            && error.error_len().is_none()
        {
            self.dropped += (self.kept.len() - error.valid_up_to()) as u64;
            self.kept.truncate(error.valid_up_to());
        }
        (self.kept, self.dropped)
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
        capture.into_parts()
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
    fn bytes_that_are_no_text_are_kept_as_they_are() {
        assert_eq!(captured(3, &[b"a\xff\xff\xff"]), (b"a\xff\xff".to_vec(), 1));
        assert_eq!(captured(9, &["é".as_bytes().split_at(1).0]), (vec![0xc3], 0));
    }
}
