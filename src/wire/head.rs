//! The head of a frame: enough to know what it is. Everything else in the
//! line is skipped without being stored.

use crate::FrameError;
use serde::de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::borrow::Cow;
use std::fmt;

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Head<'a> {
    #[serde(borrow, default)]
    pub id: Option<Word<'a>>,
    #[serde(borrow, default)]
    pub method: Option<Word<'a>>,
}

/// A string, or something else that stands where a string should.
#[derive(Debug)]
pub(crate) enum Word<'a> {
    Text(Cow<'a, str>),
    Other,
}

impl Word<'_> {
    pub fn text(&self) -> Option<&str> {
        match self {
            Word::Text(text) => Some(text),
            Word::Other => None,
        }
    }
}

/// By hand: `serde(untagged)` would store the other, and refuse it where it is deep.
impl<'de: 'a, 'a> Deserialize<'de> for Word<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WordVisitor;
        impl<'de> Visitor<'de> for WordVisitor {
            type Value = Word<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("anything")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Word::Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Word::Text(Cow::Owned(text.to_owned())))
            }

            fn visit_bool<E: Error>(self, _: bool) -> Result<Self::Value, E> {
                Ok(Word::Other)
            }

            fn visit_i64<E: Error>(self, _: i64) -> Result<Self::Value, E> {
                Ok(Word::Other)
            }

            fn visit_u64<E: Error>(self, _: u64) -> Result<Self::Value, E> {
                Ok(Word::Other)
            }

            fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> {
                Ok(Word::Other)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
                IgnoredAny.visit_seq(seq).map(|_| Word::Other)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                IgnoredAny.visit_map(map).map(|_| Word::Other)
            }
        }
        deserializer.deserialize_any(WordVisitor)
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
