//! Requests that wait for hosts which are offline.

use crate::agent::{Agent, Identity, enrolled, linked};
use crate::common::{Answer, Server, config, eventually};
use crate::database::Database;
use aspire_wire::{Outcome, Retcode};
use polaris::app::App;
use polaris::pki::{Authority, files};
use polaris::queue::courier;
use polaris::requests::{Head, Target, record};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::sleep;
use uuid::Uuid;

fn body(id: &str, hosts: &[&str]) -> Value {
    json!({"id": id, "hosts": hosts, "method": "sync.bash", "cmd": id, "queue": true})
}

async fn shown(server: &Server, id: &str) -> Value {
    server.rest.get(&format!("/api/v1/requests/{id}")).await.body
}

async fn finished(server: &Server, id: &str) -> Value {
    eventually("its end", async || {
        Some(shown(server, id).await).filter(|shown| shown["finished"].is_string())
    })
    .await
}

async fn link(server: &Server, identity: &Identity) -> Agent {
    Agent::link(server.agents(), identity, "a", "b").await
}

async fn delete(server: &Server, id: &str) -> Answer {
    server.rest.call("DELETE", &format!("/api/v1/requests/{id}"), None).await
}

fn codes(shown: &Value) -> Vec<u64> {
    shown["response"].as_array().unwrap().iter().map(|entry| entry["retcode"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn a_request_waits_for_its_host_and_is_answered_when_it_comes() {
    let server = Server::start().await;
    let identity = enrolled(&server, "a").await;
    let mut online = linked(&server, "online").await;
    let asked = body("r", &["nobody", "a", "online"]);
    let (answer, request) = tokio::join!(server.rest.run(asked.clone()), online.serve_one("fine"));
    let expected = json!({"id": "r", "method": "sync.bash", "cmd": "r"});
    assert_eq!(request, expected, "the wish to wait is for the server alone");
    let codes_now: Vec<u64> = answer.retcodes().into_iter().map(|(_, code)| code).collect();
    assert_eq!(codes_now, [203, 1, 2]);
    let entry = &answer.body["response"][1];
    let shown_now = shown(&server, "r").await;
    let until = shown_now["waiting"][0]["until"].as_str().unwrap();
    assert_eq!(entry["detail"], format!("queued: the host is offline; it waits until {until}"));
    assert_eq!(shown_now["waiting"], json!([{"host": identity.id, "name": "a", "until": until}]));
    assert_eq!((codes(&shown_now), &shown_now["pending"]), (vec![203, 2], &json!(1)));
    assert!(shown_now.get("finished").is_none());
    let listed = server.rest.get("/api/v1/requests").await.body["requests"][0].clone();
    assert_eq!((&listed["pending"], listed.get("finished")), (&json!(1), None));
    // Whoever asks again gets an entry for every host, and nothing is sent twice.
    eventually("recorded", async || server.running.app.requests.find("r").is_none().then_some(())).await;
    assert_eq!(server.rest.run(asked.clone()).await.body, answer.body);
    online.is_heard().await;

    let mut agent = link(&server, &identity).await;
    let request = agent.expect().await;
    assert_eq!(request, expected);
    assert!(shown(&server, "r").await["waiting"][0]["sent"].is_string());
    agent.answer(&request, "late").await;
    let shown_now = finished(&server, "r").await;
    assert_eq!((codes(&shown_now), &shown_now["succeeded"]), (vec![203, 2, 2], &json!(2)));
    assert_eq!(shown_now["response"][1]["data"], "late");
    assert!(shown_now.get("waiting").is_none());
    assert_eq!(server.rest.run(asked).await.body["response"], shown_now["response"]);
    let mut again = link(&server, &identity).await;
    again.is_heard().await;
}

#[tokio::test]
async fn a_host_that_is_online_is_asked_at_once() {
    let server = Server::start().await;
    let mut agent = linked(&server, "a").await;
    let (answer, _) = tokio::join!(server.rest.run(body("r", &["a"])), agent.serve_one("now"));
    assert_eq!(answer.body["response"][0]["data"], "now");
    assert!(finished(&server, "r").await.get("waiting").is_none());
}

#[tokio::test]
async fn each_host_gets_what_waited_in_its_order_also_after_a_restart() {
    let server = Server::start().await;
    let (one, other) = (enrolled(&server, "one").await, enrolled(&server, "other").await);
    for n in 0..60 {
        server.rest.run(body(&format!("r{n}"), &["one", "other"])).await;
    }
    let server = server.restart().await;
    for n in 60..70 {
        server.rest.run(body(&format!("r{n}"), &["one", "other"])).await;
    }
    for identity in [&one, &other] {
        let mut agent = link(&server, identity).await;
        for n in 0..70 {
            assert_eq!(agent.serve_one("x").await["id"], format!("r{n}"));
        }
        agent.is_heard().await;
    }
    for n in 0..70 {
        assert_eq!(codes(&finished(&server, &format!("r{n}")).await), [2, 2]);
    }
    assert_eq!(server.database().await.count("SELECT COUNT(*) FROM queue").await, 0);
}

#[tokio::test]
async fn what_was_not_answered_is_sent_again_by_the_newest_link() {
    let server = Server::start().await;
    let identity = enrolled(&server, "a").await;
    server.rest.run(body("r", &["a"])).await;
    let mut first = link(&server, &identity).await;
    assert_eq!(first.expect().await["id"], "r");
    let mut second = link(&server, &identity).await;
    drop(first);
    assert_eq!(second.expect().await["id"], "r");
    drop(second);
    let mut third = link(&server, &identity).await;
    third.serve_one("x").await;
    // The same answer again, as of an agent that was asked twice: nobody waits for it.
    third.answer(&json!({"id": "r"}), "y").await;
    third.is_heard().await;
    assert_eq!(finished(&server, "r").await["response"][0]["data"], "x");
}

#[tokio::test]
async fn a_host_owes_no_more_answers_at_once_than_it_remembers() {
    let server = Server::start().await;
    let identity = enrolled(&server, "a").await;
    for n in 0..40 {
        server.rest.run(body(&format!("r{n}"), &["a"])).await;
    }
    let mut agent = link(&server, &identity).await;
    let mut got = Vec::new();
    for _ in 0..16 {
        got.push(agent.expect().await);
    }
    agent.is_heard().await;
    // As many as were answered.
    for request in &got {
        agent.answer(request, "x").await;
    }
    for n in 16..40 {
        assert_eq!(agent.serve_one("x").await["id"], format!("r{n}"));
    }
    assert_eq!(codes(&finished(&server, "r39").await), [2]);
}

#[tokio::test]
async fn what_has_waited_long_enough_has_expired_unless_a_host_may_have_run_it() {
    let server = Server::start().await;
    let (never, lost) = (enrolled(&server, "never").await, enrolled(&server, "lost").await);
    let mut asked = body("r", &["never", "lost"]);
    asked["ttl"] = json!(2);
    server.rest.run(asked).await;
    let mut agent = link(&server, &lost).await;
    assert_eq!(agent.expect().await["id"], "r");
    drop(agent);
    // That one has heard of it is known to whoever reads the database next.
    let server = server.restart().await;
    let shown = finished(&server, "r").await;
    assert_eq!(codes(&shown), [3109, 206]);
    let details = shown["response"].as_array().unwrap().iter().map(|entry| entry["detail"].as_str().unwrap());
    assert!(details.zip(["did not come back in time", "may have run"]).all(|(told, why)| told.contains(why)));
    let mut agent = link(&server, &never).await;
    agent.is_heard().await;
}

#[tokio::test]
async fn what_is_cancelled_while_it_waits_never_leaves() {
    let server = Server::start().await;
    let (one, _other) = (enrolled(&server, "one").await, enrolled(&server, "other").await);
    server.rest.run(body("r", &["one", "other", "nobody"])).await;
    let answer = delete(&server, "r").await;
    assert_eq!((answer.status, codes(&answer.body)), (200, vec![207, 207, 203]), "{answer:?}");
    assert!(answer.body["finished"].is_string() && answer.body.get("cancellation").is_none());
    assert_eq!(delete(&server, "r").await.status, 409);
    let mut agent = link(&server, &one).await;
    agent.is_heard().await;
}

#[tokio::test]
async fn what_was_delivered_is_cancelled_by_its_host() {
    let server = Server::start().await;
    let (one, _other) = (enrolled(&server, "one").await, enrolled(&server, "other").await);
    server.rest.run(body("r", &["one", "other"])).await;
    let mut agent = link(&server, &one).await;
    assert_eq!(agent.expect().await["id"], "r");
    let host = async {
        let call = agent.expect().await;
        assert_eq!((&call["method"], &call["job"]), (&json!("job.cancel"), &json!("r")));
        agent.send(&json!({"id": "r", "resp": "failed", "retcode": 3108, "message": "Cancelled"})).await;
        agent.answer(&call, "").await;
    };
    let (answer, ()) = tokio::join!(delete(&server, "r"), host);
    assert_eq!(answer.body["cancellation"]["response"][0]["retcode"], 2, "{answer:?}");
    assert_eq!(codes(&finished(&server, "r").await), [3108, 207]);
}

#[tokio::test]
async fn what_was_delivered_to_a_host_that_is_away_is_not_delivered_again_once_it_is_cancelled() {
    let server = Server::start().await;
    let identity = enrolled(&server, "a").await;
    server.rest.run(body("r", &["a"])).await;
    let mut agent = link(&server, &identity).await;
    assert_eq!(agent.expect().await["id"], "r");
    drop(agent);
    server.host_where("a", "offline", |host| host["status"] == "offline").await;
    let answer = delete(&server, "r").await;
    assert_eq!((answer.status, codes(&answer.body)), (200, vec![206]), "{answer:?}");
    let mut agent = link(&server, &identity).await;
    agent.is_heard().await;
}

#[tokio::test]
async fn what_was_cancelled_on_a_link_that_dies_is_not_delivered_again_by_this_server_or_the_next() {
    for restart in [false, true] {
        let server = Server::start().await;
        let identity = enrolled(&server, "a").await;
        server.rest.run(body("r", &["a"])).await;
        let mut agent = link(&server, &identity).await;
        assert_eq!(agent.expect().await["id"], "r");
        let host = async {
            assert_eq!(agent.expect().await["method"], "job.cancel");
            if !restart {
                drop(agent);
            }
        };
        let rest = server.rest.clone();
        let cancelling = tokio::spawn(async move { rest.call("DELETE", "/api/v1/requests/r", None).await });
        host.await;
        let server = if restart {
            // As killed: what the table has is all that is known.
            let mut database = server.database().await;
            database.execute("CREATE TABLE kept AS SELECT * FROM queue").await;
            cancelling.abort();
            let server = server.restart().await;
            let mut database = server.database().await;
            if database.count("SELECT COUNT(*) FROM results").await == 1 {
                database.execute("DELETE FROM results WHERE request = 'r'").await;
                database.execute("UPDATE requests SET failed = 0, finished = NULL WHERE id = 'r'").await;
                database.execute("INSERT INTO queue SELECT * FROM kept").await;
            }
            server.restart().await
        } else {
            assert_eq!(cancelling.await.unwrap().status, 200);
            server
        };
        let mut agent = link(&server, &identity).await;
        agent.is_heard().await;
        assert_eq!(codes(&finished(&server, "r").await), [206]);
        agent.is_heard().await;
    }
}

#[tokio::test]
async fn a_host_that_is_removed_is_waited_for_no_longer() {
    let server = Server::start().await;
    let identity = enrolled(&server, "a").await;
    server.rest.run(body("r", &["a"])).await;
    server.rest.call("DELETE", &format!("/api/v1/hosts/{}", identity.id), None).await;
    let shown = finished(&server, "r").await;
    assert_eq!(codes(&shown), [207]);
    assert_eq!(shown["response"][0]["detail"], "the host was removed while it waited");
}

#[tokio::test]
async fn a_job_gets_what_is_left_of_its_time_and_is_known_from_its_acceptance_on() {
    let server = Server::start().await;
    let identity = enrolled(&server, "a").await;
    let asked = json!({"id": "r", "hosts": ["a"], "method": "async.bash", "cmd": "make", "queue": true,
                       "ttl": 100, "retries": 2});
    server.rest.run(asked).await;
    server.database().await.execute("UPDATE queue SET expires = expires - 40000").await;
    let server = server.restart().await;
    let mut agent = link(&server, &identity).await;
    let request = agent.expect().await;
    let ttl = request["ttl"].as_u64().unwrap();
    assert!((20..=60).contains(&ttl), "{request}");
    assert_eq!(request["retries"], 2);
    agent.accept(&request).await;
    let shown = finished(&server, "r").await;
    assert_eq!((codes(&shown), &shown["jobs"][0]["state"]), (vec![1], &json!("queued")));
    assert_eq!(server.job("a", "r").await["cmd"], "make");
}

#[tokio::test]
async fn a_cron_entry_that_waited_is_known_once_its_host_has_it() {
    let server = Server::start().await;
    let identity = enrolled(&server, "a").await;
    let asked = json!({"id": "r", "hosts": ["a"], "method": "cron.set", "name": "n", "schedule": "* * * * *",
                       "cmd": "x", "ttl": 60, "queue": true});
    server.rest.run(asked).await;
    assert_eq!(server.rest.get("/api/v1/cron").await.body["count"], 0);
    let mut agent = link(&server, &identity).await;
    let request = agent.expect().await;
    assert_eq!(request["ttl"], 60, "it is the entry's own");
    agent.accept(&request).await;
    finished(&server, "r").await;
    assert_eq!(server.rest.get("/api/v1/cron").await.body["entries"][0]["name"], "n");
}

#[tokio::test]
async fn what_cannot_be_kept_is_not_said_to_be() {
    let server = Server::start().await;
    let _identity = enrolled(&server, "a").await;
    let mut database = server.database().await;
    database.execute("ALTER TABLE queue RENAME TO away").await;
    let answer = server.rest.run(body("r", &["a"])).await;
    assert_eq!(answer.retcodes()[0].1, 3201);
    assert!(answer.body["response"][0]["detail"].as_str().unwrap().starts_with("not queued"), "{answer:?}");
    database.execute("ALTER TABLE away RENAME TO queue").await;
    assert_eq!(codes(&finished(&server, "r").await), [3201]);
}

#[tokio::test]
async fn an_answer_that_could_not_be_stored_is_stored_later() {
    let server = Server::start().await;
    let identity = enrolled(&server, "a").await;
    server.rest.run(body("r", &["a"])).await;
    let mut agent = link(&server, &identity).await;
    let request = agent.expect().await;
    let mut database = server.database().await;
    database.execute("ALTER TABLE results RENAME TO away").await;
    agent.answer(&request, "x").await;
    agent.is_heard().await;
    assert_eq!(delete(&server, "r").await.status, 503);
    database.execute("ALTER TABLE away RENAME TO results").await;
    assert_eq!(finished(&server, "r").await["response"][0]["data"], "x");
}

#[tokio::test]
async fn the_time_to_wait_is_checked() {
    let server = Server::start().await;
    let job = json!({"hosts": ["a"], "method": "async.bash", "cmd": "x"});
    let plain = json!({"hosts": ["a"], "method": "sync.bash", "cmd": "x"});
    let news = json!({"hosts": ["a"], "method": "of.tomorrow"});
    for (base, change, field) in [
        (&plain, json!({"ttl": 60}), "ttl"),
        (&news, json!({"ttl": 60}), "ttl"),
        (&plain, json!({"ttl": 60, "queue": false}), "ttl"),
        (&plain, json!({"ttl": 0, "queue": true}), "ttl"),
        (&plain, json!({"ttl": 2_592_001, "queue": true}), "ttl"),
        (&plain, json!({"ttl": "60", "queue": true}), "ttl"),
        (&job, json!({"ttl": 0}), "ttl"),
        (&job, json!({"ttl": 0, "queue": true}), "ttl"),
        (&plain, json!({"queue": 1}), "queue"),
        (&job, json!({"retries": 101}), "retries"),
    ] {
        let mut body = base.clone();
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let answer = server.rest.post("/api/v1/requests", &body).await;
        assert_eq!((answer.status, &*answer.text("field")), (422, field), "{body}");
    }
    let mut same = body("r", &["nobody"]);
    server.rest.run(same.clone()).await;
    same["ttl"] = json!(60);
    assert_eq!(
        server.rest.post("/api/v1/requests", &same).await.status,
        409,
        "another time is another request"
    );
}

#[tokio::test]
async fn what_ends_while_it_is_queued_costs_no_request_its_record() {
    let dir = TempDir::new().unwrap();
    let config = config(dir.path(), "");
    let pki = config.data.join("pki");
    files::private_dir(&config.data).unwrap();
    files::private_dir(&pki).unwrap();
    let app = Arc::new(App::build(config, Authority::open(&pki, None).unwrap(), "x").await.unwrap());
    let head = |id: &str| Head {
        id: id.into(),
        who: "ann".into(),
        method: "sync.bash".into(),
        cmd: None,
        target: None,
        rollout: None,
        params: "{}".into(),
        url: None,
        stream: false,
        follow: None,
        waits: None,
        digest: String::new(),
        created: 1,
        deadline: 2,
    };
    let host = Uuid::from_u128(1);
    let target = || vec![Target { host: host.to_string(), name: None }];
    let request = app.requests.start(head("r"), target()).unwrap();
    let mut other = Database::of(dir.path()).await;
    other.hold().await;
    let expires = 2_000_000_000_000;
    let queued = tokio::spawn(courier::queue_up(app.clone(), request.clone(), vec![(0, host)], expires));
    // The recorder has taken what it found and waits for the database.
    sleep(Duration::from_millis(300)).await;
    request.settle(0, &Outcome::new(Retcode::NoReplyInTime));
    other.let_go().await;
    queued.await.unwrap();
    courier::settle_all(&app).await.unwrap();
    record::record_all(&app.requests, &app.store).await.unwrap();
    let stored = app.store.find_request("r").await.unwrap().unwrap();
    assert!(stored.entries.len() == 1 && stored.entries[0].1.contains("205"), "{stored:?}");
    assert!(stored.summary.finished.is_some() && stored.waiting.is_empty() && app.queue.is_empty());
    assert_eq!(stored.summary.failed, 1);
    // Whatever put it there: a row of another costs nobody anything.
    let again = app.requests.start(head("r"), target()).unwrap();
    again.settle(0, &Outcome::new(Retcode::NormalTermination));
    app.requests.start(head("s"), target()).unwrap().settle(0, &Outcome::new(Retcode::HostOffline));
    record::record_all(&app.requests, &app.store).await.unwrap();
    assert_eq!(app.store.find_request("s").await.unwrap().unwrap().summary.failed, 1);
    let stored = app.store.find_request("r").await.unwrap().unwrap();
    assert_eq!((stored.summary.succeeded, stored.summary.failed), (0, 1));
}

#[tokio::test]
async fn what_had_its_end_when_the_server_was_killed_waits_no_longer() {
    let server = Server::start().await;
    let identity = enrolled(&server, "a").await;
    server.rest.run(body("r", &["a"])).await;
    let mut database = server.database().await;
    let sql = "INSERT INTO results VALUES ('r', 0, 'a', 205, 1, \
               '{\"host\":\"a\",\"resp\":\"failed\",\"retcode\":205,\"message\":\"No reply in time\"}')";
    database.execute(sql).await;
    database.execute("UPDATE requests SET failed = 1 WHERE id = 'r'").await;
    let server = server.restart().await;
    assert_eq!(codes(&finished(&server, "r").await), [205]);
    let mut agent = link(&server, &identity).await;
    agent.is_heard().await;
}
