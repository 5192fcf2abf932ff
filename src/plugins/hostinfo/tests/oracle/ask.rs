//! Asking a query, and asking somebody else.

use aspire_plugin::Query;
use serde_json::Value;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A query's answer.
pub fn ask(query: Query) -> Value {
    let answer = query("").expect("an answer");
    serde_json::from_str(&answer).expect("the answer is JSON")
}

/// What a program prints, without the blanks at its end. `None`, and a word to
/// people, where it is not installed.
pub fn run(program: &str, args: &[&str]) -> Option<String> {
    let output = match Command::new(program).args(args).env("LC_ALL", "C").env_remove("TZ").output() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            not_seen(&format!("{program} is not installed"));
            return None;
        }
        output => output.expect("a program that can be run"),
    };
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {errors}");
    Some(String::from_utf8(output.stdout).expect("UTF-8").trim_end().to_owned())
}

/// As [`run`], of a program that prints JSON.
pub fn run_json(program: &str, args: &[&str]) -> Option<Value> {
    let text = run(program, args)?;
    Some(serde_json::from_str(if text.is_empty() { "[]" } else { &text }).expect("JSON"))
}

/// What others say before and after a query is asked: once they say the same,
/// nothing has changed in between.
pub fn settled<T: PartialEq>(others: impl Fn() -> Option<T>, query: Query) -> Option<(T, Value)> {
    for _ in 0..100 {
        let before = others()?;
        let answer = ask(query);
        if others()? == before {
            return Some((before, answer));
        }
    }
    panic!("it never stands still");
}

pub fn not_seen(what: &str) {
    let _ = writeln!(std::io::stderr(), "NOT SEEN: {what}");
}

pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}
