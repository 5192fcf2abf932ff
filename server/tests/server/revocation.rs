//! A host that was removed is refused from that moment on, by every way there is.

use crate::agent::{Agent, Identity, connect, enrolled, init, issue};
use crate::common::{PATIENCE, Server, eventually};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::{ClientConfig, HandshakeKind};

async fn remove(server: &Server, id: &str) {
    let answer = server.rest.call("DELETE", &format!("/api/v1/hosts/{id}"), None).await;
    assert_eq!(answer.status, 204, "{answer:?}");
}

/// The identity, for the short exchanges.
fn for_http(identity: &Identity) -> Arc<ClientConfig> {
    let mut config = ClientConfig::clone(&identity.config);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
}

/// A connection for a short exchange, which shows the identity.
async fn exchange_as(server: &Server, identity: &Identity) -> SendRequest<Full<Bytes>> {
    let stream = connect(server.agents(), for_http(identity)).await.unwrap();
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

/// Status and body of an exchange.
async fn ask(mut sender: SendRequest<Full<Bytes>>) -> (u16, Value) {
    let request = Request::get("/agent/nothing").header("host", "polaris").body(Full::default()).unwrap();
    let response = timeout(PATIENCE, sender.send_request(request)).await.expect("an answer").unwrap();
    let status = response.status().as_u16();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&bytes).unwrap())
}

#[tokio::test]
async fn nothing_is_signed_for_a_host_that_was_removed_while_its_certificate_was_renewed() {
    let server = Server::start().await;
    let id = enrolled(&server, "a").await.id;
    let mut agent = Agent::link(server.agents(), &issue(&server, &id, -200, 10), "a", "boot").await;
    assert_eq!(agent.expect().await["method"], "renew");
    remove(&server, &id).await;
    let csr = CertificateParams::default().serialize_request(&KeyPair::generate().unwrap()).unwrap();
    agent.send(&json!({"method": "renew", "csr": csr.pem().unwrap()})).await;
    let mut last = Value::Null;
    while let Some(frame) = agent.next().await {
        assert_eq!(frame["cert"], Value::Null, "{frame}");
        last = frame;
    }
    assert_eq!(last["method"], "bye", "{last}");
}

#[tokio::test]
async fn a_short_exchange_knows_its_host_and_refuses_one_that_was_removed() {
    let server = Server::start().await;
    let identity = enrolled(&server, "a").await;
    let (status, body) = ask(exchange_as(&server, &identity).await).await;
    assert_eq!(status, 404, "past the door: {body}");
    // Its handshake was done while it was still welcome; then it is cut off.
    let mut begun = exchange_as(&server, &identity).await;
    remove(&server, &identity.id).await;
    let request = Request::get("/agent/nothing").header("host", "polaris").body(Full::default()).unwrap();
    let cut = timeout(PATIENCE, begun.send_request(request)).await.expect("the end");
    assert!(cut.is_err(), "{cut:?}");
    let (status, body) = ask(exchange_as(&server, &identity).await).await;
    assert_eq!(status, 403, "{body}");
    assert!(body["detail"].as_str().unwrap().contains("revoked"), "{body}");
    // Nor is one that never was.
    let stranger = issue(&server, "edd6c192-52cb-4133-a17a-e7d8aec03de7", -1, 1);
    assert_eq!(ask(exchange_as(&server, &stranger).await).await.0, 403);
    let nobody = issue(&server, "no host", -1, 1);
    assert_eq!(ask(exchange_as(&server, &nobody).await).await.0, 403);
}

#[tokio::test]
async fn a_download_that_is_under_way_ends_when_its_host_is_removed() {
    let server = Server::start().await;
    let identity = enrolled(&server, "a").await;
    // Far more than lies between the two in buffers.
    let length = 256 << 20;
    let folder = server.dir.path().join("data/packages");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::File::create(folder.join("large")).unwrap().set_len(length).unwrap();
    let mut sender = exchange_as(&server, &identity).await;
    let request = Request::get("/packages/large").header("host", "polaris").body(Full::default()).unwrap();
    let response = timeout(PATIENCE, sender.send_request(request)).await.expect("an answer").unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-length"], length.to_string().as_str());
    let mut body = response.into_body();
    assert!(body.frame().await.unwrap().is_ok(), "it has begun");
    remove(&server, &identity.id).await;
    let mut came = 0;
    let cut = loop {
        match timeout(PATIENCE, body.frame()).await.expect("more, or the end") {
            Some(Ok(frame)) => came += frame.into_data().unwrap().len() as u64,
            end => break end,
        }
    };
    assert!(matches!(cut, Some(Err(_))) && came < length, "{came} bytes came, and then {cut:?}");
}

/// Dials again and again, until a try that began after the removal was answered has been refused.
/// The links that were welcome.
async fn dial_until_refused(
    server: &Server,
    identity: &Identity,
    welcome: &AtomicUsize,
    removed: &AtomicBool,
) -> Vec<Agent> {
    let mut links = Vec::new();
    loop {
        let is_late = removed.load(Ordering::SeqCst);
        let mut agent = Agent::dial(server.agents(), identity).await;
        agent.send(&init(&identity.id, "a", "boot")).await;
        let first = agent.expect().await;
        if is_late {
            assert_eq!(first["method"], "bye", "admitted after it was removed: {first}");
            assert!(first["reason"].as_str().unwrap().contains("revoked"), "{first}");
            return links;
        }
        if first["method"] == "ready" {
            welcome.fetch_add(1, Ordering::SeqCst);
            links.push(agent);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_handshakes_that_run_while_a_host_is_removed_none_is_admitted_after() {
    let server = Server::start().await;
    let mut all = Vec::new();
    for round in 0..8 {
        let identity = enrolled(&server, &format!("a{round}")).await;
        let (welcome, removed) = (AtomicUsize::new(0), AtomicBool::new(false));
        let dialling = (0..6).map(|_| dial_until_refused(&server, &identity, &welcome, &removed));
        let removing = async {
            eventually("many links", async || (welcome.load(Ordering::SeqCst) >= 12).then_some(())).await;
            remove(&server, &identity.id).await;
            removed.store(true, Ordering::SeqCst);
        };
        let (links, ()) = tokio::join!(futures_util::future::join_all(dialling), removing);
        all.extend(links.into_iter().flatten());
    }
    for mut agent in all {
        while agent.next().await.is_some() {}
    }
    let app = &server.running.app;
    eventually("no link is left", async || app.hub.is_empty().then_some(())).await;
}

#[tokio::test]
async fn there_is_no_session_to_be_resumed_by_whoever_was_removed() {
    let server = Server::start().await;
    let identity = enrolled(&server, "a").await;
    let mut config = ClientConfig::clone(&identity.config);
    config.resumption = Resumption::default();
    let config = Arc::new(config);
    for _ in 0..3 {
        let mut stream = connect(server.agents(), config.clone()).await.unwrap();
        // A ticket would come with, or before, the first answer.
        let said = format!("{}\n", init(&identity.id, "a", "boot"));
        stream.write_all(said.as_bytes()).await.unwrap();
        timeout(PATIENCE, stream.read_u8()).await.unwrap().unwrap();
        let tls = stream.get_ref().1;
        assert_eq!(tls.handshake_kind(), Some(HandshakeKind::Full));
        assert_eq!(tls.tls13_tickets_received(), 0);
    }
}
