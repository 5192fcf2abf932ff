//! Processes of other machines, whose /proc is written here as they would tell it.

#![allow(clippy::unwrap_used, reason = "what is unexpected fails the test")]

use aspire_plugin::Root;
use aspire_plugin::args::Part;
use processinfo::process::{Selection, processes};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use tempfile::TempDir;

struct Machine(TempDir);

impl Machine {
    /// Up for a thousand seconds, with 8 GiB.
    fn new() -> Machine {
        let machine = Machine(TempDir::new().unwrap());
        machine.write("uptime", "1000.00 1900.00\n");
        machine.write("stat", "cpu  1 2 3 4\nintr 5\nbtime 1700000000\nprocesses 9\n");
        machine.write("meminfo", "MemTotal:        8388608 kB\nMemFree:          100000 kB\n");
        machine.write("self/stat", "no process");
        machine
    }

    fn write(&self, file: &str, text: impl AsRef<[u8]>) {
        let path = self.path(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.path().join("proc").join(file)
    }

    /// What has used so many ticks since its start in ticks, and so many pages.
    fn process(&self, pid: u32, name: &str, used: u64, start: u64, pages: u64) {
        let line = format!(
            "{pid} ({name}) S 1 {pid} {pid} 0 -1 4194560 1 2 3 4 {used} 0 5 6 20 0 3 0 {start} 1048576 {pages} \
             18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n"
        );
        self.write(&format!("{pid}/stat"), line);
        self.write(&format!("{pid}/statm"), format!("256 {pages} 1 1 0 1 0\n"));
        self.write(&format!("{pid}/comm"), format!("{name}\n"));
        self.write(&format!("{pid}/cmdline"), format!("/usr/bin/{name}\0--flag\0"));
    }

    fn asked(&self, selection: &Selection, part: Part) -> Value {
        let answer = processes(&Root::at(self.0.path()), selection, part).unwrap();
        serde_json::to_value(answer).unwrap()
    }

    fn all(&self) -> Value {
        self.asked(&Selection::default(), Part::default())
    }
}

fn names(answer: &Value) -> Vec<&str> {
    answer["processes"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect()
}

#[test]
fn numbers_are_counted_as_ps_counts_them() {
    let machine = Machine::new();
    machine.process(7, "server", 12_345, 60_000, 100_000);
    let told = &machine.all()["processes"][0];
    // 123.45 s in 400 s are 30.8625 percent; 390.625 of 8192 MiB are 4.76 percent.
    assert_eq!((&told["cpu_seconds"], &told["cpu_percent"]), (&json!(123.45), &json!(30.8)));
    assert_eq!((&told["rss"], &told["memory_percent"]), (&json!(409_600_000), &json!(4.7)));
    assert_eq!((&told["elapsed"], &told["started"]), (&json!(400), &json!("2023-11-14T22:23:20Z")));
    assert_eq!((&told["threads"], &told["virtual"]), (&json!(3), &json!(1_048_576)));
    assert_eq!(told["cmdline"], json!(["/usr/bin/server", "--flag"]));
}

#[test]
fn the_order_is_by_the_exact_share_or_by_memory() {
    let machine = Machine::new();
    machine.process(5, "old", 5_000, 0, 10);
    machine.process(6, "young", 5_000, 50_000, 30);
    machine.process(3, "idle", 0, 10, 20);
    machine.process(4, "lazy", 0, 10, 20);
    assert_eq!(names(&machine.all()), ["young", "old", "idle", "lazy"]);
    let by_memory = Selection { by_memory: true, ..Selection::default() };
    assert_eq!(names(&machine.asked(&by_memory, Part::default())), ["young", "idle", "lazy", "old"]);
    let part = machine.asked(&by_memory, Part { offset: 1, count: Some(2) });
    assert_eq!((names(&part), &part["count"]), (vec!["idle", "lazy"], &json!(4)));
}

#[test]
fn what_the_machine_does_not_tell_is_null() {
    let machine = Machine::new();
    machine.process(7, "server", 100, 0, 10);
    for (file, text) in [("uptime", "soon"), ("stat", "cpu 1"), ("meminfo", "MemTotal: 0 kB")] {
        machine.write(file, text);
    }
    let told = &machine.all()["processes"][0];
    for field in ["cpu_percent", "memory_percent", "started", "elapsed"] {
        assert_eq!(told[field], Value::Null, "{field}");
    }
    assert_eq!(told["cpu_seconds"], 1.0);
}

#[test]
fn a_container_that_is_younger_than_its_processes_has_no_negative_times() {
    let machine = Machine::new();
    machine.process(7, "server", 100, 200_000, 10);
    let told = &machine.all()["processes"][0];
    assert_eq!((&told["elapsed"], &told["cpu_percent"]), (&json!(0), &json!(0.0)));
}

#[test]
fn a_process_that_ends_meanwhile_is_passed_over() {
    let machine = Machine::new();
    machine.process(7, "server", 100, 0, 10);
    fs::create_dir(machine.path("8")).unwrap();
    machine.write("9/stat", "");
    machine.process(10, "ends", 900, 0, 10);
    fs::remove_file(machine.path("10/statm")).unwrap();
    let answer = machine.all();
    assert_eq!(names(&answer), ["server"]);
    // The last one ended between the two looks at it.
    assert_eq!(answer["count"], 2);
    let asked = Selection { pids: [7, 8].into(), ..Selection::default() };
    let refused = processes(&Root::at(machine.0.path()), &asked, Part::default()).unwrap_err();
    assert_eq!((refused.retcode.code(), refused.reason.as_str()), (3024, "there is no process 8"));
}

#[test]
fn a_thread_of_the_kernels_has_no_arguments() {
    let machine = Machine::new();
    machine.process(2, "kthreadd", 0, 0, 0);
    machine.write("2/cmdline", "");
    machine.process(3, "title", 0, 0, 1);
    machine.write("3/cmdline", "title: waits\0\0\0\0");
    let answer = machine.all();
    assert_eq!(answer["processes"][0]["cmdline"], json!([]));
    assert_eq!(answer["processes"][1]["cmdline"], json!(["title: waits"]));
}

#[test]
fn a_machine_without_proc_says_so() {
    let nothing = TempDir::new().unwrap();
    let refused = processes(&Root::at(nothing.path()), &Selection::default(), Part::default()).unwrap_err();
    assert_eq!(refused.retcode.code(), 3101);
}
