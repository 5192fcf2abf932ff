//! Daemons, as they are defined and as a host tells of them. What a definition brings about is
//! the agent's business. Fields and lengths are those of the seed's section 3.

mod check;
mod limits;
mod stop;
mod told;

pub use check::Check;
pub use limits::{DaemonLimits, HITS, PERCENT};
pub use stop::{Stop, signal_name};
pub use told::{DaemonEvent, DaemonStatus, DaemonTold, Daemons, MAX_DAEMONS, Wanted};

use crate::command::{Account, Quantity, environment, plain};
use crate::cron::entry_name;
use crate::request::{CallError, params};
use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// The longest `name`, `version` and `check`, in bytes.
pub const SHORT_BYTES: usize = 64;
/// The longest `url`, command, path and address, in bytes.
pub const LONG_BYTES: usize = 512;
/// What all of `env` may take, in bytes.
pub const ENV_BYTES: usize = 32 * 1024;
/// `precheck_retries`.
pub const PRECHECK_RETRIES: RangeInclusive<u64> = 0..=100;
/// `start_delay`, in seconds.
pub const START_DELAY_SECONDS: RangeInclusive<u64> = 0..=3600;
/// `stop_timeout`, in seconds.
pub const STOP_TIMEOUT_SECONDS: RangeInclusive<u64> = 1..=3600;
/// `check_interval`, in seconds.
pub const CHECK_INTERVAL_SECONDS: RangeInclusive<u64> = 1..=86_400;
/// `check_timeout`, in seconds.
pub const CHECK_TIMEOUT_SECONDS: RangeInclusive<u64> = 1..=3600;
/// `check_failures`.
pub const CHECK_FAILURES: RangeInclusive<u64> = 1..=1000;
/// `heartbeat`, in seconds; 0 expects none.
pub const DAEMON_HEARTBEAT_SECONDS: RangeInclusive<u64> = 0..=86_400;
/// `max_restarts`.
pub const MAX_RESTARTS: RangeInclusive<u64> = 0..=100_000;
/// `restart_window`, in seconds.
pub const RESTART_WINDOW_SECONDS: RangeInclusive<u64> = 1..=86_400;

/// What a package's name may end in.
pub const PACKAGES: [&str; 4] = [".deb", ".rpm", ".tar.gz", ".tgz"];
const SCHEMES: [&str; 4] = ["http://", "https://", "ftp://", "file:///"];
/// What a host calls the folders of its archives, beside their versions.
const LINKS: [&str; 2] = ["current", "previous"];
const CHECKSUM: &str = "SHA256:";

