//! Certificates are renewed by the link before they end.

use crate::agent::{Agent, Identity, config, enroll, enrolled, issue, issue_by};
use crate::common::{PATIENCE, Server, eventually};
use crate::program::Program;
use polaris::clock;
use polaris::pki::Parsed;
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};
use std::fs::File;
use std::process::Stdio;
use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;
use tokio::time::timeout;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;

const DAY_MS: i64 = 86_400_000;

/// A key, and a request for it.
fn request() -> (KeyPair, String) {
    let key = KeyPair::generate().unwrap();
    // The name that it asks for does not matter.
    let csr = CertificateParams::new(["someone.else".into()]).unwrap().serialize_request(&key).unwrap();
    (key, csr.pem().unwrap())
}

/// What the agent of a renewed certificate shows from then on.
fn renewed(server: &Server, frame: &Value, key: &KeyPair, id: &str) -> Identity {
    assert_eq!(frame["method"], "renewed", "{frame}");
    let cert = CertificateDer::from_pem_slice(frame["cert"].as_str().unwrap().as_bytes()).unwrap();
    let (ca, key) = (server.running.app.authority.der().clone(), key.serialize_der());
    Identity { id: id.into(), config: config(&ca, &cert, &key), ca, cert, key }
}

/// Days from now until the host's certificate ends, as people see it.
fn days_left(host: &Value) -> i64 {
    let expires = clock::of_rfc3339(host["certificate"]["expires"].as_str().unwrap()).unwrap();
    (expires - clock::now()) / DAY_MS
}

#[tokio::test]
async fn a_certificate_with_less_than_a_third_of_its_life_left_is_renewed() {
    let server = Server::start().await;
    let id = enrolled(&server, "a").await.id;
    let old = issue(&server, &id, -200, 99);
    let mut agent = Agent::link(server.agents(), &old, "a", "boot").await;
    assert_eq!(agent.expect().await, json!({"method": "renew"}));
    let shown = server.host_where(&id, "the old one", |host| days_left(host) < 100).await;
    assert_eq!(shown["certificate"]["serial"], Parsed::of(&old.cert).unwrap().certificate.serial);

    let (key, csr) = request();
    agent.send(&json!({"method": "renew", "csr": csr})).await;
    let new = renewed(&server, &agent.expect().await, &key, &id);
    let parsed = Parsed::of(&new.cert).unwrap();
    assert_eq!(parsed.host.to_string(), id, "whatever the request asks for");
    agent.is_heard().await;
    let host = server.rest.get(&format!("/api/v1/hosts/{id}")).await.body;
    assert!(days_left(&host) < 100, "the agent has not said that it has it: {host}");
    agent.send(&json!({"method": "renewed"})).await;
    let host = server.host_where(&id, "the new one", |host| days_left(host) >= 396).await;
    assert_eq!(host["certificate"]["serial"], parsed.certificate.serial);
    assert_eq!(host["status"], "online", "the link goes on");
    drop(agent);

    let mut agent = Agent::link(server.agents(), &new, "a", "boot").await;
    agent.is_heard().await;
    let host = server.rest.get(&format!("/api/v1/hosts/{id}")).await.body;
    assert_eq!(host["conflict"], Value::Null, "one machine: {host}");
    drop(agent);
    let server = server.restart().await;
    let host = server.rest.get(&format!("/api/v1/hosts/{id}")).await.body;
    assert_eq!(host["certificate"]["serial"], parsed.certificate.serial, "without a link: {host}");
}

#[tokio::test]
async fn a_certificate_that_has_time_is_left_alone_and_its_end_is_known_before_the_first_link() {
    let server = Server::with("[agents]\ncertificate_days = 3\n").await;
    let identity = enroll(server.agents(), &server.token().await, "a").await.unwrap();
    let host = server.rest.get("/api/v1/hosts/a").await.body;
    assert_eq!((days_left(&host), &host["status"]), (2, &json!("unknown")));
    let mut agent = Agent::link(server.agents(), &identity, "a", "boot").await;
    agent.is_heard().await;
    let fresh = issue(&server, &identity.id, -100, 60);
    drop(agent);
    Agent::link(server.agents(), &fresh, "a", "boot").await.is_heard().await;
}

