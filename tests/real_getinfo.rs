//! Plugins as real libraries, through gearctl and through an agent: those that
//! answer, and those that do whatever else a library can do.

#![allow(clippy::unwrap_used, reason = "what is unexpected fails the test")]

#[path = "man/page.rs"]
mod page;
mod rig;

use page::Page;
use rig::plugins::Folder;
use rig::{aloud, connected, is_root, process};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// A plugin folder, and gearctl that finds it by its configuration.
struct Bench {
    dir: TempDir,
    folder: Folder,
}

impl Bench {
    fn new() -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let plugins = dir.path().join("plugins");
        let config = format!("[plugins]\ndir = \"{}\"\n", plugins.display());
        fs::write(dir.path().join("gearman.conf"), config).unwrap();
        Bench { folder: Folder::new(plugins), dir }
    }

    /// Exit status, standard output, standard error.
    fn ask(&self, query: &str, args: &str) -> (Option<i32>, String, String) {
        let mut gearctl = Command::new(env!("CARGO_BIN_EXE_gearctl"));
        gearctl.arg("-C").arg(self.dir.path().join("gearman.conf"));
        gearctl.args(["-c", &format!("getinfo.{query}")]);
        if !args.is_empty() {
            gearctl.args(["-a", args]);
        }
        rig::agent::parts(&gearctl.output().unwrap())
    }

    /// Why there is no answer; whoever is asked says so and exits 1.
    fn refusal(&self, query: &str) -> String {
        let (status, answer, reason) = self.ask(query, "");
        assert_eq!((status, answer.as_str()), (Some(1), ""), "{reason}");
        reason
    }
}

#[test]
fn a_plugin_in_c_answers_without_an_agent() {
    let bench = Bench::new();
    bench.folder.sample();
    assert_eq!(bench.ask("sample", ""), (Some(0), "{\"hello\":\"world\"}\n".into(), String::new()));
    assert_eq!(bench.ask("sample", "-w you").1, "{\"hello\":\"you\"}\n");
    let reason = "gearctl: Invalid params (3021): args: only -w NAME is known\n";
    assert_eq!(bench.ask("sample", "-x"), (Some(1), String::new(), reason.into()));
    // In a process of its own.
    assert_ne!(bench.ask("sample.pid", "").1, bench.ask("sample.pid", "").1);
}

#[test]
fn the_example_of_the_manual_page_is_a_plugin() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/man/cargo-plugin.3")).unwrap();
    let example =
        page.lines().skip_while(|line| !line.starts_with("#include")).take_while(|line| *line != ".Ed");
    let source: String = example.map(|line| line.replace("\\e", "\\") + "\n").collect();
    let bench = Bench::new();
    bench.folder.compiled("greeting", &source);
    assert_eq!(bench.ask("greeting", "").1, "\"hello\"\n");
}

#[test]
fn who_asks_for_what_is_not_there_learns_what_there_is() {
    let bench = Bench::new();
    bench.folder.sample();
    let reason = bench.refusal("users");
    let expected = "no plugin there answers \"users\"; there are sample, sample.pid\n";
    assert!(reason.starts_with("gearctl: Unknown method (3022): ") && reason.ends_with(expected), "{reason}");
    fs::remove_file(bench.folder.path("sample.so")).unwrap();
    assert!(bench.refusal("users").ends_with("answers \"users\"; and no other query\n"));
    fs::remove_dir(bench.dir.path().join("plugins")).unwrap();
    let reason = bench.refusal("users");
    assert!(reason.contains("plugins: No such file or directory"), "{reason}");
    for name in ["", "Users", "../sample"] {
        let reason = bench.refusal(name);
        assert!(reason.starts_with("gearctl: -c: a query's name is 1 to 64 lower-case"), "{reason}");
    }
}

