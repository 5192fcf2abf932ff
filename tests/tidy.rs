//! The measures of the house, read off the sources: sizes, the order of the
//! modules, and what may be used where. Each finding is `file:line: reason`.
//! What clippy can say better is in `[lints]` and `clippy.toml`.

#[path = "tidy/rules.rs"]
mod rules;
#[path = "tidy/samples.rs"]
mod samples;
#[path = "tidy/source.rs"]
mod source;
#[path = "tidy/tree.rs"]
mod tree;

use source::Source;
use std::path::Path;

/// A line and why it is not tidy.
type Finding = (usize, String);

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust source of the agents and of the server.
fn sources() -> Vec<Source> {
    let sources = source::read_all(root(), &["src", "server/src"]);
    assert!(sources.len() > 10, "only {} sources were found: is the tree whole?", sources.len());
    sources
}

/// Fails with all findings at once.
fn report(findings: &[String]) {
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

fn check(rule: impl Fn(&Source) -> Vec<Finding>) {
    let found = |source: &Source| -> Vec<String> {
        rule(source).into_iter().map(|(line, why)| format!("{}:{line}: {why}", source.path)).collect()
    };
    report(&sources().iter().flat_map(found).collect::<Vec<_>>());
}

#[test]
fn files_are_short() {
    check(rules::file_length);
}

#[test]
fn functions_are_short() {
    check(rules::function_length);
}

#[test]
fn lines_are_short() {
    check(rules::line_width);
}

#[test]
fn imports_point_down() {
    check(rules::import_order);
}

#[test]
fn fences_hold() {
    check(rules::fences);
}

#[test]
fn nothing_is_used_that_the_house_does_without() {
    check(rules::unwanted);
}

#[test]
fn the_agents_have_no_tokio_and_the_server_no_reactor() {
    report(&tree::dependencies(root()));
}

#[test]
fn scripts_can_be_run() {
    report(&tree::scripts(root()));
}
