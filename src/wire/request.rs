//! Requests: what an operator sends to a host.

use crate::head::Head;
use crate::{FrameError, Retcode};
use serde::Deserialize;
use serde::de::{self, DeserializeOwned, Deserializer, IgnoredAny, MapAccess, Visitor};
use std::collections::BTreeMap;
use std::fmt;

/// The longest request id, in bytes.
pub const MAX_ID_BYTES: usize = 128;
/// The longest command, in bytes: what Linux takes as one argument (`MAX_ARG_STRLEN`) less its NUL.
pub const MAX_CMD_BYTES: usize = 128 * 1024 - 1;
/// The longest name of a user, a group or a variable, and the longest path, in
/// bytes: `PATH_MAX` less its NUL.
pub const MAX_NAME_BYTES: usize = 4095;
/// The longest reason of a refusal, in characters: it may quote what is wrong,
/// and the reply must fit into a frame all the same.
const MAX_REASON_CHARS: usize = 500;
/// Variables in one request's `env`.
pub const MAX_ENV_ENTRIES: usize = 1024;
/// `timeout`, in seconds.
pub const TIMEOUT_SECONDS: std::ops::RangeInclusive<u64> = 1..=86_400;
/// `timeout` where neither the request nor the host's configuration says one, in seconds.
pub const DEFAULT_TIMEOUT_SECONDS: u64 = 120;
/// From one time-out to the next, in seconds.
pub const GRACE_SECONDS: std::ops::RangeInclusive<u64> = 1..=3600;
/// The same where the host's configuration does not say.
pub const DEFAULT_GRACE_SECONDS: u64 = 3;

/// One request, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Chosen by the server; the reply carries it back.
    pub id: String,
    pub call: Call,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// `sync.bash`: run a command and answer when it has ended.
    SyncBash(Command),
    /// `agent.info`: what the agent is and does.
    AgentInfo,
}

/// The arguments that all commands have in common.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// The line for `bash -c`, 1 to [`MAX_CMD_BYTES`] bytes.
    #[serde(deserialize_with = "cmd")]
    pub cmd: String,
    /// Seconds, in [`TIMEOUT_SECONDS`]; the agent's configuration says what none means.
    #[serde(default, deserialize_with = "timeout")]
    pub timeout: Option<u64>,
    #[serde(default)]
    pub user: Option<Account>,
    #[serde(default)]
    pub group: Option<Account>,
    /// Added to the documented environment, or in the place of what is there.
    #[serde(default, deserialize_with = "environment")]
    pub env: BTreeMap<String, String>,
    /// An absolute path.
    #[serde(default, deserialize_with = "cwd")]
    pub cwd: Option<String>,
    #[serde(rename = "id", default)]
    _id: Skipped,
    #[serde(rename = "method", default)]
    _method: Skipped,
}

impl Command {
    /// A command with nothing but its line.
    #[must_use]
    pub fn new(cmd: impl Into<String>) -> Self {
        Command {
            cmd: cmd.into(),
            timeout: None,
            user: None,
            group: None,
            env: BTreeMap::new(),
            cwd: None,
            _id: Skipped,
            _method: Skipped,
        }
    }
}

/// A user or a group, as the request names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Account {
    Name(String),
    Id(u32),
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Account::Name(name) => f.write_str(name),
            Account::Id(id) => write!(f, "{id}"),
        }
    }
}

/// Why a call was not understood. Whoever sent it is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    #[error("{0}")]
    Malformed(String),
    #[error("{0}")]
    UnknownMethod(String),
    /// Begins with the field's name.
    #[error("{0}")]
    InvalidParams(String),
}

impl CallError {
    #[must_use]
    pub fn retcode(&self) -> Retcode {
        match self {
            CallError::Malformed(_) => Retcode::MalformedMessage,
            CallError::UnknownMethod(_) => Retcode::UnknownMethod,
            CallError::InvalidParams(_) => Retcode::InvalidParams,
        }
    }
}

/// A frame that asked for something and cannot be carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Empty where the frame had no usable id.
    pub id: String,
    pub error: CallError,
}

impl Request {
    /// Reads a request from one line.
    ///
    /// # Errors
    /// The outer one where the line is no frame at all, the inner one where the
    /// frame is no request that this version knows.
    pub fn parse(line: &[u8]) -> Result<Result<Request, Rejected>, FrameError> {
        let head = Head::parse(line)?;
        Ok(Self::from_head(&head, line))
    }

    pub(crate) fn from_head(head: &Head<'_>, line: &[u8]) -> Result<Request, Rejected> {
        let id = request_id(head).map_err(|error| Rejected { id: String::new(), error })?;
        match Call::parse(head, line) {
            Ok(call) => Ok(Request { id, call }),
            Err(error) => Err(Rejected { id, error }),
        }
    }
}

impl Call {
    fn parse(head: &Head<'_>, line: &[u8]) -> Result<Call, CallError> {
        if head.method.is_none() {
            return Err(CallError::Malformed("method: missing".into()));
        }
        let Some(method) = head.method() else {
            return Err(CallError::Malformed("method: must be a string".into()));
        };
        match method {
            "sync.bash" => params(line).map(Call::SyncBash),
            "agent.info" => params::<NoParams>(line).map(|_| Call::AgentInfo),
            other => {
                let shown: String = other.chars().take(64).collect();
                Err(CallError::UnknownMethod(format!("method: this version does not know {shown:?}")))
            }
        }
    }
}

