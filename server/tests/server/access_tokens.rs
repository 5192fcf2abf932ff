//! Access tokens: what programs show.

use crate::common::{Rest, Server};
use crate::people::{PASSWORD, basic, somebody, token, user};
use serde_json::{Value, json};

#[tokio::test]
async fn a_token_is_shown_once_and_its_hash_is_kept() {
    let server = Server::start().await;
    user(&server, "ann", "operator", None).await;
    let new = json!({"name": "ci", "role": "readonly", "target": "tags.ci == \"1\"", "ttl": 3600});
    let made = server.rest.post("/api/v1/users/ann/tokens", &new).await;
    let secret = made.text("token");
    assert!(secret.starts_with("polaris_") && secret.len() == 8 + 43, "{secret}");
    assert_eq!(server.rest.post("/api/v1/users/ann/tokens", &new).await.status, 409);
    let list = server.rest.get("/api/v1/users/ann/tokens").await.body;
    let shown = &list["tokens"][0];
    assert_eq!((&list["count"], &shown["name"], &shown["token"]), (&json!(1), &json!("ci"), &Value::Null));
    assert_eq!((&shown["role"], &shown["target"]), (&json!("readonly"), &json!("tags.ci == \"1\"")));
    assert!(shown["expires"].is_string() && shown["last_used"].is_null(), "{shown}");

    let ci = Rest { web: server.rest.web, token: secret.clone() };
    let me = ci.get("/api/v1/me").await.body;
    let expected = json!({"name": "ann", "role": "readonly", "via": "token", "token": "ci",
        "targets": ["tags.ci == \"1\""], "methods": "none"});
    assert_eq!(me, expected);
    let me = basic(&server.rest, ("ann", &secret), "GET", "/api/v1/me", &Value::Null).await;
    assert_eq!(me.body, expected, "in the place of the password, too");
    assert_eq!(basic(&server.rest, ("bob", &secret), "GET", "/api/v1/me", &Value::Null).await.status, 401);
    let admin = server.rest.token.clone();
    let me = basic(&server.rest, ("whoever", &admin), "GET", "/api/v1/me", &Value::Null).await;
    assert_eq!(me.text("name"), "admin.token");

    let server = server.restart().await;
    let shown = server.rest.get("/api/v1/users/ann/tokens").await.body["tokens"][0].clone();
    assert!(shown["last_used"].is_string(), "{shown}");
    let plain = "SELECT COUNT(*) FROM access_tokens WHERE LENGTH(hash) = 64 AND hash NOT LIKE 'polaris%'";
    assert_eq!(server.database().await.count(plain).await, 1);
    let ci = Rest { web: server.rest.web, token: secret };
    assert_eq!(ci.get("/api/v1/me").await.status, 200);
    assert_eq!(server.rest.call("DELETE", "/api/v1/users/ann/tokens/ci", None).await.status, 204);
    assert_eq!(ci.get("/api/v1/me").await.status, 401);
    assert_eq!(server.rest.call("DELETE", "/api/v1/users/ann/tokens/ci", None).await.status, 404);
}

#[tokio::test]
async fn a_token_may_no_more_than_its_user_whatever_becomes_of_him() {
    let server = Server::start().await;
    let ci = somebody(&server, "ann", "operator", None).await;
    let more = server.rest.post("/api/v1/users/ann/tokens", &json!({"name": "x", "role": "admin"})).await;
    assert_eq!((more.status, more.text("field").as_str()), (422, "role"));
    assert_eq!(ci.get("/api/v1/me").await.text("role"), "operator");
    for (role, acting) in [("readonly", "readonly"), ("admin", "operator")] {
        server.rest.call("PATCH", "/api/v1/users/ann", Some(&json!({"role": role}))).await;
        assert_eq!(ci.get("/api/v1/me").await.text("role"), acting);
    }
}

#[tokio::test]
async fn a_token_that_has_expired_opens_nothing() {
    let server = Server::start().await;
    user(&server, "ann", "operator", None).await;
    let ci = token(&server, "ann", &json!({"name": "ci", "ttl": 60})).await;
    for ttl in [json!(59), json!(315_360_001), json!("1h")] {
        let answer = server.rest.post("/api/v1/users/ann/tokens", &json!({"name": "x", "ttl": ttl})).await;
        assert_eq!((answer.status, answer.text("field").as_str()), (422, "ttl"));
    }
    assert_eq!(ci.get("/api/v1/me").await.status, 200);
    server.database().await.execute("UPDATE access_tokens SET expires = 1").await;
    let server = server.restart().await;
    let ci = Rest { web: server.rest.web, token: ci.token };
    let answer = ci.get("/api/v1/me").await;
    assert_eq!(answer.status, 401);
    assert!(answer.text("detail").contains("expired"), "{answer:?}");
    assert_eq!(basic(&server.rest, ("ann", PASSWORD), "GET", "/api/v1/me", &Value::Null).await.status, 200);
}
