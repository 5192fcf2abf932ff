//! How a daemon is asked to end: the seed's `<process|kill>:argument`.

use super::LONG_BYTES;
use crate::command::plain;
use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize, Serializer};
use std::fmt;

/// In the order of their numbers on Linux, which begin with 1: signal(7).
const SIGNALS: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
    "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
    "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];
/// The largest number of a signal, a real-time one.
const LAST_SIGNAL: i32 = 64;

/// `process:COMMAND`, `kill:SIGNAL`, or a command alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// This command ends it.
    Process(String),
    /// Its main process is sent this signal, 1 to 64.
    Kill(i32),
}

/// `SIGTERM`; of one without a name its number.
#[must_use]
pub fn signal_name(signal: i32) -> String {
    let known = usize::try_from(signal).ok().and_then(|number| SIGNALS.get(number.checked_sub(1)?));
    known.map_or_else(|| signal.to_string(), |name| format!("SIG{name}"))
}

impl Stop {
    fn parse(text: &str) -> Result<Stop, String> {
        if let Some(command) = text.strip_prefix("process:") {
            let command = command.trim();
            if command.is_empty() {
                return Err("process: must be followed by a command".into());
            }
            return Ok(Stop::Process(command.to_owned()));
        }
        let Some(signal) = text.strip_prefix("kill:") else {
            if text.trim().is_empty() {
                return Err("must not be blank".into());
            }
            return Ok(Stop::Process(text.to_owned()));
        };
        let name = signal.strip_prefix("SIG").unwrap_or(signal);
        let by_name = || SIGNALS.iter().position(|known| *known == name).map(|place| place + 1);
        let number = signal.parse().ok().or_else(|| by_name().and_then(|number| i32::try_from(number).ok()));
        match number.filter(|number| (1..=LAST_SIGNAL).contains(number)) {
            Some(number) => Ok(Stop::Kill(number)),
            None => Err(format!("kill: must be followed by a signal's name or number, got {signal:?}")),
        }
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stop::Process(command) => write!(f, "process:{command}"),
            Stop::Kill(signal) => {
                write!(f, "kill:{}", signal_name(*signal).trim_start_matches("SIG"))
            }
        }
    }
}

impl Serialize for Stop {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Stop {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let argument = ["process:", "kill:"].iter().find_map(|kind| text.strip_prefix(kind));
        plain("", &text, 1, usize::MAX)?;
        plain("", argument.unwrap_or(&text), 0, LONG_BYTES)?;
        Stop::parse(&text).map_err(de::Error::custom)
    }
}
