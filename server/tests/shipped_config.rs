//! The configuration that is shipped: polaris takes it as it stands, and with
//! every key switched on.

use polaris::config::{Config, Flags};
use std::fs;
use std::path::PathBuf;

fn shipped() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../packaging/etc/polaris.toml")
}

#[test]
fn polaris_takes_it() {
    let load = |config: PathBuf| Config::load(Flags { config: Some(config), ..Flags::default() });
    let defaults = Config::load(Flags::default()).expect("no file is needed");
    let config = load(shipped()).expect("it is sound");
    assert_eq!(format!("{config:?}"), format!("{defaults:?}"));

    let text = fs::read_to_string(shipped()).expect("it is there");
    let key = |line: &str| line.starts_with('#') && !line.starts_with("# ") && line.len() > 1;
    let lines = text.lines().map(|line| if key(line) { &line[1..] } else { line });
    let all = lines.collect::<Vec<_>>().join("\n");
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("polaris.toml");
    fs::write(&path, &all).expect("a file");
    let config = load(path).unwrap_or_else(|error| panic!("{error}\n{all}"));
    assert_eq!((config.data, config.agents.listen), (defaults.data, defaults.agents.listen));
    assert_eq!(config.agents.heartbeat, defaults.agents.heartbeat);
    assert_eq!(config.requests.confirm_above, defaults.requests.confirm_above);
}