fn request_id(head: &Head<'_>) -> Result<String, CallError> {
    let malformed = |reason: &str| Err(CallError::Malformed(format!("id: {reason}")));
    match (&head.id, head.id()) {
        (None, _) => malformed("missing"),
        (_, None) => malformed("must be a string"),
        (_, Some("")) => malformed("must not be empty"),
        (_, Some(id)) if id.len() > MAX_ID_BYTES => {
            malformed(&format!("must be at most {MAX_ID_BYTES} bytes, got {}", id.len()))
        }
        (_, Some(id)) => Ok(id.to_owned()),
    }
}

fn params<T: DeserializeOwned>(line: &[u8]) -> Result<T, CallError> {
    let mut json = serde_json::Deserializer::from_slice(line);
    serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        let reason = reason_without_position(error.inner());
        CallError::InvalidParams(shortened(match path.as_str() {
            "." => reason,
            field => format!("{field}: {reason}"),
        }))
    })
}

fn shortened(mut reason: String) -> String {
    if let Some((end, _)) = reason.char_indices().nth(MAX_REASON_CHARS) {
        reason.truncate(end);
        reason.push('…');
    }
    reason
}

/// serde_json ends its messages with "at line 1 column N", of no use to a
/// person who did not write the line.
fn reason_without_position(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let position = format!(" at line {} column {}", error.line(), error.column());
    text.strip_suffix(&position).unwrap_or(&text).to_owned()
}

/// The arguments of a method that takes none.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NoParams {
    #[serde(rename = "id", default)]
    _id: Skipped,
    #[serde(rename = "method", default)]
    _method: Skipped,
}

/// A field that the head has read already.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Skipped;

impl<'de> Deserialize<'de> for Skipped {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Skipped)
    }
}

impl<'de> Deserialize<'de> for Account {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AccountVisitor;
        impl Visitor<'_> for AccountVisitor {
            type Value = Account;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name or a numeric id")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Account, E> {
                if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
                    let id =
                        text.parse().map_err(|_| E::custom(format_args!("no id is as large as {text}")))?;
                    return Ok(Account::Id(id));
                }
                plain("", text, 1, MAX_NAME_BYTES)?;
                Ok(Account::Name(text.to_owned()))
            }

            fn visit_u64<E: de::Error>(self, id: u64) -> Result<Account, E> {
                u32::try_from(id)
                    .map(Account::Id)
                    .map_err(|_| E::custom(format_args!("no id is as large as {id}")))
            }
        }
        deserializer.deserialize_any(AccountVisitor)
    }
}

fn cmd<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let cmd = String::deserialize(deserializer)?;
    plain("", &cmd, 1, MAX_CMD_BYTES)?;
    Ok(cmd)
}

fn timeout<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    struct TimeoutVisitor;
    impl Visitor<'_> for TimeoutVisitor {
        type Value = u64;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a whole number of seconds")
        }

        fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<u64, E> {
            let (least, most) = (TIMEOUT_SECONDS.start(), TIMEOUT_SECONDS.end());
            match seconds {
                _ if seconds < *least => {
                    Err(E::custom(format_args!("must be at least {least} second, got {seconds}")))
                }
                _ if seconds > *most => {
                    Err(E::custom(format_args!("must be at most {most} seconds, got {seconds}")))
                }
                _ => Ok(seconds),
            }
        }

        fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<u64, E> {
            Err(E::custom(format_args!("must be at least {} second, got {seconds}", TIMEOUT_SECONDS.start())))
        }
    }
    deserializer.deserialize_any(TimeoutVisitor).map(Some)
}

fn cwd<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let path = String::deserialize(deserializer)?;
    plain("", &path, 1, MAX_NAME_BYTES)?;
    if !path.starts_with('/') {
        return Err(de::Error::custom(format_args!("must be an absolute path, got {path:?}")));
    }
    Ok(Some(path))
}

fn environment<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    struct EnvironmentVisitor;
    impl<'de> Visitor<'de> for EnvironmentVisitor {
        type Value = BTreeMap<String, String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object of strings")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut env = BTreeMap::new();
            while let Some(name) = map.next_key::<String>()? {
                if env.len() == MAX_ENV_ENTRIES {
                    return Err(de::Error::custom(format_args!("at most {MAX_ENV_ENTRIES} variables")));
                }
                plain("a name ", &name, 1, MAX_NAME_BYTES)?;
                if name.contains('=') {
                    return Err(de::Error::custom(format_args!("a name must not contain '=', got {name:?}")));
                }
                let value = map.next_value::<String>()?;
                plain("", &value, 0, MAX_CMD_BYTES - name.len() - 1)?;
                env.insert(name, value);
            }
            Ok(env)
        }
    }
    deserializer.deserialize_map(EnvironmentVisitor)
}

/// What may become a C string of a bounded length. `what` goes before the reason.
fn plain<E: de::Error>(what: &str, text: &str, least: usize, most: usize) -> Result<(), E> {
    let length = text.len();
    if length < least {
        Err(E::custom(format_args!("{what}must not be empty")))
    } else if length > most {
        Err(E::custom(format_args!("{what}must be at most {most} bytes, got {length}")))
    } else if text.contains('\0') {
        Err(E::custom(format_args!("{what}must not contain a NUL")))
    } else {
        Ok(())
    }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
