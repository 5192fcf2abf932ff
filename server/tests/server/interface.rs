//! The description of the interface, and that calls keep to it.

use crate::common::Server;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;

#[tokio::test]
async fn the_description_and_its_page_are_for_everybody() {
    let server = Server::start().await;
    let get = async |path: &str| {
        let response = server.rest.open(Request::get(path).body(Full::default()).unwrap()).await;
        let (parts, body) = response.into_parts();
        let policy = parts.headers["content-security-policy"].to_str().unwrap().to_owned();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        let kind = parts.headers["content-type"].to_str().unwrap().to_owned();
        let bytes = body.collect().await.unwrap().to_bytes();
        (parts.status.as_u16(), kind, String::from_utf8(bytes.to_vec()).unwrap())
    };
    let (status, kind, text) = get("/api/openapi.json").await;
    assert_eq!((status, &*kind), (200, "application/json"));
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    let (status, kind, page) = get("/api/docs").await;
    assert_eq!((status, &*kind), (200, "text/html; charset=utf-8"));
    assert!(page.contains("/api/v1/requests") && page.contains("href=\"/api/docs.css\""), "{page}");
    let (status, kind, style) = get("/api/docs.css").await;
    assert_eq!((status, &*kind), (200, "text/css; charset=utf-8"));
    assert!(!style.contains("url("), "{style}");
}

#[tokio::test]
async fn a_parameter_that_a_call_does_not_have_is_refused() {
    let server = Server::start().await;
    for (method, path, name) in [
        ("GET", "/api/v1/tokens?page=2", "page"),
        ("GET", "/api/v1/hosts?target=true&a%20b=1", "a b"),
        ("HEAD", "/api/v1/tokens?page=2", ""),
        ("POST", "/api/v1/requests?dry", "dry"),
        ("GET", "/healthz?%ff", "\u{fffd}"),
        ("DELETE", "/api/v1/hosts/x?force=1", "force"),
    ] {
        let answer = server.rest.call(method, path, None).await;
        assert_eq!(answer.status, 422, "{method} {path}: {answer:?}");
        if method != "HEAD" {
            assert_eq!(answer.text("field"), name, "{path}");
        }
    }
    for path in ["/api/v1/tokens?", "/api/v1/requests?limit=1&", "/healthz"] {
        assert_eq!(server.rest.get(path).await.status, 200, "{path}");
    }
}
