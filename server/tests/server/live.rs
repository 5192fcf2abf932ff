//! What commands write reaches whoever reads the answer while they run.

use crate::agent::linked;
use crate::common::{Lines, Server};
use serde_json::{Value, json};

fn body(hosts: &[&str]) -> Value {
    json!({"id": "r", "hosts": hosts, "method": "sync.bash", "cmd": "x", "stream": true})
}

async fn rest(mut lines: Lines) -> Vec<Value> {
    let mut all = Vec::new();
    while let Some(line) = lines.next().await {
        all.push(line);
    }
    all
}

#[tokio::test]
async fn pieces_come_as_they_are_written_and_before_the_final_state() {
    let server = Server::start().await;
    let mut agent = linked(&server, "web-1").await;
    let host = agent.id.clone();
    let mut lines = server.rest.stream(body(&["web-1"])).await;
    let request = agent.expect().await;
    assert_eq!(request["stream"], true);
    agent.output("r", "stdout", "one\n").await;
    let line =
        json!({"host": host, "name": "web-1", "method": "output", "stream": "stdout", "data": "one\n"});
    assert_eq!(lines.next().await.unwrap(), line);
    agent
        .send(
            &json!({"method": "output", "id": "r", "stream": "stderr", "data": "/w==", "encoding": "base64"}),
        )
        .await;
    let line = json!({"host": host, "name": "web-1", "method": "output", "stream": "stderr", "data": "/w==",
                      "encoding": "base64"});
    assert_eq!(lines.next().await.unwrap(), line);
    agent.answer(&request, "one\ntwo\n").await;
    let entry = lines.next().await.unwrap();
    assert_eq!((&entry["retcode"], &entry["data"]), (&json!(2), &json!("one\ntwo\n")));
    assert!(entry.get("method").is_none());
    assert_eq!(lines.next().await, None);
}

#[tokio::test]
async fn a_reader_that_comes_later_gets_all_of_it_and_one_after_the_end_the_results() {
    let server = Server::start().await;
    let mut agent = linked(&server, "a").await;
    let first = server.rest.stream(body(&["a"])).await;
    let request = agent.expect().await;
    agent.output("r", "stdout", "1").await;
    agent.is_heard().await;
    let second = server.rest.stream(body(&["a"])).await;
    agent.output("r", "stdout", "2").await;
    agent.is_heard().await;
    agent.answer(&request, "12").await;
    let told = rest(first).await;
    assert_eq!(told.len(), 3);
    assert_eq!(rest(second).await, told);
    assert_eq!(rest(server.rest.stream(body(&["a"])).await).await, told[2..]);
    let answer = server.rest.run(body(&["a"])).await;
    assert_eq!(answer.body["response"], json!([told[2]]), "the plain answer has no output lines");
    let shown = server.rest.get("/api/v1/requests/r").await.body;
    assert_eq!(shown["response"], json!([told[2]]), "nor has the database");
    let server = server.restart().await;
    assert_eq!(rest(server.rest.stream(body(&["a"])).await).await, told[2..]);
}

#[tokio::test]
async fn output_that_is_nobodys_is_passed_over() {
    let server = Server::start().await;
    let (mut agent, mut other) = (linked(&server, "a").await, linked(&server, "b").await);
    let lines = server.rest.stream(body(&["a", "b"])).await;
    let plain = json!({"id": "plain", "hosts": ["a"], "method": "sync.bash", "cmd": "x"});
    let plain = server.rest.stream(plain).await;
    let (request, plain_request) = (agent.expect().await, agent.expect().await);
    let theirs = other.expect().await;
    agent.output("nobody asked", "stdout", "wrong id").await;
    agent.output("plain", "stdout", "asked without stream").await;
    agent.output("r", "stdout", "").await;
    agent.answer(&request, "").await;
    agent.output("r", "stdout", "after the reply, and of a host that still runs it").await;
    agent.answer(&plain_request, "").await;
    agent.is_heard().await;
    other.answer(&theirs, "").await;
    let told = rest(lines).await;
    assert_eq!(told.iter().map(|line| line["retcode"].as_u64()).collect::<Vec<_>>(), [Some(2), Some(2)]);
    assert_eq!(rest(plain).await.len(), 1);
}

#[tokio::test]
async fn what_is_passed_on_of_a_stream_ends_at_its_limit_and_has_no_gap() {
    let server = Server::start().await;
    let mut agent = linked(&server, "a").await;
    let lines = server.rest.stream(body(&["a"])).await;
    let request = agent.expect().await;
    let limit = polaris::limits::MAX_OUTPUT_BYTES_PER_STREAM;
    agent.output("r", "stdout", &"x".repeat(limit - 1)).await;
    agent.output("r", "stdout", "yy").await;
    agent.output("r", "stdout", "z").await;
    agent.output("r", "stderr", &"e".repeat(limit)).await;
    agent.output("r", "stderr", "e").await;
    agent.answer(&request, "").await;
    let told = rest(lines).await;
    let lengths: Vec<usize> = told.iter().filter_map(|line| Some(line["data"].as_str()?.len())).collect();
    assert_eq!(lengths, [limit - 1, limit, 0]);
}

#[tokio::test]
async fn a_piece_that_is_not_what_it_says_ends_its_stream() {
    let server = Server::start().await;
    let mut agent = linked(&server, "a").await;
    let lines = server.rest.stream(body(&["a"])).await;
    let request = agent.expect().await;
    agent.output("r", "stdout", "good").await;
    agent
        .send(&json!({"method": "output", "id": "r", "stream": "stdout", "data": "!", "encoding": "base64"}))
        .await;
    agent.output("r", "stdout", "after a gap").await;
    agent.answer(&request, "good").await;
    assert_eq!(rest(lines).await.len(), 2);
}
