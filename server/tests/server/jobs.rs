//! Jobs, from the request that begins one to whoever follows it.

use crate::agent::{Agent, enrolled, linked, result};
use crate::common::{Answer, Lines, Server, eventually};
use polaris::limits;
use serde_json::{Value, json};

fn body(hosts: &[&str]) -> Value {
    json!({"id": "r", "hosts": hosts, "method": "async.bash", "cmd": "make", "stream": true})
}

/// The request `r` to these agents, each of which accepts it.
async fn begun(server: &Server, agents: &mut [&mut Agent], hosts: &[&str]) -> Answer {
    let accepting = async {
        for agent in agents {
            let request = agent.expect().await;
            agent.accept(&request).await;
        }
    };
    let (answer, ()) = tokio::join!(server.rest.run(body(hosts)), accepting);
    answer
}

#[tokio::test]
async fn a_job_is_known_from_its_acceptance_to_its_end() {
    let server = Server::start().await;
    let mut agent = linked(&server, "a").await;
    let _offline = enrolled(&server, "offline").await;
    let answer = begun(&server, &mut [&mut agent], &["a", "offline"]).await;
    assert_eq!(answer.retcodes().iter().map(|(_, code)| *code).collect::<Vec<_>>(), [1, 204]);
    let job = server.job("a", "r").await;
    let expected = json!({"host": agent.id, "name": "a", "job": "r", "request": "r", "cmd": "make",
                          "state": "queued", "attempts": 0, "created": job["created"]});
    assert_eq!(job, expected);
    // Once more, as each link does.
    for _ in 0..2 {
        agent.notice("r", "running", 1).await;
    }
    agent.is_heard().await;
    let shown = server.rest.get("/api/v1/requests/r").await.body;
    assert_eq!((&shown["jobs"][0]["state"], &shown["jobs"][0]["attempts"]), (&json!("running"), &json!(1)));
    assert_eq!(shown["jobs"].as_array().unwrap().len(), 1, "a host that took no job has none");
    agent.result(1, "r", "made").await;
    agent.is_acked(1).await;
    // What is final stays so.
    agent.notice("r", "running", 2).await;
    agent.is_heard().await;
    let job = server.job("a", "r").await;
    assert_eq!((&job["state"], &job["attempts"], &job["cmd"]), (&json!("done"), &json!(1), &json!("make")));
    assert_eq!(server.rest.get("/api/v1/requests/r").await.body["jobs"][0]["state"], "done");
    let server = server.restart().await;
    assert_eq!(server.job(&agent.id, "r").await["result"], job["result"]);
}

#[tokio::test]
async fn what_a_removed_host_has_not_ended_is_lost_and_its_entries_are_gone() {
    let server = Server::start().await;
    let mut agent = linked(&server, "a").await;
    begun(&server, &mut [&mut agent], &["a"]).await;
    agent.notice("r", "running", 1).await;
    agent.notice("tick@2026-11-22T03:00:00Z", "queued", 0).await;
    agent.is_heard().await;
    let set =
        json!({"hosts": ["a"], "method": "cron.set", "name": "tick", "schedule": "0 3 * * *", "cmd": "x"});
    let accepting = async {
        let request = agent.expect().await;
        agent.accept(&request).await;
    };
    tokio::join!(server.rest.run(set), accepting);
    assert_eq!(server.rest.get("/api/v1/cron").await.body["count"], 1);
    let path = format!("/api/v1/hosts/{}", agent.id);
    assert_eq!(server.rest.call("DELETE", &path, None).await.status, 204);
    let jobs = server.rest.get(&format!("/api/v1/jobs?host={}", agent.id)).await.body;
    let states: Vec<_> = jobs["jobs"].as_array().unwrap().iter().map(|job| &job["state"]).collect();
    assert_eq!(states, [&json!("lost"), &json!("lost")], "{jobs}");
    let job = server.job(&agent.id, "r").await;
    assert_eq!((&job["result"]["retcode"], &job["retcode"]), (&json!(3110), &json!(3110)), "{job}");
    assert_eq!(server.rest.get("/api/v1/cron").await.body["count"], 0);
}

