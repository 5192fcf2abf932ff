//! A query through REST, the agent and its plugin and back, against the floor:
//! the forked child alone, which finds the plugin, loads it and asks it the same;
//! and what ten thousand queries leave behind in the agent.
//!
//! `cargo bench --bench getinfo [-- ROUNDS]`

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a program that measures")]
#![allow(clippy::disallowed_methods, reason = "it measures real time")]

#[path = "../fleet/mod.rs"]
mod fleet;
#[path = "../rig/mod.rs"]
mod rig;

mod client;

use aspire::machine::limits::DOCUMENT_BYTES;
use aspire::machine::{Question, Task};
use aspire::reactor::run_aside;
use client::{Client, WARM, quantile, timed};
use fleet::Fleet;
use rig::plugins::Folder;
use serde_json::json;

const QUERIES: usize = 10_000;

fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

fn main() {
    let rounds = std::env::args().find_map(|a| a.parse().ok()).unwrap_or(1000);
    let fleet = Fleet::start(env!("CARGO_BIN_EXE_gearman"), "release", "");
    let dir = fleet.path("plugins");
    Folder::new(dir.clone()).ours();
    let question = Question { dir, query: "kernel".into(), args: String::new(), most_bytes: DOCUMENT_BYTES };
    let mut client = Client::new(&fleet, &json!({"method": "getinfo.kernel"}));
    let mut over_rest = || {
        let entry = client.ask();
        assert_eq!(entry["retcode"], 2, "{entry}");
    };
    let task = Task::Ask(question);
    let alone = || assert!(run_aside(&task).unwrap().starts_with(b"{\"retcode\":2,"));
    for _ in 0..100 {
        over_rest();
        alone();
    }
    let (mut rest, mut floor) = (Vec::new(), Vec::new());
    while rest.len() < rounds {
        floor.extend((0..WARM).map(|_| timed(alone)));
        rest.extend((0..WARM).map(|_| timed(&mut over_rest)));
    }
    for times in [&mut rest, &mut floor] {
        times.sort();
    }
    println!("{rounds} rounds             p50 ms    p90 ms    p99 ms");
    for (name, times) in [("getinfo.kernel, REST", &rest), ("the child alone     ", &floor)] {
        let [p50, p90, p99] = [50, 90, 99].map(|of_hundred| quantile(times, of_hundred));
        println!("{name} {p50:9.3} {p90:9.3} {p99:9.3}");
    }
    let ratio = quantile(&rest, 50) / quantile(&floor, 50);
    println!("ratio at the median     {ratio:.2}");
    let pid = fleet.gearman.pid();
    let before = resident_kib(pid);
    for _ in 0..QUERIES {
        over_rest();
    }
    let after = resident_kib(pid);
    println!("RSS KiB before and after {QUERIES} queries: {before} {after}");
    let figures = json!({
        "bench": "getinfo", "rounds": rounds, "ratio_p50": ratio,
        "rest_ms": {"p50": quantile(&rest, 50), "p99": quantile(&rest, 99)},
        "child_ms": {"p50": quantile(&floor, 50), "p99": quantile(&floor, 99)},
        "queries": QUERIES, "rss_kib": {"before": before, "after": after},
    });
    println!("{figures}");
}
