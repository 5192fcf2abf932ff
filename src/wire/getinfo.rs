//! `getinfo.NAME`: what is asked of a host about itself.

use crate::command::{Quantity, plain};
use serde::de::Deserializer;
use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;

/// What the method's name begins with; the query's follows.
pub const PREFIX: &str = "getinfo.";
/// The longest name of a query, in bytes.
pub const MAX_QUERY_BYTES: usize = 64;
/// The longest arguments, in bytes.
pub const MAX_ARGS_BYTES: usize = 64 * 1024;
/// `timeout`, in seconds.
pub const TIMEOUT_SECONDS: RangeInclusive<u64> = 1..=3600;
/// `timeout` where the request does not say, in seconds.
pub const DEFAULT_TIMEOUT_SECONDS: u64 = 10;

/// A question that one of the host's plugins answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GetInfo {
    /// The query's name, see [`is_query`].
    pub query: String,
    pub params: GetInfoParams,
}

/// The fields of the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GetInfoParams {
    /// As on a command line; what it means is the query's.
    #[serde(default, deserialize_with = "args")]
    pub args: String,
    /// Seconds, in [`TIMEOUT_SECONDS`].
    #[serde(default = "default_timeout", deserialize_with = "timeout")]
    pub timeout: u64,
}

impl Default for GetInfoParams {
    fn default() -> Self {
        GetInfoParams { args: String::new(), timeout: DEFAULT_TIMEOUT_SECONDS }
    }
}

/// Whether a query may be called so: lower-case letters, digits, `_`, `-` and
/// `.`, 1 to [`MAX_QUERY_BYTES`] of them.
#[must_use]
pub fn is_query(name: &str) -> bool {
    let may = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.".contains(&byte);
    (1..=MAX_QUERY_BYTES).contains(&name.len()) && name.bytes().all(may)
}

fn default_timeout() -> u64 {
    DEFAULT_TIMEOUT_SECONDS
}

fn args<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    plain("", &text, 0, MAX_ARGS_BYTES)?;
    Ok(text)
}

fn timeout<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    Quantity::seconds(TIMEOUT_SECONDS).read(deserializer)
}