#[test]
fn a_file_that_is_no_plugin_is_named_and_does_not_disturb_the_others() {
    let bench = Bench::new();
    bench.folder.sample();
    fs::write(bench.folder.path("a-text.so"), "#!/bin/sh\n").unwrap();
    fs::write(bench.folder.path("b-empty.so"), "").unwrap();
    let sample = fs::read(bench.folder.path("sample.so")).unwrap();
    // Of a copy that was interrupted anywhere nothing else may follow than that it is no library.
    for (name, length) in [("c-cut.so", 40), ("d-cut.so", 3000), ("e-cut.so", sample.len() - 1)] {
        fs::write(bench.folder.path(name), &sample[..length]).unwrap();
    }
    fs::create_dir(bench.folder.path("f-folder.so")).unwrap();
    nix::unistd::mkfifo(&bench.folder.path("g-fifo.so"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    symlink("/nowhere", bench.folder.path("h-dangling.so")).unwrap();
    fs::write(bench.folder.path("ignored.txt"), "").unwrap();
    assert_eq!(bench.ask("sample", "").1, "{\"hello\":\"world\"}\n");
    let reason = bench.refusal("users");
    for words in [
        "8 not fit for use",
        "a-text.so: no shared library for this machine",
        "b-empty.so: no shared library",
        "c-cut.so: no shared library",
        "f-folder.so: not a regular file",
        "g-fifo.so: not a regular file",
        "h-dangling.so: No such file",
    ] {
        assert!(reason.contains(words), "{words}: {reason}");
    }
    assert!(!reason.contains("ignored.txt"), "{reason}");
}

#[test]
fn a_library_with_damage_anywhere_is_refused_or_answers() {
    let bench = Bench::new();
    let whole = fs::read(bench.folder.sample()).unwrap();
    let head = &whole[..64.min(whole.len())];
    // Each byte of the file's head, and places all over the rest.
    let places = (0..head.len()).chain((64..whole.len()).step_by(whole.len() / 64));
    for place in places {
        let mut damaged = whole.clone();
        damaged[place] ^= 0xff;
        fs::write(bench.folder.path("sample.so"), damaged).unwrap();
        let (status, answer, reason) = bench.ask("sample", "");
        let told = status == Some(0) && !answer.is_empty() || status == Some(1) && reason.contains("(3");
        assert!(told, "byte {place}: {status:?} {answer:?} {reason:?}");
    }
}

#[test]
fn what_others_may_write_to_is_not_loaded() {
    let bench = Bench::new();
    let sample = bench.folder.sample();
    let mode = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    for bits in [0o757, 0o775] {
        mode(&sample, bits);
        let reason = bench.refusal("sample");
        let expected = format!(
            "gearctl: Not permitted (3025): sample.so: it may be written by others (mode {bits:04o}): it is not loaded\n"
        );
        assert_eq!(reason, expected);
    }
    mode(&sample, 0o644);
    assert_eq!(bench.ask("sample", "").0, Some(0));
    let plugins = bench.dir.path().join("plugins");
    mode(&plugins, 0o777);
    let reason = bench.refusal("sample");
    assert!(reason.contains("(3025)") && reason.contains("plugins may be written by others"), "{reason}");
    mode(&plugins, 0o755);
    if !is_root() {
        return aloud("plugins of another user: only root can make one");
    }
    std::os::unix::fs::chown(&sample, Some(65534), None).unwrap();
    let reason = bench.refusal("sample");
    assert!(reason.contains("sample.so: it belongs to the user 65534: it is not loaded"), "{reason}");
}

#[test]
fn a_link_to_elsewhere_is_not_loaded() {
    let bench = Bench::new();
    let elsewhere = bench.dir.path().join("elsewhere.so");
    fs::rename(bench.folder.sample(), &elsewhere).unwrap();
    symlink(&elsewhere, bench.folder.path("sample.so")).unwrap();
    let reason = bench.refusal("sample");
    assert!(reason.contains("(3025): sample.so: it is a symbolic link: it is not loaded"), "{reason}");
}

#[test]
fn a_plugin_of_another_interface_is_not_loaded() {
    let bench = Bench::new();
    // One that would tell, were it loaded.
    bench.folder.hostile_with("later", "nothing", &["-DABI=99", "-DCONSTRUCTOR"]);
    let reason = bench.refusal("later");
    let expected = "(3107): later.so: made for version 99 of cargo-plugin.h, this host has 1\n";
    assert!(reason.ends_with(expected), "{reason}");
    bench.folder.hostile_with("early", "nothing", &["-DCONSTRUCTOR"]);
    let reason = bench.refusal("early");
    assert!(reason.ends_with("(3102): early.so: killed by signal 6\n"), "{reason}");
}

/// What an act of `hostile.c` comes to: its name, the reply's retcode, signal and exit code, and
/// its detail or data.
type End = (&'static str, u16, Option<i32>, Option<i32>, &'static str);

const HOSTILE: &[End] = &[
    ("segfault", 3102, Some(11), None, "segfault.so: killed by signal 11; it said: about to read nothing"),
    ("aborts", 3102, Some(6), None, "aborts.so: killed by signal 6"),
    ("loop", 3104, Some(9), None, "loop.so: no answer within 1 seconds"),
    ("sleeps", 3104, Some(9), None, "sleeps.so: no answer within 1 seconds"),
    // Then the number of the thread, whose overflow the agent's own language notices.
    ("overflow", 3102, Some(6), None, "overflow.so: killed by signal 6; it said: thread 'main'"),
    ("gigabyte", 3101, None, None, "gigabyte.so: there is no memory"),
    ("leaks", 2, None, None, "\"leaked\""),
    ("forks", 2, None, None, "\"forked\""),
    (
        "closes",
        3101,
        None,
        Some(1),
        "closes.so: its process ended with exit code 1 before the answer was whole",
    ),
    (
        "exits",
        3101,
        None,
        Some(7),
        "exits.so: its process ended with exit code 7 before the answer was whole",
    ),
    ("exits_well", 3101, None, Some(0), "exits_well.so: its process ended before the answer was whole"),
    (
        "rubbish",
        3101,
        None,
        None,
        "rubbish.so: its answer is not JSON: EOF while parsing a value at line 1 column 5",
    ),
    ("lines", 2, None, None, "[1,2]"),
    ("long_reason", 3024, None, None, "a long reason\na long reason\n"),
    (
        "host_offline",
        3101,
        None,
        None,
        "host_offline.so: it returned 204, which is no retcode of a plugin's: ",
    ),
    (
        "too_large",
        3101,
        None,
        None,
        "too_large.so: its answer is not JSON: number out of range at line 1 column 5",
    ),
    ("daemon_like", 2, None, None, "\"left\""),
    ("prints", 2, None, None, "\"printed\""),
    (
        "nothing",
        3101,
        None,
        None,
        "nothing.so: its answer is not JSON: EOF while parsing a value at line 1 column 0",
    ),
    (
        "ten_megabytes",
        3101,
        None,
        None,
        "ten_megabytes.so: the answer is larger than 1046528 bytes; ask for less of it, such as with -n COUNT",
    ),
    (
        "no_retcode",
        3101,
        None,
        None,
        "no_retcode.so: it returned -1, which is no retcode of a plugin's: a reason of its own",
    ),
];

#[test]
fn hostile_plugins_cost_their_own_reply_and_nothing_else() {
    let mut rig = connected("");
    let folder = Folder::new(rig.host.plugins());
    folder.sample();
    for (act, ..) in HOSTILE {
        folder.hostile(act);
    }
    let warm = rig.link.ask(&json!({"id": "warm", "method": "getinfo.sample"}));
    assert_eq!(warm["data"], json!({"hello": "world"}));
    rig.agent.alone();
    let before = process::descriptors(rig.agent.pid());
    for (n, (act, retcode, ..)) in HOSTILE.iter().enumerate() {
        let timeout = if *retcode == 3104 { 1 } else { 60 };
        rig.link.send(&json!({"id": act, "method": format!("getinfo.{act}"), "timeout": timeout}));
        for m in 0..100_usize.div_ceil(HOSTILE.len()) {
            let id = format!("{n}-{m}");
            rig.link.send(&json!({"id": id, "method": "getinfo.sample", "args": format!("-w {id}")}));
        }
    }
    let mut left: Vec<&str> = HOSTILE.iter().map(|(act, ..)| *act).collect();
    let mut undisturbed = 0;
    while !left.is_empty() || undisturbed < 100 {
        let reply = rig.link.receive();
        let id = reply["id"].as_str().unwrap().to_owned();
        let Some(&(act, retcode, signal, exitcode, text)) = HOSTILE.iter().find(|(act, ..)| *act == id)
        else {
            assert_eq!(reply["data"], json!({"hello": id}), "{reply}");
            undisturbed += 1;
            continue;
        };
        left.retain(|waiting| *waiting != act);
        let said = match &reply["detail"] {
            Value::String(detail) => detail.clone(),
            _ => reply["data"].to_string(),
        };
        let begins = ["overflow", "long_reason"].contains(&act);
        assert!(said.len() < 2000, "{said}");
        let said = if begins { &said[..text.len().min(said.len())] } else { said.as_str() };
        assert_eq!((&reply["retcode"], said), (&json!(retcode), text), "{reply}");
        assert_eq!((&reply["signal"], &reply["exitcode"]), (&json!(signal), &json!(exitcode)), "{reply}");
    }
    // What `forks` left behind is gone, too.
    rig.agent.alone();
    assert_eq!(process::descriptors(rig.agent.pid()), before);
    assert_eq!(process::zombies(rig.agent.pid()), 0);
}

#[test]
fn a_query_is_cancelled_for_real_and_ends_with_the_agent() {
    let mut rig = connected("");
    Folder::new(rig.host.plugins()).hostile("sleeps");
    rig.link.send(&json!({"id": "q", "method": "getinfo.sleeps"}));
    let child = rig::until("the plugin's process", || process::children(rig.agent.pid()).pop());
    rig.link.send(&json!({"id": "c", "method": "job.cancel", "job": "q"}));
    let (cancelled, confirmed) = (rig.link.receive(), rig.link.receive());
    assert_eq!((&cancelled["id"], &cancelled["retcode"]), (&json!("q"), &json!(3108)), "{cancelled}");
    assert_eq!((&confirmed["id"], &confirmed["data"]["retcode"]), (&json!("c"), &json!(3108)), "{confirmed}");
    rig::until("the plugin's process to be gone", || (!process::is_alive(child)).then_some(()));
    rig.link.send(&json!({"id": "last", "method": "getinfo.sleeps"}));
    // Whoever has answered a later one has taken it.
    rig.link.send(&json!({"id": "later", "method": "job.list"}));
    assert_eq!(rig.link.receive()["id"], "later");
    rig.agent.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(rig.link.receive()["retcode"], 3108);
    assert!(rig.agent.ended().success());
}

#[test]
fn an_agent_asks_for_its_facts_and_tells_the_server_what_it_does_not_hold() {
    let ca = rig::pki::Ca::new();
    let polaris = rig::polaris::Polaris::start(&ca);
    let host = rig::agent::Host::enrolled(&ca);
    host.configure(&polaris.server(), "");
    Folder::new(host.plugins()).ours();
    let agent = host.start();
    let (mut link, _) = polaris.greeted();
    link.send(&json!({"method": "ready", "heartbeat": 60, "facts": {"gone": "1"}}));
    assert_eq!(link.receive(), json!({"method": "facts", "sections": {"gone": null}}));
    let facts = link.receive();
    let digests: serde_json::Map<String, Value> = facts["sections"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, section)| (name.clone(), section["digest"].clone()))
        .collect();
    assert_eq!(digests.keys().collect::<Vec<_>>(), ["cpu", "kernel", "memory", "net", "os"]);
    let release = nix::sys::utsname::uname().unwrap().release().to_str().unwrap().to_owned();
    assert_eq!(facts["sections"]["kernel"]["value"]["release"], json!(release));
    // The next link, whose server holds all of it but one, is told that one.
    link.hang_up();
    let (mut link, _) = polaris.greeted();
    let mut held = digests.clone();
    held.insert("os".into(), json!("older"));
    link.send(&json!({"method": "ready", "heartbeat": 60, "facts": held}));
    let facts = link.receive();
    assert_eq!(facts["sections"].as_object().unwrap().keys().collect::<Vec<_>>(), ["os"], "{facts}");
    assert_eq!(facts["sections"]["os"]["digest"], digests["os"]);
    drop(agent);
}

/// The names of all fields of a document, those of objects in it with the path to them.
fn fields(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| fields(item, path, found)),
        // A text that is not UTF-8.
        Value::Object(object) if object.keys().eq(["base64"]) => {}
        Value::Object(object) => {
            for (name, value) in object {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                fields(value, &path, found);
                found.insert(path);
            }
        }
        _ => {}
    }
}

