//! What an idle, connected gearman costs its host.
//!
//! `cargo bench --bench footprint [-- SECONDS]`

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a program that measures")]
#![allow(clippy::disallowed_methods, reason = "it measures real time")]

#[path = "../fleet/mod.rs"]
mod fleet;

use fleet::Fleet;
use serde_json::json;
use std::fs;
use std::time::Duration;

/// A line `NAME:  NUMBER …` of a file in /proc.
fn field(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or_else(|| panic!("no {name}"))
}

fn switches(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    field(&status, "voluntary_ctxt_switches") + field(&status, "nonvoluntary_ctxt_switches")
}

fn main() {
    let seconds = std::env::args().find_map(|a| a.parse().ok()).unwrap_or(30);
    let program = env!("CARGO_BIN_EXE_gearman");
    let fleet = Fleet::start(program, "release", "");
    // Pages of a freshly linked program count as dirty until they are written back.
    nix::unistd::sync();
    let pid = fleet.gearman.pid();
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
    println!("an idle, connected gearman");
    for (name, figure) in figures {
        println!("{name:18} {figure:8}");
    }
    let figures: serde_json::Map<_, _> = figures.into_iter().map(|(k, v)| (k.to_owned(), v.into())).collect();
    println!("{}", json!({"bench": "footprint", "figures": figures}));
}
