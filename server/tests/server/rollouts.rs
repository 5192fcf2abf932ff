//! A request that only so many hosts have at once.

use crate::agent::{Agent, enroll, enrolled, linked};
use crate::common::{Answer, Lines, Rest, Server};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

pub const PATH: &str = "/api/v1/requests/r";

pub fn body(hosts: &[&str], more: Value) -> Value {
    let mut body = json!({"id": "r", "hosts": hosts, "method": "sync.bash", "cmd": "x"});
    let Value::Object(more) = more else { panic!("no object") };
    body.as_object_mut().unwrap().extend(more);
    body
}

impl Agent {
    /// Answers as a command that failed.
    async fn fail(&mut self, request: &Value) {
        let reply = json!({"id": request["id"], "resp": "failed", "retcode": 3101,
                           "message": "Exited with an error", "exitcode": 1});
        self.send(&reply).await;
    }

    async fn serve_badly(&mut self) {
        let request = self.expect().await;
        self.fail(&request).await;
    }
}

/// Agents of these names.
pub async fn all_linked<const N: usize>(server: &Server, names: [&str; N]) -> Vec<Agent> {
    let mut agents = Vec::new();
    for name in names {
        agents.push(linked(server, name).await);
    }
    agents
}

impl Lines {
    /// The next line, in a word: `begun a`, `a 2`, `stopped`.
    pub async fn word(&mut self) -> String {
        let line = self.next().await.expect("another line");
        let name = line["name"].as_str().or(line["host"].as_str()).unwrap_or_default();
        match line["method"].as_str() {
            Some("begun") => format!("begun {name}"),
            Some(method) => method.to_owned(),
            None => format!("{name} {}", line["retcode"]),
        }
    }

    pub async fn words<const N: usize>(&mut self) -> [String; N] {
        let mut words = [const { String::new() }; N];
        for word in &mut words {
            *word = self.word().await;
        }
        words
    }
}

pub fn details(answer: &Answer) -> Vec<&str> {
    let entries = answer.body["response"].as_array().unwrap();
    entries.iter().map(|entry| entry["detail"].as_str().unwrap_or_default()).collect()
}

pub fn codes(answer: &Answer) -> Vec<u64> {
    answer.retcodes().into_iter().map(|(_, retcode)| retcode).collect()
}

#[tokio::test]
async fn a_host_is_begun_when_another_has_ended() {
    let server = Server::start().await;
    let mut agents = all_linked(&server, ["a", "b", "c", "d"]).await;
    let mut lines = server.rest.stream(body(&["a", "b", "c", "d"], json!({"batch": 2}))).await;
    assert_eq!(lines.words().await, ["begun a", "begun b"]);
    let request = agents[0].expect().await;
    let expected = json!({"id": "r", "method": "sync.bash", "cmd": "x"});
    assert_eq!(request, expected, "the agent gets what is for it and nothing else");
    let shown = server.rest.get(PATH).await.body;
    assert_eq!((&shown["batch"], &shown["pending"]), (&json!(2), &json!(4)));
    agents[1].serve_one("").await;
    assert_eq!(lines.words().await, ["b 2", "begun c"]);
    agents[2].serve_one("").await;
    assert_eq!(lines.words().await, ["c 2", "begun d"]);
    agents[0].answer(&request, "").await;
    assert_eq!(lines.word().await, "a 2");
    agents[3].serve_badly().await;
    assert_eq!(lines.word().await, "d 3101");
    assert_eq!(lines.next().await, None);
    let shown = server.rest.get(PATH).await.body;
    assert_eq!((&shown["succeeded"], &shown["failed"]), (&json!(3), &json!(1)));
    assert_eq!(shown.get("stopped"), None, "all were begun");
}

#[tokio::test]
async fn a_ramp_begins_with_one_and_doubles() {
    let server = Server::start().await;
    let mut agents = all_linked(&server, ["a", "b", "c", "d", "e", "f"]).await;
    let names = ["a", "b", "c", "d", "e", "f"];
    let mut lines = server.rest.stream(body(&names, json!({"batch": "60%", "ramp": true}))).await;
    assert_eq!(lines.word().await, "begun a");
    agents[0].serve_one("").await;
    assert_eq!(lines.words().await, ["a 2", "begun b", "begun c"]);
    agents[1].serve_one("").await;
    assert_eq!(lines.words().await, ["b 2", "begun d"]);
    agents[2].serve_one("").await;
    // Up to the batch, which is three.
    assert_eq!(lines.words().await, ["c 2", "begun e", "begun f"]);
    for agent in &mut agents[3..] {
        agent.serve_one("").await;
    }
    lines.words::<3>().await;
    assert_eq!(lines.next().await, None);
    let shown = server.rest.get("/api/v1/requests").await.body["requests"][0].clone();
    assert_eq!((&shown["batch"], &shown["ramp"]), (&json!(3), &json!(true)), "a list shows it, too");
}

