//! Everything that boot does in its life, in one go: what valgrind/run watches.

#![allow(clippy::unwrap_used, reason = "what is unexpected fails the test")]
#![allow(clippy::disallowed_methods, reason = "real processes take real time")]

mod rig;

use nix::sys::signal::Signal;
use rig::agent::Host;
use rig::boot::{Reports, redirecting_for_ever, until};
use rig::daemons::{STAYS, packed};
use rig::pki::Ca;
use serde_json::{Value, json};
use std::fs;

/// A package's job.
fn job(host: &Host, id: &str, action: &str, version: &str, script: &str) -> Value {
    let (url, checksum) = packed(host, &format!("web-{version}"), &[("run", script)]);
    json!({"id": id, "action": action, "name": "web", "url": url, "checksum": checksum, "start": "./run",
        "start_delay": 1, "env": {"A": "b"}, "limits": {"CPU": "90%", "memory": "1G"}})
}

fn logged(host: &Host, word: &str) {
    until(&format!("{word} in the log"), || host.boot_log().contains(word).then_some(()));
}

#[test]
fn a_whole_life_of_boot() {
    let ca = Ca::new();
    let reports = Reports::start(&ca);
    let host = Host::enrolled(&ca);
    // The first of them has nobody, and is tried first each time.
    host.configure_boot(&format!("127.0.0.1:1,localhost:1,{}", reports.server));
    let mut loops = job(&host, "loops", "upgrade", "2", STAYS);
    loops["url"] = format!("http://{}/web-3.tar.gz", redirecting_for_ever()).into();
    loops["timeout"] = json!(10);
    reports.send(&[
        json!({"id": "odd", "action": "dance"}),
        json!({"id": "bad", "action": "stop", "name": 1}),
        json!({"id": "none", "action": "stop", "name": "none"}),
        json!({"id": "step", "action": "config", "step": 61, "svrlist": "127.0.0.1:2,"}),
        job(&host, "first", "install", "1", STAYS),
        job(&host, "broken", "upgrade", "2", "#!/bin/sh\nexit 7\n"),
        loops,
        json!({"id": "again", "action": "restart", "name": "web"}),
    ]);
    let mut boot = host.start_boot();
    for (id, errcode) in [("odd", 3022), ("bad", 3021), ("step", 0), ("first", 0), ("broken", 3303)] {
        assert_eq!(reports.end_of(id).0, errcode, "{id}");
    }
    assert_ne!(reports.end_of("none").0, 0);
    assert_eq!(reports.end_of("loops").0, 3301);
    assert_eq!(reports.end_of("again").0, 0);

    boot.signal(Signal::SIGUSR1);
    logged(&host, "agent=status");
    let good = fs::read(host.path("boot.conf")).unwrap();
    fs::write(host.path("boot.conf"), "graze = 1\n").unwrap();
    boot.signal(Signal::SIGHUP);
    logged(&host, "config=refused");
    fs::write(host.path("boot.conf"), good).unwrap();
    reports.send(&[json!({"id": "gone", "action": "uninstall", "name": "web"})]);
    boot.signal(Signal::SIGHUP);
    logged(&host, "config=reloaded");
    assert_eq!(reports.end_of("gone").0, 0);
    reports.report("no agent", |report| report["agents"] == json!([]));

    // Its end finds another one at work.
    reports.send(&[job(&host, "late", "install", "1", STAYS)]);
    boot.signal(Signal::SIGHUP);
    logged(&host, "job=begun id=\"late\"");
    boot.signal(Signal::SIGTERM);
    let status = boot.ended();
    assert!(status.success(), "{status}");
}
