//! Processes: as ps sees them.

#![allow(clippy::unwrap_used, reason = "what is unexpected fails the test")]

#[path = "../../../../tests/elsewhere/mod.rs"]
mod elsewhere;

use elsewhere::elsewhere;
use serde_json::{Map, Value, json};
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

fn asked(args: &str) -> Value {
    serde_json::from_str(&processinfo::process::answer(args).unwrap()).unwrap()
}

/// One process that sleeps until the test has ended.
struct Sleeper(Child);

impl Sleeper {
    fn start(command: &mut Command) -> Sleeper {
        Sleeper(command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap())
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }

    fn asked(&self) -> Value {
        let answer = asked(&format!("-p {}", self.pid()));
        assert_eq!(answer["count"], 1);
        answer["processes"][0].clone()
    }

    /// As [`Sleeper::asked`], once it is as it should be: what was started just now
    /// may not sleep yet.
    fn asked_until(&self, ready: impl Fn(&Value) -> bool) -> Value {
        let mut told = (0..100_000).map(|_| self.asked());
        told.find(|told| ready(told)).unwrap_or_else(|| panic!("{}", self.asked()))
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What ps says in a column (or more, with their options). `None` where there is no ps.
fn ps(pid: u32, column: &str) -> Option<String> {
    let mut ps = Command::new("ps");
    ps.args(["-ww", "-p", &pid.to_string(), "-o"]).args(format!("{column}=").split(' '));
    ps.env("LC_ALL", "C").env("TZ", "UTC");
    let Ok(run) = ps.output() else {
        let _ = writeln!(std::io::stderr(), "NOT SEEN: what ps says: it is not installed");
        return None;
    };
    Some(String::from_utf8(run.stdout).unwrap().trim().to_owned())
}

/// What ps says, in our words, all from one look.
fn told_by_ps(pid: u32) -> Option<Map<String, Value>> {
    let columns = "pid= -o ppid= -o euid= -o nlwp= -o ni= -o etimes= -o cputimes= -o rss= -o vsz= -o pmem= -o pcpu= \
                   -o s= -o euser:64= -o lstart= -o comm:64";
    let said = ps(pid, columns)?;
    let words: Vec<_> = said.split_whitespace().collect();
    let number = |place: usize| json!(words[place].parse::<i64>().unwrap());
    let bytes = |place: usize| json!(words[place].parse::<u64>().unwrap() * 1024);
    let percent = |place: usize| json!(words[place].parse::<f64>().unwrap());
    let told = json!({
        "pid": number(0), "ppid": number(1), "uid": number(2), "threads": number(3), "nice": number(4),
        "elapsed": number(5), "cpu_seconds": number(6), "rss": bytes(7), "virtual": bytes(8),
        "memory_percent": percent(9), "cpu_percent": percent(10), "state": words[11], "user": words[12],
        "started": rfc_3339(&words[13..18]), "name": words[18..].join(" "),
    });
    told.as_object().cloned()
}

/// Of `Tue Nov 24 16:21:16 2026`.
fn rfc_3339(words: &[&str]) -> String {
    let [_, month, day, time, year] = words else { panic!("{words:?}") };
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = 1 + months.iter().position(|name| name == month).unwrap();
    format!("{year}-{month:02}-{day:0>2}T{time}Z")
}

/// Every field that ps has, once two readings of ps's agree. Its own clock is a tick
/// behind now and then, which tells in the share of what has only just started.
fn agrees_with_ps(sleeper: &Sleeper) {
    let mut last = None;
    for _ in 0..50 {
        let Some(before) = told_by_ps(sleeper.pid()) else { return };
        let mut told = sleeper.asked().as_object().unwrap().clone();
        if told_by_ps(sleeper.pid()).as_ref() != Some(&before) {
            continue;
        }
        for field in ["cmdline", "cmdline_cut"] {
            told.remove(field).unwrap();
        }
        // ps counts whole seconds.
        let seconds = told["cpu_seconds"].as_f64().unwrap();
        #[allow(clippy::cast_possible_truncation, reason = "cut off on purpose")]
        told.insert("cpu_seconds".into(), json!(seconds as i64));
        if told == before {
            return;
        }
        last = Some((told, before));
    }
    let (told, before) = last.expect("ps says the same twice");
    assert_eq!(told, before);
}

#[test]
fn a_process_that_sleeps_is_as_ps_sees_it() {
    let sleeper = Sleeper::start(Command::new("sleep").arg("600"));
    let told = sleeper.asked_until(|told| told["name"] == "sleep" && told["state"] == "S");
    agrees_with_ps(&sleeper);
    assert_eq!((&told["cmdline"], &told["cmdline_cut"]), (&json!(["sleep", "600"]), &json!(false)));
    assert_eq!(told["ppid"], std::process::id());
}

#[test]
fn another_user_and_another_priority_are_as_ps_sees_them() {
    let mut command = Command::new("nice");
    command.args(["-n", "7", "sleep", "600"]);
    if nix::unistd::geteuid().is_root() {
        command.uid(65534);
    }
    let sleeper = Sleeper::start(&mut command);
    let told = sleeper.asked_until(|told| told["name"] == "sleep" && told["state"] == "S");
    assert_eq!(told["nice"], 7);
    agrees_with_ps(&sleeper);
}

#[test]
fn what_is_stopped_and_what_has_ended_are_as_ps_sees_them() {
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;
    let sleeper = Sleeper::start(Command::new("sleep").arg("600"));
    let pid = Pid::from_raw(sleeper.pid().cast_signed());
    sleeper.asked_until(|told| told["name"] == "sleep" && told["state"] == "S");
    kill(pid, Signal::SIGSTOP).unwrap();
    sleeper.asked_until(|told| told["state"] == "T");
    agrees_with_ps(&sleeper);
    kill(pid, Signal::SIGKILL).unwrap();
    let told = sleeper.asked_until(|told| told["state"] == "Z");
    assert_eq!((&told["cmdline"], &told["rss"], &told["virtual"]), (&json!([]), &json!(0), &json!(0)));
    if let Some(name) = ps(sleeper.pid(), "comm") {
        assert_eq!(told["name"], name.trim_end_matches(" <defunct>"));
    }
}

#[test]
fn the_first_process_is_as_ps_sees_it() {
    // It may work, so that only what does not change is compared.
    const STEADY: [&str; 7] = ["pid", "ppid", "uid", "user", "nice", "started", "name"];
    let Some(said) = told_by_ps(1) else { return };
    let told = &asked("-p 1")["processes"][0];
    for field in STEADY {
        assert_eq!(told[field], said[field], "{field}");
    }
}

#[test]
fn what_worked_and_sleeps_has_a_share_that_falls_as_ps_sees_it() {
    let work = "i=0; while [ $i -lt 150000 ]; do i=$((i+1)); done; echo; read x";
    let mut command = Command::new("sh");
    let mut child = command.args(["-c", work]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut worked = BufReader::new(child.stdout.take().unwrap());
    let sleeper = Sleeper(child);
    worked.read_line(&mut String::new()).unwrap();
    sleeper.asked_until(|told| told["state"] == "S");
    let as_seen = (0..40).filter(|_| {
        let Some(before) = ps(sleeper.pid(), "pcpu") else { return true };
        let told = sleeper.asked();
        let after = ps(sleeper.pid(), "pcpu").unwrap();
        let (before, after): (f64, f64) = (before.parse().unwrap(), after.parse().unwrap());
        // From 100 on ps shows whole percents.
        let share = told["cpu_percent"].as_f64().unwrap().min(100.0);
        share > 0.0 && before >= share && share >= after
    });
    // ps's own clock is a tick behind now and then.
    assert!(as_seen.count() >= 30);
}

#[test]
fn names_and_arguments_may_be_any_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join(OsStr::from_bytes(b"a) R (\xff\n"));
    fs::copy("/bin/sh", &program).unwrap();
    let mut command = Command::new(&program);
    command.arg0(OsStr::from_bytes(b"J\xf6rg")).args(["-c", "read x", "", "0", "", ""]).stdin(Stdio::piped());
    // A child of another test's may have the copy open for writing for a moment.
    let child = (0..1000).find_map(|_| command.spawn().ok());
    let told = Sleeper(child.unwrap()).asked_until(|told| told["cmdline"] != json!([]));
    assert_eq!(told["name"], json!({"base64": "YSkgUiAo/wo="}));
    assert_eq!(told["cmdline"], json!([{"base64": "SvZyZw=="}, "-c", "read x", "", "0"]));
}

#[test]
fn a_command_line_is_cut_where_that_is_said() {
    let argument = "x".repeat(3000);
    let mut command = Command::new("sh");
    command.args(["-c", "read x", &argument, &argument, &argument]);
    let sleeper = Sleeper::start(&mut command);
    let told = sleeper.asked_until(|told| told["state"] == "S" && told["cmdline"][0] == "sh");
    let shown: Vec<_> =
        told["cmdline"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
    assert_eq!(shown[..5].iter().map(|text| text.len()).collect::<Vec<_>>(), [2, 2, 6, 3000, 3000]);
    assert_eq!((shown.join("\0").len(), &told["cmdline_cut"]), (8192, &json!(true)));
}

#[test]
fn those_of_a_name_are_found_by_it_and_by_the_file_they_run() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("a-long-name-of-a-program");
    fs::copy("/bin/sleep", &program).unwrap();
    let start = || {
        let started = (0..1000).find_map(|_| Command::new(&program).arg("600").spawn().ok());
        Sleeper(started.unwrap())
    };
    let sleepers = [start(), start()];
    for sleeper in &sleepers {
        sleeper.asked_until(|told| told["name"] == "a-long-name-of-");
    }
    let mut pids = sleepers.iter().map(Sleeper::pid).collect::<Vec<_>>();
    pids.sort_unstable();
    for name in ["a-long-name-of-", "a-long-name-of-a-program"] {
        let answer = asked(&format!("-N {name}"));
        let mut found: Vec<_> =
            answer["processes"].as_array().unwrap().iter().map(|one| one["pid"].clone()).collect();
        found.sort_by_key(Value::as_u64);
        assert_eq!((json!(found), &answer["count"]), (json!(pids), &json!(2)), "{name}");
    }
    assert_eq!(asked("-N a-long -n 3"), json!({"processes": [], "count": 0}));
    let part = asked("-N a-long-name-of- -n 1 -o 1");
    assert_eq!((part["processes"].as_array().unwrap().len(), &part["count"]), (1, &json!(2)));
    // Its file may be replaced while it runs.
    fs::remove_file(&program).unwrap();
    assert_eq!(asked("-N a-long-name-of-a-program")["count"], 2);
}

#[test]
fn all_processes_are_there() {
    let all = || {
        let run = Command::new("ps").args(["-e", "-o", "pid="]).output().ok()?;
        let pids = String::from_utf8(run.stdout).unwrap();
        Some(pids.split_whitespace().map(|pid| pid.parse::<i64>().unwrap()).collect::<Vec<_>>())
    };
    let Some(before) = all() else { return };
    let answer = asked("-n 1000000");
    let after = all().unwrap();
    let told: Vec<_> =
        answer["processes"].as_array().unwrap().iter().map(|one| one["pid"].as_i64().unwrap()).collect();
    let missing: Vec<_> = before.iter().filter(|pid| after.contains(pid) && !told.contains(pid)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert!(answer["count"].as_u64().unwrap() >= told.len() as u64);
}

#[test]
fn those_that_use_most_come_first() {
    for (args, field) in [("", "cpu_percent"), ("-m", "rss")] {
        let answer = asked(args);
        let processes = answer["processes"].as_array().unwrap();
        assert!(processes.len() <= 10 && answer["count"].as_u64().unwrap() >= processes.len() as u64);
        // Between the two looks at a process it may come to use more or less.
        let most = asked(&format!("{args} -n 1"))["processes"][0][field].as_f64().unwrap();
        let least = processes.last().unwrap()[field].as_f64().unwrap();
        assert!(most >= least, "{most} {least}");
    }
}

#[test]
fn accounts_of_another_machine_have_their_names_there() {
    let folder = tempfile::tempdir().unwrap();
    let passwd = folder.path().join("passwd");
    fs::write(&passwd, "toor:x:0:0:root:/root:/bin/sh\n").unwrap();
    elsewhere(&[(&passwd, "/etc/passwd")], || {
        let sleeper = Sleeper::start(Command::new("sleep").arg("600"));
        sleeper.asked_until(|told| told["name"] == "sleep" && told["state"] == "S");
        assert_eq!(sleeper.asked()["user"], "toor");
        agrees_with_ps(&sleeper);
        let other = Sleeper::start(Command::new("sleep").arg("600").uid(4_000_000_000));
        let told = other.asked_until(|told| told["name"] == "sleep" && told["state"] == "S");
        assert_eq!((&told["user"], &told["uid"]), (&Value::Null, &json!(4_000_000_000_u32)));
        // Where there is no name, ps shows the number.
        if let Some(said) = ps(other.pid(), "euser:64") {
            assert_eq!(said, "4000000000");
        }
    });
}

#[test]
fn what_is_wrong_is_named() {
    for (args, code, word) in [
        ("-x", 3021, "x"),
        ("-p 0", 3021, "-p: \"0\""),
        ("-p 1,x", 3021, "-p: \"x\""),
        ("-p 1,", 3021, "-p: \"\""),
        ("-p 99999999999", 3021, "-p: \"99999999999\""),
        ("-n x", 3021, "-n"),
        ("-p 1 -p 2147483647", 3024, "2147483647"),
    ] {
        let refused = processinfo::process::answer(args).unwrap_err();
        assert_eq!(refused.retcode.code(), code, "{args}");
        assert!(refused.reason.contains(word), "{args}: {refused}");
    }
}

#[test]
fn a_thread_is_no_process() {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            tell.send(nix::unistd::gettid()).unwrap();
            let _ = wait.recv();
        });
        let thread = told.recv().unwrap();
        assert!(fs::exists(format!("/proc/{thread}")).unwrap());
        assert_eq!(processinfo::process::answer(&format!("-p {thread}")).unwrap_err().retcode.code(), 3024);
        drop(go);
    });
}
