//! A token becomes a host, or nothing at all.

use crate::agent::{self, Agent, enroll, enrolled, exchange};
use crate::common::{PATIENCE, Server};
use aspire_wire::enroll::Token;
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair};
use serde_json::json;
use std::time::{Duration, SystemTime};
use tokio::io::AsyncReadExt as _;
use tokio::time::timeout;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;

#[tokio::test]
async fn a_token_makes_a_host_that_can_link() {
    let server = Server::start().await;
    let new = json!({"ttl": 60, "uses": 1, "region": "cn-1", "tags": {"svc": "ecs"}});
    let answer = server.rest.post("/api/v1/tokens", &new).await;
    assert_eq!(answer.status, 201);
    let identity = enroll(server.agents(), &answer.text("token"), "web-1").await.unwrap();

    let host = server.rest.get("/api/v1/hosts/web-1").await.body;
    assert_eq!(host["id"], json!(identity.id));
    assert_eq!((&host["region"], &host["status"]), (&json!("cn-1"), &json!("unknown")));
    assert_eq!(host["tags"], json!({"svc": "ecs"}));

    let _agent = Agent::link(server.agents(), &identity, "web-1", "b").await;
    let host = server.host_where(&identity.id, "online", |host| host["status"] == "online").await;
    assert_eq!(host["region"], "cn-1", "the token's wins over the agent's");
    assert_eq!(host["tags"], json!({"own": "1", "svc": "ecs"}));
    assert_eq!(host["version"], "gearman-0.0.0-test");
    assert_eq!(host["address"], "127.0.0.1");
}

#[tokio::test]
async fn a_token_that_does_not_hold_is_refused_with_the_reason() {
    let server = Server::start().await;
    let good = server.rest.post("/api/v1/tokens", &json!({"uses": 2})).await;
    let token = good.text("token");
    let parsed: Token = token.parse().unwrap();

    let unknown = Token { secret: [1; 32], fingerprint: parsed.fingerprint }.to_string();
    let (status, body) = enroll(server.agents(), &unknown, "").await.err().unwrap();
    assert_eq!(status, 403);
    assert!(body["detail"].as_str().unwrap().contains("unknown"), "{body}");

    for name in ["a", "b"] {
        enroll(server.agents(), &token, name).await.unwrap();
    }
    let (status, body) = enroll(server.agents(), &token, "c").await.err().unwrap();
    assert_eq!(status, 403);
    assert!(body["detail"].as_str().unwrap().contains("used up"), "{body}");

    let deleted = server.rest.post("/api/v1/tokens", &json!({})).await;
    let path = format!("/api/v1/tokens/{}", deleted.text("id"));
    assert_eq!(server.rest.call("DELETE", &path, None).await.status, 204);
    assert_eq!(server.rest.call("DELETE", &path, None).await.status, 404);
    let (status, _) = enroll(server.agents(), &deleted.text("token"), "d").await.err().unwrap();
    assert_eq!(status, 403);

    let hosts = server.rest.get("/api/v1/hosts").await.body;
    assert_eq!(hosts["count"], 2, "a refusal leaves nothing behind");
}

#[tokio::test]
async fn an_expired_token_is_refused() {
    let server = Server::start().await;
    let fingerprint = server.running.app.authority.fingerprint();
    let token = Token { secret: [9; 32], fingerprint };
    let hash = polaris::requests::hex(&<sha2::Sha256 as sha2::Digest>::digest(token.secret_text()));
    let row = polaris::store::tokens::TokenRow {
        id: "t".into(),
        uses: 1,
        settings: polaris::hosts::Settings::default(),
        expires: polaris::clock::now() - 1,
        created: 0,
    };
    server.running.app.store.insert_token(&row, &hash).await.unwrap();
    let (status, body) = enroll(server.agents(), &token.to_string(), "").await.err().unwrap();
    assert_eq!(status, 403);
    assert!(body["detail"].as_str().unwrap().contains("expired"), "{body}");
}

#[tokio::test]
async fn one_use_is_one_host_however_many_try_at_once() {
    let server = Server::start().await;
    let token = server.rest.post("/api/v1/tokens", &json!({"uses": 3})).await.text("token");
    let tries = (0..12).map(|_| enroll(server.agents(), &token, ""));
    let done = futures_util::future::join_all(tries).await;
    assert_eq!(done.iter().filter(|result| result.is_ok()).count(), 3);
    assert_eq!(server.rest.get("/api/v1/hosts").await.body["count"], 3);
}

#[tokio::test]
async fn a_server_of_another_ca_is_seen_through() {
    let server = Server::start().await;
    let error = exchange(server.agents(), [0; 32], "/agent/enroll", &json!({})).await.unwrap_err();
    assert!(error.to_string().contains("not the pinned CA"), "{error}");
}

