//! A router with many routes. A file of its own, because it measures the memory of
//! its process, where others would use some at the same time.

#![allow(clippy::unwrap_used, reason = "what is unexpected fails the test")]

#[path = "oracle/ask.rs"]
#[allow(dead_code, reason = "of the others' helpers little is used")]
mod ask;
#[path = "oracle/network.rs"]
mod network;

use ask::ask;
use hostinfo::{facts, net};
use network::network;
use serde_json::{Value, json};
use std::fs;

const ROUTES: u32 = 100_000;
/// Bytes: each route that is kept takes a few hundred.
const MOST: u64 = 8 << 20;

/// How much more memory than now this needs at its peak.
fn peak_of<T>(act: impl FnOnce() -> T) -> (T, u64) {
    let peak = || {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
    };
    // Forgets the peak there was.
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = peak();
    let done = act();
    (done, peak() - before)
}

#[test]
fn a_hundred_thousand_routes_are_not_kept_for_a_few() {
    let folder = tempfile::tempdir().unwrap();
    let batch = folder.path().join("routes");
    let address = |number: u32| std::net::Ipv4Addr::from(0x1400_0000 + number * 256);
    let lines = (0..ROUTES).map(|number| format!("route add {}/24 dev d0\n", address(number)));
    fs::write(&batch, lines.collect::<String>()).unwrap();
    let commands = [
        "link set lo up",
        "link add d0 type ifb",
        "link set d0 up",
        "addr add 10.1.2.3/24 dev d0",
        "route add default via 10.1.2.1 dev d0",
        &format!("-batch {}", batch.display()),
    ];
    network(&commands, || {
        let (facts, took) = peak_of(|| ask(facts::answer));
        assert_eq!(facts["net"]["default_gateway"], "10.1.2.1");
        assert!(took < MOST, "facts: {took} bytes");

        let (part, took) = peak_of(|| net::answer("-r -n 2 -o 90000").unwrap());
        let part: Value = serde_json::from_str(&part).unwrap();
        assert!(part["counts"]["routes"].as_u64().unwrap() > u64::from(ROUTES), "{part}");
        assert_eq!(part["routes"].as_array().unwrap().len(), 2);
        assert_eq!((&part["routes"][0]["interface"], &part["interfaces"]), (&json!("d0"), &Value::Null));
        assert!(took < MOST, "a part: {took} bytes");
    });
}
