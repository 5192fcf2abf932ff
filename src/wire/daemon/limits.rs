//! What a daemon may use.

use crate::command::{MEMORY_BYTES, Quantity};
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use std::fmt;
use std::ops::RangeInclusive;

/// `hits`.
pub const HITS: RangeInclusive<u64> = 1..=1000;
/// `cpu` and `cpu_max`, in percent of one processor.
pub const PERCENT: RangeInclusive<u64> = 1..=100_000;

/// What all processes of a daemon may use together. Beyond `cpu` or `memory` in `hits` samples in a
/// row it is ended and started anew; the `_max` are the kernel's to keep, where it can.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DaemonLimits {
    /// Samples in a row, in [`HITS`].
    #[serde(default = "default_hits", deserialize_with = "hits")]
    pub hits: u32,
    /// Percent of one processor, in [`PERCENT`], such as `5%`: it may be more than 100.
    #[serde(default, with = "percent", skip_serializing_if = "Option::is_none")]
    pub cpu: Option<u32>,
    /// Bytes in memory, in [`MEMORY_BYTES`]; as a number, or as text such as `100M`.
    #[serde(default, deserialize_with = "memory", skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// As `cpu`: the kernel gives it no more.
    #[serde(default, with = "percent", skip_serializing_if = "Option::is_none")]
    pub cpu_max: Option<u32>,
    /// As `memory`: beyond this the kernel kills what asks for more.
    #[serde(default, deserialize_with = "memory", skip_serializing_if = "Option::is_none")]
    pub memory_max: Option<u64>,
}

impl DaemonLimits {
    /// What the kernel is to keep: `cpu_max` and `memory_max`.
    #[must_use]
    pub fn kernel(&self) -> (Option<u32>, Option<u64>) {
        (self.cpu_max, self.memory_max)
    }
}

impl Default for DaemonLimits {
    fn default() -> Self {
        DaemonLimits { hits: default_hits(), cpu: None, memory: None, cpu_max: None, memory_max: None }
    }
}

fn default_hits() -> u32 {
    5
}

fn hits<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let hits = Quantity { range: HITS, one: "sample", many: "samples" }.read(deserializer)?;
    u32::try_from(hits).map_err(de::Error::custom)
}

fn memory<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    Quantity { range: MEMORY_BYTES, one: "byte", many: "bytes" }.read(deserializer).map(Some)
}

mod percent {
    use super::{Deserializer, PERCENT, Serializer, Visitor, de, fmt};

    #[allow(clippy::ref_option, clippy::trivially_copy_pass_by_ref, reason = "what serde asks for")]
    pub fn serialize<S: Serializer>(percent: &Option<u32>, serializer: S) -> Result<S::Ok, S::Error> {
        match percent {
            Some(percent) => serializer.collect_str(&format_args!("{percent}%")),
            None => serializer.serialize_none(),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
        struct Percent;
        impl Visitor<'_> for Percent {
            type Value = u32;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number of percent, such as \"5%\"")
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<u32, E> {
                if !PERCENT.contains(&number) {
                    let (least, most) = (PERCENT.start(), PERCENT.end());
                    return Err(E::custom(format_args!("must be {least}% to {most}%, got {number}%")));
                }
                u32::try_from(number).map_err(E::custom)
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<u32, E> {
                Err(E::custom(format_args!("must be at least {}%, got {number}%", PERCENT.start())))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<u32, E> {
                let digits = text.strip_suffix('%').unwrap_or(text);
                match digits.parse() {
                    Ok(number) if digits.bytes().all(|b| b.is_ascii_digit()) => self.visit_u64(number),
                    _ => Err(E::invalid_type(de::Unexpected::Str(text), &self)),
                }
            }
        }
        deserializer.deserialize_any(Percent).map(Some)
    }
}
