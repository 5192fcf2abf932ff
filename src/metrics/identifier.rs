//! What a values list is called: `host/plugin[-instance]/type[-instance]`.

use std::fmt;
use std::str::FromStr;

/// The longest part of an identifier, in bytes: collectd's `DATA_MAX_NAME_LEN` less the NUL.
pub const MAX_PART_BYTES: usize = 127;

/// Names a values list. An instance that is empty is none.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identifier {
    pub host: String,
    pub plugin: String,
    pub plugin_instance: String,
    /// A name of types.db.
    pub type_name: String,
    pub type_instance: String,
}

/// It is no identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentifierError {
    #[error("{0:?} is not host/plugin[-instance]/type[-instance]")]
    Parts(String),
    #[error("{0}: must not be empty")]
    Empty(&'static str),
    #[error("{part}: must be at most {MAX_PART_BYTES} bytes, got {length}")]
    TooLong { part: &'static str, length: usize },
    /// A slash where none may be, or a control character.
    #[error("{part}: must not have {character:?} in it")]
    Character { part: &'static str, character: char },
}

impl Identifier {
    /// Whether every part is as it may be.
    ///
    /// # Errors
    /// The first part that is not.
    pub fn check(&self) -> Result<(), IdentifierError> {
        let parts = [
            ("host", &self.host, true),
            ("plugin", &self.plugin, true),
            ("plugin_instance", &self.plugin_instance, false),
            ("type", &self.type_name, true),
            ("type_instance", &self.type_instance, false),
        ];
        parts.into_iter().try_for_each(|(part, text, is_needed)| check(part, text, is_needed))
    }
}

fn check(part: &'static str, text: &str, is_needed: bool) -> Result<(), IdentifierError> {
    if is_needed && text.is_empty() {
        return Err(IdentifierError::Empty(part));
    }
    if text.len() > MAX_PART_BYTES {
        return Err(IdentifierError::TooLong { part, length: text.len() });
    }
    match text.chars().find(|c| *c == '/' || c.is_control()) {
        Some(character) => Err(IdentifierError::Character { part, character }),
        None => Ok(()),
    }
}

impl FromStr for Identifier {
    type Err = IdentifierError;

    fn from_str(text: &str) -> Result<Self, IdentifierError> {
        let mut parts = text.split('/');
        let (Some(host), Some(plugin), Some(type_name), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(IdentifierError::Parts(text.chars().take(MAX_PART_BYTES).collect()));
        };
        let (plugin, plugin_instance) = plugin.split_once('-').unwrap_or((plugin, ""));
        let (type_name, type_instance) = type_name.split_once('-').unwrap_or((type_name, ""));
        let [host, plugin, plugin_instance, type_name, type_instance] =
            [host, plugin, plugin_instance, type_name, type_instance].map(str::to_owned);
        let identifier = Identifier { host, plugin, plugin_instance, type_name, type_instance };
        identifier.check().map(|()| identifier)
    }
}

impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.plugin)?;
        if !self.plugin_instance.is_empty() {
            write!(f, "-{}", self.plugin_instance)?;
        }
        write!(f, "/{}", self.type_name)?;
        if !self.type_instance.is_empty() {
            write!(f, "-{}", self.type_instance)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_begins_behind_the_first_hyphen() {
        let identifier: Identifier = "h-1/df-dev-shm/df_complex-used".parse().unwrap();
        assert_eq!((identifier.host.as_str(), identifier.plugin.as_str()), ("h-1", "df"));
        assert_eq!(
            (identifier.plugin_instance.as_str(), identifier.type_name.as_str()),
            ("dev-shm", "df_complex")
        );
        assert_eq!(identifier.to_string(), "h-1/df-dev-shm/df_complex-used");
        let plain: Identifier = "h/load/load".parse().unwrap();
        assert_eq!((plain.plugin_instance.as_str(), plain.to_string().as_str()), ("", "h/load/load"));
    }

    #[test]
    fn what_is_none_is_refused_with_its_part() {
        for (text, word) in [
            ("load", "host/plugin"),
            ("h/load", "host/plugin"),
            ("h/load/load/x", "host/plugin"),
            ("/load/load", "host"),
            ("h/-x/load", "plugin"),
            ("h/load/-x", "type"),
            ("h/lo\nad/load", "plugin"),
        ] {
            let error = text.parse::<Identifier>().unwrap_err().to_string();
            assert!(error.contains(word), "{text}: {error}");
        }
        let long = format!("h/load/load-{}", "x".repeat(128));
        assert_eq!(
            long.parse::<Identifier>(),
            Err(IdentifierError::TooLong { part: "type_instance", length: 128 })
        );
    }
}
