//! Configuration files: TOML, every key checked, nothing ignored or clamped. What a key may be is
//! each agent's business; this is what they have in common.

pub mod values;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::path::PathBuf;

/// What is wrong, and where: `LINE: KEY: REASON`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    pub line: Option<usize>,
    pub key: String,
    pub reason: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "{line}: ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.reason)
    }
}

/// The server list where nobody names another.
pub const DEFAULT_SERVER: &str = "config.cargo.com:8181";

/// `[tls]`: all agents of a host share its identity.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// The folder of ca.pem, cert.pem and key.pem; an absolute path.
    #[serde(deserialize_with = "values::absolute")]
    pub dir: PathBuf,
}

impl Default for Tls {
    fn default() -> Self {
        Tls { dir: "/etc/cargo/pki".into() }
    }
}

/// Where the configuration came from, to read it again.
#[derive(Debug, Clone)]
pub struct ConfigSource {
    pub path: PathBuf,
    /// `-C` named it, so it must be there.
    pub was_named: bool,
    /// `-S`.
    pub servers: Option<String>,
}

impl ConfigSource {
    /// Makes of the file, as it was read again, a configuration. `None` is no file.
    ///
    /// # Errors
    /// Why it is none, with the file's name.
    pub fn again<C>(
        &self,
        file: Result<Option<&[u8]>, String>,
        parse: impl FnOnce(&str, Option<&str>) -> Result<C, ConfigError>,
    ) -> Result<C, String> {
        let shown = self.path.display();
        let bytes = match file? {
            None if self.was_named => return Err(format!("{shown}: there is no such file")),
            bytes => bytes.unwrap_or_default(),
        };
        let text = std::str::from_utf8(bytes).map_err(|e| format!("{shown}: {e}"))?;
        parse(text, self.servers.as_deref()).map_err(|e| format!("{shown}:{e}"))
    }
}

/// Reads a file's text.
///
/// # Errors
/// The first thing that is wrong.
pub fn read<F: DeserializeOwned>(text: &str) -> Result<F, ConfigError> {
    let line_of = |error: &toml::de::Error| {
        error.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1)
    };
    let reason = |error: &toml::de::Error| error.message().trim().replace('\n', ", ");
    // The parser's own errors name no key, but a key that is there twice is where they point.
    let pointed_at = |error: &toml::de::Error| {
        let text = error.span().and_then(|span| text.get(span)).unwrap_or_default();
        if error.message().trim() == "duplicate key" { text.trim().to_owned() } else { String::new() }
    };
    let syntax = |error: toml::de::Error| ConfigError {
        line: line_of(&error),
        key: pointed_at(&error),
        reason: reason(&error),
    };
    let toml = toml::Deserializer::parse(text).map_err(syntax)?;
    serde_path_to_error::deserialize(toml).map_err(|error| ConfigError {
        line: line_of(error.inner()),
        key: Some(error.path().to_string()).filter(|path| path != ".").unwrap_or_default(),
        reason: reason(error.inner()),
    })
}