#[tokio::test]
async fn a_host_that_refuses_has_no_job() {
    let server = Server::start().await;
    let mut agent = linked(&server, "a").await;
    let refusing = async {
        let request = agent.expect().await;
        agent.send(&json!({"id": request["id"], "resp": "failed", "retcode": 3026, "message": "Busy"})).await;
    };
    let (answer, ()) = tokio::join!(server.rest.run(body(&["a"])), refusing);
    assert_eq!(answer.retcodes()[0].1, 3026);
    assert!(server.jobs("").await.is_empty());
    assert_eq!(server.rest.get("/api/v1/requests/r").await.body["jobs"], json!([]));
    assert_eq!(server.rest.get("/api/v1/jobs/a/r").await.status, 404);
}

#[tokio::test]
async fn a_host_takes_note_at_once_so_it_is_not_waited_for_as_long_as_the_job_may_take() {
    let server = Server::start().await;
    let mut agent = linked(&server, "a").await;
    let mut asked = body(&["a"]);
    asked["timeout"] = json!(3600);
    let _lines = server.rest.stream(asked).await;
    agent.expect().await;
    let shown = server.rest.get("/api/v1/requests/r").await;
    let time = |key| humantime::parse_rfc3339(&shown.text(key)).unwrap();
    let seconds = time("deadline").duration_since(time("created")).unwrap().as_secs();
    assert_eq!(seconds, limits::DEADLINE_MARGIN_SECONDS);
}

#[tokio::test]
async fn the_list_is_narrowed_and_goes_page_by_page() {
    let server = Server::start().await;
    let (mut agent, mut other) = (linked(&server, "a").await, linked(&server, "b").await);
    begun(&server, &mut [&mut agent, &mut other], &["a", "b"]).await;
    let mut run = result(1, "nightly@2026-11-22T03:00:00Z", "x");
    run["cron"] = json!("nightly");
    run["scheduled"] = json!(1_795_316_400_000_u64);
    agent.send(&run).await;
    agent.is_acked(1).await;
    let mut notice = json!({"method": "job", "id": "nightly@later", "state": "running", "attempts": 1});
    notice["cron"] = json!("nightly");
    agent.send(&notice).await;
    agent.is_heard().await;
    let sorted = async |query: &str| {
        let mut jobs = server.jobs(query).await;
        jobs.sort();
        jobs
    };
    let (run, later) = ("nightly@2026-11-22T03:00:00Z", "nightly@later");
    assert_eq!(sorted("").await, [run, later, "r", "r"]);
    assert_eq!(sorted("?host=a").await, [run, later, "r"]);
    assert_eq!(sorted(&format!("?host={}&state=queued", other.id)).await, ["r"]);
    assert_eq!(sorted("?cron=nightly").await, [run, later]);
    assert_eq!(sorted("?cron=nightly&state=running").await, [later]);
    assert_eq!(sorted("?request=r").await, ["r", "r"]);
    assert!(sorted("?request=nobody").await.is_empty());
    let job = server.job("a", run).await;
    assert_eq!((&job["cron"], &job["scheduled"]), (&json!("nightly"), &json!("2026-11-22T03:00:00.000Z")));
    assert!(job.get("request").is_none(), "no request began it");

    let (mut before, mut seen) = (String::new(), Vec::new());
    loop {
        let page = server.rest.get(&format!("/api/v1/jobs?limit=1{before}")).await.body;
        let Some(job) = page["jobs"].get(0) else { break };
        let (host, job) = (job["host"].as_str().unwrap(), job["job"].as_str().unwrap());
        before = format!("&before={host}/{}", job.replace(':', "%3A"));
        seen.push(job.to_owned());
    }
    seen.sort();
    assert_eq!(seen, [run, later, "r", "r"]);
}

#[tokio::test]
async fn what_is_wrong_with_a_call_is_named() {
    let server = Server::start().await;
    for (path, field) in [
        ("/api/v1/jobs?state=over", "state"),
        ("/api/v1/jobs?host=nobody", "host"),
        ("/api/v1/jobs?limit=0", "limit"),
        ("/api/v1/jobs?before=x", "before"),
        ("/api/v1/jobs?before=00000000-0000-0000-0000-000000000000/x", "before"),
        ("/api/v1/jobs?page=1", "page"),
        ("/api/v1/cron?limit=1001", "limit"),
        ("/api/v1/cron?after=x", "after"),
        ("/api/v1/cron?host=nobody", "host"),
    ] {
        let answer = server.rest.get(path).await;
        assert_eq!((answer.status, &*answer.text("field")), (422, field), "{path}");
    }
    for path in ["/api/v1/jobs/nobody/r", "/api/v1/jobs/nobody/r/output"] {
        assert_eq!(server.rest.get(path).await.status, 404);
    }
}

