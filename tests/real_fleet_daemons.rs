//! Supervised daemons through both real programs and polarisctl.

#![allow(clippy::unwrap_used, reason = "what is unexpected fails the test")]
#![allow(clippy::disallowed_methods, reason = "real processes take real time")]

mod fleet;

use fleet::{Fleet, eventually, server_program};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output};

/// Packs a script that waits to be ended; the definition of a daemon of it.
fn definition(fleet: &Fleet) -> Value {
    let run = fleet.path("run");
    fs::write(&run, "#!/bin/sh\necho begun\nexec sleep 1000000\n").unwrap();
    fs::set_permissions(&run, fs::Permissions::from_mode(0o755)).unwrap();
    let archive = fleet.path("web.tar.gz");
    let packed =
        Command::new("tar").arg("-czf").arg(&archive).arg("-C").arg(fleet.path("")).arg("run").status();
    assert!(packed.unwrap().success());
    let sum = Command::new("sha256sum").arg(&archive).output().unwrap();
    let sum = String::from_utf8(sum.stdout).unwrap();
    json!({
        "name": "web", "version": "1.0", "url": format!("file://{}", archive.display()),
        "checksum": format!("SHA256:{}", sum.split(' ').next().unwrap()), "start": "./run",
        "stop": "kill:TERM", "start_delay": 0
    })
}

fn polarisctl(fleet: &Fleet, words: &[&str]) -> Output {
    let mut command = Command::new(server_program("polarisctl", "dev"));
    command.args(["--data", fleet.polaris.data.to_str().unwrap(), "--url", &fleet.polaris.url, "daemon"]);
    command.args(words).output().unwrap()
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Waits until Polaris knows the daemon to be at this.
fn comes_to(fleet: &Fleet, status: &str) -> Value {
    eventually(&format!("web is {status}"), || {
        let list = fleet.polaris.get("/api/v1/daemons?name=web");
        Some(list["daemons"][0].clone()).filter(|daemon| daemon["status"] == status)
    })
}

#[test]
fn an_operator_defines_a_daemon_sees_it_fall_and_rise_and_takes_it_away() {
    let mut fleet = Fleet::start(env!("CARGO_BIN_EXE_gearman"), "dev", "grace = 1");
    let file = fleet.path("web.json");
    fs::write(&file, definition(&fleet).to_string()).unwrap();
    let host = ["-H", "web-1"];
    text(&polarisctl(&fleet, &[&["init", file.to_str().unwrap()], &host[..]].concat()));
    let running = comes_to(&fleet, "running");
    assert_eq!((&running["version"], &running["wanted"]), (&json!("1.0"), &json!("running")));
    let shown = text(&polarisctl(&fleet, &["list"]));
    assert!(shown.contains("web-1") && shown.contains("running") && shown.contains("1.0"), "{shown}");

    let process = Pid::from_raw(i32::try_from(running["pid"].as_i64().unwrap()).unwrap());
    kill(process, Signal::SIGKILL).unwrap();
    eventually("the fall is told", || {
        let events = text(&polarisctl(&fleet, &["events", "web-1", "web"]));
        (events.contains("3102") && events.contains("SIGKILL") && events.contains("begun")).then_some(())
    });
    // The server that is killed has forgotten nothing, and hears of what the host did meanwhile.
    fleet.restart_polaris("dev");
    let again = eventually("web runs again", || {
        Some(comes_to(&fleet, "running")).filter(|again| again["pid"] != running["pid"])
    });
    assert_eq!(again["restarts"], 1);

    text(&polarisctl(&fleet, &[&["stop", "web"], &host[..]].concat()));
    comes_to(&fleet, "stoped");
    let nobody = polarisctl(&fleet, &[&["start", "nobody"], &host[..]].concat());
    assert_eq!(nobody.status.code(), Some(1), "{nobody:?}");
    text(&polarisctl(&fleet, &[&["remove", "web"], &host[..]].concat()));
    eventually("web is gone", || (fleet.polaris.get("/api/v1/daemons?name=web")["count"] == 0).then_some(()));
    let events = fleet.polaris.get(&format!("/api/v1/hosts/{}/daemons/web", fleet.host_id));
    assert!(events["events"].as_array().unwrap().len() >= 5, "what it came to stays: {events}");
}
