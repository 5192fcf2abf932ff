//! `kernel` against uname, date, awk, lsmod and the files themselves.

use super::ask::{ask, fixture, run, settled};
use super::elsewhere::elsewhere;
use hostinfo::kernel;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

#[test]
fn a_kernel_is_what_uname_says() {
    let answer = ask(kernel::answer);
    for (field, option) in
        [("sysname", "-s"), ("nodename", "-n"), ("release", "-r"), ("version", "-v"), ("machine", "-m")]
    {
        assert_eq!(answer[field], run("uname", &[option]).unwrap(), "{field}");
    }
    let domain = run("cat", &["/proc/sys/kernel/domainname"]).filter(|name| name != "(none)");
    assert_eq!(answer["domainname"], json!(domain));
}

fn compare_files() {
    let answer = ask(kernel::answer);
    assert_eq!(answer["cmdline"], run("cat", &["/proc/cmdline"]).unwrap());
    assert_eq!(answer["boot_id"], run("cat", &["/proc/sys/kernel/random/boot_id"]).unwrap());
    let seconds = run("awk", &["$1 == \"btime\" { print \"@\" $2 }", "/proc/stat"]).unwrap();
    let date = run("date", &["-u", "-d", &seconds, "+%Y-%m-%dT%H:%M:%SZ"]).unwrap();
    assert_eq!(answer["boot_time"], date);
}

#[test]
fn this_kernel_was_started_as_its_files_say() {
    compare_files();
}

#[test]
fn another_kernel_was_started_as_its_files_say() {
    let (proc, id) = (fixture("kernel/stat"), fixture("kernel/boot_id"));
    let cmdline = fixture("kernel/cmdline");
    let files = [
        (proc.as_path(), "/proc/stat"),
        (&id, "/proc/sys/kernel/random/boot_id"),
        (&cmdline, "/proc/cmdline"),
    ];
    elsewhere(&files, || {
        compare_files();
        assert_eq!(ask(kernel::answer)["boot_time"], "2023-03-07T11:14:45Z");
    });
}

/// As `lsmod` shows them, with the states that it does not show.
fn lsmod() -> Option<Vec<Value>> {
    let text = run("lsmod", &[])?;
    let states = run("awk", &["{ print $1, $5 }", "/proc/modules"]).unwrap();
    let line = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [name, size, users] = *words.first_chunk().unwrap();
        let mut used_by: Vec<&str> = words.get(3).map(|names| names.split(',').collect()).unwrap_or_default();
        used_by.sort_unstable();
        let state = states.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).unwrap();
        let number = |text: &str| text.parse::<i64>().unwrap();
        json!({
            "name": name, "size": number(size), "users": number(users), "used_by": used_by, "state": state,
        })
    };
    let mut modules: Vec<Value> = text.lines().skip(1).map(line).collect();
    modules.sort_by_key(|module| module["name"].to_string());
    Some(modules)
}

fn compare_modules() {
    if let Some((modules, answer)) = settled(lsmod, kernel::answer) {
        assert_eq!(answer["modules"], json!(modules));
    }
}

#[test]
fn the_modules_are_those_of_lsmod() {
    if Path::new("/proc/modules").exists() {
        compare_modules();
    } else {
        assert_eq!(ask(kernel::answer)["modules"], Value::Null);
    }
}

#[test]
fn another_hosts_modules_are_those_of_lsmod() {
    let place = tempfile::tempdir().unwrap();
    let (proc, sys) = (place.path().join("proc"), place.path().join("sys"));
    fs::create_dir(&proc).unwrap();
    fs::copy(fixture("kernel/modules"), proc.join("modules")).unwrap();
    // What that host's /sys/module said, which is what lsmod goes by.
    for line in fs::read_to_string(fixture("kernel/module")).unwrap().lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let module = sys.join(words[0]);
        fs::create_dir_all(module.join("holders")).unwrap();
        fs::write(module.join("coresize"), format!("{}\n", words[1])).unwrap();
        fs::write(module.join("refcnt"), format!("{}\n", words[2])).unwrap();
        fs::write(module.join("initstate"), "live\n").unwrap();
        for holder in &words[3..] {
            fs::write(module.join("holders").join(holder), "").unwrap();
        }
    }
    elsewhere(&[(&proc, "/proc"), (&sys, "/sys/module")], || {
        compare_modules();
        assert_eq!(ask(kernel::answer)["modules"].as_array().unwrap().len(), 8);
    });
}
