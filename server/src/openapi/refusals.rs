//! What a call may be answered with that its handler does not speak of.

use super::schema::of;
use super::shapes::PROBLEM;
use serde_json::{Value, json};

/// The media type of problem documents.
const KIND: &str = "application/problem+json";

/// Adds the refusals that the call has in common with others, and to every refusal its form.
pub fn complete(path: &str, operation: &mut Value) {
    let public = operation["security"] == json!([{}]);
    let agents = operation["tags"][0] == "agents";
    let (in_path, body) = (path.contains('{'), !operation["requestBody"].is_null());
    let responses = operation["responses"].as_object_mut().expect("every call is answered");
    for (status, applies, why) in [
        ("400", body || in_path, "The body is not JSON, or the path is not UTF-8."),
        ("401", !public, "Without credentials, or with wrong ones."),
        ("403", !public, "Whoever calls may not do this."),
        ("404", in_path, "There is nothing of this name."),
        ("408", body, "The body came too slowly."),
        ("413", body, "The body is too large."),
        ("415", body, "The body is of another media type."),
        ("421", !agents, "The call is for another server: no such name is this one's."),
        ("422", true, "A field or a parameter is not as it should be: `field` says which."),
        ("429", true, "Too many calls, from this address or by this caller."),
        ("500", true, "A defect of polaris, or a damaged database."),
        ("503", true, "Polaris is shutting down, has too much to do, or its database does not answer."),
    ] {
        if applies {
            responses.entry(status).or_insert_with(|| json!({"description": why}));
        }
    }
    for (status, response) in responses.iter_mut().filter(|(status, _)| status.as_str() >= "400") {
        if response["content"].is_null() {
            response["content"] = json!({KIND: {"schema": of(PROBLEM)}});
        }
        let header = match status.as_str() {
            "401" => ("WWW-Authenticate", "How to be let in."),
            "429" | "503" => {
                ("Retry-After", "Seconds after which it may be tried again, where that is known.")
            }
            _ => continue,
        };
        response["headers"][header.0] = json!({"description": header.1, "schema": {"type": "string"}});
    }
}
