//! The values that keys may have.

use crate::wire::server_list;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A whole number in this range.
pub fn whole<'de, D: Deserializer<'de>, const LEAST: u64, const MOST: u64>(
    deserializer: D,
) -> Result<u64, D::Error> {
    let number = i64::deserialize(deserializer)?;
    u64::try_from(number)
        .ok()
        .filter(|number| (LEAST..=MOST).contains(number))
        .ok_or_else(|| D::Error::custom(format_args!("must be from {LEAST} to {MOST}, got {number}")))
}

/// The same, of what is in memory.
pub fn size<'de, D: Deserializer<'de>, const LEAST: u64, const MOST: u64>(
    deserializer: D,
) -> Result<usize, D::Error> {
    let number = whole::<D, LEAST, MOST>(deserializer)?;
    usize::try_from(number).map_err(D::Error::custom)
}

/// At most so many bytes.
pub fn text<'de, D: Deserializer<'de>, const MOST_BYTES: usize>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    match text.len() {
        length if length > MOST_BYTES => {
            Err(D::Error::custom(format_args!("must be at most {MOST_BYTES} bytes, got {length}")))
        }
        _ => Ok(text),
    }
}

/// Short names with short values.
pub fn tags<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    const MOST: usize = 64;
    const MOST_BYTES: usize = 256;
    let tags = BTreeMap::<String, String>::deserialize(deserializer)?;
    if tags.len() > MOST {
        return Err(D::Error::custom(format_args!("must be at most {MOST} tags, got {}", tags.len())));
    }
    match tags.iter().find(|(key, value)| key.is_empty() || key.len() > 64 || value.len() > MOST_BYTES) {
        Some((key, _)) => Err(D::Error::custom(format_args!(
            "{key:?}: a tag has a name of 1 to 64 bytes and a value of at most {MOST_BYTES}"
        ))),
        None => Ok(tags),
    }
}

/// A server list, as it is written.
pub fn servers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let list = String::deserialize(deserializer)?;
    server_list::parse(&list).map_err(D::Error::custom)?;
    Ok(list)
}

/// An absolute path, as it is written.
pub fn absolute_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let path = String::deserialize(deserializer)?;
    if !path.starts_with('/') || path.contains('\0') {
        return Err(D::Error::custom(format_args!("must be an absolute path, got {path:?}")));
    }
    Ok(path)
}

/// An absolute path.
pub fn absolute<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    absolute_text(deserializer).map(PathBuf::from)
}

/// An absolute path that a socket may have.
pub fn socket_path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    // What sockaddr_un has room for (unix(7)), less the NUL.
    const MOST_BYTES: usize = 107;
    let path = absolute_text(deserializer)?;
    match path.len() {
        length if length > MOST_BYTES => Err(D::Error::custom(format_args!(
            "the path of a socket must be at most {MOST_BYTES} bytes, got {length}"
        ))),
        _ => Ok(path.into()),
    }
}
