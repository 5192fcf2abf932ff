//! Commands by the real link: the three time-outs, and what is left behind.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test ends it")]
#![expect(clippy::disallowed_methods, reason = "what the contract says in seconds is measured in seconds")]

mod rig;

use nix::sys::signal::Signal;
use rig::agent::signal;
use rig::polaris::Link;
use rig::{connected, process, until};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// One of the scripts that Polaris's users wrote down as what must work.
fn script(name: &str) -> String {
    format!("{}/tests/scripts/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// Runs all commands at the same time, with a time-out of a second and a grace
/// of a second. Each reply comes with the time that it took to arrive.
fn race(link: &mut Link, commands: &[&str]) -> BTreeMap<String, (Value, Duration)> {
    let begun = Instant::now();
    for cmd in commands {
        link.send(&json!({"id": cmd, "method": "sync.bash", "cmd": cmd, "timeout": 1}));
    }
    let replies = commands.iter().map(|_| {
        let reply = link.receive();
        (reply["id"].as_str().unwrap().to_owned(), (reply, begun.elapsed()))
    });
    replies.collect()
}

/// What the contract allows around a time-out.
fn about(seconds: f64, elapsed: f64) -> bool {
    (seconds - 0.05..=seconds + 0.5).contains(&elapsed)
}

#[test]
fn each_script_ends_at_its_time_out() {
    let mut session = connected("");
    let (ends, ignores, obeys) = (script("ends.sh"), script("ignores-sigint.sh"), script("obeys-sigint.sh"));
    let cases = [
        (ends.as_str(), 2, Some(0), None, 0.1, "begins\nends\n"),
        // Timeout, and twice the grace.
        (&ignores, 3104, None, Some(9), 3.0, "begins\n"),
        (&obeys, 3103, None, Some(2), 1.0, "begins\n"),
        ("trap 'echo bye; exit 0' INT; while :; do sleep 0.1; done", 3103, Some(0), None, 1.0, "bye\n"),
        (
            "trap 'echo once; trap \"exit 7\" INT' INT; while :; do sleep 0.1; done",
            3103,
            Some(7),
            None,
            2.0,
            "once\n",
        ),
        // Stopped, it hears SIGKILL only.
        ("echo stops; kill -STOP $$", 3104, None, Some(9), 3.0, "stops\n"),
    ];
    let replies = race(&mut session.link, &cases.map(|case| case.0));
    for (cmd, retcode, exitcode, number, seconds, data) in cases {
        let (reply, arrived) = &replies[cmd];
        assert_eq!((&reply["retcode"], &reply["data"]), (&json!(retcode), &json!(data)), "{cmd}: {reply}");
        assert_eq!(
            (reply["exitcode"].as_i64(), reply["signal"].as_i64()),
            (exitcode, number),
            "{cmd}: {reply}"
        );
        let elapsed = reply["elapsed"].as_f64().unwrap();
        assert!(
            about(seconds, elapsed) && about(seconds, arrived.as_secs_f64()),
            "{cmd}: {elapsed} {arrived:?}"
        );
    }
    session.agent.alone();
}

/// Commands that wait for something of their own, each in its way; the pids of
/// what they started are their output.
const SHAPES: &[&str] = &[
    "sleep 60 & echo $!; sleep 61; true",
    "sleep 60 & echo $!; wait",
    "(sleep 60 & echo $!; wait)",
    "sleep 60 & echo $!; sleep 61 | cat",
    "bash -c 'sleep 60 & echo $!; wait'; true",
    "sh -c 'trap \"\" INT TERM; sleep 60 & echo $!; wait'",
    "trap '' INT TERM; (trap '' INT TERM; while :; do sleep 0.1; done) & echo $!; wait",
    "sleep 60 & echo $!; kill -STOP $!; wait",
];

#[test]
fn nothing_of_a_killed_commands_process_group_is_left() {
    let mut session = connected("");
    let replies = race(&mut session.link, SHAPES);
    for (cmd, (reply, arrived)) in replies {
        assert!([3103, 3104].contains(&reply["retcode"].as_i64().unwrap()), "{cmd}: {reply}");
        // At the latest at the last time-out and a bounded wait, whatever still holds the pipe.
        assert!(arrived < Duration::from_secs(5), "{cmd}: {arrived:?}");
        for pid in reply["data"].as_str().unwrap().lines() {
            let pid = pid.parse().unwrap();
            until(&format!("{pid} of {cmd:?} to end"), || (!process::is_alive(pid)).then_some(()));
        }
    }
    session.agent.alone();
}

/// As [`SHAPES`], of what leaves the process group.
const LEAVERS: &[&str] = &[
    "setsid sleep 60 & echo $!; wait",
    "trap '' INT; setsid sleep 60 & echo $!; wait",
    "setsid bash -c 'echo $$; setsid sleep 60 & echo $!; wait' & wait",
    // Its parent has ended long before, and it is the agent's child by now.
    "(setsid sleep 60 & echo $!); sleep 61; true",
    // It leaves when it is told to end, and the command with it.
    "trap 'setsid sleep 60 & echo $!; exit' INT; while :; do sleep 0.1; done",
];

#[test]
fn nothing_that_left_a_killed_commands_group_is_left_either() {
    let mut session = connected("");
    // What another command left on purpose is not touched.
    let bystander: u32 = session.link.output_of("setsid sleep 60 & echo $!").trim().parse().unwrap();
    for (cmd, (reply, arrived)) in race(&mut session.link, LEAVERS) {
        assert!(arrived < Duration::from_secs(5), "{cmd}: {arrived:?}");
        let pids: Vec<u32> =
            reply["data"].as_str().unwrap().lines().map(|pid| pid.parse().unwrap()).collect();
        assert!(!pids.is_empty(), "{cmd}: {reply}");
        for pid in pids {
            until(&format!("{pid} of {cmd:?} to end"), || (!process::is_alive(pid)).then_some(()));
        }
    }
    until("no child but the bystander", || {
        (process::children(session.agent.pid()) == [bystander]).then_some(())
    });
    signal(bystander, Signal::SIGKILL);
    session.agent.alone();
}

#[test]
fn what_a_command_leaves_on_purpose_lives_on_and_holds_nobody_up() {
    let mut session = connected("");
    for cmd in ["sleep 30 & echo $!", "nohup sleep 30 & echo $!", "setsid sleep 30 & echo $!"] {
        let begun = Instant::now();
        let reply = session.link.run(cmd);
        let elapsed = begun.elapsed();
        assert_eq!(reply["retcode"], 2, "{reply}");
        assert!(elapsed < Duration::from_secs(1), "{cmd}: answered after {elapsed:?}");
        let pid: u32 = reply["data"].as_str().unwrap().trim().parse().unwrap();
        assert!(process::is_alive(pid), "{cmd}");
        // It is the agent's now, who sees to it that it leaves no zombie.
        assert_eq!(process::children(session.agent.pid()), [pid], "{cmd}");
        signal(pid, Signal::SIGKILL);
        session.agent.alone();
    }
}
