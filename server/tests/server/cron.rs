//! What hosts accepted into their cron tables, and how it ran.

use crate::agent::{Agent, linked, result};
use crate::common::Server;
use serde_json::{Value, json};

/// One request, which the agent answers with this.
async fn asked(server: &Server, agent: &mut Agent, body: Value, retcode: u16, data: Value) {
    let mut body = body;
    body["hosts"] = json!([agent.id]);
    let answering = async {
        let request = agent.expect().await;
        let resp = if retcode < 3 { "success" } else { "failed" };
        let reply =
            json!({"id": request["id"], "resp": resp, "retcode": retcode, "message": "m", "data": data});
        agent.send(&reply).await;
    };
    let (answer, ()) = tokio::join!(server.rest.run(body), answering);
    assert_eq!(answer.retcodes()[0].1, u64::from(retcode));
}

async fn set(server: &Server, agent: &mut Agent, name: &str, cmd: &str, retcode: u16) {
    let body = json!({"method": "cron.set", "name": name, "schedule": "0 3 * * *", "cmd": cmd, "splay": 60});
    let data = json!({"name": name, "schedule": "0 0 3 * * *", "timezone": "Europe/Berlin",
                      "next": ["2020-11-23T03:00:00+01:00", "2099-11-24T03:00:00+01:00"]});
    asked(server, agent, body, retcode, data).await;
}

async fn list(server: &Server, query: &str) -> Vec<Value> {
    let answer = server.rest.get(&format!("/api/v1/cron{query}")).await;
    answer.body["entries"].as_array().unwrap_or_else(|| panic!("{answer:?}")).clone()
}

/// Names and commands.
async fn short(server: &Server, query: &str) -> Vec<[String; 3]> {
    let text = |entry: &Value, key: &str| entry[key].as_str().unwrap_or_default().to_owned();
    let short = |entry: &Value| [text(entry, "hostname"), text(entry, "name"), text(entry, "cmd")];
    list(server, query).await.iter().map(short).collect()
}

fn of(entries: &[[&str; 3]]) -> Vec<[String; 3]> {
    entries.iter().map(|entry| entry.map(str::to_owned)).collect()
}

#[tokio::test]
async fn what_hosts_accepted_is_listed_over_the_fleet() {
    let server = Server::start().await;
    let (mut a, mut b) = (linked(&server, "a").await, linked(&server, "b").await);
    set(&server, &mut a, "nightly", "backup", 1).await;
    set(&server, &mut b, "nightly", "backup", 1).await;
    set(&server, &mut a, "hourly", "tidy", 1).await;
    set(&server, &mut a, "refused", "x", 3021).await;
    let entries = list(&server, "?host=a&name=nightly").await;
    let expected = json!({"host": a.id, "hostname": "a", "name": "nightly", "schedule": "0 0 3 * * *",
        "timezone": "Europe/Berlin", "cmd": "backup", "splay": 60, "last": null, "told": entries[0]["told"],
        "next": ["2099-11-24T03:00:00+01:00"]});
    assert_eq!(entries, [expected]);
    let mut all = short(&server, "").await;
    all.sort();
    assert_eq!(all, of(&[["a", "hourly", "tidy"], ["a", "nightly", "backup"], ["b", "nightly", "backup"]]));
    // Setting it again replaces it.
    set(&server, &mut a, "nightly", "other", 1).await;
    assert_eq!(short(&server, "?host=a&name=nightly").await, of(&[["a", "nightly", "other"]]));
    assert_eq!(server.rest.get("/api/v1/cron?limit=1").await.body["count"], 3);

    let mut seen = Vec::new();
    let mut after = String::new();
    while let Some(entry) = list(&server, &format!("?limit=1{after}")).await.first() {
        let (host, name) = (entry["host"].as_str().unwrap(), entry["name"].as_str().unwrap());
        after = format!("&after={name}/{host}");
        seen.push(name.to_owned());
    }
    assert_eq!(seen, ["hourly", "nightly", "nightly"]);
    let server = server.restart().await;
    assert_eq!(list(&server, "").await.len(), 3, "it survives a restart");
}

