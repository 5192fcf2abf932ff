//! The configurations that are shipped: each agent takes its own as it stands, and with every key
//! switched on; the keys are the documented ones with the defaults.

use std::fs;
use std::path::Path;
use std::process::Command;

fn shipped(agent: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("packaging/etc/{agent}.conf"));
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

#[test]
fn each_agent_takes_its_own() {
    let (gearman, boot) = (env!("CARGO_BIN_EXE_gearman"), env!("CARGO_BIN_EXE_boot"));
    for (agent, program, keys) in [("gearman", gearman, 21), ("boot", boot, 11)] {
        assert_eq!(check(program, &shipped(agent)), "Success\n", "{agent}");
        let all = switched_on(&shipped(agent));
        let is_key = |line: &&str| line.contains(" = ") && !line.starts_with('#');
        assert_eq!(all.lines().filter(is_key).count(), keys, "{all}");
        assert_eq!(check(program, &all), "Success\n", "{all}");
    }
}

#[test]
fn what_they_say_are_the_defaults() {
    let gearman = |text: &str| {
        let config = aspire::gearman::Config::parse(text, None).expect("it was checked");
        format!("{config:?}")
    };
    let boot = |text: &str| {
        let config = aspire::boot::Config::parse(text, None).expect("it was checked");
        format!("{config:?}")
    };
    assert_eq!(gearman(&switched_on(&shipped("gearman"))), gearman(""));
    assert_eq!(boot(&switched_on(&shipped("boot"))), boot(""));
}
