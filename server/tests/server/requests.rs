//! A request to hosts: each in exactly one final state.

use crate::agent::{Agent, enrolled, init, linked};
use crate::common::{PATIENCE, Server, eventually};
use hyper::Request;
use serde_json::{Value, json};
use std::collections::HashSet;
use tokio::time::timeout;

#[tokio::test]
async fn a_command_goes_to_the_host_and_its_answer_comes_back() {
    let server = Server::start().await;
    let mut agent = linked(&server, "web-1").await;
    let id = agent.id.clone();
    let body = json!({"hosts": ["web-1"], "method": "sync.bash", "cmd": "ls", "timeout": 10,
                      "user": "root", "env": {"A": "b\n"}});
    let (answer, request) = tokio::join!(server.rest.run(body), agent.serve_one("x\n"));
    assert_eq!(answer.text("id"), request["id"].as_str().unwrap());
    assert_eq!(answer.header("request-id"), answer.text("id"));
    let expected = json!({"id": request["id"], "method": "sync.bash", "cmd": "ls", "timeout": 10,
                          "user": "root", "env": {"A": "b\n"}});
    assert_eq!(request, expected, "the agent gets what is for it and nothing else");
    let expected = json!([{"host": id, "name": "web-1", "resp": "success", "retcode": 2,
                           "message": "Normal termination", "data": "x\n", "stderr": "", "exitcode": 0}]);
    assert_eq!(answer.body["response"], expected);
}

#[tokio::test]
async fn every_host_has_one_final_state_in_the_order_asked() {
    let server = Server::start().await;
    let offline = enrolled(&server, "offline").await;
    let mut good = linked(&server, "good").await;
    let silent = linked(&server, "silent").await;
    let mut lost = linked(&server, "lost").await;
    let ids = [&offline.id, &good.id, &silent.id, &lost.id].map(Clone::clone);
    let body = json!({"hosts": ["nobody", "offline", "lost", "good", "silent", ids[1], "good"],
                      "method": "sync.bash", "cmd": "x", "deadline": 2});
    let agents = async {
        good.serve_one("fine").await;
        lost.expect().await;
        drop(lost);
    };
    let (answer, ()) = tokio::join!(server.rest.run(body), agents);
    let expected = [("nobody", 203), (&*ids[0], 204), (&*ids[3], 206), (&*ids[1], 2), (&*ids[2], 205)];
    assert_eq!(answer.retcodes(), expected.map(|(host, code)| (host.to_owned(), code)));
    let messages = ["No such host", "Host offline", "Link lost", "Normal termination", "No reply in time"];
    for (entry, message) in answer.body["response"].as_array().unwrap().iter().zip(messages) {
        assert_eq!(entry["message"], message);
    }
    drop(silent);
}

#[tokio::test]
async fn results_arrive_before_the_last_host_answers() {
    let server = Server::start().await;
    let mut quick = linked(&server, "quick").await;
    let mut slow = linked(&server, "slow").await;
    let body = json!({"hosts": ["slow", "quick", "nobody"], "method": "sync.bash", "cmd": "x"});
    let mut lines = server.rest.stream(body).await;
    assert_eq!(lines.next().await.unwrap()["retcode"], 203);
    let waiting = slow.expect().await;
    assert_eq!(waiting["id"], json!(lines.id));
    quick.serve_one("1").await;
    assert_eq!(lines.next().await.unwrap()["name"], "quick");
    slow.answer(&waiting, "2").await;
    assert_eq!(lines.next().await.unwrap()["name"], "slow");
    assert_eq!(lines.next().await, None);
}

#[tokio::test]
async fn many_requests_to_one_agent_are_each_answered_with_their_own_output() {
    let server = Server::start().await;
    let mut agent = linked(&server, "a").await;
    let agent = tokio::spawn(async move {
        let mut kept = Vec::new();
        for _ in 0..200 {
            kept.push(agent.expect().await);
        }
        // In another order than they came.
        for request in kept.iter().rev() {
            agent.answer(request, request["cmd"].as_str().unwrap()).await;
        }
        agent
    });
    let mut calls = tokio::task::JoinSet::new();
    for n in 0..200 {
        let rest = server.rest.clone();
        calls.spawn(async move {
            let cmd = format!("echo {n}");
            let answer = rest.run(json!({"hosts": ["a"], "method": "sync.bash", "cmd": cmd})).await;
            assert_eq!(answer.body["response"][0]["data"], json!(cmd));
            answer.text("id")
        });
    }
    let ids: HashSet<String> = calls.join_all().await.into_iter().collect();
    assert_eq!(ids.len(), 200);
    agent.await.unwrap();
}

