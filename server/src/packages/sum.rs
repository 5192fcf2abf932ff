//! SHA-256 sums, as people and headers write them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::str::FromStr;

/// Shown as 64 hexadecimal digits in lower case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sum([u8; 32]);

impl Sum {
    pub fn of(hash: Sha256) -> Sum {
        Sum(hash.finalize().into())
    }

    /// The one in a field of RFC 9530: `sha-256=:BASE64:`, perhaps among others. `None` where there is none.
    pub fn of_digest_field(field: &str) -> Option<Result<Sum, String>> {
        let values = field.split(',').filter_map(|member| member.trim().split_once('='));
        let (_, value) = values.into_iter().find(|(key, _)| *key == "sha-256")?;
        let inner = value.strip_prefix(':').and_then(|value| value.split_once(':'));
        let bytes = inner.and_then(|(base64, _)| STANDARD.decode(base64).ok());
        let sum = bytes.and_then(|bytes| bytes.try_into().ok()).map(Sum);
        Some(sum.ok_or_else(|| "sha-256 must be the base64 of 32 bytes between two colons".into()))
    }

    /// As such a field.
    pub fn digest_field(&self) -> String {
        format!("sha-256=:{}:", STANDARD.encode(self.0))
    }
}

impl FromStr for Sum {
    type Err = String;

    fn from_str(text: &str) -> Result<Sum, String> {
        let wrong = || format!("must be 64 hexadecimal digits, got {text:?}");
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        let mut sum = [0; 32];
        for (byte, place) in sum.iter_mut().zip((0..64).step_by(2)) {
            *byte = u8::from_str_radix(&text[place..place + 2], 16).map_err(|_| wrong())?;
        }
        Ok(Sum(sum))
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::requests::hex(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn sums_are_read_as_they_are_written() {
        let sum = Sum::of(Sha256::new());
        assert_eq!((sum.to_string().as_str(), EMPTY.to_uppercase().parse()), (EMPTY, Ok(sum)));
        assert_eq!(sum.digest_field(), "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:");
        let among = format!("sha-512=:AA==:, {};q=1", sum.digest_field());
        assert_eq!(Sum::of_digest_field(&among), Some(Ok(sum)));
    }

    #[test]
    fn what_is_no_sum_is_refused() {
        let long = format!("{EMPTY}0");
        for text in ["", "é", &long, &EMPTY[1..], &EMPTY.replace('e', "g")] {
            assert!(text.parse::<Sum>().is_err(), "{text}");
        }
        assert_eq!(Sum::of_digest_field("sha-512=:AA==:"), None);
        for field in ["sha-256=47DE", "sha-256=:!:", "sha-256=:AA==:", "sha-256="] {
            assert!(Sum::of_digest_field(field).expect("it is there").is_err(), "{field}");
        }
    }
}
