//! REST to bash and back, against the floor: posix_spawn of the same command
//! with the same environment, measured warm and in turns in the same run.
//!
//! `cargo bench --bench roundtrip [-- ROUNDS]`

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a program that measures")]
#![allow(clippy::disallowed_methods, reason = "it measures real time")]

#[path = "../fleet/mod.rs"]
mod fleet;

mod client;
mod floor;

use client::{Client, WARM, quantile, timed};
use fleet::Fleet;
use floor::Floor;
use serde_json::json;
use std::time::Duration;

fn main() {
    let rounds = std::env::args().find_map(|a| a.parse().ok()).unwrap_or(1000);
    let fleet = Fleet::start(env!("CARGO_BIN_EXE_gearman"), "release", "");
    let bare = Floor::new();
    // As the agent saw it, from the start of bash to its end.
    let mut client = Client::new(&fleet, &json!({"method": "sync.bash", "cmd": "true"}));
    let mut true_over_rest = || {
        let entry = client.ask();
        assert_eq!(entry["retcode"], 2, "{entry}");
        Duration::from_secs_f64(entry["elapsed"].as_f64().unwrap())
    };
    for _ in 0..100 {
        true_over_rest();
    }
    let (mut rest, mut agent, mut floor) = (Vec::new(), Vec::new(), Vec::new());
    while rest.len() < rounds {
        floor.extend((0..WARM).map(|_| timed(|| bare.one())));
        rest.extend((0..WARM).map(|_| timed(|| agent.push(true_over_rest()))));
    }
    for times in [&mut rest, &mut agent, &mut floor] {
        times.sort();
    }
    println!("{rounds} rounds          p50 ms    p90 ms    p99 ms");
    for (name, times) in [("REST to bash", &rest), ("in the agent", &agent), ("posix_spawn ", &floor)] {
        let [p50, p90, p99] = [50, 90, 99].map(|of_hundred| quantile(times, of_hundred));
        println!("{name}     {p50:9.3} {p90:9.3} {p99:9.3}");
    }
    let ratio = quantile(&rest, 50) / quantile(&floor, 50);
    println!("ratio at the median  {ratio:.2}");
    let figures = json!({
        "bench": "roundtrip", "rounds": rounds, "ratio_p50": ratio,
        "rest_ms": {"p50": quantile(&rest, 50), "p99": quantile(&rest, 99)},
        "agent_ms": {"p50": quantile(&agent, 50), "p99": quantile(&agent, 99)},
        "floor_ms": {"p50": quantile(&floor, 50), "p99": quantile(&floor, 99)},
    });
    println!("{figures}");
}
