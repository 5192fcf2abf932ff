//! Both real programs together: what an operator relies on.

#![allow(clippy::unwrap_used, reason = "what is unexpected fails the test")]
#![allow(clippy::disallowed_methods, reason = "real processes take real time")]

mod fleet;

use fleet::{Fleet, eventually, server_program};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Stdio};

fn fleet(exec: &str) -> Fleet {
    Fleet::start(env!("CARGO_BIN_EXE_gearman"), "dev", exec)
}

fn script(name: &str) -> String {
    format!("{}/tests/scripts/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// Children of the agent, zombies among them.
fn children(pid: u32) -> usize {
    let tasks = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    tasks.split_whitespace().count()
}

#[test]
fn the_seeds_three_scripts_end_as_it_says() {
    let fleet = fleet("grace = 1");
    let run = |name: &str| fleet.run(&json!({"cmd": script(name), "timeout": 1}));

    let ends = run("ends.sh");
    assert_eq!((&ends["resp"], &ends["retcode"]), (&json!("success"), &json!(2)), "{ends}");

    let ignores = run("ignores-sigint.sh");
    assert_eq!((&ignores["retcode"], &ignores["signal"]), (&json!(3104), &json!(9)), "{ignores}");
    let elapsed = ignores["elapsed"].as_f64().unwrap();
    assert!((2.5..=3.5).contains(&elapsed), "timeout + 2 × grace is 3 s, it was {elapsed}");
    assert_ne!(ignores["data"], "", "its output so far");

    let obeys = run("obeys-sigint.sh");
    assert_eq!(obeys["retcode"], 3103, "{obeys}");
    let elapsed = obeys["elapsed"].as_f64().unwrap();
    assert!((1.0..2.0).contains(&elapsed), "at the first SIGINT, it was {elapsed}");
}

#[test]
fn a_flood_of_output_is_kept_up_to_the_limit_and_counted() {
    let fleet = fleet("");
    let entry = fleet.run(&json!({"cmd": "yes | head -c 10000000"}));
    assert_eq!(entry["retcode"], 2);
    assert_eq!(entry["data"].as_str().unwrap().len(), 65536);
    assert_eq!(entry["dropped"], 10_000_000 - 65536);
}

#[test]
fn two_hundred_requests_from_eight_clients_are_each_answered_once_with_their_own_output() {
    let fleet = fleet("");
    let pid = fleet.gearman.pid();
    fleet.run(&json!({"cmd": "true"}));
    let before = descriptors(pid);
    let answers = std::thread::scope(|scope| {
        let client = |client: usize| {
            let fleet = &fleet;
            move || -> Vec<(String, Value)> {
                let ask = |n: usize| {
                    let mark = format!("client {client} request {n}");
                    let entry = fleet.run(&json!({"cmd": format!("echo '{mark}'; sleep 0.0{n}")}));
                    (mark, entry)
                };
                (0..25).map(ask).collect()
            }
        };
        let clients: Vec<_> = (0..8).map(|n| scope.spawn(client(n))).collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(answers.iter().map(|(mark, _)| mark).collect::<BTreeSet<_>>().len(), 200);
    for (mark, entry) in &answers {
        assert_eq!((&entry["retcode"], &entry["data"]), (&json!(2), &json!(format!("{mark}\n"))), "{entry}");
    }
    eventually("no child and no descriptor is left", || {
        (children(pid) == 0 && descriptors(pid) == before).then_some(())
    });
}

#[test]
fn a_server_killed_during_a_command_comes_back_to_a_clean_fleet() {
    let mut fleet = fleet("");
    let pid = fleet.gearman.pid();
    fleet.run(&json!({"cmd": "true"}));
    let before = descriptors(pid);
    let place = tempfile::tempdir().unwrap();
    let (begun, go_on) = (place.path().join("begun"), place.path().join("go-on"));
    let cmd = format!("touch {}; until test -e {}; do sleep 0.05; done", begun.display(), go_on.display());
    let body = json!({"id": "interrupted", "hosts": [fleet.host_id], "method": "sync.bash", "cmd": cmd});
    std::thread::scope(|scope| {
        let (url, token) = (fleet.polaris.url.clone(), fleet.polaris.token.clone());
        let asking = scope.spawn(move || {
            let request = ureq::post(format!("{url}/api/v1/requests"));
            request.header("Authorization", format!("Bearer {token}")).send_json(&body).is_err()
        });
        eventually("the command runs", || begun.exists().then_some(()));
        // To show a request is to have it on disk.
        assert_eq!(fleet.polaris.get("/api/v1/requests/interrupted")["pending"], 1);
        fleet.restart_polaris("dev");
        assert!(asking.join().unwrap(), "the server died before it could answer");
    });
    fleet.wait_online();
    let entry = fleet.run(&json!({"cmd": "echo back"}));
    assert_eq!(entry["data"], "back\n", "the agent is back without help");
    let interrupted = fleet.polaris.get("/api/v1/requests/interrupted");
    assert_eq!(interrupted["response"][0]["retcode"], 206, "no state is left unknown: {interrupted}");
    fs::write(&go_on, "").unwrap();
    eventually("no child and no descriptor is left", || {
        (children(pid) == 0 && descriptors(pid) == before).then_some(())
    });
}

#[test]
fn a_removed_host_is_refused_at_once_and_from_then_on() {
    let fleet = fleet("");
    let (status, _) = fleet.polaris.call("DELETE", &format!("/api/v1/hosts/{}", fleet.host_id), None);
    assert_eq!(status, 204);
    eventually("the agent is told, and tries again in vain", || {
        (fleet.agent_log().matches("link=down").count() >= 2).then_some(())
    });
    assert!(!fleet.agent_log().lines().last().unwrap().contains("link=ready"));
    assert_eq!(fleet.run(&json!({"cmd": "true"}))["retcode"], 203);
}

#[test]
fn polarisctl_shows_what_happened_and_says_so_in_its_exit_status() {
    let fleet = fleet("");
    let polarisctl = |arguments: &[&str]| {
        let mut command = Command::new(server_program("polarisctl", "dev"));
        command.args(["--url", &fleet.polaris.url, "--token", &fleet.polaris.token]).args(arguments);
        let output = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (code, out, _) = polarisctl(&["run", "-H", "web-1", "--", "echo", "hello"]);
    assert!(code == Some(0) && out.contains("hello"), "{out}");
    let (code, out, _) = polarisctl(&["-o", "json", "run", "-H", &fleet.host_id, "--", "exit 3"]);
    let answer: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &answer["response"][0]["exitcode"]), (Some(1), &json!(3)));
    let (code, _, err) = polarisctl(&["run", "-H", "ghost", "--", "true"]);
    assert!(code == Some(1), "{err}");
    let (code, out, _) = polarisctl(&["hosts"]);
    assert!(code == Some(0) && out.contains("web-1") && out.contains("online"), "{out}");
}

#[test]
fn what_runs_is_watched_and_cancelled() {
    let fleet = fleet("grace = 1");
    let polarisctl = || {
        let mut command = Command::new(server_program("polarisctl", "dev"));
        command.args(["--url", &fleet.polaris.url, "--token", &fleet.polaris.token]);
        command
    };
    let run = ["run", "--stream", "-H", "web-1", "--", "echo begun; sleep 1000; echo never"];
    let mut watching = polarisctl().args(run).stdout(Stdio::piped()).spawn().unwrap();
    let mut shown = BufReader::new(watching.stdout.take().unwrap());
    let mut line = String::new();
    shown.read_line(&mut line).unwrap();
    assert_eq!(line, "begun\n", "it is shown while the command runs");
    let list = fleet.polaris.get("/api/v1/requests");
    let id = list["requests"][0]["id"].as_str().unwrap();
    let cancelled = polarisctl().args(["-o", "ndjson", "requests", "cancel", id]).output().unwrap();
    let entry: Value = serde_json::from_slice(&cancelled.stdout).unwrap();
    assert_eq!(
        (&entry["retcode"], &entry["signal"], &entry["data"]),
        (&json!(3108), &json!(15), &json!("begun\n"))
    );
    assert!(cancelled.status.success(), "the host has confirmed it");
    let mut rest = String::new();
    shown.read_to_string(&mut rest).unwrap();
    assert!(rest.starts_with("web-1  failed 3108 Cancelled, signal 15"), "{rest}");
    assert_eq!(watching.wait().unwrap().code(), Some(1));
    eventually("no child is left", || (children(fleet.gearman.pid()) == 0).then_some(()));
    let again = polarisctl().args(["requests", "cancel", id]).output().unwrap();
    assert_eq!(again.status.code(), Some(1), "nothing is left to cancel");
}

#[test]
fn both_end_cleanly() {
    let mut fleet = fleet("");
    fleet.gearman.signal(Signal::SIGTERM);
    assert!(fleet.gearman.wait().success());
    eventually("the host is offline", || {
        let host = fleet.polaris.get(&format!("/api/v1/hosts/{}", fleet.host_id));
        (host["status"] == "offline").then_some(())
    });
    assert_eq!(fleet.run(&json!({"cmd": "true"}))["retcode"], 204);
    fleet.polaris.process.signal(Signal::SIGTERM);
    assert!(fleet.polaris.process.wait().success());
}
