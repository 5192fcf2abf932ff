//! `cpu` against lscpu: on this machine, and over the trees of others.

use super::ask::{ask, fixture, run, run_json};
use aspire_plugin::Root;
use hostinfo::cpu::{self, Cpu};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// What lscpu shows, by name.
fn lscpu(args: &[&str]) -> Option<BTreeMap<String, String>> {
    let shown = run_json("lscpu", &[&["-J", "-B"], args].concat())?;
    let pair = |line: &Value| {
        let name = line["field"].as_str().unwrap().trim_end_matches(':').to_owned();
        (name, line["data"].as_str().unwrap_or_default().to_owned())
    };
    Some(shown["lscpu"].as_array().unwrap().iter().map(pair).collect())
}

fn numbers(text: &str) -> Vec<u32> {
    let range = |range: &str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        first.parse().unwrap()..=last.parse::<u32>().unwrap()
    };
    text.split(',').flat_map(range).collect()
}

fn compare(answer: &Value, sysroot: &[&str]) {
    let Some(shown) = lscpu(sysroot) else { return };
    let count = |name: &str| shown.get(name).map(|text| text.parse::<u64>().unwrap());
    let online = shown.get("On-line CPU(s) list").map(|list| numbers(list)).unwrap();
    assert_eq!(numbers(answer["online"].as_str().unwrap()), online);
    assert_eq!(answer["logical"], online.len());
    for (field, name) in [
        ("sockets", "Socket(s)"),
        ("cores_per_socket", "Core(s) per socket"),
        ("threads_per_core", "Thread(s) per core"),
        ("numa_nodes", "NUMA node(s)"),
    ] {
        assert_eq!(answer[field], json!(count(name)), "{field}");
    }
    for (field, name) in [("mhz_min", "CPU min MHz"), ("mhz_max", "CPU max MHz")] {
        let mhz = shown.get(name).map(|text| text.parse::<f64>().unwrap());
        assert_eq!(answer[field].as_f64(), mhz, "{field}");
    }
    let mut flags: Vec<&str> = shown["Flags"].split(' ').collect();
    flags.sort_unstable();
    assert_eq!(answer["flags"], json!(flags));
    compare_caches(&answer["caches"], &shown, sysroot);
}

/// What they are called on x86.
fn compare_names(answer: &Value, sysroot: &[&str]) {
    let Some(shown) = lscpu(sysroot) else { return };
    for (field, name) in [
        ("vendor", "Vendor ID"),
        ("model_name", "Model name"),
        ("family", "CPU family"),
        ("model", "Model"),
        ("stepping", "Stepping"),
    ] {
        assert_eq!(answer[field], json!(shown.get(name)), "{field}");
    }
}

fn compare_caches(answer: &Value, shown: &BTreeMap<String, String>, sysroot: &[&str]) {
    let caches = run_json("lscpu", &[&["-J", "-B", "-C"], sysroot].concat()).unwrap();
    let number = |cache: &Value, name: &str| cache[name].as_str().map(|text| text.parse::<u64>().unwrap());
    let cache = |cache: &Value| {
        let name = cache["name"].as_str().unwrap();
        // `65536 (2 instances)`
        let summary = &shown[&format!("{name} cache")];
        let instances = summary.split(['(', ' ']).nth(2).unwrap().parse::<u64>().unwrap();
        json!({
            "name": name, "level": cache["level"], "type": cache["type"],
            "size": number(cache, "one-size"), "total": number(cache, "all-size"),
            "instances": instances, "ways": cache["ways"], "line": cache["coherency-size"],
        })
    };
    let expected: Vec<Value> = caches["caches"].as_array().into_iter().flatten().map(cache).collect();
    assert_eq!(*answer, json!(expected));
}

#[test]
fn this_machines_processors_are_those_of_lscpu() {
    let answer = ask(cpu::answer);
    compare(&answer, &[]);
    compare_names(&answer, &[]);
    assert_eq!(answer["architecture"], run("uname", &["-m"]).unwrap());
    let hypervisor = run("grep", &["-c", "-w", "-m1", "^flags.* hypervisor", "/proc/cpuinfo"]).unwrap();
    assert_eq!(answer["hypervisor"], hypervisor == "1");
}

