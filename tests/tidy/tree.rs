//! The rules for what is not a source file.

use super::source::walk;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// What a package may not depend on, and why.
const DEPENDENCIES: &[(&str, &str, &str)] = &[
    ("Cargo.toml", "tokio", "the agents are one thread with one loop of their own"),
    ("src/wire/Cargo.toml", "tokio", "the wire is shared by both halves and does no I/O"),
    ("server/Cargo.toml", "aspire", "the server shares the wire with the agents and nothing else"),
    ("server/Cargo.toml", "mio", "the server runs on tokio"),
];

pub fn dependencies(root: &Path) -> Vec<String> {
    let broken = DEPENDENCIES.iter().filter(|(manifest, name, _)| {
        let text = fs::read_to_string(root.join(manifest)).expect(manifest);
        depends_on(&text.parse().expect(manifest), name)
    });
    broken.map(|(manifest, name, why)| format!("{manifest}:1: depends on {name}: {why}")).collect()
}

pub fn depends_on(manifest: &toml::Table, name: &str) -> bool {
    let kinds = ["dependencies", "dev-dependencies", "build-dependencies"];
    let tables = kinds.iter().filter_map(|kind| manifest.get(*kind)?.as_table());
    tables.flatten().any(|(key, value)| {
        let package = value.get("package").and_then(toml::Value::as_str).unwrap_or(key);
        package == name
    })
}

/// These must be there and run; whatever else begins with `#!` must run, too.
const SCRIPTS: &[&str] = &["packaging/quickstart", "tests/run", "valgrind/run", ".ci/run"];

pub fn scripts(root: &Path) -> Vec<String> {
    let mut findings: Vec<String> = SCRIPTS
        .iter()
        .filter(|script| !root.join(script).is_file())
        .map(|script| format!("{script}:1: missing"))
        .collect();
    for folder in ["packaging", "tests", "valgrind", ".ci"] {
        walk(&root.join(folder), &mut |path| {
            let mode = fs::metadata(path).expect("a file").permissions().mode();
            let start = fs::read(path).expect("a readable file");
            if let Some(why) = script(start.starts_with(b"#!"), mode & 0o111 != 0) {
                let path = path.strip_prefix(root).expect("it is below the root");
                findings.push(format!("{}:1: {why}", path.display()));
            }
        });
    }
    findings
}

pub fn script(shebang: bool, executable: bool) -> Option<&'static str> {
    match (shebang, executable) {
        (true, false) => Some("begins with #! and is not executable"),
        (false, true) => Some("is executable and does not begin with #!"),
        _ => None,
    }
}
