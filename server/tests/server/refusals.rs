//! Whatever is wrong with a call is said, and the field is named.

use crate::agent::enrolled;
use crate::common::{Answer, Server};
use http_body_util::Full;
use hyper::Request;
use serde_json::{Value, json};

fn assert_problem(answer: &Answer, status: u16, what: &str) {
    assert_eq!(answer.status, status, "{what}: {answer:?}");
    assert_eq!(answer.header("content-type"), "application/problem+json", "{what}");
    assert_eq!(answer.body["status"], status, "{what}");
    assert_eq!(answer.body["type"], "about:blank", "{what}");
    assert!(answer.body["title"].is_string() && answer.body["detail"].is_string(), "{what}");
}

#[tokio::test]
async fn nothing_but_health_answers_without_the_token() {
    let server = Server::start().await;
    for path in ["/healthz", "/readyz"] {
        let request = Request::get(path).body(Full::default()).unwrap();
        assert_eq!(server.rest.send(request).await.status, 200, "{path}");
    }
    for path in ["/", "/api/v1/hosts", "/api/v1/requests/x", "/nothing", "/healthz/x"] {
        for authorization in
            [None, Some("Bearer wrong"), Some("Basic x"), Some("Bearer"), Some("Bearer \u{e9}")]
        {
            let mut request = Request::get(path);
            if let Some(value) = authorization {
                request = request.header("authorization", value.as_bytes());
            }
            let answer = server.rest.send(request.body(Full::default()).unwrap()).await;
            assert_problem(&answer, 401, path);
            assert!(answer.header("www-authenticate").starts_with("Bearer"));
        }
    }
}

#[tokio::test]
async fn a_head_that_never_ends_is_refused_before_it_fills_the_memory() {
    let server = Server::start().await;
    let request = Request::get("/healthz").header("x-long", "x".repeat(100_000));
    assert_eq!(server.rest.send(request.body(Full::default()).unwrap()).await.status, 431);
}

#[tokio::test]
async fn paths_and_methods_that_are_not_there() {
    let server = Server::start().await;
    for path in ["/", "/nothing", "/api/v1", "/api/v1/hosts/x", "/api/v1/requests/x", "/api/v1/hosts/x/y"] {
        assert_problem(&server.rest.get(path).await, 404, path);
    }
    for (method, path, allow) in [
        ("DELETE", "/api/v1/requests", "POST"),
        ("PUT", "/api/v1/requests/x", "DELETE"),
        ("POST", "/api/v1/hosts", "GET"),
        ("PUT", "/api/v1/hosts/x", "PATCH"),
        ("GET", "/api/v1/tokens/x", "DELETE"),
        ("POST", "/healthz", "GET"),
    ] {
        let answer = server.rest.call(method, path, None).await;
        assert_problem(&answer, 405, path);
        assert!(answer.header("allow").contains(allow), "{path}: {answer:?}");
    }
    assert_problem(&server.rest.call("DELETE", "/api/v1/hosts/x", None).await, 404, "delete");
    assert_problem(&server.rest.call("PATCH", "/api/v1/hosts/x", Some(&json!({}))).await, 404, "patch");
    assert_problem(&server.rest.get("/api/v1/hosts/%ff").await, 400, "not UTF-8");
}

