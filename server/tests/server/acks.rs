//! A result is acknowledged when it is on disk and not before, and stored once
//! whatever its agent sends and however often.

use crate::agent::{Agent, enrolled, linked, result};
use crate::common::{Server, eventually};
use polaris::hosts::Found;
use polaris::limits;
use serde_json::json;

#[tokio::test]
async fn a_result_is_acknowledged_and_shown_whole() {
    let server = Server::start().await;
    let mut agent = linked(&server, "web-1").await;
    let host = agent.id.clone();
    agent.result(41, "j", "so it is").await;
    agent.is_acked(41).await;
    let job = server.job("web-1", "j").await;
    let expected = json!({"host": host, "name": "web-1", "job": "j", "resp": "success", "retcode": 2,
                          "message": "Normal termination", "data": "so it is", "stderr": "", "exitcode": 0});
    assert_eq!(job["result"], expected);
    assert_eq!((&job["state"], &job["retcode"], &job["attempts"]), (&json!("done"), &json!(2), &json!(1)));
    assert_eq!(job["ended"], "2026-11-22T00:00:00.123Z");
    let list = server.rest.get("/api/v1/jobs").await.body;
    assert_eq!(list["jobs"][0]["job"], "j");
    assert!(list["jobs"][0].get("result").is_none(), "a list never loads outputs");
}

#[tokio::test]
async fn of_two_results_of_one_job_the_first_is_the_result() {
    let server = Server::start().await;
    let mut agent = linked(&server, "a").await;
    // In one batch, then in another, by another link, and under another number.
    let both = format!("{}\n{}\n", result(1, "j", "first"), result(2, "j", "second"));
    agent.send_bytes(both.as_bytes()).await;
    agent.is_acked(1).await;
    agent.is_acked(2).await;
    agent.result(1, "j", "third").await;
    agent.is_acked(1).await;
    assert_eq!(server.job("a", "j").await["result"]["data"], "first");
    assert_eq!(server.database().await.count("SELECT COUNT(*) FROM job_results").await, 1);
}

#[tokio::test]
async fn a_host_whose_numbers_begin_again_loses_nothing() {
    let server = Server::start().await;
    let identity = enrolled(&server, "a").await;
    for jobs in [["one", "two"], ["three", "four"]] {
        let mut agent = Agent::link(server.agents(), &identity, "a", "b").await;
        for (seq, job) in (1..).zip(jobs) {
            agent.result(seq, job, job).await;
            agent.is_acked(seq).await;
        }
    }
    for job in ["one", "two", "three", "four"] {
        assert_eq!(server.job("a", job).await["result"]["data"], job);
    }
    // The same name for a job of another host is another job.
    let mut other = linked(&server, "b").await;
    other.result(1, "one", "of another host").await;
    other.is_acked(1).await;
    assert_eq!(server.job("a", "one").await["result"]["data"], "one");
    assert_eq!(server.job("b", "one").await["result"]["data"], "of another host");
}

#[tokio::test]
async fn while_the_store_fails_nothing_is_acknowledged_and_afterwards_all_is() {
    let server = Server::start().await;
    let mut agent = linked(&server, "a").await;
    let mut database = server.database().await;
    database.execute("ALTER TABLE job_results RENAME TO away").await;
    for seq in 1..=3 {
        agent.result(seq, &seq.to_string(), "x").await;
    }
    // Whoever asks waits for the store, which says no; what it could not take is kept.
    for _ in 0..3 {
        assert_eq!(server.rest.get("/api/v1/jobs").await.status, 503);
    }
    agent.is_heard().await;
    database.execute("ALTER TABLE away RENAME TO job_results").await;
    for seq in 1..=3 {
        agent.is_acked(seq).await;
    }
    assert_eq!(database.count("SELECT COUNT(*) FROM job_results").await, 3);
    assert_eq!(server.running.app.jobs.inbox.unstored_bytes(), 0);
}

#[tokio::test]
async fn a_link_whose_results_are_not_stored_is_not_read_from() {
    let server = Server::start().await;
    let identity = enrolled(&server, "a").await;
    let mut agent = Agent::link(server.agents(), &identity, "a", "b").await;
    let mut other = linked(&server, "other").await;
    let mut database = server.database().await;
    database.execute("ALTER TABLE job_results RENAME TO away").await;
    let (data, count) = ("x".repeat(100_000), 100);
    let writing = tokio::spawn(async move {
        for seq in 1..=count {
            agent.result(seq, &seq.to_string(), &data).await;
        }
        agent
    });
    let unstored = || server.running.app.jobs.inbox.unstored_bytes();
    let most = limits::MAX_UNSTORED_BYTES_PER_LINK;
    eventually("as much as may wait", async || (unstored() >= most).then_some(())).await;
    // Another host is heard and answered all the same.
    other.is_heard().await;
    other.result(1, "theirs", "small").await;
    other.is_heard().await;
    let (answer, _) = tokio::join!(
        server.rest.run(json!({"hosts": ["other"], "method": "sync.bash", "cmd": "x"})),
        other.serve_one("fine")
    );
    assert_eq!(answer.retcodes()[0].1, 2);
    assert!(unstored() < most + 200_000, "{} bytes", unstored());
    database.execute("ALTER TABLE away RENAME TO job_results").await;
    let mut agent = writing.await.unwrap();
    for seq in 1..=count {
        agent.is_acked(seq).await;
    }
    other.is_acked(1).await;
    assert_eq!(database.count("SELECT COUNT(*) FROM job_results").await, 101);
    assert_eq!(unstored(), 0);
}

