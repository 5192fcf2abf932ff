//! Every answer that a test gets is held against the description of the interface: its status, its
//! media type, and its body, in which nothing may be that is not described.

use crate::common::Answer;
use jsonschema::Validator;
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, LazyLock, Mutex};

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let mut document: Value = serde_json::from_slice(&polaris::routes::description().json).unwrap();
    close(&mut document);
    document
});

/// By the schema's text.
static VALIDATORS: LazyLock<Mutex<HashMap<String, Arc<Validator>>>> = LazyLock::new(Mutex::default);

/// Fails where the document does not have this answer. `path` may have a query.
pub fn check(method: &str, path: &str, answer: &Answer) {
    let path = path.split('?').next().unwrap();
    let said = format!("{method} {path}: {answer:?}");
    let head = method == "HEAD";
    let Some(item) = item(path) else {
        // A path that is not there is 404 or, without credentials, 401, in a problem document.
        return check_body(&json!({"$ref": "#/components/schemas/Problem"}), answer, &said);
    };
    let method = if head { "GET" } else { method };
    let operation = &item[method.to_ascii_lowercase()];
    if operation.is_null() || answer.status == 431 {
        return assert!([401, 403, 405, 431].contains(&answer.status), "{said}");
    }
    let response = &operation["responses"][answer.status.to_string()];
    assert!(response.is_object(), "no such status is documented: {said}");
    let Some(content) = response["content"].as_object() else {
        return assert!(answer.body.is_null() && answer.header("content-type").is_empty(), "{said}");
    };
    let kind = answer.header("content-type").split(';').next().unwrap();
    let content = content.get(kind).or_else(|| content.get("*/*"));
    let content = content.unwrap_or_else(|| panic!("no such media type is documented: {said}"));
    if kind.ends_with("json") && kind != "application/x-ndjson" && !head {
        check_body(&content["schema"], answer, &said);
    }
    for name in response["headers"].as_object().into_iter().flatten().map(|(name, _)| name) {
        let may_be_absent = name == "Retry-After";
        assert!(may_be_absent || answer.headers.contains_key(name), "{name} is missing: {said}");
    }
}

fn check_body(schema: &Value, answer: &Answer, said: &str) {
    let errors: Vec<_> = validator(schema).iter_errors(&answer.body).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{errors:#?}: {said}");
}

fn validator(schema: &Value) -> Arc<Validator> {
    let make = || {
        let mut whole = schema.clone();
        whole["components"] = DOCUMENT["components"].clone();
        Arc::new(jsonschema::draft202012::new(&whole).unwrap())
    };
    VALIDATORS.lock().unwrap().entry(schema.to_string()).or_insert_with(make).clone()
}

/// What the document has at this path.
fn item(path: &str) -> Option<&'static Value> {
    let paths = DOCUMENT["paths"].as_object().unwrap();
    // A package's path has slashes of its own.
    let path = if path.starts_with("/packages/") && path.len() > 10 { "/packages/x" } else { path };
    let fits = |pattern: &str| {
        let (parts, given): (Vec<_>, Vec<_>) = (pattern.split('/').collect(), path.split('/').collect());
        parts.len() == given.len()
            && parts
                .iter()
                .zip(&given)
                .all(|(part, given)| if part.starts_with('{') { !given.is_empty() } else { part == given })
    };
    // One without variables goes before.
    paths.get(path).or_else(|| paths.iter().find(|(pattern, _)| fits(pattern)).map(|(_, item)| item))
}

/// A schema that no other one builds upon takes no more than it names.
fn close(document: &mut Value) {
    let mut built_upon = BTreeSet::new();
    find_built_upon(document, &mut built_upon);
    let schemas = document["components"]["schemas"].as_object_mut().unwrap();
    for (name, schema) in schemas {
        let reference = format!("#/components/schemas/{name}");
        let object = schema["type"] == "object" || schema["allOf"].is_array();
        if object && !built_upon.contains(&reference) && schema["additionalProperties"].is_null() {
            schema["unevaluatedProperties"] = false.into();
        }
    }
}

fn find_built_upon(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| find_built_upon(value, found)),
        Value::Object(fields) => {
            let parts = ["allOf", "anyOf"].into_iter().filter_map(|key| fields.get(key)?.as_array());
            found.extend(parts.flatten().filter_map(|part| part["$ref"].as_str().map(str::to_owned)));
            fields.values().for_each(|value| find_built_upon(value, found));
        }
        _ => {}
    }
}
