//! Two machines with one identity are seen, and one machine is never taken for two.

use crate::agent::{Agent, Identity, enrolled};
use crate::common::Server;
use serde_json::{Value, json};

async fn conflict(server: &Server, identity: &Identity) -> Value {
    server.rest.get(&format!("/api/v1/hosts/{}", identity.id)).await.body["conflict"].clone()
}

#[tokio::test]
async fn reconnects_and_reboots_are_no_conflict() {
    let server = Server::start().await;
    let identity = enrolled(&server, "a").await;
    for boot in ["one", "one", "two", "two", "three"] {
        // The one before is gone without a word, as after a power cut.
        drop(Agent::link(server.agents(), &identity, "a", boot).await);
    }
    let _last = Agent::link(server.agents(), &identity, "a", "three").await;
    assert_eq!(conflict(&server, &identity).await, Value::Null);
}

#[tokio::test]
async fn a_boot_id_that_comes_back_shows_a_clone() {
    let server = Server::start().await;
    let identity = enrolled(&server, "a").await;
    let _machine = Agent::link(server.agents(), &identity, "a", "machine").await;
    let _clone = Agent::link(server.agents(), &identity, "a", "clone").await;
    assert_eq!(conflict(&server, &identity).await, Value::Null, "it might have been a reboot");
    let _machine = Agent::link(server.agents(), &identity, "a", "machine").await;
    let shown = conflict(&server, &identity).await;
    assert!(shown["since"].as_str().unwrap().ends_with('Z'), "{shown}");
    assert_eq!(shown["peers"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn two_agents_that_live_at_once_show_a_clone_even_on_one_kernel() {
    let server = Server::start().await;
    let identity = enrolled(&server, "a").await;
    let mut old = Agent::link(server.agents(), &identity, "a", "boot").await;
    let _new = Agent::link(server.agents(), &identity, "a", "boot").await;
    let probe = old.expect().await;
    assert_eq!(probe["method"], "agent.info");
    assert_eq!(conflict(&server, &identity).await, Value::Null, "nothing is proved yet");
    let reply = json!({"id": probe["id"], "resp": "failed", "retcode": 3022, "message": "Unknown method"});
    old.send(&reply).await;
    assert!(old.bye().await.contains("newer link"));
    assert_eq!(conflict(&server, &identity).await["peers"].as_array().unwrap().len(), 2);
}
