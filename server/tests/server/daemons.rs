//! What hosts tell of their daemons: events, which are acknowledged, and all they have, once a link.

use crate::agent::{Agent, enrolled, linked};
use crate::common::Server;
use polaris::hosts::Found;
use polaris::limits;
use polaris::store::daemons::DaemonFilter;
use serde_json::{Value, json};
use uuid::Uuid;

/// 2026-11-22T00:00:00Z.
const MIDNIGHT: u64 = 1_795_305_600_000;

/// A daemon that runs since so many milliseconds after midnight.
fn running(name: &str, since: u64) -> Value {
    json!({"name": name, "version": "1.0.1", "status": "running", "wanted": "running", "pid": 7,
           "since": MIDNIGHT + since, "restarts": 0})
}

fn at(name: &str, status: &str, since: u64) -> Value {
    json!({"name": name, "version": "1.0.1", "status": status, "wanted": "running",
           "since": MIDNIGHT + since, "restarts": 3})
}

fn removed(name: &str, since: u64) -> Value {
    json!({"name": name, "version": "1.0.1", "status": "stoped", "wanted": "removed",
           "since": MIDNIGHT + since, "restarts": 0, "removed": true})
}

/// The event of this number that goes well.
fn event(seq: u64, daemon: &Value) -> Value {
    let id = format!("{}@{MIDNIGHT}-{seq}", daemon["name"].as_str().unwrap());
    json!({"method": "result", "seq": seq, "id": id, "daemon": daemon, "resp": "success", "retcode": 2,
           "message": "Normal termination"})
}

fn failed(seq: u64, daemon: &Value, detail: &str, data: &Value) -> Value {
    let mut event = event(seq, daemon);
    event["resp"] = json!("failed");
    event["retcode"] = json!(3101);
    event["message"] = json!("Exited with an error");
    event["detail"] = json!(detail);
    event["data"] = data.clone();
    event
}

async fn tell(agent: &mut Agent, event: &Value) {
    agent.send(event).await;
    agent.is_acked(event["seq"].as_u64().unwrap()).await;
}

/// Tells of all there are as of the event of this number.
async fn tell_all(agent: &mut Agent, seq: u64, daemons: &[Value]) {
    agent.send(&json!({"method": "daemons", "seq": seq, "daemons": daemons})).await;
    agent.is_heard().await;
}

async fn list(server: &Server, query: &str) -> Vec<Value> {
    let answer = server.rest.get(&format!("/api/v1/daemons{query}")).await;
    answer.body["daemons"].as_array().unwrap_or_else(|| panic!("{answer:?}")).clone()
}

/// Host, daemon and status of each.
async fn short(server: &Server, query: &str) -> Vec<String> {
    let text = |daemon: &Value, key: &str| daemon[key].as_str().unwrap().to_owned();
    let short = |daemon: &Value| ["name", "daemon", "status"].map(|key| text(daemon, key)).join(" ");
    list(server, query).await.iter().map(short).collect()
}

