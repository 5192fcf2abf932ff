//! Every call, as each role makes it: the table of roles, from the outside.

use crate::common::{Answer, Server};
use crate::people::{call, somebody};
use serde_json::{Value, json};

/// The least role of a call that is about others.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Needs {
    Nothing,
    Readonly,
    Operator,
    Admin,
}
use Needs::{Admin, Nothing, Operator, Readonly};

/// Method, route, who, and whether he may be limited to some hosts.
const CALLS: &[(&str, &str, Needs, bool)] = &[
    ("GET", "/api/v1/requests", Readonly, true),
    ("POST", "/api/v1/requests", Operator, true),
    ("GET", "/api/v1/requests/{id}", Readonly, true),
    ("DELETE", "/api/v1/requests/{id}", Operator, true),
    ("GET", "/api/v1/jobs", Readonly, true),
    ("GET", "/api/v1/jobs/{host}/{job}", Readonly, true),
    ("GET", "/api/v1/jobs/{host}/{job}/output", Readonly, true),
    ("GET", "/api/v1/cron", Readonly, true),
    ("GET", "/api/v1/daemons", Readonly, true),
    ("GET", "/api/v1/daemons/summary", Readonly, true),
    ("GET", "/api/v1/hosts", Readonly, true),
    ("GET", "/api/v1/hosts/{id}", Readonly, true),
    ("PATCH", "/api/v1/hosts/{id}", Operator, false),
    ("DELETE", "/api/v1/hosts/{id}", Operator, true),
    ("GET", "/api/v1/hosts/{id}/daemons", Readonly, true),
    ("GET", "/api/v1/hosts/{id}/daemons/{name}", Readonly, true),
    ("GET", "/api/v1/tokens", Operator, false),
    ("POST", "/api/v1/tokens", Operator, false),
    ("DELETE", "/api/v1/tokens/{id}", Operator, false),
    ("POST", "/api/v1/login", Nothing, true),
    ("POST", "/api/v1/logout", Readonly, true),
    ("GET", "/api/v1/me", Readonly, true),
    ("GET", "/api/v1/users", Admin, false),
    ("POST", "/api/v1/users", Admin, false),
    ("GET", "/api/v1/users/{name}", Admin, false),
    ("PATCH", "/api/v1/users/{name}", Admin, false),
    ("DELETE", "/api/v1/users/{name}", Admin, false),
    ("POST", "/api/v1/users/{name}/password", Admin, false),
    ("GET", "/api/v1/users/{name}/tokens", Admin, false),
    ("POST", "/api/v1/users/{name}/tokens", Admin, false),
    ("DELETE", "/api/v1/users/{name}/tokens/{token}", Admin, false),
    ("GET", "/api/v1/audit", Admin, false),
    ("GET", "/api/v1/plugins", Readonly, true),
    ("POST", "/api/v1/plugins", Operator, false),
    ("GET", "/api/v1/plugins/{id}", Readonly, true),
    ("DELETE", "/api/v1/plugins/{id}", Operator, false),
    ("GET", "/api/v1/boot/jobs", Readonly, true),
    ("POST", "/api/v1/boot/jobs", Operator, true),
    ("GET", "/api/v1/boot/jobs/{id}", Readonly, true),
    ("DELETE", "/api/v1/boot/jobs/{id}", Operator, true),
    ("GET", "/api/v1/boot/agents", Readonly, true),
    ("GET", "/api/v1/boot/agents/summary", Readonly, true),
    ("GET", "/api/v1/boot/hosts", Readonly, true),
    ("GET", "/packages", Readonly, true),
    ("GET", "/packages/", Readonly, true),
    ("GET", "/packages/{*path}", Readonly, true),
    // What any host may fetch is for those who may reach any.
    ("PUT", "/packages/{*path}", Operator, false),
    ("DELETE", "/packages/{*path}", Operator, false),
    // On this machine itself.
    ("GET", "/metrics", Nothing, true),
    ("GET", "/healthz", Nothing, true),
    ("GET", "/readyz", Nothing, true),
];

/// Whether whoever called got past: what comes after that is another matter.
fn passed(answer: &Answer) -> bool {
    match answer.status {
        401 => answer.text("detail").starts_with("the name or the password"),
        403 => false,
        _ => true,
    }
}

#[tokio::test]
async fn each_role_gets_as_far_as_it_should_and_no_farther() {
    let server = Server::start().await;
    let of = async |role: &str| somebody(&server, role, role, None).await;
    let roles =
        [(Readonly, of("readonly").await), (Operator, of("operator").await), (Admin, of("admin").await)];
    for (method, route, needs, _) in CALLS {
        // Nothing is there by these names, so that nothing is changed.
        let path = route.replace("{id}", "x").replace("{host}", "x").replace("{job}", "x");
        let path = path.replace("{name}", "x").replace("{token}", "x").replace("{*path}", "x");
        let body = if ["POST", "PATCH"].contains(method) { json!({}) } else { json!(null) };
        let nobody = call(&server.rest, &[], method, &path, &body).await;
        let let_in = *needs == Nothing;
        assert_eq!(nobody.status != 401, let_in, "{method} {path} by nobody: {nobody:?}");
        for (role, rest) in &roles {
            let answer = rest.call(method, &path, (!body.is_null()).then_some(&body)).await;
            let allowed = match needs {
                Nothing | Readonly => true,
                Operator => *role != Readonly,
                Admin => *role == Admin,
            };
            assert_eq!(passed(&answer), allowed, "{method} {path} by {role:?}: {answer:?}");
            assert_ne!(answer.status, 500, "{method} {path}");
            assert_ne!(answer.status, 405, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn whoever_is_limited_to_hosts_gets_to_nothing_beyond_them() {
    let server = Server::start().await;
    let limited = somebody(&server, "ann", "admin", Some("name == \"a\"")).await;
    for (method, route, _, allowed) in CALLS {
        let path = route.replace("{id}", "x").replace("{host}", "x").replace("{job}", "x");
        let path = path.replace("{name}", "x").replace("{token}", "x").replace("{*path}", "x");
        let body = json!({});
        let answer = limited.call(method, &path, ["POST", "PATCH"].contains(method).then_some(&body)).await;
        assert_eq!(passed(&answer), *allowed, "{method} {path}: {answer:?}");
    }
}

/// A route that is not in the list above is one whose role nobody has thought about.
#[test]
fn the_list_is_complete() {
    let document: Value = serde_json::from_slice(&polaris::routes::description().json).unwrap();
    let mut seen = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        let path = path.replace("/packages/{path}", "/packages/{*path}");
        for (method, operation) in item.as_object().unwrap() {
            // The one is on another listener, the other for everybody.
            if ["agents", "description"].iter().any(|tag| operation["tags"][0] == *tag) {
                continue;
            }
            seen += 1;
            let call = (method.to_uppercase(), path.clone());
            let known = CALLS.iter().any(|(method, path, ..)| (*method, *path) == (&call.0, &call.1));
            assert!(known, "{call:?} is not in the list");
        }
    }
    assert_eq!(seen, CALLS.len());
}