#[tokio::test]
async fn more_errors_than_may_be_stop_it_and_say_who_was_not_begun() {
    let server = Server::start().await;
    let mut agents = all_linked(&server, ["a", "b", "c", "d", "e"]).await;
    let asked = body(&["a", "nobody", "b", "c", "d", "e"], json!({"batch": 2, "max_errors": 1}));
    let mut lines = server.rest.stream(asked.clone()).await;
    assert_eq!(lines.words().await, ["begun a", "nobody 203", "begun b"]);
    agents[0].serve_badly().await;
    assert_eq!(lines.words().await, ["a 3101", "begun c"]);
    agents[1].serve_badly().await;
    // One that is under way goes on, and those that were not begun have their final state at once.
    assert_eq!(lines.words().await, ["b 3101", "stopped", "d 207", "e 207"]);
    let stopped = json!({"reason": "errors", "detail": "the rollout stopped after 2 errors (max_errors 1)",
                         "not_begun": 2});
    assert_eq!(server.rest.get(PATH).await.body["stopped"], stopped, "while it still runs");
    agents[2].serve_one("").await;
    assert_eq!(lines.word().await, "c 2");
    assert_eq!(lines.next().await, None);
    for agent in &mut agents[3..] {
        agent.is_heard().await;
    }

    let answer = server.rest.run(asked.clone()).await;
    assert_eq!(codes(&answer), [3101, 203, 3101, 2, 207, 207]);
    assert_eq!(details(&answer)[4], "not begun: the rollout stopped after 2 errors (max_errors 1)");
    assert_eq!(answer.body["stopped"], stopped);
    let server = server.restart().await;
    let shown = server.rest.get(PATH).await.body;
    assert_eq!((&shown["stopped"], &shown["max_errors"]), (&stopped, &json!(1)));
    assert_eq!(server.rest.run(asked.clone()).await.body, answer.body);
    let mut lines = server.rest.stream(asked).await;
    let first = lines.next().await.unwrap();
    assert_eq!((&first["method"], &first["not_begun"]), (&json!("stopped"), &json!(2)));
    assert_eq!(lines.words().await, ["a 3101", "nobody 203", "b 3101", "c 2", "d 207", "e 207"]);
}

#[tokio::test]
async fn what_could_not_be_delivered_is_no_error_and_a_lost_link_is_one() {
    let server = Server::start().await;
    enrolled(&server, "offline").await;
    let mut agents = all_linked(&server, ["a", "b"]).await;
    let asked = body(&["x", "offline", "y", "a", "b"], json!({"batch": 1, "max_errors": 0}));
    let first = agents.remove(0);
    let lose = async move {
        let mut first = first;
        first.expect().await;
    };
    let (answer, ()) = tokio::join!(server.rest.run(asked), lose);
    assert_eq!(codes(&answer), [203, 204, 203, 206, 207]);
    assert_eq!(answer.body["stopped"]["detail"], "the rollout stopped after 1 error (max_errors 0)");
    agents[0].is_heard().await;
}

#[tokio::test]
async fn there_is_a_pause_before_the_next_in_its_place() {
    let server = Server::start().await;
    let mut agents = all_linked(&server, ["a", "b"]).await;
    let mut lines = server.rest.stream(body(&["a", "b"], json!({"batch": 1, "pause": 1}))).await;
    let begin = Instant::now();
    agents[0].serve_one("").await;
    assert_eq!(lines.words().await, ["begun a", "a 2", "begun b"]);
    assert!(begin.elapsed() >= Duration::from_secs(1));
    agents[1].serve_one("").await;
    assert_eq!(lines.word().await, "b 2");
}

#[tokio::test]
async fn the_deadline_grows_with_the_rounds() {
    let server = Server::start().await;
    let mut agents = all_linked(&server, ["a"]).await;
    let names: Vec<String> = (0..9).map(|n| n.to_string()).chain(["a".to_owned()]).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let one = 120 + 2 * 3 + 30;
    for (n, (more, seconds)) in [
        (json!({"batch": 10}), one),
        (json!({"batch": 3}), 4 * one),
        (json!({"batch": "30%", "pause": 60}), 4 * (one + 60)),
        (json!({"batch": 4, "ramp": true}), 5 * one),
        (json!({"batch": 1, "deadline": 7}), 7),
    ]
    .into_iter()
    .enumerate()
    {
        let id = n.to_string();
        let mut asked = body(&names, more);
        asked["id"] = json!(id);
        tokio::join!(server.rest.run(asked), agents[0].serve_one(""));
        let shown = server.rest.get(&format!("/api/v1/requests/{id}")).await;
        let time = |key| humantime::parse_rfc3339(&shown.text(key)).unwrap();
        assert_eq!(time("deadline").duration_since(time("created")).unwrap().as_secs(), seconds, "{shown:?}");
    }
}

