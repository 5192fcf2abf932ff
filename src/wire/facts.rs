//! What a host tells of itself, in sections such as `os` and `net`. The server says in `ready` which
//! digests it holds, and the agent sends what is not so any more. A digest is the agent's own: the
//! server keeps it and compares nothing but that it is the same.

use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::fmt;

/// Sections of a host.
pub const MAX_FACTS_SECTIONS: usize = 16;
/// Bytes of a section's name, which are of `[a-z0-9_]`.
pub const MAX_FACTS_NAME_BYTES: usize = 32;
/// Bytes of a digest, which are printable ASCII.
pub const MAX_FACTS_DIGEST_BYTES: usize = 64;
/// Bytes of a section's value, as JSON text.
pub const MAX_FACTS_SECTION_BYTES: usize = 32 * 1024;

/// What has changed since the server heard of it last.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Facts {
    /// At most [`MAX_FACTS_SECTIONS`]; `None` where the host does not tell the section any more.
    #[serde(deserialize_with = "sections")]
    pub sections: BTreeMap<String, Option<Section>>,
}

/// One section, as it is now.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Section {
    /// Another one for another value; 1 to [`MAX_FACTS_DIGEST_BYTES`] bytes.
    pub digest: String,
    /// At most [`MAX_FACTS_SECTION_BYTES`].
    pub value: Box<RawValue>,
}

/// What is wrong with a section, or with its name alone.
///
/// # Errors
/// The first bound that it breaks, in words.
pub fn check(name: &str, section: Option<&Section>) -> Result<(), String> {
    let plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
    if !(1..=MAX_FACTS_NAME_BYTES).contains(&name.len()) || !name.bytes().all(plain) {
        let shown: String = name.chars().take(MAX_FACTS_NAME_BYTES).collect();
        return Err(format!(
            "sections: a name must be 1 to {MAX_FACTS_NAME_BYTES} bytes of a-z, 0-9 and _, got {shown:?}"
        ));
    }
    let Some(Section { digest, value }) = section else { return Ok(()) };
    if !(1..=MAX_FACTS_DIGEST_BYTES).contains(&digest.len()) || !digest.bytes().all(|b| b.is_ascii_graphic())
    {
        return Err(format!(
            "sections.{name}.digest: must be 1 to {MAX_FACTS_DIGEST_BYTES} bytes of printable ASCII"
        ));
    }
    let size = value.get().len();
    if size > MAX_FACTS_SECTION_BYTES {
        return Err(format!(
            "sections.{name}.value: must be at most {MAX_FACTS_SECTION_BYTES} bytes, got {size}"
        ));
    }
    Ok(())
}

fn sections<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, Option<Section>>, D::Error> {
    struct Sections;
    impl<'de> Visitor<'de> for Sections {
        type Value = BTreeMap<String, Option<Section>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object of sections")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut sections = BTreeMap::new();
            while let Some((name, section)) = map.next_entry::<String, Option<Section>>()? {
                check(&name, section.as_ref()).map_err(de::Error::custom)?;
                if sections.len() == MAX_FACTS_SECTIONS {
                    return Err(de::Error::custom(format_args!("sections: more than {MAX_FACTS_SECTIONS}")));
                }
                if sections.contains_key(&name) {
                    return Err(de::Error::custom(format_args!("sections: {name} twice")));
                }
                sections.insert(name, section);
            }
            Ok(sections)
        }
    }
    deserializer.deserialize_map(Sections)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::encode;
    use crate::session::{Frame, FromAgent};

    fn read(text: &str) -> Result<Facts, String> {
        match FromAgent::parse(text.as_bytes()) {
            Ok(FromAgent::Facts(facts)) => Ok(facts),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn facts_are_read_as_they_were_written() {
        let value = RawValue::from_string(r#"{"id":"debian"}"#.into()).unwrap();
        let os = Section { digest: "ab12".into(), value };
        let facts = Facts { sections: [("net".into(), None), ("os".into(), Some(os))].into() };
        let frame = encode(&Frame::Facts(&facts));
        let text = std::str::from_utf8(&frame).unwrap();
        assert_eq!(
            text,
            "{\"method\":\"facts\",\"sections\":{\"net\":null,\
             \"os\":{\"digest\":\"ab12\",\"value\":{\"id\":\"debian\"}}}}\n"
        );
        let facts = read(text).unwrap();
        assert!(facts.sections["net"].is_none());
        let os = facts.sections["os"].as_ref().unwrap();
        assert_eq!((os.digest.as_str(), os.value.get()), ("ab12", r#"{"id":"debian"}"#));
    }

    #[test]
    fn the_most_that_may_be_told_fits_into_a_frame_and_more_is_refused() {
        let text = |count: usize, name: usize, digest: usize, value: usize| {
            let section =
                format!(r#"{{"digest":"{}","value":"{}"}}"#, "d".repeat(digest), "v".repeat(value - 2));
            let sections: Vec<_> =
                (0..count).map(|n| format!("\"{n:02}{}\":{section}", "n".repeat(name - 2))).collect();
            format!(r#"{{"method":"facts","sections":{{{}}}}}"#, sections.join(","))
        };
        let most =
            (MAX_FACTS_SECTIONS, MAX_FACTS_NAME_BYTES, MAX_FACTS_DIGEST_BYTES, MAX_FACTS_SECTION_BYTES);
        let full = text(most.0, most.1, most.2, most.3);
        assert!(full.len() < crate::MAX_FRAME_BYTES);
        assert_eq!(read(&full).unwrap().sections.len(), MAX_FACTS_SECTIONS);
        for (broken, reason) in [
            (text(most.0 + 1, 2, 1, 2), "sections: more than 16"),
            (text(1, most.1 + 1, 1, 2), "a name must be 1 to 32 bytes"),
            (text(1, 2, most.2 + 1, 2), "sections.00.digest: must be 1 to 64 bytes"),
            (text(1, 2, 0, 2), "sections.00.digest: must be 1 to 64 bytes"),
            (text(1, 2, 1, most.3 + 1), "sections.00.value: must be at most 32768 bytes, got 32769"),
        ] {
            let error = read(&broken).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn what_is_no_section_is_refused() {
        for (sections, reason) in [
            (r#"{"Os":null}"#, "got \"Os\""),
            (r#"{"":null}"#, "got \"\""),
            (r#"{"os":{"digest":"a b","value":1}}"#, "printable ASCII"),
            (r#"{"os":{"value":1}}"#, "digest"),
            (r#"{"os":{"digest":"a"}}"#, "value"),
            (r#"{"os":null,"os":null}"#, "os twice"),
            ("[]", "an object of sections"),
            ("null", "an object of sections"),
        ] {
            let error = read(&format!(r#"{{"method":"facts","sections":{sections}}}"#)).unwrap_err();
            assert!(error.contains(reason), "{sections}: {error}");
        }
        assert!(read(r#"{"method":"facts"}"#).is_err());
    }
}
