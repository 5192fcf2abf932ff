use super::super::args::{Args, Command};
use super::*;
use clap::Parser as _;

fn parse(words: &[&str]) -> Result<BootVerb, clap::Error> {
    let args = Args::try_parse_from([&["polarisctl", "boot"], words].concat())?;
    let Command::Boot(Boot { verb: Some(verb) }) = args.command else { panic!("{words:?}") };
    Ok(verb)
}

#[test]
fn what_makes_no_sense_is_refused() {
    let refused: [&[&str]; 21] = [
        &["install", "gearman"],
        &["install", "-H", "a"],
        &["install", "gearman", "-H", "a", "--file", "x.deb", "--from", "http://h/x.deb"],
        &["install", "gearman", "-H", "a", "--checksum", "SHA256:00"],
        &["install", "gearman", "-H", "a", "--arch", "x86_64"],
        &["install", "gearman", "-H", "a", "--env", "A"],
        &["install", "gearman", "-H", "a", "--cpu", "0%"],
        &["install", "gearman", "-H", "a", "--memory", "much"],
        &["upgrade", "gearman", "-H", "a", "--batch", "few"],
        &["upgrade", "gearman", "-H", "a", "--ttl", "soon"],
        &["upgrade", "gearman", "-H", "a", "--timeout", "0"],
        &["upgrade", "gearman", "-H", "a", "--confirm", "many"],
        &["stop", "gearman", "-H", "a", "--from", "http://h/x.deb"],
        &["config", "-H", "a"],
        &["config", "--step", "600"],
        &["config", "-H", "a", "--step", "59"],
        &["config", "-H", "a", "--step", "2h"],
        &["jobs", "--open", "--ended"],
        &["agents", "--status", "stopped"],
        &["cancel"],
        &["job"],
    ];
    for words in refused {
        assert_eq!(parse(words).expect_err(&words.join(" ")).exit_code(), 2);
    }
}

#[test]
fn times_are_in_seconds_or_have_a_unit() {
    let words = ["upgrade", "gearman", "-t", "has(name)", "--ttl", "7d", "--timeout", "90"];
    let BootVerb::Upgrade(of) = parse(&words).unwrap() else { panic!() };
    assert_eq!((of.course.ttl, of.course.timeout), (Some(604_800), Some(90)));
    let BootVerb::Config(of) = parse(&["config", "-H", "a", "--step", "20m"]).unwrap() else { panic!() };
    assert_eq!((of.step, of.svrlist), (Some(1200), None));
    assert_eq!(step("2h").unwrap_err(), "must be 60 to 3600 seconds, got 7200");
}
