//! What holds for every call: its id, what its answer tells a browser, and that
//! it is for this server.

use crate::agent::exchange;
use crate::common::{Answer, Server};
use aspire_wire::enroll::Token;
use http_body_util::Full;
use hyper::Request;
use serde_json::json;

async fn get(server: &Server, path: &str, headers: &[(&str, &str)]) -> Answer {
    let token = format!("Bearer {}", server.rest.token);
    let mut request = Request::get(path).header("authorization", token);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    server.rest.send(request.body(Full::default()).unwrap()).await
}

#[tokio::test]
async fn every_call_has_an_id_that_its_answer_and_its_problem_document_name() {
    let server = Server::start().await;
    let own = get(&server, "/api/v1/hosts", &[("x-request-id", "web-1.7")]).await;
    assert_eq!((own.status, own.header("x-request-id")), (200, "web-1.7"));

    for path in ["/api/v1/hosts/nobody", "/api/v1/hosts?limit=0", "/nothing", "/api/v1/jobs/a/b"] {
        let answer = get(&server, path, &[("x-request-id", "mine")]).await;
        assert!(answer.status >= 400, "{answer:?}");
        assert_eq!(answer.body["request_id"], "mine", "{answer:?}");
        assert_eq!(answer.header("content-type"), "application/problem+json");
        assert_eq!(answer.body["status"], answer.status);
    }

    let made = get(&server, "/nothing", &[]).await;
    assert_eq!(made.header("x-request-id").len(), 32);
    assert_eq!(made.body["request_id"], made.header("x-request-id"));
    let unsound = get(&server, "/nothing", &[("x-request-id", "a=\"b")]).await;
    assert_eq!(unsound.header("x-request-id").len(), 32);

    let wrong = Request::get("/api/v1/hosts").header("x-request-id", "w").body(Full::default()).unwrap();
    let wrong = server.rest.send(wrong).await;
    assert_eq!((wrong.status, &wrong.body["request_id"]), (401, &json!("w")));
    assert!(wrong.header("www-authenticate").starts_with("Bearer"), "{wrong:?}");
    let unknown = server.rest.call("PUT", "/api/v1/hosts", None).await;
    assert_eq!((unknown.status, unknown.header("allow")), (405, "GET,HEAD"));
}

#[tokio::test]
async fn the_agents_port_says_an_id_too() {
    let server = Server::start().await;
    let token: Token = server.token().await.parse().unwrap();
    let (status, body) =
        exchange(server.agents(), token.fingerprint, "/agent/enroll", &json!({})).await.unwrap();
    assert_eq!(status, 422);
    assert_eq!(body["request_id"].as_str().unwrap().len(), 32, "{body}");
}

#[tokio::test]
async fn every_answer_tells_a_browser_to_make_nothing_of_it() {
    let server = Server::start().await;
    for path in ["/api/v1/hosts", "/nothing", "/healthz", "/metrics"] {
        let answer = get(&server, path, &[]).await;
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
            ("referrer-policy", "no-referrer"),
            ("cache-control", "no-store"),
            // It is plain HTTP here.
            ("strict-transport-security", ""),
        ] {
            assert_eq!(answer.header(name), value, "{path} {name}");
        }
    }
}

#[tokio::test]
async fn by_plain_http_a_call_is_for_a_name_that_is_ours() {
    let server = Server::with("[web]\nnames = ['polaris.example.com']\n").await;
    for host in ["localhost:8180", "127.0.0.1", "[::1]:8180", "polaris.example.com"] {
        assert_eq!(get(&server, "/api/v1/hosts", &[("host", host)]).await.status, 200, "{host}");
    }
    for path in ["/api/v1/hosts", "/healthz", "/metrics", "/nothing"] {
        let answer = get(&server, path, &[("host", "rebound.example.net:8180")]).await;
        assert_eq!(answer.status, 421, "{answer:?}");
        assert!(answer.text("detail").contains("[web] names"), "{answer:?}");
    }
    let answer = get(&server, "http://rebound.example.net/healthz", &[("host", "localhost")]).await;
    assert_eq!(answer.status, 421, "{answer:?}");
}