#[tokio::test]
async fn what_a_host_removed_or_does_not_have_is_gone() {
    let server = Server::start().await;
    let mut agent = linked(&server, "a").await;
    for name in ["one", "two", "three"] {
        set(&server, &mut agent, name, name, 1).await;
    }
    let remove = |name: &str| json!({"method": "cron.remove", "name": name});
    asked(&server, &mut agent, remove("one"), 2, json!({})).await;
    asked(&server, &mut agent, remove("two"), 3024, json!({})).await;
    asked(&server, &mut agent, remove("three"), 3025, json!({})).await;
    assert_eq!(short(&server, "").await, of(&[["a", "three", "three"]]));
}

#[tokio::test]
async fn a_hosts_own_list_replaces_what_is_known_of_it() {
    let server = Server::start().await;
    let (mut a, mut b) = (linked(&server, "a").await, linked(&server, "b").await);
    for name in ["one", "two"] {
        set(&server, &mut a, name, "old", 1).await;
        set(&server, &mut b, name, "old", 1).await;
    }
    let entry =
        |name: &str, cmd: &str| json!({"name": name, "schedule": "* * * * *", "cmd": cmd, "next": []});
    let data = json!({"entries": [entry("two", "new"), entry("three", "new")], "count": 2});
    asked(&server, &mut a, json!({"method": "cron.list"}), 2, data).await;
    assert_eq!(short(&server, "?host=a").await, of(&[["a", "three", "new"], ["a", "two", "new"]]));
    assert_eq!(list(&server, "?host=b").await.len(), 2, "another host's are left alone");
    // A list of one entry says nothing of the others.
    let only = json!({"entries": [entry("two", "newest")], "count": 1});
    asked(&server, &mut a, json!({"method": "cron.list", "name": "two"}), 2, only).await;
    assert_eq!(short(&server, "?host=a").await, of(&[["a", "three", "new"], ["a", "two", "newest"]]));
    asked(&server, &mut a, json!({"method": "cron.list", "name": "two"}), 3024, json!({})).await;
    assert_eq!(short(&server, "?host=a").await, of(&[["a", "three", "new"]]));
}

#[tokio::test]
async fn a_list_that_shows_less_than_there_is_takes_nothing_away() {
    let server = Server::start().await;
    let mut agent = linked(&server, "a").await;
    let long = format!("{} and the end", "x".repeat(200));
    for (name, cmd) in [("one", long.as_str()), ("two", "old"), ("three", "old and more")] {
        set(&server, &mut agent, name, cmd, 1).await;
    }
    let entry = |name: &str, cmd: &str| json!({"name": name, "schedule": "* * * * *", "cmd": cmd});
    let entries = [entry("one", &long[..200]), entry("three", "old")];
    let data = json!({"entries": entries, "count": 3});
    asked(&server, &mut agent, json!({"method": "cron.list"}), 2, data).await;
    let expected = [["a", "one", long.as_str()], ["a", "three", "old"], ["a", "two", "old"]];
    assert_eq!(short(&server, "").await, of(&expected));
    assert_eq!(list(&server, "?name=one").await[0]["schedule"], "* * * * *");
    let data = json!({"entries": entries, "count": 2});
    asked(&server, &mut agent, json!({"method": "cron.list"}), 2, data).await;
    assert_eq!(short(&server, "").await, of(&[expected[0], expected[1]]));
}

#[tokio::test]
async fn the_last_run_is_the_latest_that_has_ended() {
    let server = Server::start().await;
    let mut agent = linked(&server, "a").await;
    set(&server, &mut agent, "nightly", "backup", 1).await;
    let end = 1_795_316_400_000_u64;
    for (seq, day, retcode) in [(1, 2, 2), (2, 1, 3101), (3, 0, 2)] {
        let mut run = result(seq, &format!("nightly@{day}"), "x");
        run["cron"] = json!("nightly");
        run["retcode"] = json!(retcode);
        run["scheduled"] = json!(end + day * 86_400_000);
        run["ended"] = json!(end + day * 86_400_000 + 500);
        agent.send(&run).await;
        agent.is_acked(seq).await;
    }
    let mut notice = json!({"method": "job", "id": "nightly@3", "state": "running", "attempts": 1});
    notice["cron"] = json!("nightly");
    agent.send(&notice).await;
    agent.is_heard().await;
    let last = &list(&server, "").await[0]["last"];
    assert_eq!(
        (&last["job"], &last["retcode"], &last["state"]),
        (&json!("nightly@2"), &json!(2), &json!("done"))
    );
    assert_eq!(last["scheduled"], "2026-11-24T03:00:00.000Z");
}
