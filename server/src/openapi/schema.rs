//! Schemas in a word, each with what it means and with the bounds that the code itself knows.

use crate::limits::{DEFAULT_PAGE_ENTRIES, MAX_TAGS, MAX_TARGET_BYTES, MAX_WORD_BYTES, PAGE_ENTRIES};
use serde_json::{Map, Value, json};
use std::ops::RangeInclusive;
use utoipa::openapi::{RefOr, Schema};

/// A whole number.
pub fn number(range: &RangeInclusive<u64>, what: &str) -> Value {
    json!({"type": "integer", "minimum": range.start(), "maximum": range.end(), "description": what})
}

/// A string, bounded by its bytes in UTF-8, of which each character has one at least.
pub fn text(bytes: RangeInclusive<usize>, what: &str) -> Value {
    json!({"type": "string", "minLength": bytes.start(), "maxLength": bytes.end(), "description": what})
}

/// A string of a form.
pub fn formed(pattern: &str, most: usize, what: &str) -> Value {
    json!({"type": "string", "pattern": pattern, "maxLength": most, "description": what})
}

pub fn flag(what: &str) -> Value {
    json!({"type": "boolean", "default": false, "description": what})
}

/// One of these words.
pub fn one_of(words: &[&str], what: &str) -> Value {
    json!({"type": "string", "enum": words, "description": what})
}

/// Another schema of the document.
pub fn of(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

/// The schema, and what is meant where the field is absent.
pub fn or(mut schema: Value, default: impl Into<Value>) -> Value {
    schema["default"] = default.into();
    schema
}

/// The schema, where `null` says the same as nothing.
pub fn or_null(mut schema: Value) -> Value {
    let mut kinds = match schema["type"].take() {
        Value::Array(kinds) => kinds,
        kind => vec![kind],
    };
    kinds.push("null".into());
    schema["type"] = kinds.into();
    schema
}

/// An object of these fields and no others.
pub fn closed(what: &str, required: &[&str], fields: impl Into<Value>) -> Value {
    json!({"type": "object", "description": what, "required": required, "properties": fields.into(),
           "additionalProperties": false})
}

/// The fields of an object that is written as one.
pub fn fields(object: Value) -> Map<String, Value> {
    match object {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// `limit`: how many entries of a list are wanted.
pub fn page_limit() -> RefOr<Schema> {
    gathered(or(number(&PAGE_ENTRIES, "Entries on the page."), DEFAULT_PAGE_ENTRIES))
}

/// A number in a body that may be absent.
pub fn optional(range: &RangeInclusive<u64>, default: u64, what: &str) -> RefOr<Schema> {
    gathered(or(or_null(number(range, what)), default))
}

/// A name, a region or the like in a body that may be absent.
pub fn optional_word(what: &str) -> RefOr<Schema> {
    gathered(or_null(text(0..=MAX_WORD_BYTES, what)))
}

/// An expression in a body that may be absent.
pub fn optional_target(what: &str) -> RefOr<Schema> {
    gathered(or_null(text(1..=MAX_TARGET_BYTES, what)))
}

/// Tags in a body that may be absent.
pub fn optional_tags(what: &str) -> RefOr<Schema> {
    gathered(json!({
        "type": ["object", "null"], "maxProperties": MAX_TAGS, "description": what,
        "propertyNames": {"type": "string", "minLength": 1, "maxLength": MAX_WORD_BYTES},
        "additionalProperties": {"type": "string", "maxLength": MAX_WORD_BYTES},
    }))
}

/// For what utoipa gathers.
pub fn gathered(schema: Value) -> RefOr<Schema> {
    serde_json::from_value(schema).expect("it is a schema")
}