#[tokio::test]
async fn bodies_that_cannot_be_read() {
    let server = Server::start().await;
    let send = async |kind: Option<&str>, body: &str| {
        let mut request = Request::post("/api/v1/requests")
            .header("authorization", format!("Bearer {}", server.rest.token));
        if let Some(kind) = kind {
            request = request.header("content-type", kind);
        }
        server.rest.send(request.body(body.to_owned().into()).unwrap()).await
    };
    assert_problem(&send(None, "{}").await, 415, "no type");
    assert_problem(&send(Some("text/plain"), "{}").await, 415, "wrong type");
    let json = Some("application/json");
    assert_problem(&send(json, &" ".repeat(1024 * 1024 + 1)).await, 413, "too large");
    for (body, place) in [
        ("", "line 1 column 0"),
        ("{\n  \"hosts\": [,", "line 2 column 13"),
        (r#"{"a":1,"a":2}"#, "\"a\" stands twice"),
        ("{} x", "trailing characters"),
        (&"[".repeat(1000), "recursion limit"),
    ] {
        let answer = send(json, body).await;
        assert_problem(&answer, 400, body);
        assert!(answer.text("detail").contains(place), "{answer:?}");
    }
    assert_problem(&send(json, "[]").await, 422, "an array");
}

/// Sends `change` over a request that is right, and answers the field that is to blame.
async fn blamed(server: &Server, change: &Value) -> (String, String) {
    let mut body = json!({"hosts": ["a"], "method": "sync.bash", "cmd": "ls"});
    for (key, value) in change.as_object().unwrap() {
        body[key] = value.clone();
    }
    body.as_object_mut().unwrap().retain(|_, value| *value != "ABSENT");
    let answer = server.rest.post("/api/v1/requests", &body).await;
    assert_problem(&answer, 422, &change.to_string());
    (answer.text("field"), answer.text("detail"))
}

#[tokio::test]
async fn requests_with_a_wrong_field() {
    let server = Server::start().await;
    for (change, field) in [
        (json!({"hosts": "ABSENT"}), "hosts"),
        (json!({"hosts": []}), "hosts"),
        (json!({"hosts": "a"}), "hosts"),
        (json!({"hosts": ["a", 1]}), "hosts[1]"),
        (json!({"hosts": ["a", ""]}), "hosts[1]"),
        (json!({"hosts": vec!["a"; 10_001]}), "hosts"),
        (json!({"method": "ABSENT"}), "method"),
        (json!({"method": 7}), "method"),
        (json!({"method": null}), "method"),
        (json!({"cmd": "ABSENT"}), "cmd"),
        (json!({"cmd": ""}), "cmd"),
        (json!({"cmd": ["ls"]}), "cmd"),
        (json!({"cmd": "a\u{0}b"}), "cmd"),
        (json!({"cmd": "x".repeat(131_072)}), "cmd"),
        (json!({"timeout": 0}), "timeout"),
        (json!({"timeout": -1}), "timeout"),
        (json!({"timeout": 86_401}), "timeout"),
        (json!({"timeout": "10"}), "timeout"),
        (json!({"timeout": 1.5}), "timeout"),
        (json!({"user": ""}), "user"),
        (json!({"user": true}), "user"),
        (json!({"group": -1}), "group"),
        (json!({"cwd": "tmp"}), "cwd"),
        (json!({"env": ["A=b"]}), "env"),
        (json!({"env": {"A=": "b"}}), "env"),
        (json!({"stream": 1}), "stream"),
        (json!({"limits": 1}), "limits"),
        (json!({"limits": {"cpu": 0}}), "limits.cpu"),
        (json!({"limits": {"cpu": "1"}}), "limits.cpu"),
        (json!({"limits": {"memory": "100T"}}), "limits.memory"),
        (json!({"limits": {"files": 3}}), "limits.files"),
        (json!({"limits": {"processes": -1}}), "limits.processes"),
        (json!({"limits": {"disk": 1}}), "limits.disk"),
        (json!({"nonsense": 1}), "nonsense"),
        (json!({"deadline": 0}), "deadline"),
        (json!({"deadline": 90_001}), "deadline"),
        (json!({"deadline": "1"}), "deadline"),
        (json!({"deadline": -1}), "deadline"),
        (json!({"id": ""}), "id"),
        (json!({"id": 7}), "id"),
        (json!({"id": "a b"}), "id"),
        (json!({"id": "x".repeat(129)}), "id"),
        (json!({"target": "x"}), "target"),
        (json!({"target": 1}), "target"),
        (json!({"batch": 0}), "batch"),
        (json!({"batch": "0%"}), "batch"),
        (json!({"batch": 2, "queue": true}), "queue"),
        (json!({"batch": 2, "pause": 3601}), "pause"),
        (json!({"batch": 2, "ttl": 0}), "ttl"),
        (json!({"ramp": true}), "ramp"),
        (json!({"confirm": 2}), "confirm"),
        (json!({"max_errors": 1}), "max_errors"),
    ] {
        let (named, detail) = blamed(&server, &change).await;
        let shown: String = change.to_string().chars().take(80).collect();
        assert_eq!(named, field, "{shown}: {detail}");
        assert!(detail.contains(field.split('[').next().unwrap()), "{shown}: {detail}");
    }
    assert_eq!(server.rest.get("/api/v1/requests").await.body["count"], 0, "nothing was begun");
}

#[tokio::test]
async fn tokens_hosts_and_pages_with_a_wrong_field() {
    let server = Server::start().await;
    let identity = enrolled(&server, "a").await;
    let host = format!("/api/v1/hosts/{}", identity.id);
    let long = "x".repeat(256);
    for (method, path, body, field) in [
        ("POST", "/api/v1/tokens", json!({"ttl": 59}), "ttl"),
        ("POST", "/api/v1/tokens", json!({"ttl": 31_536_001}), "ttl"),
        ("POST", "/api/v1/tokens", json!({"ttl": "1h"}), "ttl"),
        ("POST", "/api/v1/tokens", json!({"uses": 0}), "uses"),
        ("POST", "/api/v1/tokens", json!({"uses": 100_001}), "uses"),
        ("POST", "/api/v1/tokens", json!({"region": 1}), "region"),
        ("POST", "/api/v1/tokens", json!({"region": long}), "region"),
        ("POST", "/api/v1/tokens", json!({"tags": {"": "x"}}), "tags"),
        ("POST", "/api/v1/tokens", json!({"tags": {"a": 1}}), "tags.a"),
        ("POST", "/api/v1/tokens", json!({"use": 1}), "use"),
        ("PATCH", &*host, json!({"region": ""}), "region"),
        ("PATCH", &*host, json!({"region": "a\nb"}), "region"),
        ("PATCH", &*host, json!({"tags": []}), "tags"),
        ("PATCH", &*host, json!({"tags": {"a": long}}), "tags"),
        ("PATCH", &*host, json!({"name": "b"}), "name"),
    ] {
        let answer = server.rest.call(method, path, Some(&body)).await;
        assert_problem(&answer, 422, &body.to_string());
        assert_eq!(answer.text("field"), field, "{body}");
    }
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=x", "limit"),
        ("before=nothing", "before"),
        ("page=2", "page"),
    ] {
        let answer = server.rest.get(&format!("/api/v1/requests?{query}")).await;
        assert_problem(&answer, 422, query);
        assert_eq!(answer.text("field"), field, "{query}");
    }
}
