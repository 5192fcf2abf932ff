//! Jobs, cron entries and requests that wait, through both real programs.

#![allow(clippy::unwrap_used, reason = "what is unexpected fails the test")]
#![allow(clippy::disallowed_methods, reason = "real processes take real time")]

mod fleet;

use fleet::{Fleet, eventually};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;

fn fleet() -> Fleet {
    Fleet::start(env!("CARGO_BIN_EXE_gearman"), "dev", "grace = 1")
}

/// Waits until the job has ended; what Polaris knows of it.
fn ended(fleet: &Fleet, job: &str) -> Value {
    let path = format!("/api/v1/jobs/{}/{job}", fleet.host_id);
    eventually("the job has ended", || {
        let (_, job) = fleet.polaris.call("GET", &path, None);
        job["result"].is_object().then_some(job)
    })
}

#[test]
fn a_job_is_taken_on_at_once_and_its_result_comes_by_itself() {
    let fleet = fleet();
    for (id, cmd, state, retcode) in
        [("good", "echo out; echo err >&2", "done", 2), ("bad", "exit 7", "failed", 3101)]
    {
        let entry = fleet.ask("async.bash", &json!({"id": id, "cmd": cmd}));
        assert_eq!(entry["retcode"], 1, "{entry}");
        let job = ended(&fleet, id);
        assert_eq!((&job["state"], &job["result"]["retcode"]), (&json!(state), &json!(retcode)), "{job}");
    }
    let good = ended(&fleet, "good");
    assert_eq!((&good["result"]["data"], &good["result"]["stderr"]), (&json!("out\n"), &json!("err\n")));
    assert_eq!(ended(&fleet, "bad")["result"]["exitcode"], 7);
}

#[test]
fn kill_9_of_the_server_loses_no_result_and_doubles_none() {
    let mut fleet = fleet();
    let ran = fleet.path("ran");
    for round in 0..3 {
        for n in 0..15 {
            let id = format!("{round}-{n}");
            let cmd = format!("echo {id} >> {}; sleep 0.{n}", ran.display());
            assert_eq!(fleet.ask("async.bash", &json!({"id": id, "cmd": cmd}))["retcode"], 1);
        }
        // Some have ended, some have not, and some results are on their way.
        eventually("some have run", || {
            fs::read_to_string(&ran).is_ok_and(|text| text.lines().count() > 4).then_some(())
        });
        fleet.restart_polaris("dev");
        fleet.wait_online();
    }
    for round in 0..3 {
        for n in 0..15 {
            assert_eq!(ended(&fleet, &format!("{round}-{n}"))["state"], "done");
        }
    }
    let text = fs::read_to_string(&ran).unwrap();
    assert_eq!(text.lines().count(), 45, "each has run");
    assert_eq!(text.lines().collect::<BTreeSet<_>>().len(), 45, "and once");
    let jobs = fleet.polaris.get("/api/v1/jobs?limit=100");
    assert_eq!(jobs["count"], 45);
    eventually("nothing waits for the server any more", || {
        let info = fleet.ask("agent.info", &json!({}));
        (info["data"]["results"] == 0).then_some(())
    });
}

#[test]
fn an_entry_runs_while_the_server_is_away_and_its_results_arrive() {
    let mut fleet = fleet();
    let entry = json!({"name": "tick", "schedule": "* * * * * *", "cmd": "echo tick"});
    let answer = fleet.ask("cron.set", &entry);
    assert_eq!((&answer["retcode"], answer["data"]["next"].as_array().unwrap().len()), (&json!(1), 5));
    let runs = |fleet: &Fleet| {
        let jobs = fleet.polaris.get("/api/v1/jobs?cron=tick&state=done&limit=100");
        let scheduled = |job: &Value| job["scheduled"].as_str().unwrap().to_owned();
        jobs["jobs"].as_array().unwrap().iter().map(scheduled).collect::<Vec<_>>()
    };
    eventually("two runs", || (runs(&fleet).len() >= 2).then_some(()));
    fleet.restart_polaris("dev");
    fleet.wait_online();
    let seen = runs(&fleet).len();
    eventually("more runs", || (runs(&fleet).len() >= seen + 2).then_some(()));
    let of_host = fleet.polaris.get(&format!("/api/v1/cron?host={}", fleet.host_id));
    assert_eq!((&of_host["count"], &of_host["entries"][0]["name"]), (&json!(1), &json!("tick")), "{of_host}");
    assert_eq!(fleet.ask("cron.remove", &json!({"name": "tick"}))["retcode"], 2);
    assert_eq!(fleet.polaris.get("/api/v1/cron")["count"], 0);
    let all = runs(&fleet);
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len(), "{all:?}");
}

#[test]
fn a_request_waits_for_a_host_that_is_away() {
    let mut fleet = fleet();
    fleet.gearman.kill();
    eventually("the host is offline", || {
        let host = fleet.polaris.get(&format!("/api/v1/hosts/{}", fleet.host_id));
        (host["status"] == "offline").then_some(())
    });
    let ran = fleet.path("ran");
    let cmd = format!("echo ran >> {}", ran.display());
    let entry = fleet.run(&json!({"id": "later", "cmd": cmd, "queue": true, "ttl": 3600}));
    assert_eq!(entry["retcode"], 1, "{entry}");
    assert!(entry["detail"].as_str().unwrap().starts_with("queued: the host is offline"), "{entry}");
    assert!(fleet.polaris.get("/api/v1/requests/later")["waiting"].is_array());
    fleet.restart_polaris("dev");
    fleet.start_gearman();
    eventually("its answer", || {
        let request = fleet.polaris.get("/api/v1/requests/later");
        (request["response"][0]["retcode"] == 2).then_some(())
    });
    assert_eq!(fs::read_to_string(&ran).unwrap(), "ran\n");
}
