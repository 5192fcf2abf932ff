use super::operations;
use crate::routes::description;
use aspire_wire::{CallError, Request};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const OF_THE_SERVER: [&str; 9] =
    ["hosts", "target", "deadline", "queue", "batch", "ramp", "max_errors", "pause", "confirm"];

fn document() -> Value {
    serde_json::from_slice(&description().json).unwrap()
}

/// The schemas of methods that the wire knows, by their names.
fn methods(document: &Value) -> Vec<(String, Value)> {
    let schemas = document["components"]["schemas"].as_object().unwrap().iter();
    let methods = schemas.filter_map(|(name, schema)| Some((name.strip_prefix("Request.")?, schema)));
    methods
        .filter(|(name, _)| *name != "other")
        .map(|(name, schema)| (name.to_owned(), schema.clone()))
        .collect()
}

/// What an agent would say to this body, which the server has taken its own fields out of.
fn asked(body: &Value) -> Result<(), String> {
    let mut frame = body.clone();
    let fields = frame.as_object_mut().unwrap();
    for envelope in OF_THE_SERVER {
        fields.remove(envelope);
    }
    fields.insert("id".into(), "r-1".into());
    match Request::parse(frame.to_string().as_bytes()).unwrap() {
        Ok(_) => Ok(()),
        Err(rejected) => match rejected.error {
            CallError::InvalidParams(reason) => Err(reason),
            other => panic!("{body}: {other:?}"),
        },
    }
}

#[test]
fn each_example_of_a_request_is_one() {
    for (name, schema) in methods(&document()) {
        let example = &schema["examples"][0];
        assert_eq!(asked(example), Ok(()), "{name}");
        let method = example["method"].as_str().unwrap();
        assert!(name == method || (name == "getinfo" && method.starts_with("getinfo.")), "{name}: {method}");
    }
}

#[test]
fn a_method_has_the_fields_that_the_wire_knows() {
    for (name, schema) in methods(&document()) {
        let mut wrong = schema["examples"][0].clone();
        wrong["nonsense"] = json!(1);
        let reason = asked(&wrong).unwrap_err();
        let expected = reason.split_once("expected").map_or("", |(_, expected)| expected);
        for field in expected.split('`').skip(1).step_by(2) {
            assert!(schema["properties"][field].is_object(), "{name}: {field} is not documented");
        }
    }
}

#[test]
fn the_bounds_of_a_method_are_the_wires() {
    let mut checked = 0;
    for (name, schema) in methods(&document()) {
        let own_ttl = ["async.bash", "cron.set"].contains(&name.as_str());
        let of_the_server = |field: &str| OF_THE_SERVER.contains(&field) || (field == "ttl" && !own_ttl);
        let outer = schema["properties"].as_object().unwrap();
        let inner = outer.get("limits").and_then(|limits| limits["properties"].as_object());
        let outer =
            outer.iter().filter(|(field, _)| !of_the_server(field)).map(|(field, of)| (None, field, of));
        let inner = inner.into_iter().flatten().map(|(field, of)| (Some("limits"), field, of));
        for (object, field, property) in outer.chain(inner) {
            let (Some(least), Some(most)) = (property["minimum"].as_u64(), property["maximum"].as_u64())
            else {
                continue;
            };
            let with = |value: u64| {
                let mut body = schema["examples"][0].clone();
                match object {
                    Some(object) => body[object][field] = value.into(),
                    None => body[field] = value.into(),
                }
                asked(&body)
            };
            assert_eq!((with(least), with(most)), (Ok(()), Ok(())), "{name}: {field}");
            assert!(with(most + 1).unwrap_err().contains(field), "{name}: {field} above {most}");
            assert!(least == 0 || with(least - 1).is_err(), "{name}: {field} below {least}");
            checked += 1;
        }
    }
    assert!(checked > 30, "{checked}");
}

#[test]
fn every_reference_leads_somewhere() {
    let document = document();
    let mut found = 0;
    let mut look = vec![&document];
    while let Some(value) = look.pop() {
        match value {
            Value::Array(values) => look.extend(values),
            Value::Object(fields) => {
                look.extend(fields.values());
                if let Some(Value::String(reference)) = fields.get("$ref") {
                    let pointer = reference.strip_prefix('#').unwrap();
                    assert!(document.pointer(pointer).is_some(), "{reference}");
                    found += 1;
                }
            }
            _ => {}
        }
    }
    assert!(found > 100, "{found}");
}

