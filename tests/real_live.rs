//! Commands by the real link: seen while they run, cancelled, and limited.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test ends it")]

mod rig;

use rig::agent::{Agent, Host};
use rig::pki::Ca;
use rig::polaris::{Link, Polaris};
use rig::{aloud, connected, is_root, process, until};
use serde_json::{Value, json};
use std::fs;
use std::process::Command;

/// The next piece of output: its stream and its text.
fn piece(link: &mut Link, id: &str) -> (String, String) {
    let frame = link.receive();
    assert_eq!((&frame["method"], &frame["id"]), (&json!("output"), &json!(id)), "{frame}");
    let text = |field: &str| frame[field].as_str().unwrap().to_owned();
    (text("stream"), text("data"))
}

#[test]
fn output_arrives_while_the_command_runs() {
    let mut session = connected("");
    let go = session.host.path("go");
    let cmd = format!("echo begins; echo warns >&2; until [ -e {go:?} ]; do sleep 0.05; done; echo ends");
    session.link.send(&json!({"id": "a", "method": "sync.bash", "cmd": cmd, "stream": true}));
    let mut begun = [piece(&mut session.link, "a"), piece(&mut session.link, "a")];
    begun.sort();
    let said = |stream: &str, data: &str| (stream.to_owned(), data.to_owned());
    assert_eq!(begun, [said("stderr", "warns\n"), said("stdout", "begins\n")], "and it still runs");
    fs::write(&go, "").unwrap();
    assert_eq!(piece(&mut session.link, "a"), said("stdout", "ends\n"));
    let reply = session.link.receive();
    assert_eq!((&reply["data"], &reply["stderr"]), (&json!("begins\nends\n"), &json!("warns\n")), "{reply}");
}

#[test]
fn a_flood_is_sent_up_to_what_the_reply_has() {
    let mut session = connected("");
    let cmd = "yes | head -c 1000000";
    session.link.send(&json!({"id": "a", "method": "sync.bash", "cmd": cmd, "stream": true}));
    let mut sent = String::new();
    let reply = loop {
        let frame = session.link.receive();
        if frame["method"] != "output" {
            break frame;
        }
        sent += frame["data"].as_str().unwrap();
    };
    assert_eq!((sent.len(), &reply["data"]), (65536, &json!(sent)), "{reply}");
    assert_eq!(reply["dropped"], 1_000_000 - 65536);
}

/// Cancels, and returns the command's reply and the cancel's.
fn cancelled(link: &mut Link, job: &str) -> (Value, Value) {
    let id = format!("cancels-{job}");
    link.send(&json!({"id": id, "method": "job.cancel", "job": job}));
    let (reply, confirmed) = (link.receive(), link.receive());
    assert_eq!((&reply["id"], &confirmed["id"]), (&json!(job), &json!(id)));
    (reply, confirmed)
}

#[test]
fn a_cancelled_command_is_gone_with_all_that_came_from_it() {
    let mut session = connected("");
    for (id, cmd, signal) in [
        ("obeys", "setsid sleep 600 & echo $!; sleep 601 & echo $!; wait", Some(15)),
        ("shrugs", "trap '' TERM; setsid sleep 600 & echo $!; echo $$; while :; do sleep 0.1; done", Some(9)),
        ("says bye", "trap 'exit 7' TERM; sleep 600 & echo $!; echo $$; wait", None),
    ] {
        session.link.send(&json!({"id": id, "method": "sync.bash", "cmd": cmd, "stream": true}));
        let mut begun = String::new();
        while begun.lines().count() < 2 {
            begun += &piece(&mut session.link, id).1;
        }
        let (reply, confirmed) = cancelled(&mut session.link, id);
        assert_eq!((&reply["retcode"], &reply["message"]), (&json!(3108), &json!("Cancelled")), "{reply}");
        let exit = signal.map_or(("exitcode", 7), |signal| ("signal", signal));
        assert_eq!((&reply[exit.0], &reply["data"]), (&json!(exit.1), &json!(begun)), "{id}: {reply}");
        assert_eq!(confirmed["data"], json!({"job": id, "retcode": 3108}), "{confirmed}");
        for pid in begun.lines() {
            let pid = pid.parse().unwrap();
            until(&format!("{pid} of {id:?} to end"), || (!process::is_alive(pid)).then_some(()));
        }
    }
    session.agent.alone();
    let reply = session.link.ask(&json!({"id": "c", "method": "job.cancel", "job": "obeys"}));
    assert_eq!(reply["retcode"], 3024, "{reply}");
}

