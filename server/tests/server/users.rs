//! Users, and what ends with them.

use crate::common::{Server, eventually};
use crate::people::{PASSWORD, Session, basic, login, somebody, token, user};
use polaris::people::{Attempt, User};
use serde_json::{Value, json};

#[tokio::test]
async fn users_are_made_shown_changed_and_removed() {
    let server = Server::start().await;
    let new = json!({"name": "ann", "role": "operator", "password": PASSWORD, "target": "name ~ \"web-*\""});
    let made = server.rest.post("/api/v1/users", &new).await;
    assert_eq!(made.status, 201, "{made:?}");
    let shown = server.rest.get("/api/v1/users/ann").await.body;
    assert_eq!(shown, made.body);
    for (key, value) in [
        ("name", json!("ann")),
        ("role", json!("operator")),
        ("target", json!("name ~ \"web-*\"")),
        ("disabled", json!(false)),
        ("password", json!(true)),
        ("tokens", json!(0)),
        ("sessions", json!(0)),
    ] {
        assert_eq!(shown[key], value, "{key}");
    }
    assert_eq!(server.rest.post("/api/v1/users", &new).await.status, 409);
    let bob = server.rest.post("/api/v1/users", &json!({"name": "bob", "role": "readonly"})).await;
    assert_eq!(bob.body["password"], false);

    let change = json!({"role": "admin", "target": null});
    let changed = server.rest.call("PATCH", "/api/v1/users/ann", Some(&change)).await;
    assert_eq!((&changed.body["role"], &changed.body["target"]), (&json!("admin"), &Value::Null));
    let kept = server.rest.call("PATCH", "/api/v1/users/ann", Some(&json!({}))).await;
    assert_eq!(kept.body["role"], "admin");

    let server = server.restart().await;
    let list = server.rest.get("/api/v1/users").await.body;
    assert_eq!((&list["count"], &list["users"][0]["name"]), (&json!(2), &json!("ann")));
    assert_eq!(list["users"][0]["role"], "admin");
    assert_eq!(server.rest.call("DELETE", "/api/v1/users/ann", None).await.status, 204);
    assert_eq!(server.rest.get("/api/v1/users/ann").await.status, 404);
    assert_eq!(server.rest.call("DELETE", "/api/v1/users/ann", None).await.status, 404);
    assert_eq!(basic(&server.rest, ("ann", PASSWORD), "GET", "/api/v1/me", &Value::Null).await.status, 401);
}

#[tokio::test]
async fn what_is_wrong_with_a_user_is_named() {
    let server = Server::start().await;
    for (body, field, reason) in [
        (json!({"role": "operator"}), "name", "missing field"),
        (json!({"name": "Ann", "role": "operator"}), "name", "1 to 64 of a-z"),
        (json!({"name": "-ann", "role": "operator"}), "name", "a letter or digit first"),
        (json!({"name": "a".repeat(65), "role": "operator"}), "name", "1 to 64"),
        (json!({"name": "admin.token", "role": "operator"}), "name", "the token in the data folder"),
        (json!({"name": "ann", "role": "root"}), "role", "unknown variant"),
        (json!({"name": "ann", "role": "operator", "password": "short"}), "password", "12 to 1024 bytes"),
        (json!({"name": "ann", "role": "operator", "target": "name ~"}), "target", "column"),
        (json!({"name": "ann", "role": "operator", "shell": "bash"}), "shell", "unknown field"),
    ] {
        let answer = server.rest.post("/api/v1/users", &body).await;
        assert_eq!(answer.status, 422, "{body} {answer:?}");
        assert_eq!(answer.text("field"), field, "{body}");
        assert!(answer.text("detail").contains(reason), "{answer:?}");
    }
    assert_eq!(server.rest.get("/api/v1/users").await.body["count"], 0);
}

#[tokio::test]
async fn whoever_is_disabled_or_removed_is_out_at_once() {
    let server = Server::start().await;
    let by_token = somebody(&server, "ann", "operator", None).await;
    let session = login(&server.rest, "ann", PASSWORD).await;
    let statuses = async |session: &Session| {
        let cookie = session.call(&server.rest, "GET", "/api/v1/me", &Value::Null).await.status;
        let password = basic(&server.rest, ("ann", PASSWORD), "GET", "/api/v1/me", &Value::Null).await.status;
        [by_token.get("/api/v1/me").await.status, cookie, password]
    };
    assert_eq!(statuses(&session).await, [200; 3]);
    let disable = async |disabled: bool| {
        let change = json!({"disabled": disabled});
        assert_eq!(server.rest.call("PATCH", "/api/v1/users/ann", Some(&change)).await.status, 200);
    };
    disable(true).await;
    assert_eq!(statuses(&session).await, [401; 3]);
    disable(false).await;
    assert_eq!(statuses(&session).await, [200, 401, 200], "a session does not come back");
    let session = login(&server.rest, "ann", PASSWORD).await;
    server.rest.call("DELETE", "/api/v1/users/ann", None).await;
    assert_eq!(statuses(&session).await, [401; 3]);
    // Another of the same name has nothing of the first.
    user(&server, "ann", "operator", None).await;
    assert_eq!(statuses(&session).await, [401, 401, 200]);
}

