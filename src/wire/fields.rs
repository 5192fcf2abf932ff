//! Several types read from the fields of one object, each refusing what it does not know.

use crate::head::Word;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, IntoDeserializer, MapAccess, Visitor};
use serde::forward_to_deserialize_any;
use std::fmt;

/// An object without the fields that another type has read.
pub(crate) struct Without<'n, D> {
    pub object: D,
    /// Names of fields, in groups.
    pub hidden: &'n [&'n [&'n str]],
    /// A field that appears under another name: what it is called, and what the type calls it.
    pub renamed: Option<(&'n str, &'n str)>,
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Without<'_, D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        let Without { object, hidden, renamed } = self;
        object.deserialize_map(Without { object: visitor, hidden, renamed })
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Without<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.object.expecting(f)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        let Without { object, hidden, renamed } = self;
        object.visit_map(Without { object: map, hidden, renamed })
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Without<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        while let Some(name) = self.object.next_key::<Word<'de>>()? {
            let name = name.text().unwrap_or_default();
            if self.hidden.iter().any(|fields| fields.contains(&name)) {
                self.object.next_value::<IgnoredAny>()?;
                continue;
            }
            let name = match self.renamed {
                Some((called, meant)) if called == name => meant,
                _ => name,
            };
            return seed.deserialize(name.into_deserializer()).map(Some);
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.object.next_value_seed(seed)
    }
}
