//! What the lock files bring in, held against `deny.toml`: licences, banned
//! crates, where crates come from. Works offline, once the crates are here.
//! (Two crates that claim the same native library are refused by cargo itself.)

use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// The two halves, and what is banned in one of them alone.
const HALVES: &[(&str, &[(&str, &str)])] = &[
    ("Cargo.toml", &[("tokio", "the agents are one thread with one loop of their own")]),
    ("server/Cargo.toml", &[("mio-signals", "the server's signals are tokio's")]),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All crates of one half for this machine, those for building and testing included.
fn crates(manifest: &str) -> Vec<Value> {
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--locked",
            "--format-version=1",
            "--filter-platform",
            &platform,
            "--manifest-path",
        ])
        .arg(root().join(manifest))
        .output()
        .expect("cargo can be run");
    let reason = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo metadata of {manifest} failed: {reason}");
    let mut metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo prints JSON");
    serde_json::from_value(metadata["packages"].take()).expect("a list of packages")
}

fn policy() -> toml::Table {
    let text = std::fs::read_to_string(root().join("deny.toml")).expect("deny.toml is there");
    text.parse().expect("deny.toml is TOML")
}

/// Checks every crate that is not ours.
fn check(manifest: &str, wrong: impl Fn(&Value) -> Option<String>) {
    let crates = crates(manifest);
    let foreign: Vec<&Value> = crates.iter().filter(|package| !package["source"].is_null()).collect();
    assert!(!foreign.is_empty(), "{manifest}: no crates were found");
    let found =
        |package: &&Value| Some(format!("{} {}: {}", package["name"], package["version"], wrong(package)?));
    let findings: BTreeSet<String> = foreign.iter().filter_map(found).collect();
    assert!(findings.is_empty(), "{manifest}: {findings:#?}");
}

/// Whether we may ship what bears this expression; `Err` says why not.
fn permitted(expression: &str, allowed: &[spdx::Licensee]) -> Result<(), String> {
    let parsed = spdx::Expression::parse_mode(expression, spdx::ParseMode::LAX).map_err(|e| e.to_string())?;
    if parsed.evaluate(|wanted| allowed.iter().any(|licence| licence.satisfies(wanted))) {
        return Ok(());
    }
    Err(format!("{expression} is not among the licences that deny.toml allows"))
}

fn allowed() -> Vec<spdx::Licensee> {
    let policy = policy();
    let list = policy["licenses"]["allow"].as_array().expect("a list of licences");
    let licence =
        |id: &toml::Value| spdx::Licensee::parse(id.as_str().expect("a text")).expect("an SPDX licence");
    list.iter().map(licence).collect()
}

#[test]
fn every_licence_is_allowed() {
    let allowed = allowed();
    for (manifest, _) in HALVES {
        check(manifest, |package| {
            let expression = package["license"].as_str().unwrap_or("none given");
            permitted(expression, &allowed).err()
        });
    }
}

#[test]
fn nothing_that_is_banned_comes_in() {
    let policy = policy();
    let banned = policy["bans"]["deny"].as_array().expect("a list of bans");
    let text = |entry: &toml::Value, key: &str| entry[key].as_str().expect("a text").to_owned();
    let banned: Vec<_> = banned.iter().map(|entry| (text(entry, "crate"), text(entry, "reason"))).collect();
    for (manifest, here) in HALVES {
        check(manifest, |package| {
            let name = package["name"].as_str()?;
            let everywhere =
                banned.iter().find(|(banned, _)| banned == name).map(|(_, reason)| reason.clone());
            everywhere.or_else(|| Some((*here.iter().find(|(banned, _)| *banned == name)?.1).to_owned()))
        });
    }
}

#[test]
fn everything_comes_from_the_registry() {
    for (manifest, _) in HALVES {
        check(manifest, |package| {
            let source = package["source"].as_str()?;
            (!source.starts_with("registry+")).then(|| format!("it comes from {source}"))
        });
    }
}

#[test]
fn the_check_itself_can_tell() {
    let allowed = allowed();
    for fine in ["MIT", "MIT OR GPL-3.0", "MIT/Apache-2.0", "(MIT OR Apache-2.0) AND Unicode-3.0"] {
        assert_eq!(permitted(fine, &allowed), Ok(()), "{fine}");
    }
    for not in ["GPL-3.0", "MIT AND AGPL-3.0", "none given", "LicenseRef-mine"] {
        assert!(permitted(not, &allowed).is_err(), "{not}");
    }
}