#[tokio::test]
async fn ones_own_password_is_changed_by_the_old_one() {
    let server = Server::start().await;
    user(&server, "ann", "readonly", None).await;
    user(&server, "bob", "operator", None).await;
    let (own, other) =
        (login(&server.rest, "ann", PASSWORD).await, login(&server.rest, "ann", PASSWORD).await);
    let path = "/api/v1/users/ann/password";
    let new = "a better password";
    let wrong = own.call(&server.rest, "POST", path, &json!({"old": "not the old one", "new": new})).await;
    assert_eq!((wrong.status, wrong.text("field").as_str()), (422, "old"));
    let short = own.call(&server.rest, "POST", path, &json!({"old": PASSWORD, "new": "short"})).await;
    assert_eq!((short.status, short.text("field").as_str()), (422, "new"));
    let body = json!({"old": PASSWORD, "new": new});
    assert_eq!(basic(&server.rest, ("bob", PASSWORD), "POST", path, &body).await.status, 403);
    assert_eq!(own.call(&server.rest, "POST", path, &body).await.status, 204);
    let me =
        async |session: &Session| session.call(&server.rest, "GET", "/api/v1/me", &Value::Null).await.status;
    assert_eq!((me(&own).await, me(&other).await), (200, 401), "the other sessions have ended");
    for (password, status) in [(PASSWORD, 401), (new, 200)] {
        let answer = basic(&server.rest, ("ann", password), "GET", "/api/v1/me", &Value::Null).await;
        assert_eq!(answer.status, status, "{password}");
    }
    // An administrator needs no old one, and ends all sessions.
    let change = json!({"password": PASSWORD});
    assert_eq!(server.rest.call("PATCH", "/api/v1/users/ann", Some(&change)).await.status, 200);
    assert_eq!(me(&own).await, 401);
    login(&server.rest, "ann", PASSWORD).await;
}

#[tokio::test]
async fn users_manage_what_is_their_own() {
    let server = Server::start().await;
    user(&server, "ann", "readonly", Some("name == \"a\"")).await;
    user(&server, "bob", "operator", None).await;
    let own = token(&server, "bob", &json!({"name": "ci"})).await;
    let (ann, body) = (("ann", PASSWORD), json!({"name": "laptop"}));
    for (name, status) in [("ann", 201), ("bob", 403), ("nobody", 403)] {
        let path = format!("/api/v1/users/{name}/tokens");
        assert_eq!(basic(&server.rest, ann, "POST", &path, &body).await.status, status, "{name}");
    }
    assert_eq!(basic(&server.rest, ann, "GET", "/api/v1/users/ann", &Value::Null).await.body["tokens"], 1);
    let removed = basic(&server.rest, ann, "DELETE", "/api/v1/users/ann/tokens/laptop", &Value::Null).await;
    assert_eq!(removed.status, 204);
    let refused = own.post("/api/v1/users/bob/tokens", &body).await;
    assert_eq!(refused.status, 403);
    assert!(refused.text("detail").contains("an access token does not manage its user"), "{refused:?}");
}

#[tokio::test]
async fn whoever_knew_the_password_before_this_one_does_not_change_it() {
    let server = Server::start().await;
    user(&server, "ann", "readonly", None).await;
    let app = server.running.app.clone();
    let alone = app.people.changing.lock().await;
    let kept = app.people.roster.user("ann").unwrap();
    let body = json!({"old": PASSWORD, "new": "the thief's password"});
    let changing = server.rest.post("/api/v1/users/ann/password", &body);
    let meanwhile = async {
        let hash = kept.password.as_deref().unwrap();
        let attempt = Attempt::of("ann", [127, 0, 0, 1].into());
        eventually("the old one is known", async || {
            app.people.passwords.is_known(hash, PASSWORD, &attempt).then_some(())
        })
        .await;
        app.people.roster.put_user(User { password: Some("another".into()), ..User::clone(&kept) });
        drop(alone);
    };
    let (answer, ()) = tokio::join!(changing, meanwhile);
    assert_eq!((answer.status, answer.text("field").as_str()), (422, "old"));
    assert_eq!(app.people.roster.user("ann").unwrap().password.as_deref(), Some("another"));
}

#[tokio::test]
async fn the_list_counts_what_each_has() {
    let server = Server::start().await;
    somebody(&server, "ann", "readonly", None).await;
    user(&server, "bob", "readonly", None).await;
    login(&server.rest, "ann", PASSWORD).await;
    let users = server.rest.get("/api/v1/users").await.body["users"].clone();
    let counts = |n: usize| [users[n]["tokens"].as_u64(), users[n]["sessions"].as_u64()];
    assert_eq!((counts(0), counts(1)), ([Some(1); 2], [Some(0); 2]));
}
