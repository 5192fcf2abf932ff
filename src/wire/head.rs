//! The head of a frame: enough to know what it is. Everything else in the
//! line is skipped without being stored.

use crate::FrameError;
use serde::Deserialize;
use std::borrow::Cow;

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Head<'a> {
    #[serde(borrow, default)]
    pub id: Option<Word<'a>>,
    #[serde(borrow, default)]
    pub method: Option<Word<'a>>,
}

/// A string, or something else that stands where a string should.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Word<'a> {
    Text(#[serde(borrow)] Cow<'a, str>),
    Other(serde::de::IgnoredAny),
}

impl Word<'_> {
    pub fn text(&self) -> Option<&str> {
        match self {
            Word::Text(text) => Some(text),
            Word::Other(_) => None,
        }
    }
}

impl<'a> Head<'a> {
    pub fn parse(line: &'a [u8]) -> Result<Self, FrameError> {
        let not_an_object = |reason: String| FrameError::NotAnObject(reason);
        if line.iter().find(|b| !b.is_ascii_whitespace()) != Some(&b'{') {
            return Err(not_an_object("it does not begin with a brace".into()));
        }
        std::str::from_utf8(line).map_err(|e| not_an_object(e.to_string()))?;
        serde_json::from_slice(line).map_err(|e| not_an_object(e.to_string()))
    }

    pub fn method(&self) -> Option<&str> {
        self.method.as_ref().and_then(Word::text)
    }

    pub fn id(&self) -> Option<&str> {
        self.id.as_ref().and_then(Word::text)
    }
}