#[tokio::test]
async fn what_is_wrong_with_the_exchange_is_said() {
    let server = Server::start().await;
    let token: Token = server.token().await.parse().unwrap();
    let agents = server.agents();
    let call = async |path: &str, body| exchange(agents, token.fingerprint, path, &body).await.unwrap();
    let (status, body) = call("/agent/enroll", json!({"token": "x", "csr": "y", "z": 1})).await;
    assert_eq!((status, &body["field"]), (422, &json!("z")));
    let (status, body) = call("/agent/enroll", json!({"token": "x"})).await;
    assert_eq!((status, &body["field"]), (422, &json!("csr")));
    let secret = token.secret_text();
    let (status, body) = call("/agent/enroll", json!({"token": secret, "csr": "nonsense"})).await;
    assert_eq!((status, &body["field"]), (422, &json!("csr")));
    let (status, _) = call("/agent/enroll", json!({"token": secret, "csr": "x".repeat(70_000)})).await;
    assert_eq!(status, 413);
    let (status, body) = call("/api/v1/hosts", json!({})).await;
    assert_eq!((status, &body["status"]), (404, &json!(404)));
    // The token was not spent on any of these.
    enroll(server.agents(), &token.to_string(), "ok").await.unwrap();
}

#[tokio::test]
async fn a_revoked_host_is_told_and_refused_from_then_on() {
    let server = Server::start().await;
    let identity = enrolled(&server, "w").await;
    let agent = Agent::link(server.agents(), &identity, "w", "b").await;
    let path = format!("/api/v1/hosts/{}", identity.id);
    assert_eq!(server.rest.call("DELETE", &path, None).await.status, 204);
    assert!(agent.bye().await.contains("revoked"));
    assert_eq!(server.rest.get(&path).await.status, 404);
    assert_eq!(server.rest.get("/api/v1/hosts").await.body["count"], 0);
    let refused = Agent::dial(server.agents(), &identity).await.bye().await;
    assert!(refused.contains("revoked"), "{refused}");

    let server = server.restart().await;
    assert!(Agent::dial(server.agents(), &identity).await.bye().await.contains("revoked"));
}

#[tokio::test]
async fn a_link_needs_a_certificate_of_this_ca() {
    let server = Server::start().await;
    let other = Server::start().await;
    let stranger = enrolled(&other, "s").await;
    assert!(agent::connect(server.agents(), stranger.config.clone()).await.is_err(), "the agent sees it");
    let config = agent::config(server.running.app.authority.der(), &stranger.cert, &stranger.key);
    // In TLS 1.3 the agent is done before the server has seen its certificate.
    if let Ok(mut stream) = agent::connect(server.agents(), config).await {
        let refused = timeout(PATIENCE, stream.read_u8()).await.unwrap().unwrap_err().to_string();
        assert!(refused.contains("alert"), "{refused}");
    }

    let mut roots = tokio_rustls::rustls::RootCertStore::empty();
    roots.add(server.running.app.authority.der().clone()).unwrap();
    let mut config = agent::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"cargo/1".to_vec()];
    let bare = agent::Identity { config: config.clone().into(), ..stranger };
    let refused = Agent::dial(server.agents(), &bare).await.bye().await;
    assert!(refused.contains("client certificate"), "{refused}");

    config.alpn_protocols = vec![b"other".to_vec()];
    assert!(agent::connect(server.agents(), config.into()).await.is_err(), "no common protocol");
}

#[tokio::test]
async fn a_certificate_of_this_ca_must_be_a_hosts_and_not_have_ended() {
    let server = Server::start().await;
    let (app, pki) = (&server.running.app, server.dir.path().join("data/pki"));
    let read = |file: &str| std::fs::read_to_string(pki.join(file)).unwrap();
    let servers = read("server.pem");
    let own_cert = CertificateDer::from_pem_slice(servers.as_bytes()).unwrap();
    let own_key = KeyPair::from_pem(&servers).unwrap().serialize_der();

    let issuer = Issuer::from_ca_cert_der(app.authority.der(), KeyPair::from_pem(&read("ca.key")).unwrap());
    let (issuer, key) = (issuer.unwrap(), KeyPair::generate().unwrap());
    let host = enrolled(&server, "h").await;
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, host.id.as_str());
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.not_after = (SystemTime::now() - Duration::from_secs(1)).into();
    let ended = params.signed_by(&key, &issuer).unwrap().der().clone();

    for (cert, key, alert) in
        [(own_cert, own_key, "UnsupportedCertificate"), (ended, key.serialize_der(), "CertificateExpired")]
    {
        let config = agent::config(app.authority.der(), &cert, &key);
        if let Ok(mut stream) = agent::connect(server.agents(), config).await {
            let refused = timeout(PATIENCE, stream.read_u8()).await.unwrap().unwrap_err().to_string();
            assert!(refused.contains(alert), "{refused}");
        }
    }
}
