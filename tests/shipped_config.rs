//! The configurations that are shipped: each agent takes its own as it stands, and with every key
//! switched on; the keys are the documented ones with the defaults.

use std::fmt::Debug;
use std::fs;
use std::path::Path;
use std::process::Command;

fn shipped(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/etc").join(name);
    fs::read_to_string(path).expect("it is there")
}

/// The keys stand in the file as `#key = value`; words for people as `# words`.
fn switched_on(text: &str) -> String {
    let key = |line: &str| line.starts_with('#') && !line.starts_with("# ") && line.len() > 1;
    text.lines().map(|line| if key(line) { &line[1..] } else { line }).collect::<Vec<_>>().join("\n")
}

fn check(program: &str, text: &str) -> String {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("agent.conf");
    fs::write(&path, text).expect("a file");
    let output = Command::new(program).arg("-t").arg("-C").arg(&path).output();
    let output = output.expect("the agent can be run");
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

/// As it stands and with all of its `keys`, which say what holds without them.
fn holds<C: Debug>(program: &str, name: &str, keys: usize, parse: impl Fn(&str) -> C) {
    let text = shipped(name);
    assert_eq!(check(program, &text), "Success\n");
    let all = switched_on(&text);
    let switched = all.lines().filter(|line| line.contains(" = ") && !line.starts_with('#')).count();
    assert_eq!(switched, keys, "{all}");
    assert_eq!(check(program, &all), "Success\n", "{all}");
    assert_eq!(format!("{:?}", parse(&all)), format!("{:?}", parse("")));
}

#[test]
fn gearman_takes_its_own_and_it_says_the_defaults() {
    let parse = |text: &str| aspire::gearman::Config::parse(text, None).expect("it was checked");
    holds(env!("CARGO_BIN_EXE_gearman"), "gearman.conf", 21, parse);
}

#[test]
fn boot_takes_its_own_and_it_says_the_defaults() {
    let parse = |text: &str| aspire::boot::Config::parse(text, None).expect("it was checked");
    holds(env!("CARGO_BIN_EXE_boot"), "boot.conf", 11, parse);
}

/// What was an outage elsewhere: agents, or the helper that replaces boot, ended with its service.
#[test]
fn boot_s_service_ends_boot_alone_and_brings_it_back() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/systemd/boot.service");
    let unit = fs::read_to_string(path).expect("the unit");
    for line in ["ExecStart=/usr/bin/boot -f", "KillMode=process", "Delegate=yes", "Restart=always"] {
        assert!(unit.lines().any(|there| there == line), "{line}");
    }
}
