//! What a host tells of itself, section by section, in the form in which expressions read it: parsed
//! once, when it comes, and small, for there are many hosts.

use aspire_wire::facts::{MAX_FACTS_SECTIONS, Section as Told};
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Serialize, Serializer};
use serde_json::Number;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// All that a host tells; cheap to clone.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts(BTreeMap<String, Arc<Section>>);

/// One section as it was told last.
#[derive(Debug, Clone, PartialEq)]
pub struct Section {
    /// The agent's.
    pub digest: String,
    pub value: Fact,
    /// Of its JSON text.
    pub bytes: usize,
}

/// A JSON value.
#[derive(Debug, Clone, PartialEq)]
pub enum Fact {
    Null,
    Bool(bool),
    Number(Number),
    Text(Box<str>),
    List(Box<[Fact]>),
    /// By name, each once.
    Object(Box<[(Box<str>, Fact)]>),
}

impl Facts {
    pub fn get(&self, section: &str) -> Option<&Fact> {
        self.0.get(section).map(|section| &section.value)
    }

    pub fn section(&self, name: &str) -> Option<&Section> {
        self.0.get(name).map(Arc::as_ref)
    }

    /// `None`: the host tells it no more.
    pub fn change(&mut self, name: &str, section: Option<Section>) {
        match section {
            Some(section) => {
                self.0.insert(name.to_owned(), Arc::new(section));
            }
            None => {
                self.0.remove(name);
            }
        }
    }

    /// What the host need not tell again.
    pub fn digests(&self) -> BTreeMap<String, String> {
        self.0.iter().map(|(name, section)| (name.clone(), section.digest.clone())).collect()
    }

    /// Of the JSON texts of all sections.
    pub fn bytes(&self) -> usize {
        self.0.values().map(|section| section.bytes).sum()
    }

    /// Whether these are more sections than one host may have.
    pub fn too_many(&self) -> bool {
        self.0.len() > MAX_FACTS_SECTIONS
    }
}

impl Serialize for Facts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, section)| (name, &section.value)))
    }
}

impl Section {
    pub fn parse(told: &Told) -> serde_json::Result<Section> {
        Section::new(&told.digest, told.value.get())
    }

    /// `value` is JSON.
    pub fn new(digest: &str, value: &str) -> serde_json::Result<Section> {
        Ok(Section { digest: digest.into(), value: serde_json::from_str(value)?, bytes: value.len() })
    }

    /// Its digest, and its value as JSON.
    pub fn texts(&self) -> (String, String) {
        let value = serde_json::to_string(&self.value).expect("JSON values always serialise");
        (self.digest.clone(), value)
    }
}

impl Fact {
    /// What an object has under this name.
    pub fn field(&self, name: &str) -> Option<&Fact> {
        let Fact::Object(fields) = self else { return None };
        let place = fields.binary_search_by(|(field, _)| (**field).cmp(name)).ok()?;
        Some(&fields[place].1)
    }
}

impl Serialize for Fact {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Fact::Null => serializer.serialize_unit(),
            Fact::Bool(value) => serializer.serialize_bool(*value),
            Fact::Number(number) => number.serialize(serializer),
            Fact::Text(text) => serializer.serialize_str(text),
            Fact::List(items) => serializer.collect_seq(items),
            Fact::Object(fields) => serializer.collect_map(fields.iter().map(|(name, value)| (name, value))),
        }
    }
}

impl<'de> Deserialize<'de> for Fact {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FactVisitor)
    }
}

struct FactVisitor;

impl<'de> Visitor<'de> for FactVisitor {
    type Value = Fact;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Fact, E> {
        Ok(Fact::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Fact, E> {
        Ok(Fact::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Fact, E> {
        Ok(Fact::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Fact, E> {
        Ok(Fact::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Fact, E> {
        Ok(Number::from_f64(value).map_or(Fact::Null, Fact::Number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Fact, E> {
        Ok(Fact::Text(text.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Fact, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Fact::List(items.into()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Fact, A::Error> {
        let mut fields: Vec<(Box<str>, Fact)> = Vec::new();
        while let Some(field) = access.next_entry()? {
            fields.push(field);
        }
        fields.sort_by(|(a, _), (b, _)| a.cmp(b));
        match fields.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            Some(pair) => Err(de::Error::custom(format_args!("the key {:?} stands twice", pair[0].0))),
            None => Ok(Fact::Object(fields.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_through_unchanged() {
        let text = r#"{"a":[1,-2,1.5,"x\n",null,true,{"b":{}}],"c":18446744073709551615}"#;
        let section = Section::new("d", text).unwrap();
        assert_eq!(serde_json::to_string(&section.value).unwrap(), text);
        assert_eq!(section.value.field("c"), Some(&Fact::Number(u64::MAX.into())));
        assert_eq!((section.value.field("b"), section.bytes), (None, text.len()));
    }

    #[test]
    fn what_no_agent_writes_is_refused() {
        let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
        for text in [r#"{"a":1,"b":2,"a":3}"#, "1e999", &deep, "{"] {
            assert!(Section::new("d", text).is_err(), "{text}");
        }
    }
}
