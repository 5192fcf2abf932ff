//! A package's header, as rpm keeps it: an index, whose entries point into the
//! data after it. See "Package format" in rpm's documentation.

use aspire_plugin::Text;

/// A kind of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tag(pub u32);

pub const NAME: Tag = Tag(1000);
pub const VERSION: Tag = Tag(1001);
pub const RELEASE: Tag = Tag(1002);
pub const EPOCH: Tag = Tag(1003);
pub const SUMMARY: Tag = Tag(1004);
pub const INSTALL_TIME: Tag = Tag(1008);
pub const SIZE: Tag = Tag(1009);
pub const ARCH: Tag = Tag(1022);
/// Where the size is too large for [`SIZE`].
pub const LONG_SIZE: Tag = Tag(5009);

/// The types of data.
const INT32: u32 = 4;
const INT64: u32 = 5;
const STRING: u32 = 6;
const STRING_ARRAY: u32 = 8;
const I18N_STRING: u32 = 9;

/// Borrows from the record that it was found in, and copies nothing until it is asked.
#[derive(Debug)]
pub struct Header<'a> {
    index: &'a [u8],
    data: &'a [u8],
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("its record is not as long as it says")]
    Length,
    #[error("its tag {0} is of another type, or points out of its record")]
    Value(u32),
}

impl<'a> Header<'a> {
    /// # Errors
    /// The record is longer or shorter than it says.
    pub fn parse(record: &'a [u8]) -> Result<Self, Malformed> {
        let split = |bytes: &'a [u8], at: usize| bytes.split_at_checked(at).ok_or(Malformed::Length);
        let (sizes, rest) = split(record, 8)?;
        let [entries, length] = [number(&sizes[..4]), number(&sizes[4..])].map(usize::try_from);
        let (Ok(entries), Ok(length)) = (entries, length) else { return Err(Malformed::Length) };
        let (index, data) = split(rest, entries.checked_mul(16).ok_or(Malformed::Length)?)?;
        if data.len() == length { Ok(Header { index, data }) } else { Err(Malformed::Length) }
    }

    /// The first of the texts that a tag has, which of translated ones is the
    /// original. `None` where there is no such tag.
    pub fn text(&self, tag: Tag) -> Result<Option<Text>, Malformed> {
        let Some((kind, data)) = self.find(tag)? else { return Ok(None) };
        let end = data.iter().position(|&byte| byte == 0);
        match (kind, end) {
            (STRING | STRING_ARRAY | I18N_STRING, Some(end)) => Ok(Some(data[..end].into())),
            _ => Err(Malformed::Value(tag.0)),
        }
    }

    /// The first of the numbers that a tag has. `None` where there is no such tag.
    pub fn number(&self, tag: Tag) -> Result<Option<u64>, Malformed> {
        let Some((kind, data)) = self.find(tag)? else { return Ok(None) };
        let length = match kind {
            INT32 => 4,
            INT64 => 8,
            _ => return Err(Malformed::Value(tag.0)),
        };
        data.get(..length).map(|bytes| Some(number(bytes))).ok_or(Malformed::Value(tag.0))
    }

    /// A tag's type, and the data from its first value on. What was added to a
    /// package after it was built comes later in the index, and counts.
    fn find(&self, tag: Tag) -> Result<Option<(u32, &'a [u8])>, Malformed> {
        let mut entries = self.index.chunks_exact(16).map(|entry| {
            let (words, _) = entry.as_chunks::<4>();
            [words[0], words[1], words[2], words[3]].map(u32::from_be_bytes)
        });
        let Some([_, kind, offset, count]) = entries.rfind(|[found, ..]| *found == tag.0) else {
            return Ok(None);
        };
        let data = usize::try_from(offset).ok().and_then(|offset| self.data.get(offset..));
        data.filter(|_| count > 0).map(|data| Some((kind, data))).ok_or(Malformed::Value(tag.0))
    }
}

/// The most significant byte comes first.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, &byte| number << 8 | u64::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of entries `(tag, type, offset, count)`.
    fn record(entries: &[[u32; 4]], data: &[u8]) -> Vec<u8> {
        let sizes = [entries.len(), data.len()].map(|size| u32::try_from(size).unwrap().to_be_bytes());
        let index = entries.iter().flatten().flat_map(|word| word.to_be_bytes());
        sizes.concat().into_iter().chain(index).chain(data.iter().copied()).collect()
    }

    #[test]
    fn values_are_found_by_their_tags() {
        let data = b"bash\0\0\0\0\x01\0\0\0\x01\0\0\0\0Die Shell\0The shell\0";
        let record = record(&[[1000, 6, 0, 1], [1009, 4, 8, 1], [5009, 5, 8, 1], [1004, 9, 17, 2]], data);
        let header = Header::parse(&record).unwrap();
        assert_eq!(header.text(NAME), Ok(Some("bash".into())));
        assert_eq!(header.number(SIZE), Ok(Some(1 << 24)));
        assert_eq!(header.number(LONG_SIZE), Ok(Some((1 << 56) + (1 << 24))));
        assert_eq!(header.text(SUMMARY), Ok(Some("Die Shell".into())));
        assert_eq!((header.text(ARCH), header.number(EPOCH)), (Ok(None), Ok(None)));
    }

    #[test]
    fn of_two_values_the_later_one_counts() {
        let record = record(&[[1000, 6, 0, 1], [1000, 6, 2, 1]], b"a\0b\0");
        assert_eq!(Header::parse(&record).unwrap().text(NAME), Ok(Some("b".into())));
    }

    #[test]
    fn a_record_of_another_length_than_it_says_is_refused() {
        let whole = record(&[[1000, 6, 0, 1]], b"bash\0");
        for end in 0..whole.len() {
            assert_eq!(Header::parse(&whole[..end]).unwrap_err(), Malformed::Length, "{end}");
        }
        assert!(Header::parse(&[whole.as_slice(), b"\0"].concat()).is_err());
        assert!(Header::parse(&[0xff; 64]).is_err());
        assert!(Header::parse(&[0; 8]).is_ok());
    }

    #[test]
    fn a_value_that_is_not_there_is_refused() {
        for entry in [
            [1000, 6, 5, 1],
            [1000, 6, 4, 1],
            [1000, 6, u32::MAX, 1],
            [1000, 6, 0, 0],
            [1000, 4, 0, 1],
            [1000, 7, 0, 4],
            [1009, 4, 1, 1],
            [1009, 5, 0, 1],
            [1009, 6, 0, 1],
        ] {
            let record = record(&[entry], b"text");
            let header = Header::parse(&record).unwrap();
            let refused =
                if entry[0] == 1000 { header.text(NAME).is_err() } else { header.number(SIZE).is_err() };
            assert!(refused, "{entry:?}");
        }
    }
}
