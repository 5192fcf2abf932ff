//! gearctl as a process: what it prints where, and its exit status.

#![allow(clippy::unwrap_used, reason = "what is unexpected fails the test")]

mod rig;

use rig::agent::Host;
use rig::daemons::{STAYS, alone};
use rig::pki::Ca;
use rig::polaris::Polaris;
use serde_json::{Value, json};
use std::process::Command;

/// Exit status, standard output, standard error.
fn gearctl(arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_gearctl")).args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn an_answer_is_a_line_of_json() {
    let question =
        r#"{"schedule":"30 2 * * *","timezone":"America/New_York","after":"2026-03-08T00:00:00Z","count":2}"#;
    let answer = r#"{"next":["2026-03-08T03:00:00-04:00","2026-03-09T02:30:00-04:00"]}"#;
    assert_eq!(gearctl(&["-c", "cron.next", "-a", question]), (0, format!("{answer}\n"), String::new()));
    // Now, and where this machine is.
    let (status, answer, error) = gearctl(&["-C", "/nowhere", "-c", "cron.next", "-a", "0 0/30 8-10 * * *"]);
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!((status, answer["next"].as_array().unwrap().len(), error.as_str()), (0, 5, ""));
}

#[test]
fn why_there_is_no_answer_goes_to_standard_error() {
    for (arguments, status, reason) in [
        (
            &["-c", "cron.next", "-a", "0 25 * * *"][..],
            1,
            "gearctl: hour: 25 is out of range 0-23 (column 3)\n",
        ),
        (&["-c", "cron.next"], 1, "gearctl: -a SCHEDULE is missing\n"),
        (
            &["-c", "cron.nxt"],
            1,
            "gearctl: there is no command \"cron.nxt\"; there are: cron.next, status, jobs, cron, daemons, getinfo.NAME\n",
        ),
        (&[], 2, "gearctl: -c COMMAND is missing\nTry 'gearctl -h'.\n"),
        (
            &["-c", "cron.next", "* * * * *"],
            2,
            "gearctl: unexpected argument \"* * * * *\"\nTry 'gearctl -h'.\n",
        ),
    ] {
        assert_eq!(gearctl(arguments), (status, String::new(), reason.into()));
    }
}

#[test]
fn the_running_agent_tells_of_its_jobs_and_its_cron_entries() {
    let ca = Ca::new();
    let polaris = Polaris::start(&ca);
    let host = Host::enrolled(&ca);
    host.configure(&polaris.server(), "");
    let config = host.path("gearman.conf");
    let ask = |arguments: &[&str]| gearctl(&[&["-C", config.to_str().unwrap()], arguments].concat());
    let (status, _, error) = ask(&["-c", "jobs"]);
    assert!(status == 1 && error.contains("gearman does not run"), "{error}");

    let _agent = host.start();
    let mut link = polaris.ready();
    let job = json!({"id": "j", "method": "async.bash", "cmd": "exec sleep 600"});
    assert_eq!(link.ask(&job)["retcode"], 1);
    let entry =
        json!({"id": "c", "method": "cron.set", "name": "tidy", "schedule": "0 5 * * *", "cmd": "ls"});
    assert_eq!(link.ask(&entry)["retcode"], 1);
    let answer = |arguments: &[&str]| -> Value {
        let (status, answer, error) = ask(arguments);
        assert_eq!((status, error.as_str()), (0, ""));
        serde_json::from_str(&answer).unwrap()
    };
    let jobs = answer(&["-c", "jobs"]);
    assert_eq!((&jobs["count"], &jobs["jobs"][0]["job"]), (&json!(1), &json!("j")));
    assert_eq!(answer(&["-c", "jobs", "-a", "j"])["cmd"], "exec sleep 600");
    assert_eq!(answer(&["-c", "cron", "-a", "tidy"])["entries"][0]["next"].as_array().unwrap().len(), 5);
    assert_eq!(answer(&["-c", "status"])["jobs"], 1);
    for (arguments, reason) in [
        (&["-c", "jobs", "-a", "other"][..], "Not found (3024)"),
        (&["-c", "cron", "-a", "other"], "Not found (3024)"),
        (&["-c", "status", "-a", "x"], "-a: status takes none"),
        (&["-c", "status", "-s", "/nowhere"], "/nowhere: gearman does not run"),
    ] {
        let (status, answer, error) = ask(arguments);
        assert!(status == 1 && answer.is_empty() && error.contains(reason), "{error}");
    }
}

#[test]
fn the_running_agent_tells_of_its_daemons() {
    let (host, _agent) = alone("");
    let config = host.path("gearman.conf");
    let ask = |arguments: &[&str]| gearctl(&[&["-C", config.to_str().unwrap()], arguments].concat());
    let answer = |arguments: &[&str]| -> Value {
        let (status, answer, error) = ask(arguments);
        assert_eq!((status, error.as_str(), answer.lines().count()), (0, "", 1));
        serde_json::from_str(&answer).unwrap()
    };
    assert_eq!(answer(&["-c", "daemons"]), json!({"count": 0, "daemons": []}));
    host.init("web", &[("run", STAYS)], &json!({}));
    host.init("db", &[("run", "#!/bin/sh\nexit 1\n")], &json!({"start_delay": 1, "max_restarts": 0}));
    let running = host.comes_to("web", "running");
    host.comes_to("db", "fatal");
    let both = answer(&["-c", "daemons"]);
    let names: Vec<_> = both["daemons"].as_array().unwrap().iter().map(|daemon| &daemon["name"]).collect();
    assert_eq!((&both["count"], names), (&json!(2), vec![&json!("db"), &json!("web")]));
    let web = answer(&["-c", "daemons", "-a", "web"]);
    assert_eq!((&web["count"], &web["daemons"][0]["pid"]), (&json!(1), &running["pid"]));
    let db = answer(&["-c", "daemons", "-a", "db"]);
    assert_eq!(db["daemons"][0]["reason"], "it ended with exit status 1 before it was up");
    let (status, answer, error) = ask(&["-c", "daemons", "-a", "other"]);
    assert_eq!((status, answer.as_str()), (1, ""));
    assert_eq!(error, "gearctl: Not found (3024): name: there is no daemon of this name\n");
}

#[test]
fn help_and_version_are_answers() {
    let (status, version, _) = gearctl(&["-V"]);
    assert_eq!((status, version.starts_with("gearctl-")), (0, true));
    let (status, help, _) = gearctl(&["-h"]);
    assert_eq!((status, help.starts_with("Usage: gearctl ")), (0, true));
}