/// `daemon.init`: what a daemon is, and how it is brought up, watched and ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DaemonInit {
    /// 1 to [`SHORT_BYTES`] letters, digits, `.`, `_` and `-`; the first is a letter or a digit.
    #[serde(deserialize_with = "entry_name")]
    pub name: String,
    /// 1 to [`SHORT_BYTES`] letters, digits and `.`, `_`, `-`, `+`, `~`, `:`; the first is a letter
    /// or a digit.
    #[serde(deserialize_with = "version")]
    pub version: String,
    /// Where its package is, 1 to [`LONG_BYTES`] bytes: `http`, `https`, `ftp` or `file`, and its
    /// path ends in one of [`PACKAGES`].
    #[serde(deserialize_with = "url")]
    pub url: String,
    /// `SHA256:` and 64 hexadecimal digits, in lower case. Of a package from the link's own server
    /// it may be absent.
    #[serde(default, deserialize_with = "checksum", skip_serializing_if = "Option::is_none")]
    pub checksum: Option<String>,
    /// A command that must succeed before each start.
    #[serde(default, deserialize_with = "optional_long", skip_serializing_if = "Option::is_none")]
    pub precheck: Option<String>,
    /// How often one that fails is run again, in [`PRECHECK_RETRIES`].
    #[serde(default = "default_precheck_retries", deserialize_with = "precheck_retries")]
    pub precheck_retries: u32,
    #[serde(deserialize_with = "long")]
    pub start: String,
    /// Seconds from the start until it is looked at whether it came up, in [`START_DELAY_SECONDS`].
    #[serde(default = "default_start_delay", deserialize_with = "start_delay")]
    pub start_delay: u64,
    pub stop: Stop,
    /// Seconds until what has not ended is killed, in [`STOP_TIMEOUT_SECONDS`].
    #[serde(default = "default_stop_timeout", deserialize_with = "stop_timeout")]
    pub stop_timeout: u64,
    #[serde(default)]
    pub check: Check,
    /// Seconds from one check to the next, and from one sample of what it uses to the next, in
    /// [`CHECK_INTERVAL_SECONDS`].
    #[serde(default = "default_check_interval", deserialize_with = "check_interval")]
    pub check_interval: u64,
    /// Seconds that a check may take, in [`CHECK_TIMEOUT_SECONDS`].
    #[serde(default = "default_check_timeout", deserialize_with = "check_timeout")]
    pub check_timeout: u64,
    /// Checks in a row that fail before it is started anew, in [`CHECK_FAILURES`].
    #[serde(default = "default_check_failures", deserialize_with = "check_failures")]
    pub check_failures: u32,
    /// Seconds within which it says that it lives, in [`DAEMON_HEARTBEAT_SECONDS`]; 0 expects nothing.
    #[serde(default, deserialize_with = "heartbeat")]
    pub heartbeat: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<Account>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Account>,
    /// An absolute path. A daemon that leaves its starter says there which process it is.
    #[serde(default, deserialize_with = "path", skip_serializing_if = "Option::is_none")]
    pub pidfile: Option<String>,
    /// What `check` `socket` connects to: an absolute path, or `tcp:HOST:PORT`.
    #[serde(default, deserialize_with = "socket", skip_serializing_if = "Option::is_none")]
    pub socket: Option<String>,
    /// Added to the documented environment, or in the place of what is there: at most [`ENV_BYTES`].
    #[serde(default, deserialize_with = "environment")]
    pub env: BTreeMap<String, String>,
    #[serde(default)]
    pub limits: DaemonLimits,
    /// Restarts within `restart_window` beyond which it is given up, in [`MAX_RESTARTS`].
    #[serde(default = "default_max_restarts", deserialize_with = "max_restarts")]
    pub max_restarts: u32,
    /// Seconds, in [`RESTART_WINDOW_SECONDS`].
    #[serde(default = "default_restart_window", deserialize_with = "restart_window")]
    pub restart_window: u64,
}

impl DaemonInit {
    pub(crate) fn parse(line: &[u8]) -> Result<DaemonInit, CallError> {
        let init: DaemonInit = params(line)?;
        init.fits_together().map_err(CallError::InvalidParams)?;
        Ok(init)
    }

    /// What one field asks of another.
    pub(crate) fn fits_together(&self) -> Result<(), String> {
        if self.check == Check::Socket && self.socket.is_none() {
            return Err("socket: missing, and check is \"socket\"".into());
        }
        let env: usize = self.env.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
        if env > ENV_BYTES {
            return Err(format!("env: must be at most {ENV_BYTES} bytes in all, got {env}"));
        }
        Ok(())
    }

    /// Whether another package is to be installed than for this one.
    #[must_use]
    pub fn has_package_of(&self, other: &DaemonInit) -> bool {
        (&self.version, &self.url, &self.checksum) == (&other.version, &other.url, &other.checksum)
    }

    /// Whether processes that were started for `other` are as well started for this one.
    #[must_use]
    pub fn runs_as(&self, other: &DaemonInit) -> bool {
        let of = |init: &DaemonInit| {
            let (heard, accounts) = (init.heartbeat, (init.user.clone(), init.group.clone()));
            (
                init.start.clone(),
                accounts,
                init.pidfile.clone(),
                init.env.clone(),
                heard,
                init.limits.kernel(),
            )
        };
        self.has_package_of(other) && of(self) == of(other)
    }
}

/// `daemon.start`, `daemon.stop`, `daemon.restart` and `daemon.remove`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DaemonName {
    /// The daemon's.
    #[serde(deserialize_with = "entry_name")]
    pub name: String,
}

/// `daemon.list`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DaemonFilter {
    /// Only this daemon.
    #[serde(default, deserialize_with = "optional_name")]
    pub name: Option<String>,
}

fn optional_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    entry_name(deserializer).map(Some)
}