#[test]
fn the_manual_page_has_every_query_with_its_fields_and_options() {
    let bench = Bench::new();
    bench.folder.ours();
    let page = Page::read(Path::new(env!("CARGO_MANIFEST_DIR")), "cargo-getinfo.5");
    let there_are = bench.refusal("none");
    let (_, queries) = there_are.trim_end().split_once("there are ").unwrap();
    let queries: Vec<&str> = queries.split(", ").collect();
    let documented = ["users", "groups", "kernel", "os", "cpu", "memory", "load", "hardware", "time", "net"];
    let mut documented = [&documented[..], &["facts", "disk", "process", "package"]].concat();
    documented.sort_unstable();
    assert_eq!(queries, documented);
    for query in queries {
        let section = page.section(query);
        let (status, answer, reason) = bench.ask(query, "");
        assert_eq!((status, reason.as_str()), (Some(0), ""), "{query}");
        let mut found = BTreeSet::new();
        fields(&serde_json::from_str(&answer).unwrap(), "", &mut found);
        if query == "facts" {
            // These are documented with the queries of their names.
            found.retain(|field| !field.contains('.') || field.starts_with("net."));
            found.retain(|field| !field.starts_with("net.interfaces.addresses."));
        }
        let documented = section.names();
        let missing: Vec<_> = found.difference(&documented).collect();
        assert!(missing.is_empty(), "{query}: not documented: {missing:?}");
        let top = |names: &BTreeSet<String>| {
            names.iter().filter(|name| !name.contains('.')).cloned().collect::<BTreeSet<_>>()
        };
        assert_eq!(top(&documented), top(&found), "{query}");
        for flag in section.flags() {
            let unknown = |args: &str| bench.ask(query, args).2.contains("Unrecognized option");
            assert!(!unknown(&flag) && !unknown(&format!("{flag} 1")), "{query} {flag}");
        }
    }
}
