//! Sessions, and those who try passwords.

use crate::common::{Answer, Server};
use crate::people::{PASSWORD, basic, call, login, user};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::join_all;
use hyper::Request;
use hyper_util::rt::TokioIo;
use polaris::limits::{LOGIN_FAILURES_PER_NAME, MAX_SESSIONS_PER_USER};
use serde_json::{Value, json};
use tokio::net::TcpSocket;

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

/// Calls as [`basic`] does, by another address.
async fn from_elsewhere(server: &Server, name: &str, password: &str) -> u16 {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 2], 0).into()).unwrap();
    let tcp = socket.connect(server.rest.web).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tcp)).await.unwrap();
    tokio::spawn(connection);
    let login = format!("Basic {}", STANDARD.encode(format!("{name}:{password}")));
    let request = Request::get(ME).header("host", "localhost").header("authorization", login);
    sender.send_request(request.body(String::new()).unwrap()).await.unwrap().status().as_u16()
}

#[tokio::test]
async fn whoever_guesses_keeps_nobody_out_elsewhere_and_is_told_nothing_by_what_is_known_there() {
    let server = Server::start().await;
    user(&server, "ann", "operator", None).await;
    for _ in 0..LOGIN_FAILURES_PER_NAME {
        assert_eq!(from_elsewhere(&server, "ann", "not the password").await, 401);
    }
    assert_eq!(from_elsewhere(&server, "ann", "not the password").await, 429);
    for _ in 0..2 {
        assert_eq!(basic(&server.rest, ("ann", PASSWORD), "GET", ME, NONE).await.status, 200);
        assert_eq!(from_elsewhere(&server, "ann", PASSWORD).await, 429, "as any other guess");
    }
}

#[tokio::test]
async fn a_right_password_that_comes_often_at_once_is_let_in_each_time() {
    let server = Server::start().await;
    user(&server, "ann", "operator", None).await;
    let calls =
        (0..3 * LOGIN_FAILURES_PER_NAME).map(|_| basic(&server.rest, ("ann", PASSWORD), "GET", ME, NONE));
    let statuses: Vec<_> = join_all(calls).await.iter().map(|answer| answer.status).collect();
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    // Those that are wrong are let through only as often as one after the other.
    let calls =
        (0..3 * LOGIN_FAILURES_PER_NAME).map(|_| basic(&server.rest, ("ann", "wrong"), "GET", ME, NONE));
    let answers = join_all(calls).await;
    let wrong = answers.iter().filter(|answer| answer.status == 401).count();
    assert_eq!(wrong, LOGIN_FAILURES_PER_NAME as usize);
    assert!(answers.iter().all(|answer| [401, 429].contains(&answer.status)));
}

#[tokio::test]
async fn behind_a_proxy_that_speaks_tls_the_cookie_goes_over_nothing_else() {
    let server = Server::with("[web]\nsecure_cookies = true\n").await;
    user(&server, "ann", "operator", None).await;
    let body = json!({"name": "ann", "password": PASSWORD});
    let begun = call(&server.rest, &[], "POST", "/api/v1/login", &body).await;
    let set = begun.header("set-cookie");
    assert!(set.starts_with("__Host-polaris_session=") && set.ends_with("; Secure"), "{set}");
    let session = login(&server.rest, "ann", PASSWORD).await;
    let me = session.call(&server.rest, "GET", ME, NONE).await;
    assert_eq!((me.status, me.text("csrf")), (200, session.csrf.clone()));
    let end = session.call(&server.rest, "POST", "/api/v1/logout", NONE).await;
    assert!(end.header("set-cookie").starts_with("__Host-polaris_session=;"), "{end:?}");
}