#[tokio::test]
async fn whoever_was_not_asked_gets_nothing_and_nobody_gets_two() {
    let server = Server::start().await;
    let identity = enrolled(&server, "a").await;
    let mut agent = Agent::link(server.agents(), &identity, "a", "boot").await;
    agent.send(&json!({"method": "renew", "csr": request().1})).await;
    agent.send(&json!({"method": "renewed"})).await;
    agent.is_heard().await;
    drop(agent);

    let old = issue(&server, &identity.id, -200, 10);
    let mut agent = Agent::link(server.agents(), &old, "a", "boot").await;
    assert_eq!(agent.expect().await["method"], "renew");
    for _ in 0..3 {
        agent.send(&json!({"method": "renew", "csr": request().1})).await;
    }
    assert_eq!(agent.expect().await["method"], "renewed");
    agent.is_heard().await;
}

#[tokio::test]
async fn what_fails_on_either_side_leaves_the_link_and_the_old_certificate() {
    let server = Server::start().await;
    let id = enrolled(&server, "a").await.id;
    let old = issue(&server, &id, -200, 10);
    let serial = Parsed::of(&old.cert).unwrap().certificate.serial;
    let answers = [
        json!({"method": "renew", "error": "key.pem.new: No space left on device"}),
        json!({"method": "renew", "csr": "nonsense"}),
        json!({"method": "renew", "csr": "x".repeat(20_000)}),
    ];
    for answer in answers {
        let mut agent = Agent::link(server.agents(), &old, "a", "boot").await;
        assert_eq!(agent.expect().await["method"], "renew");
        agent.send(&answer).await;
        let refused = agent.expect().await;
        assert!(refused["error"].is_string() && refused["cert"].is_null(), "{refused}");
        agent.is_heard().await;
    }
    // The agent cannot put it into its place.
    let mut agent = Agent::link(server.agents(), &old, "a", "boot").await;
    assert_eq!(agent.expect().await["method"], "renew");
    agent.send(&json!({"method": "renew", "csr": request().1})).await;
    assert!(agent.expect().await["cert"].is_string());
    agent.send(&json!({"method": "renewed", "error": "cert.pem: Read-only file system"})).await;
    agent.is_heard().await;
    let host = server.rest.get(&format!("/api/v1/hosts/{id}")).await.body;
    assert_eq!(host["certificate"]["serial"], serial, "{host}");
}

#[tokio::test]
async fn an_agent_that_does_not_know_of_renewal_works_on() {
    let server = Server::start().await;
    let id = enrolled(&server, "a").await.id;
    let mut agent = Agent::link(server.agents(), &issue(&server, &id, -200, 10), "a", "boot").await;
    assert_eq!(agent.expect().await["method"], "renew");
    // As version 0.1.0 before this takes a frame without an id.
    let detail = "id: missing";
    agent
        .send(&json!({"id": "", "resp": "failed", "retcode": 3020, "message": "Malformed message",
                       "detail": detail}))
        .await;
    agent.is_heard().await;
}

#[tokio::test]
async fn a_renew_that_says_nothing_breaks_the_protocol() {
    let server = Server::start().await;
    let identity = enrolled(&server, "a").await;
    let mut agent = Agent::link(server.agents(), &identity, "a", "boot").await;
    agent.send(&json!({"method": "renew"})).await;
    assert!(agent.bye().await.contains("csr or error"));
}

#[tokio::test]
async fn an_expired_certificate_is_named_as_such_in_the_log() {
    let dir = TempDir::new().unwrap();
    let log = dir.path().join("log");
    let program = Program::with_log(dir.path(), Stdio::from(File::create(&log).unwrap())).await;
    let read = |name: &str| std::fs::read_to_string(dir.path().join("data/pki").join(name)).unwrap();
    let ca = CertificateDer::from_pem_slice(read("ca.pem").as_bytes()).unwrap();
    let host = "edd6c192-52cb-4133-a17a-e7d8aec03de7";
    let ended = issue_by(&ca, &read("ca.key"), host, -30, -1);
    // In TLS 1.3 the agent is done before the server has seen its certificate.
    if let Ok(mut stream) = crate::agent::connect(program.agents, ended.config.clone()).await {
        let refused = timeout(PATIENCE, stream.read_u8()).await.unwrap().unwrap_err().to_string();
        assert!(refused.contains("CertificateExpired"), "{refused}");
    }
    let expires = clock::rfc3339(Parsed::of(&ended.cert).unwrap().certificate.expires);
    let expected = format!("the host's certificate expired on {expires}: enrol it anew");
    eventually("the log says so", async || {
        std::fs::read_to_string(&log).unwrap().contains(&expected).then_some(())
    })
    .await;
}
