//! Nobody may make more calls than so many.

use crate::agent::{enroll, exchange};
use crate::common::{PATIENCE, Server, eventually};
use aspire_wire::enroll::Token;
use polaris::limits::LOOPBACK_IN_FLIGHT;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// However slow the machine is, so many calls are more than one a second.
const MANY: usize = 10_000;

#[tokio::test]
async fn who_calls_too_often_is_told_when_to_come_again() {
    let server = Server::with("[limits]\nreads_per_second = 1\n").await;
    let mut passed = 0;
    let refused = loop {
        let answer = server.rest.get("/api/v1/tokens").await;
        if answer.status != 200 {
            break answer;
        }
        passed += 1;
        assert!(passed < MANY, "nobody is refused");
    };
    assert!(passed >= 10, "{passed}");
    assert_eq!(refused.status, 429);
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(refused.header("content-type"), "application/problem+json");
    assert!(refused.text("detail").contains("too many calls (reads) from you"), "{refused:?}");
    assert_eq!(refused.body["request_id"], refused.header("x-request-id"));
    let change = server.rest.post("/api/v1/tokens", &json!({})).await;
    assert_eq!(change.status, 201, "changes have a row of their own");
    assert_eq!(server.rest.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn enrolments_from_one_address_have_a_bound() {
    let server = Server::with("[limits]\nenrolments_per_second = 1\n").await;
    let token: Token = server.token().await.parse().unwrap();
    let body = json!({"token": "x", "csr": "x", "name": "x"});
    for passed in 0.. {
        let (status, problem) =
            exchange(server.agents(), token.fingerprint, "/agent/enroll", &body).await.unwrap();
        if status == 429 {
            assert!(passed >= 10, "{passed}");
            assert!(problem["detail"].as_str().unwrap().contains("from this address"), "{problem}");
            return;
        }
        assert!(passed < MANY, "nobody is refused");
    }
}

#[tokio::test]
async fn a_storm_of_enrolments_from_one_address_passes() {
    let server = Server::start().await;
    let token = server.token().await;
    let agents = server.agents();
    let storm: Vec<_> = (0..100)
        .map(|n| {
            let token = token.clone();
            tokio::spawn(async move { enroll(agents, &token, &n.to_string()).await.is_ok() })
        })
        .collect();
    for enrolled in storm {
        assert!(enrolled.await.unwrap());
    }
    assert_eq!(server.rest.get("/api/v1/hosts").await.body["count"], 100);
}

#[tokio::test]
async fn one_address_has_only_so_many_connections() {
    let server = Server::with("[limits]\nconnections_per_address = 1\n").await;
    let mut open = Vec::new();
    for _ in 0..LOOPBACK_IN_FLIGHT {
        let mut tcp = TcpStream::connect(server.rest.web).await.unwrap();
        is_served(&mut tcp).await.expect("there is room");
        open.push(tcp);
    }
    let mut more = TcpStream::connect(server.rest.web).await.unwrap();
    assert!(is_served(&mut more).await.is_none(), "one too many");
    open.pop();
    eventually("room again", async || {
        let mut tcp = TcpStream::connect(server.rest.web).await.unwrap();
        is_served(&mut tcp).await
    })
    .await;
}

/// Whether a call is answered here; the connection stays open.
async fn is_served(tcp: &mut TcpStream) -> Option<()> {
    tcp.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await.ok()?;
    let mut bytes = [0; 4096];
    let read = timeout(PATIENCE, tcp.read(&mut bytes)).await.expect("an answer or an end").ok()?;
    bytes[..read].starts_with(b"HTTP/1.1 200 ").then_some(())
}