async fn show(server: &Server, host: &str, daemon: &str) -> Value {
    let answer = server.rest.get(&format!("/api/v1/hosts/{host}/daemons/{daemon}")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}

#[tokio::test]
async fn an_event_is_acknowledged_and_shown_with_the_daemon() {
    let server = Server::start().await;
    let mut agent = linked(&server, "web-1").await;
    tell(&mut agent, &event(40, &running("nginx", 0))).await;
    let broken = failed(41, &at("nginx", "backoff", 500), "exit status 3", &json!("no such file\n"));
    tell(&mut agent, &broken).await;
    let shown = show(&server, "web-1", "nginx").await;
    let told = &shown["told"];
    let mut expected = json!({"host": agent.id, "name": "web-1", "host_status": "online", "daemon": "nginx",
        "version": "1.0.1", "status": "backoff", "wanted": "running", "since": "2026-11-22T00:00:00.500Z",
        "restarts": 3, "retcode": 3101, "detail": "exit status 3", "told": told});
    assert_eq!(list(&server, "").await, [expected.clone()]);
    expected["count"] = json!(2);
    expected["events"] = json!([
        {"id": format!("nginx@{MIDNIGHT}-41"), "version": "1.0.1", "status": "backoff", "wanted": "running",
         "since": "2026-11-22T00:00:00.500Z", "restarts": 3, "resp": "failed", "retcode": 3101,
         "message": "Exited with an error", "detail": "exit status 3", "data": "no such file\n",
         "told": shown["events"][0]["told"]},
        {"id": format!("nginx@{MIDNIGHT}-40"), "version": "1.0.1", "status": "running", "wanted": "running",
         "pid": 7, "since": "2026-11-22T00:00:00.000Z", "restarts": 0, "resp": "success", "retcode": 2,
         "message": "Normal termination", "told": shown["events"][1]["told"]}
    ]);
    assert_eq!(shown, expected);
    let latest = show(&server, &agent.id, "nginx?limit=1").await;
    assert_eq!((&latest["count"], &latest["events"][0]), (&json!(1), &expected["events"][0]));
    drop(agent);
    let server = server.restart().await;
    assert_eq!(short(&server, "").await, ["web-1 nginx backoff"], "it survives a restart");
}

#[tokio::test]
async fn an_event_that_comes_again_is_acknowledged_again_and_changes_nothing() {
    let server = Server::start().await;
    let identity = enrolled(&server, "a").await;
    let mut agent = Agent::link(server.agents(), &identity, "a", "b").await;
    let first = event(1, &at("d", "starting", 0));
    let (one, two) = (first.to_string(), event(2, &running("d", 1)).to_string());
    // In one batch, in another, by another link.
    agent.send_bytes(format!("{one}\n{one}\n{two}\n").as_bytes()).await;
    for seq in [1, 1, 2] {
        agent.is_acked(seq).await;
    }
    tell(&mut agent, &first).await;
    let mut agent = Agent::link(server.agents(), &identity, "a", "b").await;
    tell(&mut agent, &first).await;
    assert_eq!(short(&server, "").await, ["a d running"]);
    assert_eq!(server.database().await.count("SELECT COUNT(*) FROM daemon_events").await, 2);
    // Of another host it is another one.
    let mut other = linked(&server, "b").await;
    tell(&mut other, &first).await;
    assert_eq!(short(&server, "").await.len(), 2);
}

#[tokio::test]
async fn while_the_store_fails_no_event_is_acknowledged() {
    let server = Server::start().await;
    let mut agent = linked(&server, "a").await;
    let mut database = server.database().await;
    database.execute("ALTER TABLE daemon_events RENAME TO away").await;
    agent.send(&event(1, &running("d", 0))).await;
    agent.is_heard().await;
    assert_eq!(server.rest.get("/api/v1/daemons").await.status, 503);
    agent.is_heard().await;
    database.execute("ALTER TABLE away RENAME TO daemon_events").await;
    agent.is_acked(1).await;
    assert_eq!(short(&server, "").await, ["a d running"]);
}

#[tokio::test]
async fn what_a_host_has_when_it_links_replaces_what_was_known_of_it() {
    let server = Server::start().await;
    let (mut a, mut b) = (linked(&server, "a").await, linked(&server, "b").await);
    for agent in [&mut a, &mut b] {
        tell(agent, &event(1, &running("gone", 0))).await;
        tell(agent, &failed(2, &at("stays", "backoff", 100), "why", &json!(null))).await;
    }
    tell_all(&mut a, 4, &[at("stays", "fatal", 200), running("new", 0), removed("old", 5)]).await;
    assert_eq!(short(&server, "?host=a").await, ["a new running", "a stays fatal"]);
    assert_eq!(list(&server, "?host=a&name=stays").await[0]["detail"], "why", "the last that is known");
    assert_eq!(short(&server, "?host=b").await, ["b gone running", "b stays backoff"]);
    assert_eq!(show(&server, "a", "gone").await["count"], 1, "what it came to is kept");
    assert!(show(&server, "a", "gone").await.get("status").is_none());
    // What waited from before the link is not news, and comes with its reason.
    tell(&mut a, &event(3, &running("stays", 150))).await;
    tell(&mut a, &failed(4, &at("stays", "fatal", 200), "too often", &json!(null))).await;
    let stays = &list(&server, "?host=a&name=stays").await[0];
    assert_eq!((&stays["status"], &stays["detail"]), (&json!("fatal"), &json!("too often")));
    tell_all(&mut a, 4, &[]).await;
    assert!(list(&server, "?host=a").await.is_empty());
}

#[tokio::test]
async fn what_happens_after_the_clock_was_set_back_is_news() {
    let server = Server::start().await;
    let mut agent = linked(&server, "a").await;
    let hour = 3_600_000;
    tell_all(&mut agent, 8, &[running("d", hour), running("e", hour)]).await;
    tell(&mut agent, &failed(9, &at("d", "fatal", 1), "too often", &json!(null))).await;
    tell(&mut agent, &event(10, &removed("e", 2))).await;
    assert_eq!(short(&server, "").await, ["a d fatal"]);
    tell(&mut agent, &event(11, &at("e", "installing", 3))).await;
    assert_eq!(short(&server, "").await, ["a d fatal", "a e installing"]);
    // An agent of an earlier version does not say what it takes account of.
    agent.send(&json!({"method": "daemons", "daemons": [running("d", hour)]})).await;
    agent.is_heard().await;
    assert_eq!(short(&server, "").await, ["a d running"]);
    tell(&mut agent, &event(12, &at("d", "stopping", 4))).await;
    assert_eq!(short(&server, "").await, ["a d stopping"]);
}

#[tokio::test]
async fn a_host_that_has_lost_its_memory_is_believed_once_it_has_told_of_all_it_has() {
    let server = Server::start().await;
    let mut agent = linked(&server, "a").await;
    tell(&mut agent, &event(50, &running("d", 100))).await;
    tell(&mut agent, &event(51, &removed("e", 100))).await;
    // What it counts anew has other ids.
    let anew = |seq: u64, daemon: &Value| {
        let mut event = event(seq, daemon);
        event["id"] = json!(format!("anew-{seq}"));
        event
    };
    tell_all(&mut agent, 1, &[at("d", "installing", 200)]).await;
    tell(&mut agent, &anew(1, &at("d", "starting", 150))).await;
    assert_eq!(short(&server, "").await, ["a d installing"], "it has taken account of that");
    tell(&mut agent, &anew(2, &running("d", 300))).await;
    tell(&mut agent, &anew(3, &running("e", 50))).await;
    assert_eq!(short(&server, "").await, ["a d running", "a e running"]);
    tell(&mut agent, &anew(5, &removed("e", 400))).await;
    // What a removal took away is not there again because a link is new.
    tell_all(&mut agent, 5, &[running("d", 300)]).await;
    tell(&mut agent, &anew(4, &at("e", "stopping", 350))).await;
    assert_eq!(short(&server, "").await, ["a d running"]);
}

#[tokio::test]
async fn an_older_event_does_not_overwrite_what_is_newer() {
    let server = Server::start().await;
    let mut agent = linked(&server, "a").await;
    let told = async |agent: &mut Agent, event: Value| {
        tell(agent, &event).await;
        short(&server, "").await
    };
    assert_eq!(told(&mut agent, event(5, &running("d", 100))).await, ["a d running"]);
    assert_eq!(told(&mut agent, event(4, &at("d", "starting", 50))).await, ["a d running"]);
    assert_eq!(told(&mut agent, event(3, &at("d", "starting", 100))).await, ["a d running"]);
    // The same state anew: another pid, or somebody wants something else.
    assert_eq!(told(&mut agent, event(6, &at("d", "stopping", 100))).await, ["a d stopping"]);
    // Its clock was set back.
    assert_eq!(told(&mut agent, event(7, &at("d", "fatal", 10))).await, ["a d fatal"]);
    assert_eq!(show(&server, "a", "d").await["count"], 5, "each of them is kept");
}

#[tokio::test]
async fn what_was_removed_is_gone_until_it_is_there_again() {
    let server = Server::start().await;
    let mut agent = linked(&server, "a").await;
    tell(&mut agent, &event(1, &running("d", 100))).await;
    tell(&mut agent, &event(5, &removed("d", 200))).await;
    assert!(list(&server, "").await.is_empty());
    tell(&mut agent, &event(4, &at("d", "stopping", 150))).await;
    assert!(list(&server, "").await.is_empty(), "it was so before");
    let shown = show(&server, "a", "d").await;
    let of = |n: usize| (shown["events"][n]["status"].clone(), shown["events"][n]["removed"].clone());
    assert_eq!(of(1), (json!("stoped"), json!(true)));
    assert!(shown.get("status").is_none() && shown["daemon"] == "d", "{shown}");
    // Defined anew, although the host's clock was set back.
    tell(&mut agent, &event(6, &at("d", "installing", 20))).await;
    assert_eq!(short(&server, "").await, ["a d installing"]);
    // An older removal takes nothing away.
    tell(&mut agent, &event(3, &removed("d", 10))).await;
    assert_eq!(short(&server, "").await, ["a d installing"]);
}

#[tokio::test]
async fn of_a_host_that_is_removed_nothing_stays() {
    let server = Server::start().await;
    let (mut a, mut b) = (linked(&server, "a").await, linked(&server, "b").await);
    for agent in [&mut a, &mut b] {
        tell(agent, &event(1, &running("d", 0))).await;
    }
    let Found::One(host) = server.running.app.directory.find("a") else { panic!("the host is gone") };
    let path = format!("/api/v1/hosts/{}", a.id);
    assert_eq!(server.rest.call("DELETE", &path, None).await.status, 204);
    assert_eq!(short(&server, "").await, ["b d running"]);
    assert_eq!(server.rest.get(&format!("{path}/daemons")).await.status, 404);
    let mut database = server.database().await;
    assert_eq!(database.count("SELECT COUNT(*) FROM daemons").await, 1);
    assert_eq!(database.count("SELECT COUNT(*) FROM daemon_events").await, 1);
    assert!(host.is_revoked() && a.bye().await.contains("revoked"));
}

#[tokio::test]
async fn a_host_is_not_heard_between_its_revocation_and_the_end_of_its_link() {
    let server = Server::start().await;
    let mut agent = linked(&server, "a").await;
    let Found::One(host) = server.running.app.directory.find("a") else { panic!("the host is gone") };
    host.revoke();
    agent.send(&event(1, &running("d", 0))).await;
    tell_all(&mut agent, 0, &[running("e", 0)]).await;
    assert!(list(&server, "").await.is_empty());
}

#[tokio::test]
async fn what_no_agent_would_say_ends_the_link_with_the_reason() {
    let server = Server::start().await;
    let identity = enrolled(&server, "a").await;
    let daemons: Vec<Value> = (0..257).map(|n| running(&format!("d{n}"), 0)).collect();
    let mut nameless = event(1, &running("d", 0));
    nameless["id"] = json!("");
    for (frame, reason) in [
        (event(1, &running("../d", 0)), "must be of letters"),
        (event(1, &at("d", "dead", 0)), "unknown variant `dead`"),
        (nameless, "without a usable id"),
        (json!({"method": "daemons", "daemons": daemons}), "at most 256 daemons"),
        (json!({"method": "daemons"}), "missing field `daemons`"),
    ] {
        let mut agent = Agent::link(server.agents(), &identity, "a", "b").await;
        agent.send(&frame).await;
        let bye = agent.bye().await;
        assert!(bye.contains(reason), "{bye}");
    }
    assert!(list(&server, "").await.is_empty());
}

#[tokio::test]
async fn what_a_host_tells_may_be_anything_and_is_bounded() {
    let server = Server::start().await;
    let mut agent = linked(&server, "a").await;
    let mut odd = failed(u64::MAX, &running("d", 0), &"x".repeat(400_000), &json!("y".repeat(400_000)));
    odd["daemon"]["since"] = json!(u64::MAX);
    odd["daemon"]["restarts"] = json!(u32::MAX);
    odd["daemon"]["pid"] = json!(i32::MIN);
    odd["daemon"]["version"] = json!("\u{1b}[2J");
    tell(&mut agent, &odd).await;
    let daemon = &list(&server, "").await[0];
    assert_eq!((&daemon["since"], &daemon["pid"]), (&json!("9999-12-31T23:59:59.999Z"), &json!(i32::MIN)));
    let detail = daemon["detail"].as_str().unwrap();
    assert!(detail.ends_with("x…") && detail.len() < 1100, "{}", detail.len());
    let shown = show(&server, "a", "d").await;
    let data = shown["events"][0]["data"].as_str().unwrap();
    assert!(data.starts_with("…y") && data.len() < 17_000, "{}", data.len());
}

#[tokio::test]
async fn of_each_daemon_the_latest_events_are_kept() {
    let server = Server::start().await;
    let mut agent = linked(&server, "a").await;
    let most = limits::MAX_EVENTS_PER_DAEMON as u64;
    let mut frames = event(1, &running("other", 0)).to_string() + "\n";
    for seq in 2..=most + 11 {
        frames += &(event(seq, &running("d", seq)).to_string() + "\n");
    }
    agent.send_bytes(frames.as_bytes()).await;
    for seq in 1..=most + 11 {
        agent.is_acked(seq).await;
    }
    let shown = show(&server, "a", "d?limit=1000").await;
    let ids: Vec<_> = shown["events"].as_array().unwrap().iter().map(|event| &event["id"]).collect();
    let id = |seq: u64| json!(format!("d@{MIDNIGHT}-{seq}"));
    assert_eq!((ids.len() as u64, ids[0], ids[ids.len() - 1]), (most, &id(most + 11), &id(12)));
    assert_eq!(show(&server, "a", "other").await["count"], 1);
}

#[tokio::test]
async fn of_each_host_so_many_events_and_daemons_are_kept_as_may_be() {
    let server = Server::start().await;
    let (mut agent, mut other) = (linked(&server, "a").await, linked(&server, "b").await);
    let mut database = server.database().await;
    // As many of each host as may be.
    database
        .execute(
            "INSERT INTO daemon_events (host, id, daemon, since, seq, removed, retcode, entry, gmt_create) \
             WITH RECURSIVE to100(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM to100 WHERE n < 100), \
             numbers(n) AS (SELECT 100 * (a.n - 1) + b.n FROM to100 a, to100 b) \
             SELECT hosts.id, n, 'd' || (n % 20), n, n, 0, 2, '{}', n FROM numbers, hosts",
        )
        .await;
    assert_eq!(limits::MAX_EVENTS_PER_HOST, 10_000);
    let first = 1 + limits::MAX_EVENTS_PER_HOST as u64;
    let mut frames = String::new();
    for seq in first..first + 300 {
        frames += &(event(seq, &running(&format!("new-{seq}"), 0)).to_string() + "\n");
    }
    agent.send_bytes(frames.as_bytes()).await;
    for seq in first..first + 300 {
        agent.is_acked(seq).await;
    }
    tell(&mut other, &event(first, &running("d", 0))).await;
    let each =
        "SELECT COUNT(*) FROM (SELECT host FROM daemon_events GROUP BY host HAVING COUNT(*) = 10000) e";
    assert_eq!(database.count(each).await, 2);
    assert_eq!(database.count("SELECT COUNT(*) FROM daemon_events WHERE id = '1'").await, 0);
    assert_eq!(server.rest.get("/api/v1/hosts/a/daemons").await.body["count"], 256);
    assert_eq!(server.rest.get("/api/v1/hosts/b/daemons").await.body["count"], 1);
}

#[tokio::test]
async fn the_list_is_narrowed_and_goes_page_by_page() {
    let server = Server::start().await;
    let (mut a, mut b) = (linked(&server, "a").await, linked(&server, "b").await);
    tell_all(&mut a, 0, &[running("nginx", 0), at("db", "fatal", 0)]).await;
    tell_all(&mut b, 0, &[running("nginx", 0), at("cache", "fatal", 0)]).await;
    for (query, expected) in [
        ("?host=a", &["a db fatal", "a nginx running"][..]),
        ("?status=fatal", &["b cache fatal", "a db fatal"]),
        ("?name=db", &["a db fatal"]),
        ("?target=name%20%3D%3D%20%22b%22", &["b cache fatal", "b nginx running"]),
        ("?target=name%20%3D%3D%20%22b%22&host=a", &[]),
        ("?target=name%20%3D%3D%20%22nobody%22", &[]),
        ("?target=has(name)&host=b&status=running", &["b nginx running"]),
        ("?host=00000000-0000-0000-0000-000000000000", &[]),
    ] {
        assert_eq!(short(&server, query).await, expected, "{query}");
        let count = server.rest.get(&format!("/api/v1/daemons{query}")).await.body["count"].clone();
        assert_eq!(count, expected.len(), "{query}");
    }
    let of_host = server.rest.get("/api/v1/hosts/a/daemons").await.body;
    assert_eq!(of_host["daemons"], json!(list(&server, "?host=a").await));

    let (mut after, mut seen) = (String::new(), Vec::new());
    loop {
        let page = server.rest.get(&format!("/api/v1/daemons?limit=1{after}")).await.body;
        assert_eq!(page["count"], 4);
        let Some(daemon) = page["daemons"].get(0) else { break };
        let (host, name) = (daemon["host"].as_str().unwrap(), daemon["daemon"].as_str().unwrap());
        after = format!("&after={name}/{host}");
        seen.push(name.to_owned());
    }
    assert_eq!(seen, ["cache", "db", "nginx", "nginx"]);
}

#[tokio::test]
async fn as_many_hosts_as_may_be_selected_can_be_asked_for() {
    let server = Server::start().await;
    let hosts: Vec<Uuid> = (0..limits::MAX_LISTED_HOSTS as u128).map(Uuid::from_u128).collect();
    let after = Some(("x", Uuid::nil()));
    let wanted =
        DaemonFilter { hosts: Some(hosts), name: Some("x"), after, limit: 1, ..DaemonFilter::default() };
    assert!(server.running.app.store.list_daemons(&wanted).await.unwrap().is_empty());
    assert!(server.running.app.store.count_daemons(&wanted).await.unwrap().is_empty());
}

#[tokio::test]
async fn of_a_host_that_is_offline_the_last_is_shown_and_that_it_is_offline() {
    let server = Server::start().await;
    let (mut a, mut b) = (linked(&server, "a").await, linked(&server, "b").await);
    for agent in [&mut a, &mut b] {
        tell_all(agent, 0, &[running("nginx", 0)]).await;
    }
    let mut newer = running("nginx", 0);
    newer["version"] = json!("1.0.2");
    tell_all(&mut a, 0, &[newer, at("db", "fatal", 0)]).await;
    let id = b.id.clone();
    drop(b);
    server.host_where(&id, "offline", |host| host["status"] == "offline").await;
    let nginx = &list(&server, "?host=b").await[0];
    assert_eq!((&nginx["host_status"], &nginx["status"]), (&json!("offline"), &json!("running")));
    assert_eq!(list(&server, "?host=a").await[0]["host_status"], "online");

    let expected = json!({"summary": [
        {"daemon": "db", "version": "1.0.1", "status": "fatal", "hosts": 1, "offline": 0},
        {"daemon": "nginx", "version": "1.0.1", "status": "running", "hosts": 1, "offline": 1},
        {"daemon": "nginx", "version": "1.0.2", "status": "running", "hosts": 1, "offline": 0}
    ], "count": 3});
    // Whether a host has a link is in the database a moment later.
    crate::common::eventually("the summary", async || {
        let summary = server.rest.get("/api/v1/daemons/summary").await.body;
        (summary == expected).then_some(())
    })
    .await;
    let narrowed = server.rest.get("/api/v1/daemons/summary?host=a&name=nginx").await.body;
    assert_eq!(narrowed["summary"], json!([expected["summary"][2]]));
}

#[tokio::test]
async fn what_is_wrong_with_a_call_is_named() {
    let server = Server::start().await;
    let _host = enrolled(&server, "a").await;
    for (path, field) in [
        ("/api/v1/daemons?status=stopped", "status"),
        ("/api/v1/daemons?host=nobody", "host"),
        ("/api/v1/daemons?target=name", "target"),
        ("/api/v1/daemons?limit=0", "limit"),
        ("/api/v1/daemons?after=x", "after"),
        ("/api/v1/daemons?offset=1", "offset"),
        ("/api/v1/daemons/summary?limit=1", "limit"),
        ("/api/v1/hosts/nobody/daemons/d?limit=1001", "limit"),
    ] {
        let answer = server.rest.get(path).await;
        assert_eq!((answer.status, &*answer.text("field")), (422, field), "{path}");
    }
    for path in ["/api/v1/hosts/nobody/daemons", "/api/v1/hosts/nobody/daemons/d"] {
        let answer = server.rest.get(path).await;
        assert_eq!((answer.status, &*answer.text("detail")), (404, "there is no host nobody"));
    }
}

/// The least that a definition has.
fn definition() -> Value {
    json!({"hosts": ["a"], "method": "daemon.init", "name": "web", "version": "1.0.1",
           "url": "http://127.0.0.1/web.tar.gz", "start": "web", "stop": "kill:TERM",
           "limits": {"hits": 5, "cpu": "5%", "memory": "100M"}, "env": {"A": "b"}})
}

#[tokio::test]
async fn a_definition_goes_to_the_hosts_as_it_is_and_they_take_note_of_it_at_once() {
    let server = Server::start().await;
    let mut agent = linked(&server, "a").await;
    let accepting = async {
        let request = agent.expect().await;
        agent
            .send(&json!({"id": request["id"], "resp": "success", "retcode": 1, "message": "Accepted"}))
            .await;
        request
    };
    let (answer, request) = tokio::join!(server.rest.run(definition()), accepting);
    assert_eq!(answer.retcodes()[0].1, 1);
    let mut expected = definition();
    expected.as_object_mut().unwrap().remove("hosts");
    expected["id"] = request["id"].clone();
    assert_eq!(request, expected);
    let shown = server.rest.get(&format!("/api/v1/requests/{}", answer.text("id"))).await;
    let time = |key| humantime::parse_rfc3339(&shown.text(key)).unwrap();
    let seconds = time("deadline").duration_since(time("created")).unwrap().as_secs();
    assert_eq!(seconds, limits::DEADLINE_MARGIN_SECONDS);
    for method in ["daemon.start", "daemon.stop", "daemon.restart", "daemon.remove", "daemon.list"] {
        let body = json!({"hosts": ["a"], "method": method, "name": "web"});
        let (answer, request) = tokio::join!(server.rest.run(body), agent.serve_one("x"));
        assert_eq!((answer.retcodes()[0].1, &request["name"]), (2, &json!("web")));
    }
}

#[tokio::test]
async fn a_definition_that_is_wrong_reaches_no_host() {
    let server = Server::start().await;
    let mut agent = linked(&server, "a").await;
    for (key, value, field) in [
        ("name", json!("../web"), "name"),
        ("url", json!("gopher://127.0.0.1/web.deb"), "url"),
        ("start", json!(null), "start"),
        ("stop", json!("kill:TREM"), "stop"),
        ("check", json!("socket"), "socket"),
        ("limits", json!({"cpu": "0%"}), "limits.cpu"),
        ("later", json!(1), "later"),
        ("ttl", json!(1), "ttl"),
    ] {
        let mut body = definition();
        body[key] = value;
        let answer = server.rest.post("/api/v1/requests", &body).await;
        assert_eq!((answer.status, &*answer.text("field")), (422, field), "{answer:?}");
    }
    for method in ["daemon.start", "daemon.stop", "daemon.restart", "daemon.remove"] {
        let answer = server.rest.post("/api/v1/requests", &json!({"hosts": ["a"], "method": method})).await;
        assert_eq!((answer.status, &*answer.text("field")), (422, "name"), "{answer:?}");
    }
    agent.is_heard().await;
}

const WITH_LOGIN: &str = "http://bob:s3cret@127.0.0.1/web.tar.gz";

/// The definition as it is shown, and that nothing in the database has its login.
async fn login_is_gone(server: &Server, id: &str) {
    let shown = server.rest.get(&format!("/api/v1/requests/{id}")).await;
    assert_eq!(shown.body["params"]["url"], "http://127.0.0.1/web.tar.gz");
    assert!(!shown.body.to_string().contains("s3cret"), "{shown:?}");
    let kept = "SELECT COUNT(*) FROM requests WHERE params LIKE '%s3cret%' OR url IS NOT NULL";
    assert_eq!(server.database().await.count(kept).await, 0);
}

#[tokio::test]
async fn the_login_of_a_package_goes_to_the_hosts_and_is_neither_kept_nor_shown() {
    let server = Server::start().await;
    let mut agent = linked(&server, "a").await;
    let mut body = definition();
    body["url"] = json!(WITH_LOGIN);
    for queue in [false, true] {
        let id = format!("r-{queue}");
        (body["id"], body["queue"]) = (json!(id), json!(queue));
        let (_, request) = tokio::join!(server.rest.run(body.clone()), agent.serve_one("x"));
        assert_eq!(request["url"], WITH_LOGIN);
        login_is_gone(&server, &id).await;
    }
    // It tells one request from another all the same.
    assert_eq!(server.rest.run(body.clone()).await.retcodes()[0].1, 2);
    body["url"] = json!("http://127.0.0.1/web.tar.gz");
    assert_eq!(server.rest.post("/api/v1/requests", &body).await.status, 409);
    agent.is_heard().await;
}

#[tokio::test]
async fn the_login_of_a_package_is_kept_as_long_as_a_host_is_waited_for() {
    let server = Server::start().await;
    let (a, b) = (enrolled(&server, "a").await, enrolled(&server, "b").await);
    let mut body = definition();
    (body["url"], body["id"], body["queue"]) = (json!(WITH_LOGIN), json!("r"), json!(true));
    body["hosts"] = json!(["a", "b"]);
    server.rest.run(body.clone()).await;
    body["id"] = json!("cancelled");
    server.rest.run(body).await;
    assert_eq!(server.rest.call("DELETE", "/api/v1/requests/cancelled", None).await.status, 200);
    let server = server.restart().await;
    for identity in [&a, &b] {
        let shown = server.rest.get("/api/v1/requests/r").await;
        assert!(!shown.body.to_string().contains("s3cret") && shown.body.get("finished").is_none());
        let kept = "SELECT COUNT(*) FROM requests WHERE url IS NOT NULL AND id = 'r'";
        assert_eq!(server.database().await.count(kept).await, 1);
        let mut agent = Agent::link(server.agents(), identity, "a", "b").await;
        assert_eq!(agent.serve_one("x").await["url"], WITH_LOGIN);
    }
    crate::common::eventually("its end", async || {
        let shown = server.rest.get("/api/v1/requests/r").await.body;
        shown["finished"].is_string().then_some(())
    })
    .await;
    login_is_gone(&server, "r").await;
}
