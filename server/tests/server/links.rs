//! The life of a link.

use crate::agent::{Agent, enrolled, init, linked};
use crate::common::{PATIENCE, Server, eventually};
use serde_json::json;
use std::time::Instant;
use tokio::net::TcpStream;
use tokio::time::timeout;

#[tokio::test]
async fn init_is_answered_and_pings_too() {
    let server = Server::with("[agents]\nheartbeat = 7\n").await;
    let identity = enrolled(&server, "a").await;
    let mut agent = Agent::dial(server.agents(), &identity).await;
    agent.send(&init(&identity.id, "a", "b")).await;
    assert_eq!(agent.expect().await, json!({"method": "ready", "heartbeat": 7, "facts": {}}));
    for _ in 0..3 {
        agent.send(&json!({"method": "ping"})).await;
        assert_eq!(agent.expect().await, json!({"method": "pong"}));
    }
    agent.send(&json!({"method": "of a later version", "x": [1]})).await;
    agent.send(&json!({"id": "nobody asked", "resp": "success", "retcode": 2, "message": ""})).await;
    agent.send(&json!({"method": "ping"})).await;
    assert_eq!(agent.expect().await["method"], "pong", "what is not known is passed over");
}

#[tokio::test]
async fn a_link_that_breaks_the_protocol_is_told_why() {
    let server = Server::start().await;
    let identity = enrolled(&server, "a").await;
    let long = vec![b'x'; aspire_wire::MAX_FRAME_BYTES + 1];
    for (bytes, reason) in [
        (&b"garbage\n"[..], "not a JSON object"),
        (b"\xff\xfe{}\n", "not a JSON object"),
        (b"{\"id\":\"a\"}\n", "not a JSON object"),
        (b"{\"method\":\"init\",\"hostname\":\"x\"}\n", "init"),
        (&long, "more than 1048576 bytes"),
    ] {
        let mut agent = Agent::link(server.agents(), &identity, "a", "b").await;
        agent.send_bytes(bytes).await;
        let bye = agent.bye().await;
        assert!(bye.contains(reason), "{bye}");
    }
    server.host_where(&identity.id, "offline", |host| host["status"] == "offline").await;
}

#[tokio::test]
async fn what_an_agent_says_is_quoted_in_short_and_without_controls() {
    let server = Server::start().await;
    let mut agent = linked(&server, "a").await;
    let forged = "x\n2026-11-22 ERROR forged\u{1b}[2J".repeat(10_000);
    agent.send(&json!({"id": "x", "resp": forged, "retcode": 2, "message": ""})).await;
    let bye = agent.bye().await;
    assert!(bye.contains("unknown variant"), "{bye}");
    assert!(bye.len() < 1000 && !bye.contains(char::is_control), "{} bytes: {bye:.100?}", bye.len());
}

#[tokio::test]
async fn the_first_frame_must_be_an_honest_init() {
    let server = Server::start().await;
    let (one, other) = (enrolled(&server, "one").await, enrolled(&server, "other").await);
    let long = "x".repeat(256);
    for (frame, reason) in [
        (json!({"method": "ping"}), "first frame must be init"),
        (init(&other.id, "one", "b"), "hostname"),
        (init(&one.id, &long, "b"), "name"),
        (init(&one.id, "one", &long), "boot"),
    ] {
        let mut agent = Agent::dial(server.agents(), &one).await;
        agent.send(&frame).await;
        let bye = agent.bye().await;
        assert!(bye.contains(reason), "{bye}");
    }
    let host = server.rest.get(&format!("/api/v1/hosts/{}", one.id)).await.body;
    assert_eq!(host["status"], "unknown", "it was never linked");
}

#[tokio::test]
async fn connections_that_say_nothing_hold_up_nobody() {
    let server = Server::start().await;
    let identity = enrolled(&server, "a").await;
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(TcpStream::connect(server.agents()).await.unwrap());
    }
    // One after the other they would take half an hour.
    let link = Agent::link(server.agents(), &identity, "a", "b");
    let mut agent = timeout(PATIENCE, link).await.unwrap();
    agent.is_heard().await;
}

#[tokio::test]
async fn silence_ends_a_link() {
    let server = Server::with("[agents]\nheartbeat = 1\n").await;
    let agent = linked(&server, "a").await;
    let id = agent.id.clone();
    assert!(agent.bye().await.contains("nothing heard"));
    server.host_where(&id, "offline", |host| host["status"] == "offline").await;
}

