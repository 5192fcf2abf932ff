//! A package from an operator's hands to a host: polarisctl stores it, and the
//! agent fetches it from its own server, with its certificate alone.

#![allow(clippy::unwrap_used, reason = "what is unexpected fails the test")]
#![allow(clippy::disallowed_methods, reason = "real processes take real time")]

mod fleet;

use fleet::{Fleet, eventually, server_program};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Output};

/// An archive of a script that tells its version and waits to be ended.
fn archive(fleet: &Fleet, version: &str) -> PathBuf {
    let run = fleet.path("run");
    fs::write(&run, format!("#!/bin/sh\necho version {version}\nexec sleep 1000000\n")).unwrap();
    fs::set_permissions(&run, fs::Permissions::from_mode(0o755)).unwrap();
    let archive = fleet.path(&format!("web-{version}.tar.gz"));
    let packed =
        Command::new("tar").arg("-czf").arg(&archive).arg("-C").arg(fleet.path("")).arg("run").status();
    assert!(packed.unwrap().success());
    archive
}

fn polarisctl(fleet: &Fleet, words: &[&str]) -> Output {
    let mut command = Command::new(server_program("polarisctl", "dev"));
    command.args(["--data", fleet.polaris.data.to_str().unwrap(), "--url", &fleet.polaris.url]);
    command.args(words).output().unwrap()
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Defines the daemon as of this version, from the server of the host's own link.
fn define(fleet: &Fleet, version: &str, checksum: Option<&str>) {
    let mut definition = json!({
        "name": "web", "version": version, "start": "./run", "stop": "kill:TERM", "start_delay": 0,
        "url": format!("https://{}/packages/pool/web-{version}.tar.gz", fleet.polaris.agents)
    });
    if let Some(checksum) = checksum {
        definition["checksum"] = checksum.into();
    }
    let file = fleet.path("web.json");
    fs::write(&file, definition.to_string()).unwrap();
    text(&polarisctl(fleet, &["daemon", "init", file.to_str().unwrap(), "-H", "web-1"]));
}

/// Waits until Polaris knows the daemon to be so.
fn comes_to(fleet: &Fleet, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
    eventually(&format!("web {what}"), || {
        let list = fleet.polaris.get("/api/v1/daemons?name=web");
        Some(list["daemons"][0].clone()).filter(&is_it)
    })
}

#[test]
fn what_an_operator_stores_a_host_fetches_and_runs() {
    let fleet = Fleet::start(env!("CARGO_BIN_EXE_gearman"), "dev", "grace = 1");
    let first = archive(&fleet, "1.0");
    let sum = text(&polarisctl(&fleet, &["packages", "put", first.to_str().unwrap(), "pool/"]));
    define(&fleet, "1.0", Some(sum.trim_end()));
    let running = |version: &'static str| {
        move |daemon: &Value| daemon["status"] == "running" && daemon["version"] == version
    };
    comes_to(&fleet, "runs as 1.0", running("1.0"));

    // The next one is not there yet; the host comes again, without being told to. From its own
    // server it takes it without a checksum.
    define(&fleet, "2.0", None);
    eventually("the host says what it could not have", || {
        let events = text(&polarisctl(&fleet, &["daemon", "events", "web-1", "web"]));
        (events.contains("3301") && events.contains("404")).then_some(())
    });
    let second = archive(&fleet, "2.0");
    text(&polarisctl(&fleet, &["packages", "put", second.to_str().unwrap(), "pool/"]));
    comes_to(&fleet, "runs as 2.0", running("2.0"));

    let listed = text(&polarisctl(&fleet, &["-o", "json", "packages", "list", "pool"]));
    assert!(listed.contains("web-1.0.tar.gz") && listed.contains("web-2.0.tar.gz"), "{listed}");
    text(&polarisctl(&fleet, &["daemon", "remove", "web", "-H", "web-1"]));
    eventually("web is gone", || (fleet.polaris.get("/api/v1/daemons?name=web")["count"] == 0).then_some(()));
}