#[tokio::test]
async fn ten_thousand_results_at_once_are_stored_in_bounded_memory_and_acknowledged_in_order() {
    let server = Server::start().await;
    let mut agent = linked(&server, "a").await;
    let (data, count) = ("x".repeat(1000), 10_000);
    let writing = tokio::spawn(async move {
        for seq in 1..=count {
            agent.result(seq, &format!("job-{seq}"), &data).await;
        }
        for seq in 1..=count {
            agent.is_acked(seq).await;
        }
    });
    let mut most = 0;
    while !writing.is_finished() {
        most = most.max(server.running.app.jobs.inbox.unstored_bytes());
        tokio::task::yield_now().await;
    }
    writing.await.unwrap();
    assert!(most < limits::MAX_UNSTORED_BYTES_PER_LINK + 10_000, "{most} bytes waited");
    let mut database = server.database().await;
    assert_eq!(database.count("SELECT COUNT(*) FROM job_results").await, 10_000);
    assert_eq!(database.count("SELECT COUNT(*) FROM jobs WHERE state = 'done'").await, 10_000);
}

#[tokio::test]
async fn what_was_not_acknowledged_is_sent_again_by_the_next_link() {
    let server = Server::start().await;
    let identity = enrolled(&server, "a").await;
    let mut agent = Agent::link(server.agents(), &identity, "a", "b").await;
    let mut unacked: Vec<u64> = (1..=500).collect();
    let mut links = 0;
    while !unacked.is_empty() {
        for seq in &unacked {
            agent.result(*seq, &seq.to_string(), &seq.to_string()).await;
        }
        // Each link breaks after a few acknowledgements more than the one before.
        links += 1;
        for _ in 0..(links * 50).min(unacked.len()) {
            let seq = unacked.remove(0);
            agent.is_acked(seq).await;
        }
        agent = Agent::link(server.agents(), &identity, "a", "b").await;
    }
    assert!(links > 3);
    let mut database = server.database().await;
    assert_eq!(database.count("SELECT COUNT(*) FROM job_results").await, 500);
    for seq in [1, 250, 500] {
        assert_eq!(server.job("a", &seq.to_string()).await["result"]["data"], seq.to_string());
    }
}

#[tokio::test]
async fn what_a_host_told_before_it_was_revoked_is_kept_and_nothing_after() {
    let server = Server::start().await;
    let identity = enrolled(&server, "a").await;
    let mut agent = Agent::link(server.agents(), &identity, "a", "b").await;
    agent.result(1, "before", "x").await;
    agent.is_acked(1).await;
    let path = format!("/api/v1/hosts/{}", identity.id);
    assert_eq!(server.rest.call("DELETE", &path, None).await.status, 204);
    agent.result(2, "after", "x").await;
    assert!(agent.bye().await.contains("revoked"));
    let mut again = Agent::dial(server.agents(), &identity).await;
    again.send(&result(2, "after", "x")).await;
    assert!(again.bye().await.contains("revoked"));
    assert_eq!(server.jobs("").await, ["before"]);
    assert_eq!(server.job(&identity.id, "before").await["state"], "done");
}

#[tokio::test]
async fn a_host_is_not_heard_between_its_revocation_and_the_end_of_its_link() {
    let server = Server::start().await;
    let mut agent = linked(&server, "a").await;
    let Found::One(host) = server.running.app.directory.find("a") else { panic!("the host is gone") };
    host.revoke();
    agent.result(1, "j", "x").await;
    agent.is_heard().await;
    assert!(server.jobs("").await.is_empty());
}

#[tokio::test]
async fn what_a_host_tells_may_be_anything() {
    let server = Server::start().await;
    let mut agent = linked(&server, "a").await;
    let mut odd = result(u64::MAX, "odd", "x");
    for key in ["accepted", "started", "ended", "scheduled", "missed"] {
        odd[key] = json!(u64::MAX);
    }
    odd["cron"] = json!("x".repeat(100_000));
    odd["retcode"] = json!(3999);
    agent.send(&odd).await;
    agent.is_acked(u64::MAX).await;
    let job = server.job("a", "odd").await;
    assert_eq!((&job["state"], &job["ended"]), (&json!("failed"), &json!("9999-12-31T23:59:59.999Z")));
    assert!(job.get("cron").is_none());
    agent.result(1, "a\u{0}b/\u{fc}\n?", "\u{0}").await;
    agent.is_acked(1).await;
    let job = server.job("a", "a%00b%2F%C3%BC%0A%3F").await;
    assert_eq!((&job["job"], &job["result"]["data"]), (&json!("a\u{0}b/\u{fc}\n?"), &json!("\u{0}")));
    agent.send(&json!({"method": "result", "seq": 1, "id": "", "retcode": 2})).await;
    assert!(agent.bye().await.contains("usable id"));
}
