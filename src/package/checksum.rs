//! What a file must hash to.

use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io::{self, Read};
use std::str::FromStr;

const PREFIX: &str = "SHA256:";
const BYTES: usize = 32;
const DIGITS: usize = 2 * BYTES;

/// A SHA-256, written `SHA256:` and 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Checksum([u8; BYTES]);

impl Checksum {
    /// The checksum of all that is read.
    ///
    /// # Errors
    /// It could not be read.
    pub fn of(mut reader: impl Read) -> io::Result<Checksum> {
        let mut context = Context::new(&SHA256);
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(bytes) => context.update(&buffer[..bytes]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let mut bytes = [0; BYTES];
        bytes.copy_from_slice(context.finish().as_ref());
        Ok(Checksum(bytes))
    }
}

/// A text that is no checksum, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChecksumError {
    #[error("must begin with {PREFIX}")]
    Prefix,
    #[error("must be {PREFIX} and {DIGITS} hexadecimal digits, got {0} characters after {PREFIX}")]
    Length(usize),
    #[error("must be hexadecimal digits after {PREFIX}, got {0:?}")]
    Digit(char),
}

impl FromStr for Checksum {
    type Err = ChecksumError;

    fn from_str(text: &str) -> Result<Self, ChecksumError> {
        let digits = text.strip_prefix(PREFIX).ok_or(ChecksumError::Prefix)?;
        let count = digits.chars().count();
        if count != DIGITS {
            return Err(ChecksumError::Length(count));
        }
        let mut bytes = [0; BYTES];
        for (index, digit) in digits.chars().enumerate() {
            let value = digit.to_digit(16).ok_or(ChecksumError::Digit(digit))?;
            bytes[index / 2] = bytes[index / 2] << 4 | u8::try_from(value).expect("a digit is below 16");
        }
        Ok(Checksum(bytes))
    }
}

impl TryFrom<String> for Checksum {
    type Error = ChecksumError;

    fn try_from(text: String) -> Result<Self, ChecksumError> {
        text.parse()
    }
}

impl From<Checksum> for String {
    fn from(checksum: Checksum) -> String {
        checksum.to_string()
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PREFIX)?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::{Checksum, ChecksumError};

    const ABC: &str = "SHA256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn what_is_read_is_hashed() {
        let checksum = Checksum::of(&b"abc"[..]).unwrap();
        assert_eq!(checksum.to_string(), ABC);
        assert_eq!(ABC.parse(), Ok(checksum));
        assert_eq!(ABC.to_uppercase().parse(), Ok(checksum), "digits in either case");
    }

    #[test]
    fn in_json_it_is_that_text() {
        let checksum: Checksum = ABC.parse().unwrap();
        let json = serde_json::to_string(&checksum).unwrap();
        assert_eq!(json, format!("{ABC:?}"));
        assert_eq!(serde_json::from_str::<Checksum>(&json).unwrap(), checksum);
        let error = serde_json::from_str::<Checksum>("\"MD5:00\"").unwrap_err().to_string();
        assert!(error.contains("must begin with SHA256:"), "{error}");
    }

    #[test]
    fn what_is_wrong_is_named() {
        let wrong = |text: &str| text.parse::<Checksum>().unwrap_err();
        assert_eq!(wrong(""), ChecksumError::Prefix);
        assert_eq!(wrong(&ABC[7..]), ChecksumError::Prefix);
        assert_eq!(wrong(&ABC[..70]), ChecksumError::Length(63));
        assert_eq!(wrong(&format!("{ABC}0")), ChecksumError::Length(65));
        assert_eq!(wrong(&format!("{}é", &ABC[..70])), ChecksumError::Digit('é'));
        assert_eq!(wrong(&ABC.replace("ba", "+a")), ChecksumError::Digit('+'));
    }
}
