//! The rules themselves, on small samples: each finds what it is for and
//! nothing else.

use super::Finding;
use super::rules;
use super::source::Source;
use super::tree;

fn lines(rule: impl Fn(&Source) -> Vec<Finding>, path: &str, text: &str) -> Vec<usize> {
    rule(&Source::parse(path, text)).into_iter().map(|(line, _)| line).collect()
}

#[test]
fn tests_do_not_count_towards_lengths() {
    let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "fn f() {}\n".repeat(400));
    let code = "fn f() {}\n".repeat(400);
    assert!(lines(rules::file_length, "src/exec/a.rs", &format!("{code}{tests}")).is_empty());
    assert_eq!(lines(rules::file_length, "src/exec/a.rs", &format!("{code}fn f() {{}}\n{tests}")), [1]);
}

#[test]
fn long_functions_are_found_wherever_they_are() {
    let function = |body: usize| {
        format!("impl A {{\n    fn f<T>(a: [u8; 2]) -> T {{\n{}}}\n}}\n", "a();\n".repeat(body))
    };
    assert!(lines(rules::function_length, "src/exec/a.rs", &function(68)).is_empty());
    assert_eq!(lines(rules::function_length, "src/exec/a.rs", &function(69)), [2]);
    let without_body = format!("trait A {{ fn f(); }}\ntype F = fn(u8) -> u8;\n{}", "fn g() {}\n".repeat(80));
    assert!(lines(rules::function_length, "src/exec/a.rs", &without_body).is_empty());
}

#[test]
fn long_strings_and_comments_are_too_wide() {
    let text = format!("// {}\n// {}\n", "x".repeat(107), "x".repeat(108));
    assert_eq!(lines(rules::line_width, "server/src/a.rs", &text), [2]);
}

#[test]
fn imports_that_point_up_are_found() {
    let cases: [(&str, &str, &[usize]); 14] = [
        (
            "src/gearctl/mod.rs",
            "use crate::cli::Usage;\nuse crate::cron::Zone;\nuse crate::reactor::Clock;",
            &[3],
        ),
        ("src/exec/a.rs", "use crate::machine::Event;\nuse crate::wire::Reply;\nuse crate::exec::b;", &[]),
        ("src/exec/a.rs", "use crate::link::Link;", &[1]),
        ("src/exec/a.rs", "use crate::{\n    machine::{Event, Effect},\n    gearman::Config,\n};", &[3]),
        ("src/exec/a.rs", "fn f() { crate::reactor::run(); }", &[1]),
        ("src/exec/a.rs", "// crate::link\nconst A: &str = \"crate::link\";", &[]),
        ("src/exec/a.rs", "#[cfg(test)]\nmod tests { use crate::link::Link; }", &[]),
        ("src/exec/mod.rs", "use super::link::Link;", &[1]),
        ("src/exec/a/b.rs", "use super::super::c;", &[1]),
        ("src/machine/a.rs", "use crate::exec::Exec;", &[1]),
        ("src/reactor/a.rs", "use crate::machine::Event;\nuse crate::exec::Exec;", &[2]),
        ("src/gearman/mod.rs", "use crate::link::Link;\nuse crate::cli::Args;", &[2]),
        ("src/bin/gearman.rs", "use aspire::{cli, reactor, gearman};", &[]),
        ("src/novelty/mod.rs", "", &[1]),
    ];
    for (path, text, expected) in cases {
        assert_eq!(lines(rules::import_order, path, text), expected, "{path}: {text}");
    }
}

#[test]
fn what_is_fenced_is_found_outside() {
    let cases: [(&str, &str, usize); 15] = [
        ("src/cron/a.rs", "use std::fs;\nfn f() { std::env::var(\"TZ\"); fs::read(\"a\"); }", 2),
        ("src/cron/tzdata.rs", "fn f() { fs::read(\"a\"); }", 0),
        ("src/cron/a.rs", "fn f() { jiff::Timestamp::now(); }", 1),
        ("src/link/a.rs", "use mio::Poll;", 1),
        ("src/reactor/a.rs", "use mio::Poll;", 0),
        ("src/reactor/a.rs", "use rustls::ClientConfig;", 1),
        ("src/reactor/tls.rs", "use rustls::ClientConfig;", 0),
        ("src/reactor/tls/roots.rs", "use rustls::ClientConfig;", 0),
        ("src/reactor/a.rs", "fn f() { std::time::Instant::now(); start.elapsed(); }", 2),
        ("src/reactor/clock.rs", "fn f() { std::time::Instant::now(); }", 0),
        ("server/src/a.rs", "fn f() { SystemTime::now(); Instant::now(); }", 1),
        ("src/link/a.rs", "fn f() { unsafe { g() } }", 1),
        ("src/reactor/child.rs", "fn f() { unsafe { g() } }", 0),
        ("server/src/a.rs", "unsafe impl Send for A {}", 1),
        (
            "src/link/a.rs",
            "#![forbid(unsafe_code)]\n// unsafe\n#[cfg(test)]\nmod tests { unsafe fn f() {} }",
            0,
        ),
    ];
    for (path, text, expected) in cases {
        assert_eq!(lines(rules::fences, path, text).len(), expected, "{path}: {text}");
    }
}

#[test]
fn what_is_unwanted_is_found() {
    let cases = [
        ("use std::rc::Rc;", 1),
        ("struct A(std::cell::RefCell<u8>);", 1),
        ("thread_local! { static A: u8 = 1; }", 1),
        ("static mut A: u8 = 1;", 1),
        ("fn f() { a()\n    .unwrap(); }", 1),
        ("fn f() { todo!(); unimplemented!(); dbg!(1); }", 3),
        ("fn f() { a().unwrap_or(1); a().expect(\"it is full\"); }", 0),
        ("/// Rc and .unwrap()\nfn f() { g(\"todo!\") }", 0),
        ("#[cfg(test)]\nmod tests { fn f() { a().unwrap(); } }", 0),
        ("#[cfg(test)]\n#[path = \"a_tests.rs\"]\nmod tests;\nfn f() { a().unwrap(); }", 1),
        ("#[cfg(not(test))]\nfn f() { a().unwrap(); }", 1),
        ("struct A {\n    #[cfg(test)]\n    a: Rc<u8>,\n    b: Rc<u8>,\n}", 1),
    ];
    for (text, expected) in cases {
        assert_eq!(lines(rules::unwanted, "src/exec/a.rs", text).len(), expected, "{text}");
    }
}

#[test]
fn a_dependency_is_found_under_another_name_too() {
    let depends = |text: &str| tree::depends_on(&text.parse().unwrap(), "tokio");
    assert!(depends("[dependencies]\ntokio = \"1\""));
    assert!(depends("[dev-dependencies]\nrt = { package = \"tokio\", version = \"1\" }"));
    assert!(!depends("[dependencies]\ntokio-like = \"1\""));
}

#[test]
fn a_script_is_what_can_be_run() {
    assert_eq!(tree::script(true, true), None);
    assert_eq!(tree::script(false, false), None);
    assert!(tree::script(true, false).is_some());
    assert!(tree::script(false, true).is_some());
}