#[tokio::test]
async fn the_newest_link_wins_and_the_older_one_is_told() {
    let server = Server::start().await;
    let identity = enrolled(&server, "a").await;
    let old = Agent::link(server.agents(), &identity, "a", "boot").await;
    let mut new = Agent::link(server.agents(), &identity, "a", "boot").await;
    let answer = async {
        new.serve_one("new").await;
    };
    let request = json!({"hosts": ["a"], "method": "sync.bash", "cmd": "true"});
    let (answer, ()) = tokio::join!(server.rest.run(request), answer);
    assert_eq!(answer.body["response"][0]["data"], "new");
    assert!(old.bye().await.contains("newer link"));
    let host = server.rest.get("/api/v1/hosts/a").await.body;
    assert_eq!(host["status"], "online", "the end of the older one changes nothing");
    assert!(host.get("conflict").is_none(), "{host}");
}

#[tokio::test]
async fn agents_are_sent_away_where_the_configuration_says_so() {
    let server = Server::with("[agents]\nredirect = ['10.0.0.9', 'b.example:9']\n").await;
    let identity = enrolled(&server, "a").await;
    let mut agent = Agent::dial(server.agents(), &identity).await;
    agent.send(&init(&identity.id, "a", "b")).await;
    let frame = agent.expect().await;
    assert_eq!(frame, json!({"method": "redirect", "server": "10.0.0.9,b.example:9"}));
    assert_eq!(agent.next().await, None);
    assert!(server.running.app.hub.is_empty());

    // A front door need not know whom it sends on.
    assert_eq!(server.rest.call("DELETE", "/api/v1/hosts/a", None).await.status, 204);
    let mut agent = Agent::dial(server.agents(), &identity).await;
    agent.send(&init(&identity.id, "a", "b")).await;
    assert_eq!(agent.expect().await["method"], "redirect");
}

#[tokio::test]
async fn agents_beyond_max_links_are_sent_away() {
    let server = Server::with("[agents]\nredirect = ['10.0.0.9']\nmax_links = 1\n").await;
    let (one, other) = (enrolled(&server, "one").await, enrolled(&server, "other").await);
    let first = Agent::link(server.agents(), &one, "one", "b").await;
    let mut second = Agent::dial(server.agents(), &other).await;
    second.send(&init(&other.id, "other", "b")).await;
    assert_eq!(second.expect().await["method"], "redirect");
    // A newer link of the same host takes the place of the older one.
    let third = Agent::link(server.agents(), &one, "one", "b").await;
    drop((first, third));
    eventually("room", async || server.running.app.hub.is_empty().then_some(())).await;
    Agent::link(server.agents(), &other, "other", "b").await;
}

#[tokio::test]
async fn a_full_server_without_another_says_so() {
    let server = Server::with("[agents]\nmax_links = 1\n").await;
    let (one, other) = (enrolled(&server, "one").await, enrolled(&server, "other").await);
    let _first = Agent::link(server.agents(), &one, "one", "b").await;
    let mut second = Agent::dial(server.agents(), &other).await;
    second.send(&init(&other.id, "other", "b")).await;
    assert!(second.bye().await.starts_with("full"));
}

#[tokio::test]
async fn an_agent_that_does_not_read_is_let_go() {
    let server = Server::start().await;
    let agent = linked(&server, "a").await;
    let cmd = "x".repeat(100_000);
    // More than the outbox and every buffer of the kernel between here and there.
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..400 {
        let (rest, cmd) = (server.rest.clone(), cmd.clone());
        calls.spawn(async move {
            rest.run(json!({"hosts": ["a"], "method": "sync.bash", "cmd": cmd})).await.retcodes()[0].1
        });
    }
    let retcodes = calls.join_all().await;
    assert!(retcodes.contains(&206), "{retcodes:?}");
    assert!(retcodes.iter().all(|code| [204, 206].contains(code)), "{retcodes:?}");
    drop(agent);
}

#[tokio::test]
async fn an_agent_that_never_stops_talking_is_let_go_all_the_same() {
    let server = Server::start().await;
    let agent = linked(&server, "a").await;
    let path = format!("/api/v1/hosts/{}", agent.id);
    let flood = agent.flood();
    let revoke = async { assert_eq!(server.rest.call("DELETE", &path, None).await.status, 204) };
    tokio::join!(flood, revoke);
}

#[tokio::test]
async fn peers_that_say_nothing_hold_up_nobody() {
    let server = Server::start().await;
    let mut mute = Vec::new();
    for _ in 0..100 {
        mute.push(TcpStream::connect(server.agents()).await.unwrap());
    }
    let begin = Instant::now();
    linked(&server, "a").await;
    assert!(begin.elapsed() < polaris::limits::HANDSHAKE_LIMIT, "it did not wait for them to be cut off");
}
