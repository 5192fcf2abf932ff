//! What an idle host pays for its agents: a connected gearman, and boot that looks after another one
//! and has reported. It fails where boot is larger or wakes more often than it is to.
//!
//! `cargo bench --bench footprint [-- SECONDS]`

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a program that measures")]
#![allow(clippy::disallowed_methods, reason = "it measures real time")]

#[path = "../fleet/mod.rs"]
mod fleet;

use fleet::{Fleet, Running, eventually, server_program};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

/// The most that boot may have in memory.
const BOOT_KIB: u64 = 4096;
/// The most switches of it in each minute that has begun: for one report, one check of its agent, and
/// the processes of both.
const BOOT_WAKES: u64 = 20;

/// A line `NAME:  NUMBER …` of a file in /proc.
fn field(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or_else(|| panic!("no {name}"))
}

fn switches(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    field(&status, "voluntary_ctxt_switches") + field(&status, "nonvoluntary_ctxt_switches")
}

fn measure(what: &str, pid: u32, program: &str, seconds: u64) -> Value {
    // Pages of a freshly linked program count as dirty until they are written back.
    nix::unistd::sync();
    let begin = switches(pid);
    std::thread::sleep(Duration::from_secs(seconds));
    let woken = switches(pid) - begin;
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let private = field(&rollup, "Private_Clean") + field(&rollup, "Private_Dirty");
    let size = fs::metadata(program).unwrap().len() / 1024;
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    let figures = [
        ("RSS KiB", field(&rollup, "Rss")),
        ("PSS KiB", field(&rollup, "Pss")),
        ("USS KiB", private),
        ("private dirty KiB", field(&rollup, "Private_Dirty")),
        ("threads", field(&status, "Threads")),
        ("descriptors", descriptors as u64),
        ("wake-ups", woken),
        ("over seconds", seconds),
        ("program KiB", size),
    ];
    println!("{what}");
    for (name, figure) in figures {
        println!("{name:18} {figure:8}");
    }
    let figures: serde_json::Map<_, _> = figures.into_iter().map(|(k, v)| (k.to_owned(), v.into())).collect();
    figures.into()
}

/// Boot on the host of the fleet, with a gearman of its own as its agent.
fn boot(fleet: &Fleet) -> Running {
    let place = fleet.path("boot");
    fs::create_dir_all(place.join("package")).unwrap();
    let shown = place.display();
    let pki = fleet.path("pki");
    let pki = pki.display();
    fs::copy(env!("CARGO_BIN_EXE_gearman"), place.join("package/gearman")).unwrap();
    let agent = format!(
        "[link]\nserver = \"{}\"\n[tls]\ndir = \"{pki}\"\n[store]\npath = \"{shown}/gearman.db\"\n\
         [control]\nsocket = \"{shown}/gearman.sock\"\n",
        fleet.polaris.agents
    );
    fs::write(place.join("gearman.conf"), agent).unwrap();
    let own = format!(
        "[report]\nserver = \"{}\"\n[tls]\ndir = \"{pki}\"\n[store]\npath = \"{shown}/boot.db\"\n\
         [agents]\ndir = \"{shown}/agents\"\nlog = \"{shown}\"\nrun = \"{shown}\"\n",
        fleet.polaris.agents
    );
    fs::write(place.join("boot.conf"), own).unwrap();
    install(fleet, &place);
    let mut boot = Command::new(env!("CARGO_BIN_EXE_boot"));
    boot.arg("-f").arg("-C").arg(place.join("boot.conf"));
    boot.arg("-L").arg(place.join("boot.log")).arg("-P").arg(place.join("boot.pid"));
    let boot = Running::start(&mut boot, &place.join("boot.out"));
    eventually("boot has its agent", || {
        let agents = fleet.polaris.get("/api/v1/boot/agents");
        (agents["agents"][0]["status"] == "running").then_some(())
    });
    boot
}

/// Has the server ask for the agent.
fn install(fleet: &Fleet, place: &Path) {
    let archive = place.join("gearman-1.0.tar.gz");
    let mut tar = Command::new("tar");
    tar.arg("-czf").arg(&archive).arg("-C").arg(place.join("package")).arg("gearman");
    assert!(tar.status().unwrap().success());
    let mut put = Command::new(server_program("polarisctl", "release"));
    put.args(["--data", fleet.polaris.data.to_str().unwrap(), "--url", &fleet.polaris.url]);
    assert!(put.args(["packages", "put"]).arg(&archive).arg("pool/").status().unwrap().success());
    let shown = place.display();
    let start = format!("./gearman -f -C {shown}/gearman.conf -L {shown}/gearman.log -P {shown}/gearman.pid");
    let job = json!({
        "hosts": [fleet.host_id], "action": "install", "name": "gearman",
        "url": "/packages/pool/gearman-1.0.tar.gz", "start": start, "check": "process"
    });
    fleet.polaris.post("/api/v1/boot/jobs", &job);
}

/// Its agent, which outlives it.
fn end_agent(fleet: &Fleet) {
    let pid = fs::read_to_string(fleet.path("boot/gearman.pid")).unwrap();
    let pid = nix::unistd::Pid::from_raw(pid.trim().parse().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
}

/// Whether boot is as small and as quiet as it is to be.
fn keeps_bars(figures: &Value, seconds: u64) -> ExitCode {
    let bars = [("RSS KiB", BOOT_KIB), ("wake-ups", BOOT_WAKES * (1 + seconds / 60))];
    let mut keeps_all = true;
    for (name, most) in bars {
        let keeps = figures[name].as_u64().is_some_and(|figure| figure <= most);
        println!("{} boot's {name}: {}, at most {most}", if keeps { "PASS" } else { "FAIL" }, figures[name]);
        keeps_all &= keeps;
    }
    if keeps_all { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn main() -> ExitCode {
    let seconds = std::env::args().find_map(|a| a.parse().ok()).unwrap_or(30);
    let (gearman, boot_program) = (env!("CARGO_BIN_EXE_gearman"), env!("CARGO_BIN_EXE_boot"));
    let fleet = Fleet::start(gearman, "release", "");
    let figures = measure("an idle, connected gearman", fleet.gearman.pid(), gearman, seconds);
    println!("{}", json!({"bench": "footprint", "figures": figures}));
    let mut boot = boot(&fleet);
    let figures = measure("boot, with an agent", boot.pid(), boot_program, seconds);
    boot.kill();
    end_agent(&fleet);
    println!("{}", json!({"bench": "footprint of boot", "figures": figures}));
    keeps_bars(&figures, seconds)
}