#[tokio::test]
async fn a_deadline_that_no_request_has_is_not_cut_but_refused() {
    let server = Server::start().await;
    let mut agent = linked(&server, "a").await;
    let mut asked = body(&["x", "y", "a"], json!({"batch": 1, "timeout": 40_000, "pause": 3600}));
    let answer = server.rest.post("/api/v1/requests", &asked).await;
    assert_eq!((answer.status, answer.text("field").as_str()), (422, "deadline"));
    let needed = 3 * (40_000 + 2 * 3 + 30 + 3600);
    let detail = answer.text("detail");
    let expected =
        format!("deadline: this rollout may need {needed} seconds, more than the 90000 that a request");
    assert!(detail.starts_with(&expected), "{detail}");
    asked["deadline"] = json!(90_000);
    let (answer, _) = tokio::join!(server.rest.run(asked), agent.serve_one(""));
    assert_eq!(codes(&answer), [203, 203, 2]);
}

#[tokio::test]
async fn the_same_again_is_the_same_rollout_and_another_batch_another_request() {
    let server = Server::start().await;
    let mut agents = all_linked(&server, ["a", "b"]).await;
    let asked = body(&["a", "b"], json!({"batch": 1}));
    let agent = async {
        let request = agents[0].expect().await;
        let again = server.rest.stream(asked.clone()).await;
        for other in [json!({}), json!({"batch": 2}), json!({"batch": 1, "max_errors": 1})] {
            let answer = server.rest.post("/api/v1/requests", &body(&["a", "b"], other)).await;
            assert_eq!(answer.status, 409);
        }
        agents[0].answer(&request, "").await;
        agents[1].serve_one("").await;
        again
    };
    let (answer, mut again) = tokio::join!(server.rest.run(asked.clone()), agent);
    assert_eq!(again.words().await, ["begun a", "a 2", "begun b", "b 2"]);
    assert_eq!(server.rest.run(asked).await.body, answer.body);
}

/// Hosts that run what they are sent for some turns of the runtime, and count how many of them do.
async fn at_work(rest: &Rest, server: &Server, hosts: usize, fails: fn(usize) -> bool) -> (Answer, usize) {
    let (working, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (token, mut names) = (server.token().await, Vec::new());
    for n in 0..hosts {
        let name = format!("n{n}");
        let identity = enroll(server.agents(), &token, &name).await.unwrap();
        let mut agent = Agent::link(server.agents(), &identity, &name, "b").await;
        let (working, most) = (working.clone(), most.clone());
        tokio::spawn(async move {
            while let Some(request) = agent.next().await {
                most.fetch_max(working.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                for _ in 0..n % 17 {
                    tokio::task::yield_now().await;
                }
                working.fetch_sub(1, Ordering::SeqCst);
                if fails(n) { agent.fail(&request).await } else { agent.answer(&request, "").await }
            }
        });
        names.push(name);
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let asked = body(&names, json!({"batch": 7, "ramp": true, "max_errors": "10%"}));
    (rest.run(asked).await, most.load(Ordering::SeqCst))
}

#[tokio::test]
async fn of_many_hosts_never_more_are_at_work_than_the_batch() {
    let server = Server::start().await;
    let (answer, most) = at_work(&server.rest, &server, 60, |n| n % 20 == 9).await;
    assert!((2..=7).contains(&most), "{most} at once");
    let codes = codes(&answer);
    let count = |code| codes.iter().filter(|other| **other == code).count();
    assert_eq!((codes.len(), count(2), count(3101)), (60, 57, 3));
}

#[tokio::test]
async fn of_many_hosts_that_fail_no_more_are_begun_than_may() {
    let server = Server::start().await;
    let (answer, _) = at_work(&server.rest, &server, 60, |_| true).await;
    // Six may fail and the seventh stops it: one at a time, as none succeeds.
    let codes = codes(&answer);
    assert_eq!((&codes[..7], &codes[7..]), (&[3101; 7][..], &[207; 53][..]));
    assert_eq!(answer.body["stopped"]["not_begun"], 53);
}