#[test]
fn links_are_between_calls_that_are_there() {
    let mut document = document();
    let ids: BTreeSet<_> =
        operations(&mut document).map(|(_, _, call)| call["operationId"].to_string()).collect();
    let mut links = 0;
    for (path, _, operation) in operations(&mut document) {
        for response in operation["responses"].as_object().unwrap().values() {
            for link in response["links"].as_object().into_iter().flatten().map(|(_, link)| link) {
                assert!(ids.contains(&link["operationId"].to_string()), "{path}: {link}");
                links += 1;
            }
        }
    }
    assert!(links > 10, "{links}");
}

#[test]
fn nothing_is_null() {
    let mut look = vec![("/".to_owned(), document())];
    while let Some((place, value)) = look.pop() {
        match value {
            Value::Null => panic!("{place} is null"),
            Value::Array(values) => {
                look.extend(values.into_iter().enumerate().map(|(n, value)| (format!("{place}/{n}"), value)));
            }
            Value::Object(fields) => {
                look.extend(fields.into_iter().map(|(name, value)| (format!("{place}/{name}"), value)));
            }
            _ => {}
        }
    }
}

#[test]
fn everything_says_what_it_is() {
    let mut document = document();
    let tags: BTreeSet<_> =
        document["tags"].as_array().unwrap().iter().map(|tag| tag["name"].to_string()).collect();
    let mut ids = BTreeSet::new();
    for (path, method, operation) in operations(&mut document) {
        let what = format!("{method} {path}");
        assert!(ids.insert(operation["operationId"].to_string()), "{what}: two calls have this name");
        assert!(tags.contains(&operation["tags"][0].to_string()), "{what}: {}", operation["tags"]);
        assert!(!operation["summary"].as_str().unwrap_or_default().is_empty(), "{what}: no summary");
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            assert!(parameter["description"].is_string(), "{what}: {parameter}");
        }
        for (status, response) in operation["responses"].as_object().unwrap() {
            assert_ne!(response["description"], "", "{what}: {status}");
        }
    }
    let mut silent = BTreeSet::new();
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        find_silent(name, schema, &mut silent);
    }
    assert!(silent.is_empty(), "nobody says what these are: {silent:#?}");
}

fn find_silent(name: &str, schema: &Value, silent: &mut BTreeSet<String>) {
    for part in schema["allOf"].as_array().into_iter().flatten() {
        find_silent(name, part, silent);
    }
    for (field, property) in schema["properties"].as_object().into_iter().flatten() {
        let name = format!("{name}.{field}");
        // Of what has a name of its own, that says it.
        let said = ["description", "$ref", "oneOf", "const"].iter().any(|key| !property[key].is_null());
        let said = said || !property["items"]["$ref"].is_null();
        if !said && field != "method" {
            silent.insert(name.clone());
        }
        find_silent(&name, property, silent);
    }
}

#[test]
fn every_route_is_described() {
    let source = include_str!("../routes/mod.rs");
    assert!(source.contains(".routes(routes!("));
    for other in [".route(", ".route_service(", ".nest_service("] {
        assert!(!source.contains(other), "{other}: add it by routes!, which describes it");
    }
}

#[test]
fn the_page_has_every_call_and_needs_nothing_from_elsewhere() {
    let description = description();
    let page = std::str::from_utf8(&description.page).unwrap();
    let mut document = document();
    for (_, _, operation) in operations(&mut document) {
        let id = operation["operationId"].as_str().unwrap();
        assert!(page.contains(&format!("<section id=\"{id}\">")), "{id}");
    }
    for outside in ["<script", "src=", "style=", "href=\"http", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }
    let links = page.split("href=\"#").skip(1).map(|rest| rest.split('"').next().unwrap());
    for link in links {
        assert!(page.contains(&format!("id=\"{link}\"")), "#{link} leads nowhere");
    }
}

#[test]
fn the_parameters_of_a_call_are_known() {
    let document = description();
    let of = |method: &str, path: &str| {
        document.parameters(method, path).map(|names| names.iter().map(String::as_str).collect::<Vec<_>>())
    };
    assert_eq!(of("GET", "/api/v1/requests"), Some(vec!["before", "limit"]));
    assert_eq!(of("POST", "/api/v1/requests"), Some(vec![]));
    assert_eq!(of("GET", "/api/v1/nothing"), None);
}