/// `DELETE` of the request `r`.
async fn delete(server: &Server) -> Answer {
    server.rest.call("DELETE", "/api/v1/requests/r", None).await
}

#[tokio::test]
async fn to_cancel_the_request_is_to_cancel_its_jobs_and_each_host_says_whether_it_did() {
    let server = Server::start().await;
    let (mut agent, mut done, mut gone) =
        (linked(&server, "a").await, linked(&server, "done").await, linked(&server, "gone").await);
    begun(&server, &mut [&mut agent, &mut done, &mut gone], &["a", "done", "gone"]).await;
    done.result(1, "r", "x").await;
    done.is_acked(1).await;
    let gone_id = gone.id.clone();
    drop(gone);
    server.host_where("gone", "offline", |host| host["status"] == "offline").await;
    let host = async {
        let call = agent.expect().await;
        assert_eq!((&call["method"], &call["job"]), (&json!("job.cancel"), &json!("r")));
        let mut cancelled = result(1, "r", "so far");
        cancelled["retcode"] = json!(3108);
        agent.send(&cancelled).await;
        agent.is_acked(1).await;
        let reply = json!({"id": call["id"], "resp": "success", "retcode": 2, "message": "Normal termination",
                           "data": {"job": "r", "retcode": 3108}});
        agent.send(&reply).await;
    };
    let (answer, ()) = tokio::join!(delete(&server), host);
    assert_eq!(answer.status, 200, "{answer:?}");
    let told: Vec<_> = answer.body["cancellation"]["response"].as_array().unwrap().iter().collect();
    assert_eq!(told.len(), 2, "the one that was done is left alone: {answer:?}");
    for entry in told {
        let offline = entry["host"] == json!(gone_id);
        assert_eq!(entry["retcode"], if offline { 204 } else { 2 });
        assert!(offline || entry["data"] == json!({"job": "r", "retcode": 3108}));
    }
    let state = |name: &str| {
        let jobs = answer.body["jobs"].as_array().unwrap();
        jobs.iter().find(|job| job["name"] == name).unwrap()["state"].clone()
    };
    assert_eq!([state("a"), state("done"), state("gone")], ["cancelled", "done", "queued"]);
    done.is_heard().await;
}

#[tokio::test]
async fn where_all_jobs_are_over_nothing_is_left_to_cancel() {
    let server = Server::start().await;
    let mut agent = linked(&server, "a").await;
    begun(&server, &mut [&mut agent], &["a"]).await;
    agent.result(1, "r", "x").await;
    agent.is_acked(1).await;
    assert_eq!(delete(&server).await.status, 409);
    agent.is_heard().await;
}

#[tokio::test]
async fn any_host_may_be_asked_of_its_jobs_by_hand() {
    let server = Server::start().await;
    let mut agent = linked(&server, "a").await;
    let body = json!({"hosts": ["a"], "method": "job.cancel", "job": "r"});
    let (answer, request) = tokio::join!(server.rest.run(body), agent.serve_one("x"));
    assert_eq!((answer.retcodes()[0].1, &request["job"]), (2, &json!("r")));
}

async fn rest(mut lines: Lines) -> Vec<Value> {
    let mut all = Vec::new();
    while let Some(line) = lines.next().await {
        all.push(line);
    }
    all
}

/// What each line tells, in short.
fn told(lines: &[Value]) -> Vec<String> {
    let told = |line: &Value| match line["method"].as_str() {
        Some("output") => format!("{}: {}", line["stream"].as_str().unwrap(), line["data"].as_str().unwrap()),
        Some("job") => format!("{} {}", line["state"].as_str().unwrap(), line["attempts"]),
        _ => format!("{} {}", line["retcode"], line["data"].as_str().unwrap()),
    };
    lines.iter().map(told).collect()
}