#[test]
fn a_command_gets_the_limits_of_its_request() {
    let mut session = connected("");
    let limits = json!({"cpu": 7, "memory": "512M", "files": 33, "processes": 4_000_000});
    let ask = "ulimit -St; ulimit -Ht; ulimit -v; ulimit -n; ulimit -Hn; ulimit -u";
    let reply = session.link.run_with(json!({"cmd": ask, "limits": limits}));
    let most = fs::read_to_string("/proc/self/limits").unwrap();
    let most = most.lines().find(|line| line.starts_with("Max processes")).unwrap();
    // Only root may have more than the system gave this test.
    let may_raise = is_root() && reply["retcode"] == 2;
    if may_raise {
        assert_eq!(reply["data"], "7\n8\n524288\n33\n33\n4000000\n");
    } else {
        assert_eq!(reply["retcode"], 3107, "{most}: {reply}");
        let detail = reply["detail"].as_str().unwrap();
        assert!(detail.starts_with("limits.processes: setrlimit: Operation not permitted"), "{detail}");
    }
    let limits = json!({"cpu": 7, "memory": "512M", "files": 33});
    let reply = session.link.run_with(json!({"cmd": ask, "limits": limits}));
    assert!(reply["data"].as_str().unwrap().starts_with("7\n8\n524288\n33\n33\n"), "{reply}");
    // Without limits it has those of whoever started the agent.
    let own = Command::new("bash").args(["-c", ask]).output().unwrap();
    assert_eq!(session.link.output_of(ask), String::from_utf8_lossy(&own.stdout));
}

#[test]
fn a_limit_that_is_reached_ends_what_reaches_it() {
    let mut session = connected("");
    let reply = session.link.run_with(json!({"cmd": "while :; do :; done", "limits": {"cpu": 1}}));
    assert_eq!((&reply["retcode"], &reply["signal"]), (&json!(3102), &json!(libc::SIGXCPU)), "{reply}");
    let shrugs = "trap '' XCPU; while :; do :; done";
    let reply = session.link.run_with(json!({"cmd": shrugs, "limits": {"cpu": 1}}));
    assert_eq!((&reply["retcode"], &reply["signal"]), (&json!(3102), &json!(9)), "{reply}");
    let greedy = "x=$(head -c 200000000 /dev/zero | tr '\\0' x); echo ${#x}";
    let reply = session.link.run_with(json!({"cmd": greedy, "limits": {"memory": "64M"}}));
    assert_ne!(reply["retcode"], 2, "{reply}");
    let opens = "for n in 3 4 5 6 7 8 9; do eval \"exec $n</dev/null\" || exit 3; done";
    let reply = session.link.run_with(json!({"cmd": opens, "limits": {"files": 6}}));
    assert_eq!(reply["retcode"], 3101, "{reply}");
    assert!(reply["stderr"].as_str().unwrap().contains("Too many open files"), "{reply}");
    if !is_root() {
        aloud("that a limit of processes holds for another user, which needs root");
        return;
    }
    let forks = "for n in 1 2 3 4 5 6 7 8 9; do sleep 5 & done; wait";
    let limits = json!({"processes": 3});
    let reply = session.link.run_with(json!({"cmd": forks, "user": "games", "limits": limits, "timeout": 2}));
    assert!(reply["stderr"].as_str().unwrap().contains("Resource temporarily unavailable"), "{reply}");
}

#[test]
fn the_agent_takes_all_the_descriptors_that_it_may_have_and_commands_what_was_meant_for_them() {
    let ca = Ca::new();
    let polaris = Polaris::start(&ca);
    let host = Host::enrolled(&ca);
    host.configure(&polaris.server(), "max_children = 64");
    let gearman = host.command();
    let mut starter = Command::new("bash");
    starter.args(["-c", "ulimit -Sn 40; ulimit -Hn 300; exec \"$0\" \"$@\" -f"]);
    let agent = Agent::of(starter.arg(gearman.get_program()).args(gearman.get_args()).spawn().unwrap());
    let mut link = polaris.ready();
    assert_eq!(link.output_of("ulimit -Sn; ulimit -Hn"), "40\n300\n");
    let go = host.path("go");
    for n in 0..64 {
        link.bash(&n.to_string(), &format!("until [ -e {go:?} ]; do sleep 0.05; done"));
    }
    until("all to run", || (process::children(agent.pid()).len() == 64).then_some(()));
    fs::write(&go, "").unwrap();
    for _ in 0..64 {
        assert_eq!(link.receive()["retcode"], 2);
    }
    agent.alone();
}
