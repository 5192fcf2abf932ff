//! The real `polarisctl` against a real server: users, access tokens, the audit log.

use crate::common::Server;
use crate::people::{PASSWORD, basic};
use serde_json::{Value, json};
use std::io::Write as _;
use std::process::{Command, Stdio};
use tokio::task::spawn_blocking;

/// Exit status, standard output and standard error.
type Told = (Option<i32>, String, String);

async fn ctl(server: &Server, token: &str, words: &[&str], input: &str) -> Told {
    let mut command = Command::new(env!("CARGO_BIN_EXE_polarisctl"));
    for name in ["POLARIS_URL", "POLARIS_TOKEN", "POLARIS_DATA"] {
        command.env_remove(name);
    }
    command.args(["--url", &format!("http://{}", server.rest.web)]).env("POLARIS_TOKEN", token).args(words);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let input = input.to_owned();
    let output = spawn_blocking(move || {
        let mut child = command.spawn().unwrap();
        // Of a child that ends without reading the pipe breaks.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    });
    let output = output.await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn fine(told: &Told) -> &str {
    assert_eq!(told.0, Some(0), "{told:?}");
    &told.1
}

#[tokio::test]
async fn users_are_kept_with_polarisctl_and_no_password_is_on_its_command_line() {
    let server = Server::start().await;
    let admin = server.rest.token.clone();
    let ctl = async |words: &[&str], input: &str| ctl(&server, &admin, words, input).await;
    let added = ctl(
        &["users", "add", "ann", "--role", "operator", "-t", "name ~ \"web-*\""],
        &format!("{PASSWORD}\r\nmore\n"),
    )
    .await;
    fine(&added);
    let me = async |password: &str| {
        basic(&server.rest, ("ann", password), "GET", "/api/v1/me", &Value::Null).await
    };
    assert_eq!(me(PASSWORD).await.status, 200);
    let short = ctl(&["users", "add", "bob", "--role", "operator"], "short\n").await;
    assert_eq!(short.0, Some(1));
    assert!(short.2.contains("a password has 12 to 1024 bytes, this one 5"), "{short:?}");
    fine(&ctl(&["users", "add", "robot", "--role", "readonly", "--no-password"], "").await);

    fine(&ctl(&["users", "set", "ann", "--role", "readonly", "--target", ""], "").await);
    let ann = server.rest.get("/api/v1/users/ann").await.body;
    assert_eq!((&ann["role"], &ann["target"]), (&json!("readonly"), &Value::Null));
    fine(&ctl(&["users", "password", "ann"], "another password\n").await);
    assert_eq!((me(PASSWORD).await.status, me("another password").await.status), (401, 200));
    fine(&ctl(&["users", "set", "ann", "--disable"], "").await);
    assert_eq!(me("another password").await.status, 401);
    let told = ctl(&["users"], "").await;
    let list = fine(&told);
    assert!(list.contains("ann    readonly  -       disabled"), "{list}");
    assert!(list.contains("robot  readonly  -       no password"), "{list}");
    fine(&ctl(&["users", "remove", "ann"], "").await);
    let nothing = ctl(&["users", "set", "robot"], "").await;
    assert_eq!(nothing.0, Some(2), "{nothing:?}");
    let json: Value = serde_json::from_str(fine(&ctl(&["users", "-o", "json"], "").await)).unwrap();
    assert_eq!(json["count"], 1);
}

#[tokio::test]
async fn an_access_token_is_printed_alone_and_does_what_it_may() {
    let server = Server::start().await;
    let admin = server.rest.token.clone();
    fine(&ctl(&server, &admin, &["users", "add", "ann", "--role", "operator", "--no-password"], "").await);
    let create = ["access-token", "create", "ann", "ci", "--role", "readonly", "--ttl", "90days"];
    let told = ctl(&server, &admin, &create, "").await;
    let token = fine(&told).trim_end().to_owned();
    assert!(token.starts_with("polaris_") && !token.contains('\n'), "{told:?}");
    assert_eq!(
        fine(&ctl(&server, &token, &["hosts", "-o", "json"], "").await),
        "{\"hosts\":[],\"count\":0}\n"
    );
    let refused = ctl(&server, &token, &["token", "create"], "").await;
    assert_eq!(refused.0, Some(1), "{refused:?}");
    assert!(refused.2.contains("this is for the role operator; yours is readonly"), "{refused:?}");
    let told = ctl(&server, &admin, &["access-token", "list", "ann"], "").await;
    assert!(fine(&told).contains("ci    readonly"), "{told:?}");
    fine(&ctl(&server, &admin, &["access-token", "remove", "ann", "ci"], "").await);
    assert_eq!(ctl(&server, &token, &["hosts"], "").await.0, Some(3), "it is not let in any more");

    let told = ctl(&server, &admin, &["audit", "--who", "ann"], "").await;
    let shown = fine(&told);
    assert!(shown.contains("ann/ci  127.0.0.1  403"), "{shown}");
    assert!(shown.contains("POST /api/v1/tokens"), "{shown}");
    let told =
        ctl(&server, &admin, &["audit", "--who", "admin.token", "--limit", "1", "-o", "ndjson"], "").await;
    let entry: Value = serde_json::from_str(fine(&told)).unwrap();
    assert_eq!(entry["what"], "access token ci of ann: removed");
}
