//! Supervised daemons under the real agent: real packages, real processes.

#![allow(clippy::unwrap_used, reason = "what goes wrong in a test ends it")]

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
