//! What polaris writes of each call.

use crate::common::eventually;
use crate::program::Program;
use http_body_util::Full;
use hyper::Request;
use serde_json::{Value, json};
use std::fs::File;
use std::path::Path;
use tempfile::TempDir;

/// A program whose log is a file in the folder.
async fn logging(dir: &Path, toml: &str) -> Program {
    let log = File::create(dir.join("log")).unwrap();
    Program::configured(dir, toml, log.into()).await
}

async fn call(program: &Program, method: &str, path: &str, id: &str) {
    let request = Request::builder().method(method).uri(path).header("x-request-id", id);
    let token = format!("Bearer {}", program.rest.token);
    let request = request.header("authorization", token).header("content-type", "application/json");
    program.rest.send(request.body(Full::from("{}")).unwrap()).await;
}

/// The lines that name this, once there is one.
async fn lines(dir: &Path, what: &str) -> Vec<String> {
    eventually(what, async || {
        let log = std::fs::read_to_string(dir.join("log")).unwrap();
        let lines: Vec<_> = log.lines().filter(|line| line.contains(what)).map(str::to_owned).collect();
        (!lines.is_empty()).then_some(lines)
    })
    .await
}

#[tokio::test]
async fn what_changes_something_has_a_line_and_what_looks_has_none() {
    let dir = TempDir::new().unwrap();
    let program = logging(dir.path(), "").await;
    call(&program, "GET", "/api/v1/tokens", "looks").await;
    call(&program, "DELETE", "/api/v1/tokens/x?secret=1", "changes").await;
    let found = lines(dir.path(), "id=\"changes\"").await;
    let [line] = &found[..] else { panic!("{found:?}") };
    for part in [
        " INFO call method=DELETE route=\"/api/v1/tokens/{id}\" status=422 ms=",
        " who=\"admin.token\" peer=127.0.0.1:",
    ] {
        assert!(line.contains(part), "{line}");
    }
    let log = std::fs::read_to_string(dir.path().join("log")).unwrap();
    assert!(!log.contains("looks") && !log.contains("secret") && !log.contains(&program.rest.token), "{log}");
}

#[tokio::test]
async fn whoever_may_not_do_something_is_named() {
    let dir = TempDir::new().unwrap();
    let mut program = logging(dir.path(), "").await;
    let ann = json!({"name": "ann", "role": "readonly"});
    assert_eq!(program.rest.post("/api/v1/users", &ann).await.status, 201);
    let token = program.rest.post("/api/v1/users/ann/tokens", &json!({"name": "t"})).await;
    program.rest.token = token.text("token");
    for (method, path, id) in [("GET", "/api/v1/audit", "looks"), ("POST", "/api/v1/tokens", "changes")] {
        call(&program, method, path, id).await;
        let found = lines(dir.path(), &format!("id=\"{id}\"")).await;
        assert!(found[0].contains(" status=403 ") && found[0].contains(" who=\"ann\" "), "{found:?}");
    }
}

#[tokio::test]
async fn lines_are_json_where_that_is_asked_for_and_reads_are_logged_too() {
    let dir = TempDir::new().unwrap();
    let toml = "[log]\nformat = 'json'\naccess = true\nlevel = 'info'\n";
    let program = logging(dir.path(), toml).await;
    call(&program, "GET", "/api/v1/hosts", "looks").await;
    let found = lines(dir.path(), "\"looks\"").await;
    let line: Value = serde_json::from_str(&found[0]).unwrap();
    for (key, value) in [
        ("level", json!("INFO")),
        ("message", json!("call")),
        ("route", json!("/api/v1/hosts")),
        ("method", json!("GET")),
        ("status", json!(200)),
        ("who", json!("admin.token")),
        ("id", json!("looks")),
    ] {
        assert_eq!(line[key], value, "{line}");
    }
    assert!(line["bytes"].as_u64().unwrap() > 0 && line["ms"].is_u64(), "{line}");
    let log = std::fs::read_to_string(dir.path().join("log")).unwrap();
    for line in log.lines() {
        serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    }
}

#[tokio::test]
async fn nobody_fills_the_log_with_calls_that_are_refused() {
    let dir = TempDir::new().unwrap();
    let program = logging(dir.path(), "").await;
    let begun = std::time::Instant::now();
    for _ in 0..300 {
        let request = Request::post("/api/v1/requests").header("host", "localhost");
        let answer = program.rest.send(request.body(Full::default()).unwrap()).await;
        assert!([401, 429].contains(&answer.status), "{answer:?}");
    }
    let most = 100 + usize::try_from(begun.elapsed().as_secs()).unwrap() + 2;
    let refused = lines(dir.path(), " INFO call ").await.len();
    assert!((100..=most).contains(&refused), "{refused} of 300");
    call(&program, "DELETE", "/api/v1/tokens/x", "somebody").await;
    assert_eq!(lines(dir.path(), "id=\"somebody\"").await.len(), 1, "of whoever is known all are there");
}