#[tokio::test]
async fn the_same_id_again_runs_once() {
    let server = Server::start().await;
    let mut agent = linked(&server, "a").await;
    let body = json!({"id": "once", "hosts": ["a"], "method": "sync.bash", "cmd": "x", "timeout": 5});
    // The same in another order of keys.
    let again = json!({"timeout": 5, "cmd": "x", "method": "sync.bash", "hosts": ["a"], "id": "once"});
    let calls = (0..16).map(|n| server.rest.run(if n % 2 == 0 { body.clone() } else { again.clone() }));
    let (answers, _) = tokio::join!(futures_util::future::join_all(calls), agent.serve_one("ran"));
    let one = &answers[0];
    assert_eq!(one.body["response"][0]["data"], "ran");
    assert!(answers.iter().all(|answer| answer.body == one.body), "{answers:?}");
    assert_eq!(server.rest.run(again.clone()).await.body, one.body);

    for (key, other) in [("cmd", json!("y")), ("hosts", json!(["b"])), ("method", json!("agent.info"))] {
        let mut changed = body.clone();
        changed[key] = other;
        if key == "method" {
            changed
                .as_object_mut()
                .unwrap()
                .retain(|key, _| ["id", "hosts", "method"].contains(&key.as_str()));
        }
        let answer = server.rest.post("/api/v1/requests", &changed).await;
        assert_eq!(answer.status, 409, "{key}: {answer:?}");
    }
    // The agent heard of it once.
    agent.send(&json!({"method": "ping"})).await;
    assert_eq!(agent.expect().await["method"], "pong");

    let server = server.restart().await;
    assert_eq!(server.rest.run(again.clone()).await.body, one.body, "from the database");
    let mut lines = server.rest.stream(again).await;
    assert_eq!(lines.next().await.unwrap(), one.body["response"][0]);
    assert_eq!(lines.next().await, None);
}

#[tokio::test]
async fn a_request_outlives_the_client_that_made_it() {
    let server = Server::start().await;
    let mut agent = linked(&server, "a").await;
    let body = json!({"id": "left", "hosts": ["a"], "method": "sync.bash", "cmd": "x"});
    let call = server.rest.stream(body.clone()).await;
    let request = agent.expect().await;
    drop(call);
    agent.answer(&request, "later").await;
    assert_eq!(server.rest.run(body).await.body["response"][0]["data"], "later");
}

