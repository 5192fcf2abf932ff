//! Commands by the real link: which time is theirs, however busy the agent is.

mod rig;

use rig::connected;
use rig::polaris::Link;
use serde_json::{Value, json};

/// As many requests as keep the agent busy for a while, in one write.
fn send_at_once(link: &mut Link, requests: &[Value]) {
    let frames: String = requests.iter().map(|request| request.to_string() + "\n").collect();
    link.send_bytes(frames.as_bytes());
}

#[test]
fn a_command_has_its_whole_time_though_many_start_before_it() {
    let mut session = connected("max_children = 400");
    let mut requests: Vec<_> =
        (0..300).map(|n| json!({"id": n.to_string(), "method": "sync.bash", "cmd": "true"})).collect();
    // Only shell builtins, so that it takes the time right after its start.
    let cmd =
        "a=$EPOCHREALTIME; trap 'echo $a $EPOCHREALTIME; exit' INT; while :; do read -t 5 <> <(:); done";
    requests.push(json!({"id": "last", "method": "sync.bash", "cmd": cmd, "timeout": 1}));
    send_at_once(&mut session.link, &requests);
    let mut replies = requests.iter().map(|_| session.link.receive());
    let last = replies.find(|reply| reply["id"] == "last").unwrap();
    let times = last["data"].as_str().unwrap().trim().split_once(' ').map(|(a, b)| (a.parse(), b.parse()));
    let (Ok(began), Ok(told)): (Result<f64, _>, Result<f64, _>) = times.unwrap() else { panic!("{last}") };
    // The shell needs some time before it takes the time.
    assert!(told - began > 0.9, "it had {:.3} s of its second: {last}", told - began);
}

#[test]
fn elapsed_is_no_less_than_a_command_took() {
    const SLEEPS: &str = "sleep 0.4";
    let mut session = connected("max_children = 1000");
    let padding = "x".repeat(200);
    let requests: Vec<_> = (0..900)
        .map(|n| {
            let cmd = if n % 10 == 0 { SLEEPS } else { "true" };
            json!({"id": n.to_string(), "method": "sync.bash", "cmd": format!("{cmd} #{padding}")})
        })
        .collect();
    send_at_once(&mut session.link, &requests);
    let replies: Vec<_> = requests.iter().map(|_| session.link.receive()).collect();
    let slept = replies.iter().filter(|reply| reply["id"].as_str().unwrap().ends_with('0'));
    let short: Vec<_> = slept.filter(|reply| reply["elapsed"].as_f64().unwrap() < 0.4).collect();
    assert!(short.is_empty(), "{} of {SLEEPS}: {}", short.len(), short[0]);
}