/// A machine in which neighbours in the order of numbers share most.
struct Machine {
    cpuinfo: &'static str,
    sockets: u32,
    cores: u32,
    threads: u32,
    online: &'static str,
    /// Level, type, size, ways, and how many processors share one.
    caches: &'static [(u32, &'static str, &'static str, u32, u32)],
    /// kHz.
    frequency: Option<(u32, u32)>,
}

impl Machine {
    /// Its /proc/cpuinfo and /sys/devices/system.
    fn build(&self, place: &Path) {
        let put = |file: String, text: String| {
            let file = place.join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text + "\n").unwrap();
        };
        let all = self.sockets * self.cores * self.threads;
        let sys = "sys/devices/system";
        put("proc/cpuinfo".into(), fs::read_to_string(fixture(self.cpuinfo)).unwrap());
        put(format!("{sys}/cpu/online"), self.online.into());
        for file in ["possible", "present"] {
            put(format!("{sys}/cpu/{file}"), format!("0-{}", all - 1));
        }
        put(format!("{sys}/cpu/kernel_max"), "8191".into());
        put(format!("{sys}/node/online"), format!("0-{}", self.sockets - 1).replace("0-0", "0"));
        let online = numbers(self.online);
        // Those of a block of so many that are online: as a mask, and as a list.
        let sharing = |cpu: u32, count: u32| {
            let block = cpu / count * count..(cpu / count + 1) * count;
            let cpus: Vec<u32> = block.filter(|cpu| online.contains(cpu)).collect();
            let mask = cpus.iter().fold(0u64, |mask, cpu| mask | 1 << cpu);
            let list: Vec<String> = cpus.iter().map(ToString::to_string).collect();
            (format!("{mask:x}"), list.join(","))
        };
        for node in 0..self.sockets {
            let first = node * self.cores * self.threads;
            let (mask, list) = sharing(first, self.cores * self.threads);
            put(format!("{sys}/node/node{node}/cpumap"), mask);
            put(format!("{sys}/node/node{node}/cpulist"), list);
        }
        for cpu in 0..all {
            let at = |file: &str| format!("{sys}/cpu/cpu{cpu}/{file}");
            put(at("uevent"), String::new());
            if !online.contains(&cpu) {
                continue;
            }
            for (names, count) in [
                (["thread_siblings", "core_cpus"], self.threads),
                (["core_siblings", "package_cpus"], self.cores * self.threads),
            ] {
                let (mask, list) = sharing(cpu, count);
                for name in names {
                    put(at(&format!("topology/{name}")), mask.clone());
                    put(at(&format!("topology/{name}_list")), list.clone());
                }
            }
            put(at("topology/core_id"), (cpu / self.threads % self.cores).to_string());
            put(at("topology/physical_package_id"), (cpu / self.threads / self.cores).to_string());
            for (index, (level, kind, size, ways, count)) in self.caches.iter().enumerate() {
                let cache = |file: &str| at(&format!("cache/index{index}/{file}"));
                let (mask, list) = sharing(cpu, *count);
                put(cache("id"), (cpu / count).to_string());
                put(cache("level"), level.to_string());
                put(cache("type"), (*kind).into());
                put(cache("size"), (*size).into());
                put(cache("ways_of_associativity"), ways.to_string());
                put(cache("coherency_line_size"), "64".into());
                put(cache("shared_cpu_map"), mask);
                put(cache("shared_cpu_list"), list);
            }
            if let Some((min, max)) = self.frequency {
                put(at("cpufreq/cpuinfo_min_freq"), min.to_string());
                // The last one is a little faster, as turbo cores are.
                put(at("cpufreq/cpuinfo_max_freq"), (max + 1000 * cpu).to_string());
            }
        }
    }
}