#[tokio::test]
async fn whoever_follows_a_job_sees_what_it_writes_and_its_result() {
    let server = Server::start().await;
    let mut agent = linked(&server, "a").await;
    begun(&server, &mut [&mut agent], &["a"]).await;
    agent.notice("r", "running", 1).await;
    agent.output("r", "stdout", "one ").await;
    agent.is_heard().await;
    let mut first = server.rest.follow("a", "r").await;
    let expected = json!({"host": agent.id, "name": "a", "job": "r", "method": "job", "state": "running", "attempts": 1});
    assert_eq!(first.next().await.unwrap(), expected);
    let piece = json!({"host": agent.id, "name": "a", "job": "r", "method": "output", "stream": "stdout", "data": "one "});
    assert_eq!(first.next().await.unwrap(), piece);
    agent.output("r", "stderr", "two").await;
    assert_eq!(first.next().await.unwrap()["data"], "two");
    let second = server.rest.follow("a", "r").await;
    agent.result(1, "r", "one three").await;
    agent.is_acked(1).await;
    let result = first.next().await.unwrap();
    assert_eq!((&result["retcode"], &result["job"], first.next().await), (&json!(2), &json!("r"), None));
    assert_eq!(told(&rest(second).await), ["running 1", "stdout: one ", "stderr: two", "2 one three"]);
    assert_eq!(
        rest(server.rest.follow("a", "r").await).await,
        [result],
        "afterwards there is the result alone"
    );
}

#[tokio::test]
async fn another_attempt_writes_anew() {
    let server = Server::start().await;
    let mut agent = linked(&server, "a").await;
    begun(&server, &mut [&mut agent], &["a"]).await;
    let lines = server.rest.follow("a", "r").await;
    let full = "x".repeat(limits::MAX_OUTPUT_BYTES_PER_STREAM);
    agent.notice("r", "running", 1).await;
    agent.output("r", "stdout", &full).await;
    agent.output("r", "stdout", "beyond").await;
    agent.notice("r", "queued", 1).await;
    agent.notice("r", "running", 2).await;
    agent.output("r", "stdout", "again").await;
    agent.result(1, "r", "again").await;
    agent.is_acked(1).await;
    let lines = rest(lines).await;
    let short: Vec<String> = told(&lines).iter().map(|line| line.chars().take(14).collect()).collect();
    assert_eq!(short, ["running 1", "stdout: xxxxxx", "queued 1", "running 2", "stdout: again", "2 again"]);
}

#[tokio::test]
async fn after_the_link_was_lost_there_is_no_gap_but_an_end() {
    let server = Server::start().await;
    let identity = enrolled(&server, "a").await;
    let mut agent = Agent::link(server.agents(), &identity, "a", "b").await;
    begun(&server, &mut [&mut agent], &["a"]).await;
    agent.output("r", "stdout", "one").await;
    agent.is_heard().await;
    let early = server.rest.follow("a", "r").await;
    let mut agent = Agent::link(server.agents(), &identity, "a", "b").await;
    agent.output("r", "stdout", "three").await;
    agent.is_heard().await;
    let late = server.rest.follow("a", "r").await;
    agent.result(1, "r", "onetwothree").await;
    agent.is_acked(1).await;
    assert_eq!(told(&rest(early).await), ["stdout: one", "2 onetwothree"]);
    assert_eq!(told(&rest(late).await), ["stdout: one", "2 onetwothree"]);
}

#[tokio::test]
async fn a_job_that_does_not_stream_can_be_followed_to_its_end() {
    let server = Server::start().await;
    let mut agent = linked(&server, "a").await;
    agent.notice("unheard of", "running", 1).await;
    agent.is_heard().await;
    let lines = server.rest.follow("a", "unheard%20of").await;
    agent.output("unheard of", "stdout", "not asked for").await;
    agent.result(1, "unheard of", "all").await;
    agent.is_acked(1).await;
    assert_eq!(told(&rest(lines).await), ["2 all"]);
}

#[tokio::test]
async fn a_server_that_stops_lets_followers_go() {
    let server = Server::start().await;
    let mut agent = linked(&server, "a").await;
    begun(&server, &mut [&mut agent], &["a"]).await;
    let lines = server.rest.follow("a", "r").await;
    let Server { running, dir, .. } = server;
    let bye = tokio::spawn(agent.bye());
    let (rest, ()) = tokio::join!(rest(lines), running.stop());
    assert!(rest.is_empty());
    bye.await.unwrap();
    drop(dir);
}

#[tokio::test]
async fn news_from_before_the_answer_is_not_lost() {
    let server = Server::start().await;
    let mut agent = linked(&server, "a").await;
    let quick = async {
        let request = agent.expect().await;
        agent.result(1, "r", "quick").await;
        agent.is_acked(1).await;
        agent.accept(&request).await;
    };
    tokio::join!(server.rest.run(body(&["a"])), quick);
    let job = eventually("its command", async || {
        let job = server.job("a", "r").await;
        job["cmd"].is_string().then_some(job)
    })
    .await;
    assert_eq!((&job["state"], &job["cmd"]), (&json!("done"), &json!("make")));
}
