//! First start, restart, and what a crash leaves.

use crate::agent::{Agent, builder, connect, enrolled, linked};
use crate::common::{Server, config, config_on};
use crate::database::is_mysql;
use crate::program::Program;
use polaris::serve::Running;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::rustls::RootCertStore;

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn the_first_start_makes_what_it_needs_and_the_next_keeps_it() {
    let server = Server::start().await;
    let data = server.dir.path().join("data");
    assert_eq!((mode(&data), mode(&data.join("pki"))), (0o700, 0o700));
    let database = if is_mysql() { &[][..] } else { &["polaris.db", "polaris.db-wal"] };
    for secret in ["admin.token", "pki/ca.key", "pki/server.pem"].iter().chain(database) {
        assert_eq!(mode(&data.join(secret)), 0o600, "{secret}");
    }
    let listen: Value = serde_json::from_slice(&std::fs::read(data.join("listen.json")).unwrap()).unwrap();
    assert_eq!(listen["web"], json!(format!("http://{}", server.rest.web)));
    assert_eq!(listen["agents"], json!(server.agents().to_string()));
    assert_eq!(listen["pid"], json!(std::process::id()));

    let read =
        || ["admin.token", "pki/ca.pem", "pki/server.pem"].map(|f| std::fs::read(data.join(f)).unwrap());
    let (before, identity) = (read(), enrolled(&server, "a").await);
    let server = server.restart().await;
    assert_eq!(read(), before);
    let _agent = Agent::link(server.agents(), &identity, "a", "b").await;
    let Server { running, dir, .. } = server;
    running.stop().await;
    assert!(!data.join("listen.json").exists());

    // A name more makes another certificate, by the same CA.
    let server = Server::on(dir, "[agents]\nnames = ['polaris.example', '10.1.2.3']\n").await;
    assert_eq!(read()[..2], before[..2]);
    assert_ne!(read()[2], before[2]);
    let _agent = Agent::link(server.agents(), &identity, "a", "b").await;
}

#[tokio::test]
async fn one_folder_is_one_servers() {
    let server = Server::start().await;
    let second = Running::start(config(server.dir.path(), "")).await;
    let error = format!("{:#}", second.err().unwrap());
    assert!(error.contains("another polaris") && error.contains("--data"), "{error}");
}

#[tokio::test]
async fn an_address_that_is_taken_is_named_with_its_flag() {
    let server = Server::start().await;
    let dir = TempDir::new().unwrap();
    let mut taken = config(dir.path(), "");
    taken.web.listen = server.rest.web;
    let error = format!("{:#}", Running::start(taken).await.err().unwrap());
    assert!(error.contains(&server.rest.web.to_string()) && error.contains("--web"), "{error}");
}

#[tokio::test]
async fn the_web_listener_speaks_tls_with_the_operators_certificate() {
    let dir = TempDir::new().unwrap();
    let made = rcgen::generate_simple_self_signed(["config.cargo.com".to_owned()]).unwrap();
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let toml = format!("[web]\ncert = '{}'\nkey = '{}'\n", cert.display(), key.display());
    let server = Server::on(dir, &toml).await;
    let listen = std::fs::read_to_string(server.dir.path().join("data/listen.json")).unwrap();
    assert!(listen.contains("https://127.0.0.1:"), "{listen}");

    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let config = builder().with_root_certificates(roots).with_no_client_auth();
    let mut stream = connect(server.rest.web, config.into()).await.unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut text = String::new();
    let _ = stream.read_to_string(&mut text).await;
    assert!(text.starts_with("HTTP/1.1 200") && text.ends_with("ok"), "{text}");
    assert!(text.contains("\r\nstrict-transport-security: max-age=31536000\r\n"), "{text}");
}

#[tokio::test]
async fn a_server_that_stops_says_so_and_begins_nothing() {
    let server = Server::start().await;
    let mut agent = linked(&server, "a").await;
    server.running.app.stop();
    let answer = server.rest.get("/readyz").await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, "5"));
    assert_eq!(server.rest.get("/healthz").await.status, 200);
    let answer = server.rest.run(json!({"hosts": ["a"], "method": "sync.bash", "cmd": "x"})).await;
    assert_eq!(answer.retcodes()[0].1, 206);
    agent.send(&json!({"method": "ping"})).await;
    assert_eq!(agent.expect().await["method"], "pong", "the agent heard nothing of it");
}

#[tokio::test]
async fn what_ran_when_the_server_was_killed_is_completed() {
    let server = Server::start().await;
    let identity = enrolled(&server, "a").await;
    let Server { running, dir, .. } = server;
    running.stop().await;

    let program = Program::start(dir.path()).await;
    let mut agent = Agent::link(program.agents, &identity, "a", "b").await;
    let body = json!({"id": "cut", "hosts": ["nobody", "a"], "method": "sync.bash", "cmd": "x"});
    let _lines = program.rest.stream(body).await;
    agent.expect().await;
    let shown = program.rest.get("/api/v1/requests/cut").await.body;
    assert_eq!(shown["pending"], 1, "it is in the database by now");
    drop(program);

    let server = Server::on(dir, "").await;
    let shown = server.rest.get("/api/v1/requests/cut").await.body;
    assert_eq!((&shown["pending"], &shown["failed"]), (&json!(0), &json!(2)));
    assert_eq!(shown["response"][1]["retcode"], 206);
    assert_eq!(shown["response"][1]["detail"], "polaris was restarted while it ran");
    // Not "online"; "unknown" where the server was killed before it wrote that the host had linked.
    assert_ne!(server.rest.get("/api/v1/hosts/a").await.body["status"], "online");
}

#[tokio::test]
async fn a_log_that_nobody_takes_any_more_stops_nothing() {
    let dir = TempDir::new().unwrap();
    let mut program = Program::with_log(dir.path(), Stdio::piped()).await;
    drop(program.child.stderr.take());
    let answer = program.rest.post("/api/v1/tokens", &json!({})).await;
    assert_eq!(answer.status, 201, "making a token is logged");
    program.terminate().await;
}

#[tokio::test]
async fn an_embedded_database_that_cannot_be_used_is_named_with_the_reason() {
    for (garbage, reason) in [(true, "not a database"), (false, "directory")] {
        let dir = TempDir::new().unwrap();
        let file = dir.path().join("data/polaris.db");
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        if garbage {
            std::fs::write(&file, "garbage".repeat(100)).unwrap();
        } else {
            std::fs::create_dir(&file).unwrap();
        }
        let config = config_on(dir.path(), "", None);
        let error = format!("{:#}", Running::start(config).await.err().unwrap());
        assert!(error.contains(file.to_str().unwrap()), "{error}");
        assert_eq!(error.matches(reason).count(), 1, "{error}");
    }
}

#[tokio::test]
async fn sigterm_ends_the_program_cleanly() {
    let dir = TempDir::new().unwrap();
    let mut program = Program::start(dir.path()).await;
    program.terminate().await;
    assert!(!dir.path().join("data/listen.json").exists());
}

#[tokio::test]
async fn a_server_that_stops_lets_its_agents_go() {
    let server = Server::start().await;
    let agents = [linked(&server, "a").await, linked(&server, "b").await];
    let Server { running, .. } = server;
    let byes = agents.map(|agent| tokio::spawn(agent.bye()));
    running.stop().await;
    for bye in byes {
        assert!(bye.await.unwrap().contains("shutting down"));
    }
}
