//! `kill -9` of the server, at whatever moment, loses nothing that it acknowledged and stores
//! nothing twice.

use crate::agent::{Agent, Identity, enrolled, result};
use crate::common::{PATIENCE, Server};
use crate::program::Program;
use serde_json::json;
use std::time::Duration;
use tokio::time::timeout;

const ROUNDS: u64 = 24;

fn killed(mut program: Program) {
    program.kill();
}

async fn linked(program: &Program, identity: &Identity) -> Agent {
    Agent::link(program.agents, identity, "a", "b").await
}

#[tokio::test]
async fn a_result_is_stored_exactly_once_however_often_the_server_is_killed() {
    let server = Server::start().await;
    let identity = enrolled(&server, "a").await;
    let Server { running, dir, .. } = server;
    running.stop().await;
    let (mut acked_before, mut unacked_before) = (0, 0);
    for round in 0..ROUNDS {
        let job = format!("round-{round}");
        let program = Program::start(dir.path()).await;
        let mut agent = linked(&program, &identity).await;
        agent.result(round, &job, "the first time").await;
        // From at once to as long as it takes.
        let wait = if round % 4 == 3 { PATIENCE } else { Duration::from_micros(round * round * 50) };
        let acked = match timeout(wait, agent.next()).await {
            Ok(Some(frame)) => frame["method"] == "ack",
            _ => false,
        };
        killed(program);

        let program = Program::start(dir.path()).await;
        // By the id: the name may have died with the first process.
        let path = format!("/api/v1/jobs/{}/{job}", identity.id);
        if acked {
            acked_before += 1;
            assert_eq!(program.rest.get(&path).await.body["result"]["data"], "the first time");
        } else {
            unacked_before += 1;
        }
        let mut agent = linked(&program, &identity).await;
        agent.send(&result(round, &job, if acked { "the second time" } else { "the first time" })).await;
        agent.is_acked(round).await;
        assert_eq!(program.rest.get(&path).await.body["result"]["data"], "the first time");
        killed(program);
    }
    let server = Server::on(dir, "").await;
    let mut database = server.database().await;
    let count = database.count("SELECT COUNT(*) FROM job_results").await;
    assert_eq!(count, i64::try_from(ROUNDS).unwrap());
    assert!(acked_before > 0 && unacked_before > 0, "{acked_before} acknowledged, {unacked_before} not");
}

#[tokio::test]
async fn a_server_that_is_killed_amid_many_results_keeps_what_it_acknowledged_and_nothing_twice() {
    let server = Server::start().await;
    let identity = enrolled(&server, "a").await;
    let Server { running, dir, .. } = server;
    running.stop().await;
    let mut unacked: Vec<u64> = (1..=3000).collect();
    let mut kills = 0;
    while !unacked.is_empty() {
        let program = Program::start(dir.path()).await;
        let mut agent = linked(&program, &identity).await;
        for seq in &unacked {
            agent.result(*seq, &seq.to_string(), &kills.to_string()).await;
        }
        // Killed after some more acknowledgements each time; further ones may be on their way.
        for _ in 0..(100 + 200 * kills).min(unacked.len()) {
            let seq = unacked.remove(0);
            agent.is_acked(seq).await;
        }
        killed(program);
        kills += 1;
    }
    assert!(kills > 3);
    let server = Server::on(dir, "").await;
    let mut database = server.database().await;
    assert_eq!(database.count("SELECT COUNT(*) FROM job_results").await, 3000);
    assert_eq!(database.count("SELECT COUNT(*) FROM jobs WHERE state = 'done'").await, 3000);
    assert_eq!(server.job(&identity.id, "100").await["result"]["data"], "0", "the first time counts");
}

#[tokio::test]
async fn a_request_that_waited_is_answered_once_though_the_server_is_killed_between_all_its_steps() {
    let server = Server::start().await;
    let identity = enrolled(&server, "a").await;
    let Server { running, dir, .. } = server;
    running.stop().await;

    let program = Program::start(dir.path()).await;
    let body = json!({"id": "r", "hosts": [identity.id], "method": "sync.bash", "cmd": "x", "queue": true});
    let answer = program.rest.run(body.clone()).await;
    assert_eq!(answer.retcodes()[0].1, 1);
    killed(program);

    // It waits on, is delivered, and delivered again until there is a reply.
    for _ in 0..3 {
        let program = Program::start(dir.path()).await;
        let again = program.rest.run(body.clone()).await;
        assert_eq!((again.retcodes().len(), again.retcodes()[0].1), (1, 1), "{again:?}");
        let mut agent = linked(&program, &identity).await;
        assert_eq!(agent.expect().await["id"], "r");
        killed(program);
    }
    let program = Program::start(dir.path()).await;
    let mut agent = linked(&program, &identity).await;
    let request = agent.expect().await;
    agent.answer(&request, "at last").await;
    let shown = crate::common::eventually("its end", async || {
        let shown = program.rest.get("/api/v1/requests/r").await.body;
        shown["finished"].is_string().then_some(shown)
    })
    .await;
    assert_eq!(shown["response"][0]["data"], "at last");
    killed(program);

    let program = Program::start(dir.path()).await;
    let mut agent = linked(&program, &identity).await;
    timeout(PATIENCE, agent.is_heard()).await.expect("it is not sent again");
    let again = program.rest.run(body).await;
    assert_eq!(again.body["response"], shown["response"]);
}
