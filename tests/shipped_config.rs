//! The configuration that is shipped: gearman takes it as it stands, and with
//! every key switched on; the keys are the documented ones with the defaults.

use std::fs;
use std::path::Path;
use std::process::Command;

fn shipped() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/etc/gearman.conf");
    fs::read_to_string(path).expect("it is there")
}

/// The keys stand in the file as `#key = value`; words for people as `# words`.
fn switched_on(text: &str) -> String {
    let key = |line: &str| line.starts_with('#') && !line.starts_with("# ") && line.len() > 1;
    text.lines().map(|line| if key(line) { &line[1..] } else { line }).collect::<Vec<_>>().join("\n")
}

fn check(text: &str) -> String {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("gearman.conf");
    fs::write(&path, text).expect("a file");
    let output = Command::new(env!("CARGO_BIN_EXE_gearman")).arg("-t").arg("-C").arg(&path).output();
    let output = output.expect("gearman can be run");
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

#[test]
fn gearman_takes_it() {
    assert_eq!(check(&shipped()), "Success\n");
    let all = switched_on(&shipped());
    assert_eq!(
        all.lines().filter(|line| line.contains(" = ") && !line.starts_with('#')).count(),
        21,
        "{all}"
    );
    assert_eq!(check(&all), "Success\n", "{all}");
}

#[test]
fn what_it_says_are_the_defaults() {
    let all = switched_on(&shipped());
    let config = |text: &str| {
        let config = aspire::gearman::Config::parse(text, None).expect("it was checked");
        format!("{config:?}")
    };
    assert_eq!(config(&all), config(""));
}
