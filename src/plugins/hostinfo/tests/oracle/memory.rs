//! `memory` against free and awk.

use super::ask::{ask, fixture, run};
use super::elsewhere::elsewhere;
use hostinfo::memory;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

/// Both of them here, with whatever /proc/meminfo says.
fn compare() -> Value {
    let answer = ask(memory::answer);
    let awk = |name: &str| {
        let program = format!("$1 == \"{name}:\" {{ printf \"%.0f\", $2 * ($3 == \"kB\" ? 1024 : 1) }}");
        run("awk", &[&program, "/proc/meminfo"]).unwrap().parse::<u64>().ok()
    };
    let hugepages = awk("Hugepagesize")
        .map(|size| json!({"size": size, "total": awk("HugePages_Total"), "free": awk("HugePages_Free")}));
    assert_eq!(answer["hugepages"], json!(hugepages));
    let Some(text) = run("free", &["-b", "-w"]) else { return answer };
    let row = |name: &str| -> Vec<u64> {
        let row = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        row.split_whitespace().map(|number| number.parse().unwrap()).collect()
    };
    let fields = ["total", "used", "free", "shared", "buffers", "cached", "available"];
    for (field, expected) in fields.into_iter().zip(row("Mem:")) {
        // free shows something else for what the kernel does not tell, or it does not believe.
        let told = awk("MemAvailable").filter(|available| Some(*available) <= awk("MemTotal"));
        let expected =
            if field == "available" && told.is_none() { awk("MemAvailable") } else { Some(expected) };
        assert_eq!(answer[field], json!(expected), "{field}");
    }
    for (field, expected) in ["swap_total", "swap_used", "swap_free"].into_iter().zip(row("Swap:")) {
        assert_eq!(answer[field], expected, "{field}");
    }
    answer
}

fn at(meminfo: &Path, more: impl FnOnce(Value) + Send) {
    elsewhere(&[(meminfo, "/proc/meminfo")], || more(compare()));
}

#[test]
fn this_machines_memory_is_what_free_says() {
    let place = tempfile::tempdir().unwrap();
    let now = place.path().join("meminfo");
    fs::write(&now, fs::read("/proc/meminfo").unwrap()).unwrap();
    at(&now, |answer| assert!(answer["total"].as_u64() > answer["used"].as_u64()));
    let total = run("awk", &["$1 == \"MemTotal:\" { printf \"%.0f\", $2 * 1024 }", "/proc/meminfo"]).unwrap();
    assert_eq!(ask(memory::answer)["total"].to_string(), total);
}

#[test]
fn a_servers_memory_is_what_free_says() {
    at(&fixture("meminfo/server"), |answer| {
        assert_eq!(answer["hugepages"], json!({"size": 1_073_741_824, "total": 64, "free": 12}));
        assert_eq!(answer["swap_used"], 2048 * 1024);
    });
}

#[test]
fn an_old_kernels_memory_is_what_free_says() {
    at(&fixture("meminfo/centos6"), |answer| assert_eq!(answer["available"], Value::Null));
}

#[test]
fn a_containers_memory_is_what_free_says() {
    at(&fixture("meminfo/container"), |answer| assert_eq!(answer["hugepages"], Value::Null));
}
