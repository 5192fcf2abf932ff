//! An agent that runs out of descriptors: it refuses what it cannot start, and
//! ends what it did start as ever, for which it needs descriptors, too.

use super::census::{MARK, Sweep, census, kill_all};
use super::pass::Mode;
use crate::rig::agent::{Agent, Host};
use crate::rig::pki::Ca;
use crate::rig::polaris::{Link, Polaris};
use crate::rig::{process, until};
use serde_json::{Value, json};
use std::process::Command;

/// What is left of each is found by looking for it; two processes last in each.
const SHAPES: [&str; 3] = [
    "sleep 600 & wait; true",
    "setsid sleep 600 & wait; true",
    "(sh -c 'trap \"\" INT TERM; sleep 600' &); sleep 601; true",
];
const COMMANDS: usize = 30;

/// Fills an agent that may open no more than `descriptors`.
pub fn starve(shell: &str, mode: Mode, descriptors: u32) {
    let case = format!("{shell} × {descriptors} descriptors × {mode:?}");
    let token = format!("{:016x}", fastrand::u64(..));
    let _sweep = Sweep(token.clone());
    let ca = Ca::new();
    let polaris = Polaris::start(&ca);
    let host = Host::enrolled(&ca);
    host.configure(&polaris.server(), &format!("shell = \"/bin/{shell}\""));
    let agent = start(&host, descriptors);
    let mut link = polaris.ready();
    link.output_of("true");
    let before = process::descriptors(agent.pid());
    for n in 0..COMMANDS {
        let id = format!("{token}.{n}");
        let mut request = json!({"id": id, "method": "sync.bash", "cmd": SHAPES[n % SHAPES.len()]});
        request["env"] = json!({MARK: id});
        if mode == Mode::WithTimeout {
            request["timeout"] = json!(1);
        }
        link.send(&request);
    }
    let replies = match mode {
        Mode::WithTimeout => (0..COMMANDS).map(|_| link.receive()).collect(),
        Mode::WithoutTimeout => cancelled(&mut link, &token, &case),
    };
    let (refused, ended): (Vec<_>, Vec<_>) = replies.iter().partition(|reply| reply["retcode"] == 3107);
    assert!(!refused.is_empty() && !ended.is_empty(), "{case}: {replies:?}");
    for reply in refused {
        assert!(reply["detail"].as_str().unwrap().contains("Too many open files"), "{case}: {reply}");
    }
    let (retcode, signal) = if mode == Mode::WithTimeout { (3103, 2) } else { (3108, 15) };
    for reply in ended {
        assert_eq!(
            (&reply["retcode"], &reply["signal"]),
            (&json!(retcode), &json!(signal)),
            "{case}: {reply}"
        );
    }
    until(&format!("{case}: nobody to be left"), || census(&token).is_empty().then_some(()));
    assert_eq!(link.output_of("echo hi"), "hi\n", "{case}");
    agent.alone();
    until(&format!("{case}: the descriptors to be as before"), || {
        (process::descriptors(agent.pid()) == before).then_some(())
    });
    kill_all(&token);
}

fn start(host: &Host, descriptors: u32) -> Agent {
    let gearman = host.command();
    let mut starter = Command::new("bash");
    starter.args(["-c", &format!("ulimit -n {descriptors}; exec \"$0\" \"$@\" -f")]);
    Agent::of(starter.arg(gearman.get_program()).args(gearman.get_args()).spawn().unwrap())
}

/// Waits until every command runs or is refused, and cancels those that run.
fn cancelled(link: &mut Link, token: &str, case: &str) -> Vec<Value> {
    let mut replies = Vec::new();
    let running = until(&format!("{case}: two programs of each to run, or none"), || {
        // Under an id of its own: a repeated request has the answer of the first.
        let info = format!("info-{:016x}", fastrand::u64(..));
        link.send(&json!({"id": info, "method": "agent.info"}));
        let running = loop {
            let reply = link.receive();
            if reply["id"] == info {
                break usize::try_from(reply["data"]["running"].as_u64().unwrap()).unwrap();
            }
            replies.push(reply);
        };
        let living = census(token);
        let run = living.len() == running && living.values().all(|living| living.len() > 1);
        (run && running + replies.len() == COMMANDS).then_some(running)
    });
    for id in census(token).keys() {
        link.send(&json!({"id": format!("c-{id}"), "method": "job.cancel", "job": id}));
    }
    for _ in 0..2 * running {
        let reply = link.receive();
        if reply["id"].as_str().unwrap().starts_with("c-") {
            assert_eq!(reply["retcode"], 2, "{case}: {reply}");
        } else {
            replies.push(reply);
        }
    }
    replies
}
