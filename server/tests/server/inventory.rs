//! Hosts as they are listed and changed.

use crate::agent::{Agent, enrolled, linked};
use crate::common::Server;
use serde_json::json;

#[tokio::test]
async fn hosts_are_listed_shown_and_changed() {
    let server = Server::start().await;
    let agent = linked(&server, "web-1").await;
    let offline = enrolled(&server, "db-1").await;
    let list = server.rest.get("/api/v1/hosts").await.body;
    assert_eq!(list["count"], 2);
    let names: Vec<_> = list["hosts"].as_array().unwrap().iter().map(|host| &host["name"]).collect();
    assert_eq!(names, ["db-1", "web-1"]);
    assert_eq!(list["hosts"][0]["id"], json!(offline.id));
    assert_eq!(list["hosts"][0]["last_seen"], json!(null));
    assert_eq!(list["hosts"][1]["boot"], "boot-web-1");

    let path = format!("/api/v1/hosts/{}", agent.id);
    let host = server.rest.get(&path).await.body;
    assert_eq!((&host["region"], &host["tags"]), (&json!("r-own"), &json!({"own": "1"})));
    assert!(host["last_seen"].is_string());

    let change = json!({"region": "cn-2", "tags": {"own": "2", "svc": "ecs"}});
    let host = server.rest.call("PATCH", &path, Some(&change)).await.body;
    assert_eq!((&host["region"], &host["tags"]), (&json!("cn-2"), &json!({"own": "2", "svc": "ecs"})));
    let host = server.rest.call("PATCH", "/api/v1/hosts/web-1", Some(&json!({"tags": null}))).await.body;
    assert_eq!((&host["region"], &host["tags"]), (&json!("cn-2"), &json!({"own": "1"})));
}

#[tokio::test]
async fn the_inventory_survives_a_restart() {
    let server = Server::start().await;
    let identity = enrolled(&server, "old-name").await;
    let agent = Agent::link(server.agents(), &identity, "new-name", "boot").await;
    let path = format!("/api/v1/hosts/{}", identity.id);
    let change = json!({"region": "cn-9", "tags": {"svc": "rds"}});
    let before = server.rest.call("PATCH", &path, Some(&change)).await.body;
    assert_eq!((&before["status"], &before["name"]), (&json!("online"), &json!("new-name")));

    let server = server.restart().await;
    let mut after = server.rest.get("/api/v1/hosts/new-name").await.body;
    assert_eq!(after["status"], "offline");
    assert!(after["last_seen"].is_string());
    after["status"] = json!("online");
    for key in ["id", "name", "region", "tags", "status", "version", "address", "created", "boot"] {
        assert_eq!(after[key], before[key], "{key}");
    }
    drop(agent);
}
