//! Supervised daemons under the real agent: real packages, real processes.

mod rig;

use nix::sys::signal::{Signal, kill};
use rig::daemons::{STAYS, alone, definition, packed, pid};
use rig::until;
use serde_json::json;

#[test]
fn a_daemon_is_installed_started_caught_stopped_and_removed() {
    let (host, _agent) = alone("");
    let package = packed(&host, "web", &[("run", STAYS)]);
    host.asks("daemon.init", &definition("web", &package, &json!({}))).unwrap();
    let running = host.comes_to("web", "running");
    assert_eq!((running["installed"].as_str(), running["restarts"].as_u64()), (Some("1"), Some(0)));
    until("its words", || (host.written("web") == "begun\n").then_some(()));
    kill(pid(&running), Signal::SIGKILL).unwrap();
    let again = until("another process", || {
        let again = host.comes_to("web", "running");
        (again["pid"] != running["pid"]).then_some(again)
    });
    assert_eq!(again["restarts"], 1);
    host.wants("stop", "web");
    host.comes_to("web", "stoped");
    assert!(host.processes().is_empty());
    host.wants("start", "web");
    host.comes_to("web", "running");
    host.wants("remove", "web");
    until("web to be gone", || host.daemon("web").is_null().then_some(()));
    assert!(host.processes().is_empty());
    assert!(!host.path("daemon/web").exists());
}

#[test]
fn a_script_that_names_no_interpreter_is_a_daemon_all_the_same() {
    let (host, _agent) = alone("");
    let run = "echo \"$0\" \"$@\" $$\nwhile :; do sleep 1000000; done\n";
    host.init("web", &[("run", run)], &json!({"start": "./run one two"}));
    let running = host.comes_to("web", "running");
    let words = format!("run one two {}\n", pid(&running));
    until("its words", || host.written("web").ends_with(&words).then_some(()));
}

#[test]
fn daemons_outlive_the_agent_and_the_next_one_has_them_again() {
    let (host, mut agent) = alone("");
    let package = packed(&host, "web", &[("run", STAYS)]);
    host.asks("daemon.init", &definition("web", &package, &json!({}))).unwrap();
    let running = host.comes_to("web", "running");
    for signal in [Signal::SIGKILL, Signal::SIGTERM] {
        agent.signal(signal);
        agent.ended();
        agent = host.start();
        let again = until("the next agent", || Some(host.daemon("web")).filter(|daemon| !daemon.is_null()));
        assert_eq!((&again["pid"], &again["status"]), (&running["pid"], &running["status"]), "{signal}");
    }
    // It is not the agent's child any more, and its end is seen all the same.
    kill(pid(&running), Signal::SIGKILL).unwrap();
    until("another process", || {
        let again = host.comes_to("web", "running");
        (again["pid"] != running["pid"]).then_some(again)
    });
    host.wants("remove", "web");
    until("web to be gone", || host.daemon("web").is_null().then_some(()));
}

/// It ends the daemon that its pidfile names, and takes its time: another may be named by then.
const SLOW_STOP: &str = "#!/bin/sh\necho asked >> \"$ORDERS\"\n\
                         until [ -e \"$GO\" ]; do sleep 0.02; done\nkill -TERM $(cat \"$PIDFILE\")\n";
const NAMED: &str = "#!/bin/sh\necho $$ > \"$PIDFILE\"\nexec sleep 1000000\n";

#[test]
fn a_stop_command_does_not_outlive_what_it_was_to_end() {
    let (host, mut agent) = alone("");
    let (orders, go, pidfile) = (host.path("orders"), host.path("go"), host.path("web.pid"));
    let more = json!({
        "stop": "./stop", "stop_timeout": 1, "env": {"ORDERS": orders, "GO": go, "PIDFILE": pidfile}
    });
    let package = packed(&host, "web", &[("run", NAMED), ("stop", SLOW_STOP)]);
    host.asks("daemon.init", &definition("web", &package, &more)).unwrap();
    let first = host.comes_to("web", "running");
    host.wants("restart", "web");
    until("the command", || orders.exists().then_some(()));
    agent.signal(Signal::SIGKILL);
    agent.ended();
    let _agent = host.start();
    let second = until("another process", || {
        Some(host.daemon("web")).filter(|now| now["status"] == "running" && now["pid"] != first["pid"])
    });
    let named = second["pid"].to_string();
    until("its pidfile", || (std::fs::read_to_string(&pidfile).ok()?.trim() == named).then_some(()));
    // Whoever still waits for it would end the second one now.
    std::fs::write(&go, "").unwrap();
    until("nobody but the daemon", || (host.processes() == [pid(&second).as_raw()]).then_some(()));
    assert_eq!(host.daemon("web")["pid"], second["pid"]);
    assert_eq!(host.daemon("web")["restarts"], 0);
}
