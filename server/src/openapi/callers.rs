//! Who may make a call, in words: the table is the guard's own.

use crate::people::{Least, least};
use axum::http::Method;
use serde_json::{Value, json};

/// Adds it to what the call says of itself, unless it is for everybody.
pub fn complete(path: &str, method: &str, operation: &mut Value) {
    let free = operation["security"].as_array().is_some_and(|all| all.contains(&json!({})));
    let Ok(method) = Method::from_bytes(method.to_ascii_uppercase().as_bytes()) else { return };
    if free {
        return;
    }
    let who = words(least(&method, Some(path)));
    let said = operation["description"].as_str().map(|said| format!("{said}\n\n")).unwrap_or_default();
    operation["description"] = format!("{said}{who}").into();
}

fn words(least: Least) -> String {
    match least {
        Least::Anybody => "For everybody.".into(),
        Least::Role(role) => format!("For the role `{}` and those above.", role.name()),
        Least::Whole(role) => {
            format!("For the role `{}` and those above, unless they are limited to some hosts.", role.name())
        }
        Least::Own => {
            "For the user himself, unless he comes by an access token, and for the role `admin`.".into()
        }
    }
}
