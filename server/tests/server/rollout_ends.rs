//! How a rollout ends before its time: because somebody cancels it, because its time is over, and
//! because the server or its database is away.

use crate::agent::{Agent, Identity, enrolled};
use crate::common::{PATIENCE, Server, eventually};
use crate::metrics::count;
use crate::program::Program;
use crate::rollouts::{PATH, all_linked, body, codes, details};
use serde_json::json;
use std::time::Duration;
use tokio::time::timeout;

#[tokio::test]
async fn it_is_cancelled_where_it_runs_and_not_begun_elsewhere() {
    let server = Server::start().await;
    let mut agents = all_linked(&server, ["a", "b", "c"]).await;
    let mut lines = server.rest.stream(body(&["a", "b", "c"], json!({"batch": 1}))).await;
    agents[0].serve_one("").await;
    assert_eq!(lines.words().await, ["begun a", "a 2", "begun b"]);
    let rest = server.rest.clone();
    let deleting = tokio::spawn(async move { rest.call("DELETE", PATH, None).await });
    agents[1].expect().await;
    let call = agents[1].expect().await;
    assert_eq!((&call["method"], &call["job"]), (&json!("job.cancel"), &json!("r")));
    agents[1].send(&json!({"id": "r", "resp": "failed", "retcode": 3108, "message": "Cancelled"})).await;
    let answer = deleting.await.unwrap();
    assert_eq!(codes(&answer), [2, 3108, 207]);
    assert_eq!(details(&answer)[2], "not begun: the request was cancelled");
    assert_eq!(answer.body["stopped"]["reason"], "cancelled");
    agents[2].is_heard().await;
}

#[tokio::test]
async fn at_its_end_what_runs_has_not_answered_and_the_rest_is_not_begun() {
    let server = Server::start().await;
    let mut agents = all_linked(&server, ["a", "b", "c"]).await;
    let asked = body(&["a", "b", "c"], json!({"batch": 1, "deadline": 1}));
    let answer = server.rest.run(asked).await;
    assert_eq!(
        (codes(&answer), details(&answer)[1]),
        (vec![205, 207, 207], "not begun: the request's deadline came first")
    );
    let stopped =
        json!({"reason": "deadline", "detail": "the request's deadline came first", "not_begun": 2});
    assert_eq!(answer.body["stopped"], stopped);
    agents[1].is_heard().await;
}

#[tokio::test]
async fn whose_turn_does_not_come_within_the_ttl_is_not_begun() {
    let server = Server::start().await;
    let mut agents = all_linked(&server, ["a", "b", "c"]).await;
    let mut lines = server.rest.stream(body(&["a", "b", "c"], json!({"batch": 1, "ttl": 1}))).await;
    assert_eq!(lines.words().await, ["begun a", "stopped", "b 207", "c 207"]);
    // What runs has the time that commands have.
    agents[0].serve_one("late enough").await;
    assert_eq!(lines.word().await, "a 2");
    let shown = server.rest.get(PATH).await.body;
    assert_eq!((&shown["ttl"], &shown["stopped"]["reason"]), (&json!(1), &json!("ttl")));
    assert_eq!(shown["response"][1]["detail"], "not begun: its turn did not come within 1 seconds (ttl)");
}

#[tokio::test]
async fn a_server_that_stops_begins_nobody_any_more() {
    let server = Server::start().await;
    let mut agents = all_linked(&server, ["a", "b"]).await;
    let rest = server.rest.clone();
    let call = tokio::spawn(async move { rest.run(body(&["a", "b"], json!({"batch": 1}))).await });
    agents[0].expect().await;
    let Server { running, dir, .. } = server;
    let byes = agents.into_iter().map(|agent| tokio::spawn(agent.bye())).collect::<Vec<_>>();
    timeout(PATIENCE, running.stop()).await.expect("it stops");
    let answer = call.await.unwrap();
    assert_eq!(codes(&answer), [206, 207]);
    assert_eq!(details(&answer)[1], "not begun: polaris is shutting down");
    for bye in byes {
        bye.await.unwrap();
    }
    let server = Server::on(dir, "").await;
    let shown = server.rest.get(PATH).await.body;
    assert_eq!((&shown["response"], &shown["stopped"]), (&answer.body["response"], &answer.body["stopped"]));
}

#[tokio::test]
async fn after_a_kill_those_that_were_begun_are_told_from_the_others() {
    let server = Server::start().await;
    let mut identities: Vec<Identity> = Vec::new();
    for name in ["a", "b", "c", "d"] {
        identities.push(enrolled(&server, name).await);
    }
    let Server { running, dir, .. } = server;
    running.stop().await;
    let mut program = Program::start(dir.path()).await;
    let mut agents = Vec::new();
    for identity in &identities {
        agents.push(Agent::link(program.agents, identity, &identity.id, "b").await);
    }
    let ids: Vec<&str> = identities.iter().map(|identity| &*identity.id).collect();
    let asked = body(&ids, json!({"batch": 2}));
    let mut lines = program.rest.stream(asked.clone()).await;
    agents[0].serve_one("done").await;
    agents[2].expect().await;
    while lines.next().await.unwrap()["method"] != json!(null) {}
    // So that the result is on disk.
    program.rest.get(PATH).await;
    program.kill();
    program.start_again(dir.path()).await;

    let answer = program.rest.run(asked).await;
    assert_eq!(codes(&answer), [2, 206, 206, 207]);
    assert_eq!(
        details(&answer)[1..],
        [
            "polaris was restarted while it ran",
            "polaris was restarted while it ran",
            "not begun: polaris was restarted"
        ]
    );
    let stopped = json!({"reason": "restart", "detail": "polaris was restarted", "not_begun": 1});
    assert_eq!(answer.body["stopped"], stopped);
    assert_eq!(program.rest.get(PATH).await.body["stopped"], stopped);
    let mut last = Agent::link(program.agents, &identities[3], "d", "b").await;
    last.is_heard().await;
}

