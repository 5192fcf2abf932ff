//! Commands: what all methods that run one have in common.

use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;

/// The longest command, in bytes: what Linux takes as one argument (`MAX_ARG_STRLEN`) less its NUL.
pub const MAX_CMD_BYTES: usize = 128 * 1024 - 1;
/// The longest name of a user, a group or a variable, and the longest path, in
/// bytes: `PATH_MAX` less its NUL.
pub const MAX_NAME_BYTES: usize = 4095;
/// Variables in one request's `env`.
pub const MAX_ENV_ENTRIES: usize = 1024;
/// `timeout`, in seconds.
pub const TIMEOUT_SECONDS: RangeInclusive<u64> = 1..=86_400;
/// `timeout` where neither the request nor the host's configuration says one, in seconds.
pub const DEFAULT_TIMEOUT_SECONDS: u64 = 120;
/// From one time-out to the next, in seconds.
pub const GRACE_SECONDS: RangeInclusive<u64> = 1..=3600;
/// The same where the host's configuration does not say.
pub const DEFAULT_GRACE_SECONDS: u64 = 3;

/// `limits.cpu`, in seconds.
pub const CPU_SECONDS: RangeInclusive<u64> = TIMEOUT_SECONDS;
/// `limits.memory`, in bytes.
pub const MEMORY_BYTES: RangeInclusive<u64> = 1 << 20..=1 << 50;
/// `limits.files`, in open descriptors. A shell that loads its libraries needs a fourth.
pub const OPEN_FILES: RangeInclusive<u64> = 4..=1 << 20;
/// `limits.processes`, of the user as a whole.
pub const PROCESSES: RangeInclusive<u64> = 1..=1 << 22;

/// The arguments that all commands have in common.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// The line for `bash -c`, 1 to [`MAX_CMD_BYTES`] bytes.
    #[serde(deserialize_with = "cmd")]
    pub cmd: String,
    /// Seconds, in [`TIMEOUT_SECONDS`]; the agent's configuration says what none means.
    #[serde(default, deserialize_with = "timeout", skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<Account>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Account>,
    /// Added to the documented environment, or in the place of what is there.
    #[serde(default, deserialize_with = "environment")]
    pub env: BTreeMap<String, String>,
    /// An absolute path.
    #[serde(default, deserialize_with = "cwd", skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// Whether output is sent while the command runs, too.
    #[serde(default)]
    pub stream: bool,
    #[serde(default)]
    pub limits: Limits,
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
            stream: false,
            limits: Limits::default(),
        }
    }
}

/// What each process of a command may use at most; `None` is what the agent itself may.
/// The system's own limits, see setrlimit(2).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Seconds of processor time, in [`CPU_SECONDS`].
    #[serde(default, deserialize_with = "cpu", skip_serializing_if = "Option::is_none")]
    pub cpu: Option<u64>,
    /// Bytes of address space, in [`MEMORY_BYTES`]; as a number, or as text such as `100M`.
    #[serde(default, deserialize_with = "memory", skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// Open descriptors, in [`OPEN_FILES`].
    #[serde(default, deserialize_with = "files", skip_serializing_if = "Option::is_none")]
    pub files: Option<u64>,
    /// Processes of the command's user, in [`PROCESSES`]. Root has no such limit.
    #[serde(default, deserialize_with = "processes", skip_serializing_if = "Option::is_none")]
    pub processes: Option<u64>,
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

impl Serialize for Account {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Account::Name(name) => serializer.serialize_str(name),
            Account::Id(id) => serializer.serialize_u32(*id),
        }
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
    Quantity::seconds(TIMEOUT_SECONDS).read(deserializer).map(Some)
}

fn cpu<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    Quantity::seconds(CPU_SECONDS).read(deserializer).map(Some)
}

fn memory<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    Quantity { range: MEMORY_BYTES, one: "byte", many: "bytes" }.read(deserializer).map(Some)
}

fn files<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    Quantity { range: OPEN_FILES, one: "descriptor", many: "descriptors" }.read(deserializer).map(Some)
}

fn processes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    Quantity { range: PROCESSES, one: "process", many: "processes" }.read(deserializer).map(Some)
}

/// Reads a whole number in a range. One of bytes may also be text with a unit of 1024: `K`, `M` or `G`.
pub struct Quantity {
    pub range: RangeInclusive<u64>,
    /// The unit's name, `byte` for example.
    pub one: &'static str,
    /// The same of many.
    pub many: &'static str,
}

impl Quantity {
    pub fn seconds(range: RangeInclusive<u64>) -> Self {
        Quantity { range, one: "second", many: "seconds" }
    }

    pub fn read<'de, D: Deserializer<'de>>(self, deserializer: D) -> Result<u64, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn too_small<E: de::Error>(&self, got: impl fmt::Display) -> E {
        let least = *self.range.start();
        let unit = if least == 1 { self.one } else { self.many };
        E::custom(format_args!("must be at least {least} {unit}, got {got}"))
    }

    fn too_large<E: de::Error>(&self, got: impl fmt::Display) -> E {
        E::custom(format_args!("must be at most {} {}, got {got}", self.range.end(), self.many))
    }
}

impl Visitor<'_> for Quantity {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_text = if self.one == "byte" { ", or a string such as \"100M\"" } else { "" };
        write!(f, "a whole number of {}{or_text}", self.many)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<u64, E> {
        match number {
            _ if number < *self.range.start() => Err(self.too_small(number)),
            _ if number > *self.range.end() => Err(self.too_large(number)),
            _ => Ok(number),
        }
    }

    /// Those of JSON are negative here; TOML knows no others.
    fn visit_i64<E: de::Error>(self, number: i64) -> Result<u64, E> {
        match u64::try_from(number) {
            Ok(number) => self.visit_u64(number),
            Err(_) => Err(self.too_small(number)),
        }
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<u64, E> {
        let wrong = || E::invalid_type(de::Unexpected::Str(text), &self);
        if self.one != "byte" {
            return Err(wrong());
        }
        let (digits, shift) = match text.as_bytes() {
            [.., b'K'] => (&text[..text.len() - 1], 10),
            [.., b'M'] => (&text[..text.len() - 1], 20),
            [.., b'G'] => (&text[..text.len() - 1], 30),
            _ => (text, 0),
        };
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(wrong());
        }
        match digits.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift)) {
            Some(number) => self.visit_u64(number),
            None => Err(self.too_large(text)),
        }
    }
}

fn cwd<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let path = String::deserialize(deserializer)?;
    plain("", &path, 1, MAX_NAME_BYTES)?;
    if !path.starts_with('/') {
        return Err(de::Error::custom(format_args!("must be an absolute path, got {path:?}")));
    }
    Ok(Some(path))
}

pub(crate) fn environment<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, String>, D::Error> {
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
pub(crate) fn plain<E: de::Error>(what: &str, text: &str, least: usize, most: usize) -> Result<(), E> {
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
