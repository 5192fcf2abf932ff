//! Sessions, and those who try passwords.

use crate::common::{Answer, Server};
use crate::people::{PASSWORD, basic, call, login, user};
use polaris::limits::{LOGIN_FAILURES_PER_NAME, MAX_SESSIONS_PER_USER};
use serde_json::{Value, json};

const ME: &str = "/api/v1/me";
const NONE: &Value = &Value::Null;

#[tokio::test]
async fn a_cookie_opens_what_the_password_does_and_needs_more_to_change_something() {
    let server = Server::start().await;
    user(&server, "ann", "admin", None).await;
    let body = json!({"name": "ann", "password": PASSWORD});
    let begun = call(&server.rest, &[], "POST", "/api/v1/login", &body).await;
    assert_eq!((begun.text("name"), begun.text("role")), ("ann".into(), "admin".into()));
    assert!(begun.text("expires").ends_with('Z'));
    let set = begun.header("set-cookie");
    assert!(set.starts_with("polaris_session=") && set.contains("; HttpOnly; SameSite=Strict"), "{set}");
    assert!(!set.contains("Secure"), "this listener speaks no TLS");

    let session = login(&server.rest, "ann", PASSWORD).await;
    let cookie = [("cookie", &*session.cookie)];
    let me = call(&server.rest, &cookie, "GET", ME, NONE).await;
    assert_eq!((me.text("via"), me.text("csrf")), ("session".into(), session.csrf.clone()));
    let new = json!({"name": "bob", "role": "readonly"});
    for csrf in [None, Some(""), Some("wrong"), Some(&*begun.text("csrf"))] {
        let headers: Vec<_> = cookie.into_iter().chain(csrf.map(|csrf| ("x-csrf-token", csrf))).collect();
        let answer = call(&server.rest, &headers, "POST", "/api/v1/users", &new).await;
        assert_eq!(answer.status, 403, "{csrf:?}");
        assert!(answer.text("detail").starts_with("x-csrf-token: "), "{answer:?}");
    }
    assert_eq!(session.call(&server.rest, "POST", "/api/v1/users", &new).await.status, 201);

    let server = server.restart().await;
    assert_eq!(session.call(&server.rest, "GET", ME, NONE).await.status, 200, "it survives a restart");
    let end = session.call(&server.rest, "POST", "/api/v1/logout", NONE).await;
    assert_eq!(end.status, 204);
    assert!(end.header("set-cookie").contains("Max-Age=0"), "{end:?}");
    assert_eq!(session.call(&server.rest, "GET", ME, NONE).await.status, 401);
    assert_eq!(server.rest.call("POST", "/api/v1/logout", None).await.status, 409);
}

#[tokio::test]
async fn a_session_ends_when_its_time_is_over() {
    let server = Server::start().await;
    let mut sessions = Vec::new();
    for name in ["old", "idle", "good"] {
        user(&server, name, "operator", None).await;
        sessions.push(login(&server.rest, name, PASSWORD).await);
    }
    let mut database = server.database().await;
    database.execute("UPDATE sessions SET expires = 1 WHERE owner = 'old'").await;
    database.execute("UPDATE sessions SET used = 1 WHERE owner = 'idle'").await;
    let server = server.restart().await;
    for (session, status) in sessions.iter().zip([401, 401, 200]) {
        assert_eq!(session.call(&server.rest, "GET", ME, NONE).await.status, status);
    }
}

#[tokio::test]
async fn a_user_has_only_so_many_sessions_and_the_longest_unused_ends() {
    let server = Server::start().await;
    user(&server, "ann", "operator", None).await;
    let first = login(&server.rest, "ann", PASSWORD).await;
    let second = login(&server.rest, "ann", PASSWORD).await;
    for _ in 2..MAX_SESSIONS_PER_USER {
        login(&server.rest, "ann", PASSWORD).await;
    }
    assert_eq!(first.call(&server.rest, "GET", ME, NONE).await.status, 200);
    login(&server.rest, "ann", PASSWORD).await;
    assert_eq!(first.call(&server.rest, "GET", ME, NONE).await.status, 200);
    assert_eq!(second.call(&server.rest, "GET", ME, NONE).await.status, 401);
    let shown = server.rest.get("/api/v1/users/ann").await.body;
    assert_eq!(shown["sessions"], json!(MAX_SESSIONS_PER_USER));
}

/// What is the same whoever is meant.
fn told(answer: &Answer) -> (u16, String) {
    (answer.status, answer.text("detail"))
}

#[tokio::test]
async fn whoever_tries_passwords_learns_nothing_and_has_to_wait() {
    let server = Server::start().await;
    user(&server, "ann", "operator", None).await;
    user(&server, "bob", "operator", None).await;
    server.rest.post("/api/v1/users", &json!({"name": "robot", "role": "operator"})).await;
    let wrong = "not the password";
    let by_login = async |name: &str, password: &str| {
        let body = json!({"name": name, "password": password});
        call(&server.rest, &[], "POST", "/api/v1/login", &body).await
    };
    let refusals =
        [by_login("ann", wrong).await, by_login("nobody", wrong).await, by_login("robot", "").await];
    let too_long = by_login("ann", &"x".repeat(2000)).await;
    for answer in refusals.iter().chain([&too_long]) {
        assert_eq!(told(answer), (401, "the name or the password is wrong".into()));
    }
    // Both ways count, each that comes; a password that was right counts for nothing.
    assert_eq!(basic(&server.rest, ("bob", PASSWORD), "GET", ME, NONE).await.status, 200);
    for name in ["ann", "nobody"] {
        let had = if name == "ann" { 2 } else { 1 };
        for _ in had..LOGIN_FAILURES_PER_NAME {
            assert_eq!(basic(&server.rest, (name, wrong), "GET", ME, NONE).await.status, 401);
        }
        for answer in [
            by_login(name, wrong).await,
            by_login(name, PASSWORD).await,
            basic(&server.rest, (name, wrong), "GET", ME, NONE).await,
        ] {
            assert_eq!(answer.status, 429, "{answer:?}");
            assert!((1..=31).contains(&answer.header("retry-after").parse::<u64>().unwrap()), "{answer:?}");
        }
    }
    assert_eq!(
        basic(&server.rest, ("bob", PASSWORD), "GET", ME, NONE).await.status,
        200,
        "others are let in"
    );
}