#[tokio::test]
async fn the_deadline_suits_the_most_patient_host() {
    let server = Server::start().await;
    let _quick = linked(&server, "quick").await;
    let identity = enrolled(&server, "slow").await;
    let mut slow = Agent::dial(server.agents(), &identity).await;
    let mut hello = init(&identity.id, "slow", "b");
    hello.as_object_mut().unwrap().extend([("timeout".into(), json!(600)), ("grace".into(), json!(10))]);
    slow.send(&hello).await;
    assert_eq!(slow.expect().await["method"], "ready");
    for (n, (hosts, more, seconds)) in [
        (json!(["quick"]), json!({}), 120 + 2 * 3 + 30),
        (json!(["quick", "slow"]), json!({}), 600 + 2 * 10 + 30),
        (json!(["slow"]), json!({"timeout": 5}), 5 + 2 * 10 + 30),
        (json!(["slow"]), json!({"timeout": 5, "deadline": 7}), 7),
    ]
    .into_iter()
    .enumerate()
    {
        let mut body = json!({"id": n.to_string(), "hosts": hosts, "method": "sync.bash", "cmd": "x"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let _lines = server.rest.stream(body).await;
        let shown = server.rest.get(&format!("/api/v1/requests/{n}")).await;
        let time = |key| humantime::parse_rfc3339(&shown.text(key)).unwrap();
        assert_eq!(time("deadline").duration_since(time("created")).unwrap().as_secs(), seconds, "{shown:?}");
    }
}

#[tokio::test]
async fn a_reply_after_the_deadline_changes_nothing() {
    let server = Server::start().await;
    let mut agent = linked(&server, "a").await;
    let body = json!({"id": "late", "hosts": ["a"], "method": "sync.bash", "cmd": "x", "deadline": 1});
    let (answer, request) = tokio::join!(server.rest.run(body.clone()), agent.expect());
    assert_eq!(answer.retcodes()[0].1, 205);
    agent.answer(&request, "too late").await;
    agent.send(&json!({"method": "ping"})).await;
    assert_eq!(agent.expect().await["method"], "pong");
    assert_eq!(server.rest.run(body).await.body, answer.body);
}

#[tokio::test]
async fn a_method_of_newer_agents_passes() {
    let server = Server::start().await;
    let mut agent = linked(&server, "a").await;
    let body = json!({"hosts": ["a"], "method": "of.tomorrow", "what": {"deep": [1, 2]}});
    let agent = async {
        let request = agent.expect().await;
        assert_eq!(request["what"], json!({"deep": [1, 2]}));
        let reply = json!({"id": request["id"], "resp": "failed", "retcode": 3999, "message": "News",
                           "data": {"b": 1.50, "a": [null]}});
        agent.send(&reply).await;
    };
    let (answer, ()) = tokio::join!(server.rest.run(body), agent);
    assert_eq!(answer.retcodes()[0].1, 3999);
    assert_eq!(answer.body["response"][0]["data"], json!({"b": 1.5, "a": [null]}));
}

#[tokio::test]
async fn a_large_answer_comes_whole() {
    let server = Server::start().await;
    let mut agent = linked(&server, "a").await;
    let data = "\u{1}é".repeat(60_000);
    let body = json!({"hosts": ["a"], "method": "sync.bash", "cmd": "x"});
    let (answer, _) = tokio::join!(server.rest.run(body), agent.serve_one(&data));
    assert_eq!(answer.body["response"][0]["data"], json!(data));
}

#[tokio::test]
async fn fan_out_answers_each_host_once() {
    let server = Server::start().await;
    let token = server.token().await;
    let mut names = Vec::new();
    for n in 0..40 {
        let name = format!("n{n}");
        let identity = crate::agent::enroll(server.agents(), &token, &name).await.unwrap();
        let mut agent = Agent::link(server.agents(), &identity, &name, "b").await;
        let data = name.clone();
        tokio::spawn(async move {
            agent.serve_one(&data).await;
            agent.next().await
        });
        names.push(name);
    }
    let answer = server.rest.run(json!({"hosts": names, "method": "sync.bash", "cmd": "x"})).await;
    let entries = answer.body["response"].as_array().unwrap();
    let data: Vec<&Value> = entries.iter().map(|entry| &entry["data"]).collect();
    assert_eq!(data, names.iter().map(|name| json!(name)).collect::<Vec<_>>().iter().collect::<Vec<_>>());
}

#[tokio::test]
async fn a_host_that_was_revoked_meanwhile_ends_as_lost() {
    let server = Server::start().await;
    let mut agent = linked(&server, "a").await;
    let id = agent.id.clone();
    let revoke = async {
        agent.expect().await;
        server.rest.call("DELETE", &format!("/api/v1/hosts/{id}"), None).await
    };
    let request = json!({"hosts": ["a"], "method": "sync.bash", "cmd": "x"});
    let (answer, revoked) = tokio::join!(server.rest.run(request), revoke);
    assert_eq!((answer.retcodes()[0].1, revoked.status), (206, 204));
    assert!(answer.body["response"][0]["detail"].as_str().unwrap().contains("revoked"));
}

#[tokio::test]
async fn two_hosts_of_one_name_are_told_apart_by_id() {
    let server = Server::start().await;
    let one = enrolled(&server, "twin").await;
    let other = enrolled(&server, "twin").await;
    let body = json!({"hosts": ["x", "twin"], "method": "sync.bash", "cmd": "x"});
    let answer = server.rest.post("/api/v1/requests", &body).await;
    assert_eq!((answer.status, &answer.body["field"]), (422, &json!("hosts[1]")));
    let detail = answer.text("detail");
    assert!(detail.contains(&one.id) && detail.contains(&other.id), "{detail}");
    assert_eq!(server.rest.get("/api/v1/hosts/twin").await.status, 409);
    let answer = server.rest.run(json!({"hosts": [one.id], "method": "sync.bash", "cmd": "x"})).await;
    assert_eq!(answer.retcodes()[0].1, 204);
}

#[tokio::test]
async fn stopping_ends_what_runs() {
    let server = Server::start().await;
    let mut agent = linked(&server, "a").await;
    let rest = server.rest.clone();
    let call = tokio::spawn(async move {
        rest.run(json!({"id": "cut", "hosts": ["a"], "method": "sync.bash", "cmd": "x"})).await
    });
    agent.expect().await;
    let Server { running, dir, .. } = server;
    let bye = tokio::spawn(agent.bye());
    timeout(PATIENCE, running.stop()).await.expect("it stops");
    let answer = call.await.unwrap();
    assert_eq!(answer.retcodes()[0].1, 206);
    assert!(answer.body["response"][0]["detail"].as_str().unwrap().contains("shutting down"));
    assert!(bye.await.unwrap().contains("shutting down"));

    let server = Server::on(dir, "").await;
    let stored = server.rest.get("/api/v1/requests/cut").await.body;
    assert_eq!(stored["response"], answer.body["response"]);
    assert!(stored["finished"].is_string());
}

#[tokio::test]
async fn an_accept_header_with_several_types_streams_too() {
    let server = Server::start().await;
    let request = Request::post("/api/v1/requests")
        .header("authorization", format!("bearer {}", server.rest.token))
        .header("content-type", "application/json; charset=utf-8")
        .header("accept", "text/html, application/x-ndjson;q=0.9");
    let body = json!({"hosts": ["x"], "method": "agent.info"}).to_string();
    let answer = server.rest.send(request.body(body.into()).unwrap()).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/x-ndjson"));
    assert_eq!(answer.body["retcode"], 203);
    eventually("recorded", async || {
        let list = server.rest.get("/api/v1/requests").await.body;
        (list["count"] == 1).then_some(())
    })
    .await;
}