const XEON: Machine = Machine {
    cpuinfo: "cpuinfo/xeon",
    sockets: 2,
    cores: 4,
    threads: 2,
    online: "0-15",
    caches: &[
        (1, "Data", "32K", 8, 2),
        (1, "Instruction", "32K", 8, 2),
        (2, "Unified", "1024K", 16, 2),
        (3, "Unified", "25344K", 11, 8),
    ],
    frequency: Some((1_200_000, 3_700_000)),
};

const ARM: Machine = Machine {
    cpuinfo: "cpuinfo/arm",
    sockets: 1,
    cores: 4,
    threads: 1,
    online: "0-3",
    caches: &[
        (1, "Data", "64K", 4, 1),
        (1, "Instruction", "64K", 4, 1),
        (2, "Unified", "1024K", 8, 1),
        (3, "Unified", "32768K", 16, 4),
    ],
    frequency: None,
};

fn asked_of(machine: &Machine) -> (tempfile::TempDir, Value) {
    let place = tempfile::tempdir().unwrap();
    machine.build(place.path());
    let answer = serde_json::to_string(&Cpu::of(&Root::at(place.path()))).unwrap();
    (place, serde_json::from_str(&answer).unwrap())
}

#[test]
fn two_sockets_are_those_of_lscpu() {
    let (place, answer) = asked_of(&XEON);
    let sysroot = ["--sysroot", place.path().to_str().unwrap()];
    compare(&answer, &sysroot);
    compare_names(&answer, &sysroot);
    assert_eq!((&answer["sockets"], &answer["threads_per_core"]), (&json!(2), &json!(2)));
    assert_eq!(answer["hypervisor"], false);
}

#[test]
fn processors_that_are_switched_off_are_not_counted() {
    let (place, answer) = asked_of(&Machine { online: "0-9,12-13", frequency: None, ..XEON });
    compare(&answer, &["--sysroot", place.path().to_str().unwrap()]);
    assert_eq!(answer["logical"], 12);
}

#[test]
fn processors_of_another_kind_are_those_of_lscpu() {
    let (place, answer) = asked_of(&ARM);
    compare(&answer, &["--sysroot", place.path().to_str().unwrap()]);
    // lscpu has names for these numbers; the kernel has not.
    for (field, key) in [
        ("vendor", "CPU implementer"),
        ("family", "CPU architecture"),
        ("model", "CPU part"),
        ("stepping", "CPU revision"),
    ] {
        let separator = "-F[\\t:]+ *";
        let wanted = format!("$1 == \"{key}\" {{ print $2; exit }}");
        let cpuinfo = place.path().join("proc/cpuinfo");
        let told = run("awk", &[separator, &wanted, cpuinfo.to_str().unwrap()]).unwrap();
        assert_eq!(answer[field], told, "{field}");
    }
    assert_eq!((&answer["model_name"], &answer["hypervisor"]), (&Value::Null, &Value::Null));
}

#[test]
fn what_a_container_does_not_tell_is_null() {
    let place = tempfile::tempdir().unwrap();
    fs::create_dir(place.path().join("proc")).unwrap();
    fs::copy(fixture("cpuinfo/xeon"), place.path().join("proc/cpuinfo")).unwrap();
    let answer = serde_json::to_value(Cpu::of(&Root::at(place.path()))).unwrap();
    assert_eq!(answer["logical"], 2);
    for field in [
        "sockets",
        "cores_per_socket",
        "threads_per_core",
        "online",
        "numa_nodes",
        "mhz_max",
        "mhz_min",
        "caches",
    ] {
        assert_eq!(answer[field], Value::Null, "{field}");
    }
    fs::write(place.path().join("proc/cpuinfo"), "").unwrap();
    let answer = serde_json::to_value(Cpu::of(&Root::at(place.path()))).unwrap();
    for field in ["logical", "vendor", "model_name", "family", "model", "stepping", "flags", "hypervisor"] {
        assert_eq!(answer[field], Value::Null, "{field}");
    }
}