#[tokio::test]
async fn where_nothing_can_be_stored_nobody_is_begun() {
    let server = Server::start().await;
    let mut agents = all_linked(&server, ["a", "b"]).await;
    let mut database = server.database().await;
    database.execute("ALTER TABLE requests RENAME TO away").await;
    let asked = json!({"hosts": ["a", "b"], "method": "sync.bash", "cmd": "x", "batch": 1,
                       "deadline": 2});
    let answer = server.rest.run(asked).await;
    assert_eq!((codes(&answer), &answer.body["stopped"]["reason"]), (vec![207, 207], &json!("storage")));
    assert_eq!(details(&answer)[0], "not begun: the database did not answer");
    agents[0].is_heard().await;
    database.execute("ALTER TABLE away RENAME TO requests").await;
    let list = server.rest.get("/api/v1/requests").await.body;
    assert_eq!((&list["count"], &list["requests"][0]["failed"]), (&json!(1), &json!(2)));
}

#[tokio::test]
async fn a_database_that_fails_for_a_while_costs_no_host_its_turn() {
    let server = Server::start().await;
    let mut agents = all_linked(&server, ["a", "b"]).await;
    let mut database = server.database().await;
    let mut lines = server.rest.stream(body(&["a", "b"], json!({"batch": 1}))).await;
    assert_eq!(lines.word().await, "begun a");
    let failures = async || count(&server, "polaris_database_errors_total").await;
    let before = failures().await;
    database.execute("ALTER TABLE requests RENAME TO away").await;
    agents[0].serve_one("").await;
    assert_eq!(lines.word().await, "a 2");
    eventually("a failure", async || (failures().await > before).then_some(())).await;
    database.execute("ALTER TABLE away RENAME TO requests").await;
    assert_eq!(lines.word().await, "begun b");
    agents[1].serve_one("").await;
    assert_eq!(lines.word().await, "b 2");
}

#[tokio::test]
async fn its_deadline_does_not_wait_for_the_database() {
    let server = Server::start().await;
    let mut agents = all_linked(&server, ["a", "b"]).await;
    let mut database = server.database().await;
    let mut lines = server.rest.stream(body(&["a", "b"], json!({"batch": 1, "deadline": 2}))).await;
    assert_eq!(lines.word().await, "begun a");
    database.hold().await;
    agents[0].serve_one("").await;
    assert_eq!(lines.words().await, ["a 2", "stopped", "b 207"]);
    database.let_go().await;
    let shown = server.rest.get(PATH).await.body;
    let reason = shown["stopped"]["reason"].as_str().unwrap();
    assert!(["deadline", "storage"].contains(&reason), "{reason}");
    let (created, finished) = (shown["created"].as_str().unwrap(), shown["finished"].as_str().unwrap());
    let [created, finished] = [created, finished].map(|time| humantime::parse_rfc3339(time).unwrap());
    // The embedded database alone would have been waited for for longer.
    assert!(finished.duration_since(created).unwrap() < Duration::from_secs(4), "{shown}");
    agents[1].is_heard().await;
}

#[tokio::test]
async fn it_can_be_cancelled_while_the_database_does_not_answer() {
    let server = Server::start().await;
    let mut agents = all_linked(&server, ["a", "b", "c"]).await;
    let mut database = server.database().await;
    let mut lines = server.rest.stream(body(&["a", "b", "c"], json!({"batch": 2}))).await;
    assert_eq!(lines.words().await, ["begun a", "begun b"]);
    agents[0].expect().await;
    database.hold().await;
    agents[1].serve_one("").await;
    assert_eq!(lines.word().await, "b 2");
    let rest = server.rest.clone();
    let deleting = tokio::spawn(async move { rest.call("DELETE", PATH, None).await });
    assert_eq!(lines.words().await, ["stopped", "c 207"]);
    let call = agents[0].expect().await;
    assert_eq!((&call["method"], &call["job"]), (&json!("job.cancel"), &json!("r")));
    agents[0].send(&json!({"id": "r", "resp": "failed", "retcode": 3108, "message": "Cancelled"})).await;
    assert_eq!(lines.word().await, "a 3108");
    database.let_go().await;
    let answer = deleting.await.unwrap();
    assert_eq!(
        (codes(&answer), &answer.body["stopped"]["reason"]),
        (vec![3108, 2, 207], &json!("cancelled"))
    );
    agents[2].is_heard().await;
}