/// It becomes the name of a folder.
fn version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let version = String::deserialize(deserializer)?;
    plain("", &version, 1, SHORT_BYTES)?;
    let good = |b: u8| b.is_ascii_alphanumeric() || b"._-+~:".contains(&b);
    if !version.bytes().all(good) || !version.as_bytes()[0].is_ascii_alphanumeric() {
        let allowed = "letters, digits and \"._-+~:\", beginning with a letter or a digit";
        return Err(de::Error::custom(format_args!("must be of {allowed}, got {version:?}")));
    }
    if LINKS.contains(&version.as_str()) {
        return Err(de::Error::custom(format_args!("{version:?} is what an archive's folder is called by")));
    }
    Ok(version)
}

fn url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let url = String::deserialize(deserializer)?;
    plain("", &url, 1, LONG_BYTES)?;
    if !SCHEMES.iter().any(|scheme| url.starts_with(scheme)) {
        return Err(de::Error::custom("must begin with http://, https://, ftp:// or file:///"));
    }
    if url.bytes().any(|b| b.is_ascii_control() || b == b' ') {
        return Err(de::Error::custom("must not contain spaces or control characters"));
    }
    let path = url.split(['?', '#']).next().unwrap_or_default();
    if !PACKAGES.iter().any(|suffix| path.ends_with(suffix)) {
        return Err(de::Error::custom(format_args!("must end in one of {}", PACKAGES.join(", "))));
    }
    Ok(url)
}

fn checksum<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let checksum = String::deserialize(deserializer)?;
    let digits = checksum.strip_prefix(CHECKSUM).unwrap_or_default();
    if digits.len() != 64 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(de::Error::custom("must be SHA256: and 64 hexadecimal digits"));
    }
    Ok(Some(format!("{CHECKSUM}{}", digits.to_ascii_lowercase())))
}

fn long<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    plain("", &text, 1, LONG_BYTES)?;
    if text.trim().is_empty() {
        return Err(de::Error::custom("must not be blank"));
    }
    Ok(text)
}

fn optional_long<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    long(deserializer).map(Some)
}

fn path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let path = long(deserializer)?;
    if !path.starts_with('/') {
        return Err(de::Error::custom(format_args!("must be an absolute path, got {path:?}")));
    }
    Ok(Some(path))
}

fn socket<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let socket = long(deserializer)?;
    if let Some(address) = socket.strip_prefix("tcp:") {
        check::host_and_port(address).map_err(de::Error::custom)?;
    } else if !socket.starts_with('/') {
        return Err(de::Error::custom(format_args!(
            "must be an absolute path or tcp:HOST:PORT, got {socket:?}"
        )));
    }
    Ok(Some(socket))
}

macro_rules! numbers {
    ($($field:ident($default:ident = $value:literal): $type:ty = $quantity:expr;)*) => {
        $(
            fn $field<'de, D: Deserializer<'de>>(deserializer: D) -> Result<$type, D::Error> {
                let number = $quantity.read(deserializer)?;
                <$type>::try_from(number).map_err(de::Error::custom)
            }

            fn $default() -> $type {
                $value
            }
        )*
    };
}

numbers! {
    precheck_retries(default_precheck_retries = 3): u32 =
        Quantity { range: PRECHECK_RETRIES, one: "retry", many: "retries" };
    start_delay(default_start_delay = 1): u64 = Quantity::seconds(START_DELAY_SECONDS);
    stop_timeout(default_stop_timeout = 10): u64 = Quantity::seconds(STOP_TIMEOUT_SECONDS);
    check_interval(default_check_interval = 10): u64 = Quantity::seconds(CHECK_INTERVAL_SECONDS);
    check_timeout(default_check_timeout = 5): u64 = Quantity::seconds(CHECK_TIMEOUT_SECONDS);
    check_failures(default_check_failures = 3): u32 =
        Quantity { range: CHECK_FAILURES, one: "failure", many: "failures" };
    max_restarts(default_max_restarts = 10): u32 =
        Quantity { range: MAX_RESTARTS, one: "restart", many: "restarts" };
    restart_window(default_restart_window = 600): u64 = Quantity::seconds(RESTART_WINDOW_SECONDS);
}

fn heartbeat<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    Quantity::seconds(DAEMON_HEARTBEAT_SECONDS).read(deserializer)
}

#[cfg(test)]
mod tests;
