//! JSON as people send it, read so that nothing in it is passed over: a key
//! that stands twice is an error too, and every error says where.

use crate::problem::Problem;
use crate::strict_json;
use axum::http::StatusCode;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// Reads one object. 400 where it is not JSON, 422 where it is something else.
pub fn object(bytes: &[u8]) -> Result<Map<String, Value>, Problem> {
    match value(bytes)? {
        Value::Object(object) => Ok(object),
        _ => Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "the body must be a JSON object")),
    }
}

/// Reads one list of `T`s. 400 where it is not JSON, 422 where it is something else.
pub fn list<T: DeserializeOwned>(bytes: &[u8]) -> Result<Vec<T>, Problem> {
    match value(bytes)? {
        list @ Value::Array(_) => whole(list),
        _ => Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "the body must be a JSON list")),
    }
}

fn value(bytes: &[u8]) -> Result<Value, Problem> {
    strict_json::parse(bytes)
        .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, format!("the body is not JSON: {error}")))
}

/// The object as `T`, or 422 with the field that is to blame.
pub fn typed<T: DeserializeOwned>(object: Map<String, Value>) -> Result<T, Problem> {
    whole(Value::Object(object))
}

fn whole<T: DeserializeOwned>(value: Value) -> Result<T, Problem> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let reason = error.inner().to_string();
        match error.path().to_string().as_str() {
            "." => blame(&reason),
            path => Problem::field(path, format!("{path}: {reason}")),
        }
    })
}

/// 422 for a reason of serde's or the wire's, which names the field before a
/// colon or in backticks.
pub fn blame(reason: &str) -> Problem {
    let backticks = || reason.split('`').nth(1);
    let before_colon =
        || reason.split_once(": ").map(|(field, _)| field).filter(|field| !field.contains(' '));
    match before_colon().or_else(backticks) {
        Some(field) => Problem::field(field, reason),
        None => Problem::new(StatusCode::UNPROCESSABLE_ENTITY, reason),
    }
}

/// 500 for JSON of ours that is none any more.
pub fn damaged(id: &str, error: &serde_json::Error) -> Problem {
    tracing::error!(%error, id, "the database holds a result that is not JSON");
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the database is damaged; polaris' log says more")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(bytes: &[u8]) -> Value {
        serde_json::to_value(object(bytes).unwrap_err()).unwrap()
    }

    #[test]
    fn values_come_through_unchanged() {
        let text = r#"{"a":[1,-2,1.5,"x\n",null,true,{"b":{}}],"c":18446744073709551615}"#;
        assert_eq!(serde_json::to_string(&object(text.as_bytes()).unwrap()).unwrap(), text);
    }

    #[test]
    fn errors_say_where() {
        let detail = |bytes| problem(bytes)["detail"].as_str().unwrap().to_owned();
        assert!(detail(b"{\n  oops").contains("line 2 column 3"));
        assert!(detail(br#"{"a":1,"a":2}"#).contains("\"a\" stands twice"));
        assert!(detail(br#"{"a":{"b":1,"b":2}}"#).contains("\"b\" stands twice"));
        assert!(detail(b"").contains("line 1 column 0"));
        assert_eq!(problem(b"[]")["status"], 422);
        assert_eq!(problem(b"\xff")["status"], 400);
    }

    #[test]
    fn the_field_to_blame_is_found() {
        for (reason, field) in [
            ("timeout: must be at least 1 second, got 0", Some("timeout")),
            ("missing field `cmd`", Some("cmd")),
            ("invalid type: string \"a\", expected a map", None),
        ] {
            let problem = serde_json::to_value(blame(reason)).unwrap();
            assert_eq!(problem["field"].as_str(), field, "{reason}");
        }
    }
}
