//! How the hosts of a request are begun, on the command line, and how many they are.

use crate::limits::PAUSE_SECONDS;
use clap::builder::RangedU64ValueParser;
use serde::Serialize;
use serde_json::Value;

/// What is absent is not sent.
#[derive(Debug, Clone, Default, Serialize, clap::Args)]
pub struct Pace {
    /// Have so many hosts at it at once, the next one when one has ended: a number, or a percentage of the
    /// hosts such as 25%
    #[arg(long, value_name = "N", value_parser = share)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<Value>,
    /// Begin with one host, then two at once, then four, up to the batch, as they succeed
    #[arg(long, requires = "batch")]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub ramp: bool,
    /// Begin no more hosts once more than so many have failed, a number or a percentage: 0 stops at the first
    #[arg(long, value_name = "N", value_parser = share, requires = "batch")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_errors: Option<Value>,
    /// Seconds from the end of one host to the begin of the next in its place
    #[arg(long, value_name = "S", requires = "batch", value_parser = seconds())]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pause: Option<u64>,
    /// How many hosts the request is for: where they are many, Polaris wants to hear it; on a terminal it is
    /// asked for
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirm: Option<u64>,
}

fn seconds() -> RangedU64ValueParser {
    clap::value_parser!(u64).range(PAUSE_SECONDS)
}

/// A number of hosts or a percentage; the server says whether it is in range.
pub fn share(text: &str) -> Result<Value, String> {
    let digits = text.strip_suffix('%').unwrap_or(text);
    let number = digits.parse::<u64>().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()));
    match number {
        Some(number) if digits == text => Ok(Value::from(number)),
        Some(_) => Ok(Value::from(text)),
        None => Err("must be a number of hosts, or a percentage such as 25%".into()),
    }
}
