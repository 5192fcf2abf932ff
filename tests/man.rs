//! What the manual pages say, held against the code. polaris and polarisctl
//! are held against theirs in `server/tests/man.rs`.

#![allow(clippy::unwrap_used, reason = "what is unexpected fails the test")]

#[path = "man/boot.rs"]
mod boot;
#[path = "man/page.rs"]
mod page;
mod sim;

use aspire::cron::{Field, Schedule};
use aspire::gearctl;
use aspire::gearman::Config;
use aspire::machine::{Effect, Event, Launch, Program, limits};
use aspire::wire::frame::{MAX_FRAME_BYTES, encode};
use aspire::wire::session::Frame;
use aspire::wire::{DaemonInit, DaemonStatus, JobState, Retcode, command, cron, daemon, job, request};
use page::{Page, flags_of_help};
use serde_json::json;
use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

fn page(name: &str) -> Page {
    Page::read(Path::new(env!("CARGO_MANIFEST_DIR")), name)
}

/// What gearman makes of a request with nothing but its command.
fn launched() -> Launch {
    let mut rig = sim::gearman("[link]\nserver = \"10.0.0.1\"", sim::root(), 1);
    let [Effect::Connect { conn, .. }] = rig.tick()[..] else { panic!("no connect") };
    rig.event(Event::Connected(conn));
    rig.event(Event::Received(conn, &encode(&Frame::Ready { heartbeat: 60, facts: None })));
    let frame = encode(&json!({"id": "a", "method": "sync.bash", "cmd": "CMD"}));
    let effects = rig.event(Event::Received(conn, &frame));
    let [Effect::Spawn { program: Program::Exec(launch), .. }] = &effects[..] else {
        panic!("no command was started: {effects:?}")
    };
    (**launch).clone()
}

/// Each entry begins as it should, and there are no others.
fn hold(section: &str, expected: &[(&str, String)]) {
    let page = page("cargo-exec.5");
    let items = page.section(section).items();
    let heads: Vec<&str> = items.iter().map(|(head, _)| head.as_str()).collect();
    assert_eq!(heads, expected.iter().map(|(head, _)| *head).collect::<Vec<_>>(), "{section}");
    for ((head, text), (_, begin)) in items.iter().zip(expected) {
        assert!(text.starts_with(begin), "{section}: {head}: expected {begin:?}, found {text:?}");
    }
}

/// The section holds each of these.
fn says(section: &str, sentences: &[String]) {
    let text = page("cargo-exec.5").section(section).text();
    for sentence in sentences {
        assert!(text.contains(sentence), "{section} does not say {sentence:?}:\n{text}");
    }
}

#[test]
fn the_retcodes_are_those_of_the_code() {
    let documented: Vec<String> =
        page("cargo-exec.5").section("RETCODES").items().into_iter().map(|(head, _)| head).collect();
    let expected: Vec<String> =
        Retcode::ALL.iter().map(|code| format!("{} {}", code.code(), code.message())).collect();
    assert_eq!(documented, expected);
}

#[test]
fn the_environment_is_what_a_command_gets() {
    let launch = launched();
    let page = page("cargo-exec.5");
    let section = page.section("ENVIRONMENT");
    let names: BTreeSet<String> = launch.env.iter().map(|(name, _)| name.clone()).collect();
    assert_eq!(section.items_of("Ev"), names);
    for (name, value) in launch.env.iter().filter(|(name, _)| ["LANG", "PATH"].contains(&name.as_str())) {
        let (_, text) = section.items().into_iter().find(|(head, _)| head == name).unwrap();
        assert_eq!(text.trim().trim_end_matches('.'), value, "{name}");
    }
    says("START", &[launch.argv.join(" ")]);
    says("REQUEST", &[format!("working directory, an absolute path; {} where", launch.cwd)]);
}

#[test]
fn the_defaults_are_those_of_the_configuration() {
    let exec = Config::parse("", None).unwrap().exec;
    let (timeout, grace) = (exec.timeout.as_secs(), exec.grace.as_secs());
    assert!(exec.allow.permits("anything"));
    hold(
        "CONFIGURATION",
        &[
            ("exec.shell", format!("{}.", exec.shell)),
            ("exec.max_children", format!("{},", exec.max_children)),
            ("exec.output_limit", format!("{} bytes of each stream", exec.output_limit)),
            ("exec.timeout", format!("{timeout} seconds")),
            ("exec.grace", format!("{grace} seconds")),
            ("exec.allow", "Empty.".into()),
        ],
    );
    let times = [timeout, timeout + grace, timeout + 2 * grace];
    says("TIME-OUTS", &[format!("after {}, {} and {} seconds", times[0], times[1], times[2])]);
}

#[test]
fn the_ranges_of_the_configuration_are_refused_beyond() {
    for (head, text) in page("cargo-exec.5").section("CONFIGURATION").items() {
        let Some((_, range)) = text.split_once("from ").filter(|_| head != "exec.allow") else { continue };
        let (least, most) = range.trim().trim_end_matches('.').split_once(" to ").unwrap();
        let (least, most): (i64, i64) = (least.parse().unwrap(), most.parse().unwrap());
        let key = head.strip_prefix("exec.").unwrap();
        for (value, taken) in [(least - 1, false), (least, true), (most, true), (most + 1, false)] {
            let config = Config::parse(&format!("[exec]\n{key} = {value}"), None);
            assert_eq!(config.is_ok(), taken, "{key} = {value}");
        }
    }
}

fn span(range: &RangeInclusive<u64>, unit: &str) -> String {
    format!("{} to {} {unit}.", range.start(), range.end())
}

#[test]
fn the_limits_are_those_of_the_code() {
    let (name, cmd) = (command::MAX_NAME_BYTES, command::MAX_CMD_BYTES);
    hold(
        "LIMITS",
        &[
            ("frame", format!("{MAX_FRAME_BYTES} bytes")),
            ("id", format!("1 to {} bytes.", request::MAX_ID_BYTES)),
            ("cmd", format!("1 to {cmd} bytes.")),
            ("timeout", span(&command::TIMEOUT_SECONDS, "seconds")),
            ("user, group, cwd", format!("1 to {name} bytes each.")),
            ("job", format!("1 to {} bytes.", request::MAX_ID_BYTES)),
            ("limits.cpu", span(&command::CPU_SECONDS, "seconds")),
            ("limits.memory", span(&command::MEMORY_BYTES, "bytes")),
            ("limits.files", span(&command::OPEN_FILES, "descriptors")),
            ("limits.processes", span(&command::PROCESSES, "processes")),
            (
                "env",
                format!(
                    "{} variables, each with a name of 1 to {name} bytes, and of at most {cmd} bytes",
                    command::MAX_ENV_ENTRIES
                ),
            ),
        ],
    );
    says(
        "QUEUE",
        &[
            format!("Up to {} more wait", limits::WAITING_COMMANDS),
            format!("may take {} MiB together", limits::WAITING_BYTES / 1024 / 1024),
        ],
    );
    says(
        "REPEATED REQUESTS",
        &[
            format!("latest {} replies", limits::ANSWERED_REQUESTS),
            format!("fit into {} MiB", limits::ANSWERED_BYTES / 1024 / 1024),
            format!("writes {} times a second", 1000 / limits::ANSWERED_PACE.as_millis()),
        ],
    );
    says("USER AND GROUP", &[format!("for at most {} seconds", limits::TASK_TIMEOUT.as_secs())]);
    says("END", &[format!("for {} milliseconds more", limits::DRAIN.as_millis())]);
    says("LIVE OUTPUT", &[format!("every {} milliseconds", limits::LIVE_INTERVAL.as_millis())]);
    assert_eq!(limits::KILL_WAIT, Duration::from_secs(1));
    says("TIME-OUTS", &["has not ended a second after SIGKILL".into()]);
}

#[test]
fn what_is_promised_of_jobs_and_entries_is_in_the_code() {
    let page = page("cargo-job.5");
    let states: BTreeSet<String> = JobState::ALL.iter().map(|state| state.name().to_owned()).collect();
    assert_eq!(page.section("STATES").items_of("Cm"), states);
    let within = |range: &RangeInclusive<u64>| format!("from {} to {}", range.start(), range.end());
    let mib = |bytes: usize| bytes / 1024 / 1024;
    for (section, sentence) in [
        ("JOBS", format!("must have begun, {}; {}", within(&job::TTL_SECONDS), job::DEFAULT_TTL_SECONDS)),
        ("JOBS", format!("is run again, {}; 0", within(&job::RETRIES))),
        (
            "JOBS",
            format!(
                "to the next attempt, {}; {}",
                within(&job::RETRY_DELAY_SECONDS),
                job::DEFAULT_RETRY_DELAY_SECONDS
            ),
        ),
        ("JOBS", format!("At most {} jobs that have not ended", limits::UNFINISHED_JOBS)),
        ("STATES", format!("the latest {} jobs", limits::LISTED_JOBS)),
        (
            "STATES",
            format!(
                "for {} days, the latest {}",
                limits::ENDED_JOBS_AGE.as_secs() / 86_400,
                limits::ENDED_JOBS
            ),
        ),
        ("RESULTS", format!("Up to {} are sent", limits::OUTBOX_WINDOW_RESULTS)),
        ("RESULTS", format!("more than {} MiB", mib(limits::OUTBOX_BYTES))),
        ("RESULTS", format!("where {} results wait", limits::OUTBOX_RESULTS)),
        ("CRON ENTRIES", format!("1 to {} letters", cron::MAX_CRON_NAME_BYTES)),
        ("CRON ENTRIES", format!("At most {} bytes", cron::MAX_SCHEDULE_BYTES)),
        ("CRON ENTRIES", format!("spread their runs, {}", within(&cron::SPLAY_SECONDS))),
        (
            "CRON ENTRIES",
            format!(
                "At most {} entries are kept, and {} MiB",
                limits::CRON_ENTRIES,
                mib(limits::CRON_ENTRIES_BYTES)
            ),
        ),
        ("DATABASE", format!("Of the latest {} requests", limits::ANSWERED_REQUESTS)),
    ] {
        let text = page.section(section).text();
        assert!(text.contains(&sentence), "{sentence:?} is not in {section}:\n{text}");
    }
    assert_eq!(limits::ANSWERED_AGE, Duration::from_hours(24));
}

#[test]
fn the_fields_of_a_daemon_are_those_of_the_code() {
    let page = page("cargo-daemon.5");
    let init = json!({
        "name": "a", "version": "1", "url": "file:///a.deb", "start": "a", "stop": "kill:TERM",
        "checksum": format!("SHA256:{}", "a".repeat(64)), "precheck": "a", "user": "a", "group": "a",
        "pidfile": "/a", "socket": "/a"
    });
    let init: DaemonInit = serde_json::from_value(init).unwrap();
    let Ok(serde_json::Value::Object(fields)) = serde_json::to_value(&init) else { panic!("no object") };
    let documented = page.section("DEFINITION").names();
    assert_eq!(documented, fields.keys().cloned().collect::<BTreeSet<_>>());
    let number = |field: &str| fields[field].as_u64().unwrap();
    let items = page.section("DEFINITION").items();
    for (field, range) in [
        ("precheck_retries", &daemon::PRECHECK_RETRIES),
        ("start_delay", &daemon::START_DELAY_SECONDS),
        ("stop_timeout", &daemon::STOP_TIMEOUT_SECONDS),
        ("check_interval", &daemon::CHECK_INTERVAL_SECONDS),
        ("check_timeout", &daemon::CHECK_TIMEOUT_SECONDS),
        ("check_failures", &daemon::CHECK_FAILURES),
        ("heartbeat", &daemon::DAEMON_HEARTBEAT_SECONDS),
        ("max_restarts", &daemon::MAX_RESTARTS),
        ("restart_window", &daemon::RESTART_WINDOW_SECONDS),
    ] {
        let (_, text) = items.iter().find(|(head, _)| head == field).unwrap();
        let says = format!("from {} to {}; {}", range.start(), range.end(), number(field));
        assert!(text.contains(&says), "{field}: {says:?} is not in {text:?}");
    }
    for (section, sentence) in [
        ("DEFINITION", format!("1 to {} letters", daemon::SHORT_BYTES)),
        ("DEFINITION", format!("at most {} bytes", daemon::LONG_BYTES)),
        ("DEFINITION", format!("at most {} bytes in all", daemon::ENV_BYTES)),
        ("DEFINITION", format!("has at most {} daemons", daemon::MAX_DAEMONS)),
        ("DEFINITION", format!("may take {} seconds", limits::PRECHECK_TIMEOUT.as_secs())),
        ("PACKAGES", format!("may have {} GiB", limits::PACKAGE_BYTES >> 30)),
        ("PACKAGES", format!("may take {} minutes", limits::INSTALL_TIMEOUT.as_secs() / 60)),
        ("PACKAGES", format!("does not in {} attempts", limits::TRIES_OF_A_CHANGE)),
        ("PROCESSES", format!("up to {} seconds later", limits::PIDFILE_WAIT.as_secs())),
        ("RESTARTS", format!("ran for {} seconds or longer", limits::STABLE_DAEMON.as_secs())),
        ("RESTARTS", format!("first wait is {} second,", limits::RESTART_DELAY_MIN.as_secs())),
        ("RESTARTS", format!("up to {} seconds", limits::RESTART_DELAY_MAX.as_secs())),
        (
            "LIMITS",
            format!(
                "from {} to {}; {}",
                daemon::HITS.start(),
                daemon::HITS.end(),
                daemon::DaemonLimits::default().hits
            ),
        ),
        ("LIMITS", format!("{}% to {}%", daemon::PERCENT.start(), daemon::PERCENT.end())),
        ("EVENTS", format!("the last {} bytes", limits::LAST_LINES_BYTES)),
    ] {
        let text = page.section(section).text();
        assert!(text.contains(&sentence), "{sentence:?} is not in {section}:\n{text}");
    }
    assert_eq!(
        (limits::FETCH_TIMEOUT, limits::CHECK_AGAIN),
        (Duration::from_hours(1), Duration::from_secs(1))
    );
}

#[test]
fn the_states_and_settings_of_daemons_are_those_of_the_code() {
    let page = page("cargo-daemon.5");
    let statuses = DaemonStatus::ALL.iter().map(|status| status.name().to_owned()).collect();
    assert_eq!(page.section("STATUS").items_of("Cm"), statuses);
    let settings = Config::parse("", None).unwrap().daemon;
    let items = page.section("CONFIGURATION").items();
    let begins = [
        ("daemon.dir", format!("{}.", settings.dir.display())),
        ("daemon.log", format!("{}.", settings.log.display())),
        ("daemon.run", format!("{}.", settings.run.display())),
        ("daemon.output_limit", format!("{} bytes,", settings.output_limit)),
        ("daemon.output_files", format!("{},", settings.output_files)),
    ];
    assert_eq!(items.len(), begins.len());
    for ((head, text), (key, begin)) in items.iter().zip(&begins) {
        assert!(head == key && text.starts_with(begin), "{head}: {text}");
        let Some((_, range)) = text.split_once("from ") else { continue };
        let (least, most) = range.trim().trim_end_matches('.').split_once(" to ").unwrap();
        let (least, most): (i64, i64) = (least.parse().unwrap(), most.parse().unwrap());
        let key = head.strip_prefix("daemon.").unwrap();
        for (value, taken) in [(least - 1, false), (least, true), (most, true), (most + 1, false)] {
            let config = Config::parse(&format!("[daemon]\n{key} = {value}"), None);
            assert_eq!(config.is_ok(), taken, "{key} = {value}");
        }
    }
}

#[test]
fn the_control_socket_is_as_the_code_has_it() {
    let gearman = page("gearman.8");
    let text = gearman.section("CONTROL SOCKET").text();
    for sentence in [
        format!("nothing under way for {} seconds", limits::LOCAL_IDLE.as_secs()),
        format!("one more than {} at the same time", limits::LOCAL_CONNECTIONS),
        format!("of all connections {} may be under way", limits::LOCAL_REQUESTS),
    ] {
        assert!(text.contains(&sentence), "{sentence:?} is not in:\n{text}");
    }
    let socket = Config::parse("", None).unwrap().control_socket;
    let files = gearman.section("FILES").items();
    assert!(files.iter().any(|(file, _)| Path::new(file) == socket), "{files:?}");
}

#[test]
fn the_pace_of_renewals_is_as_the_code_has_it() {
    let text = page("gearman.8").section("DESCRIPTION").text();
    let sentence = format!("begin at least {} seconds apart", limits::RENEWAL_PACE.as_secs());
    assert!(text.contains(&sentence), "{sentence:?} is not in:\n{text}");
}

#[test]
fn gearmans_flags_are_documented_and_no_others() {
    let output = Command::new(env!("CARGO_BIN_EXE_gearman")).arg("-h").output().unwrap();
    let flags = flags_of_help(&String::from_utf8(output.stdout).unwrap());
    assert!(flags.contains("-f") && flags.contains("--enroll"), "{flags:?}");
    let gearman = page("gearman.8");
    assert_eq!(gearman.section("OPTIONS").flags(), flags);
    assert_eq!(gearman.section("SYNOPSIS").flags(), flags);
    assert_eq!(gearman.whole().flags(), flags);
    assert_eq!(page("cargo.1").section("gearman").flags(), flags);
    let mentioned = page("cargo-exec.5").whole().flags();
    assert!(mentioned.is_subset(&flags), "{mentioned:?}");
}

#[test]
fn gearctls_flags_and_commands_are_documented_and_no_others() {
    let output = Command::new(env!("CARGO_BIN_EXE_gearctl")).arg("-h").output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let flags = flags_of_help(&help);
    assert!(flags.contains("-c") && flags.contains("-h"), "{flags:?}");
    let gearctl = page("gearctl.1");
    assert_eq!(gearctl.section("OPTIONS").flags(), flags);
    assert_eq!(gearctl.section("SYNOPSIS").flags(), flags);
    assert_eq!(gearctl.whole().flags(), flags);
    let general = page("cargo.1");
    assert_eq!(general.section("gearctl").flags(), flags);
    let names = gearctl::COMMANDS.iter().map(|command| command.name);
    let commands: BTreeSet<String> = names.chain(["getinfo.NAME"]).map(str::to_owned).collect();
    assert_eq!(gearctl.section("COMMANDS").items_of("Cm"), commands);
    let text = general.section("gearctl").text();
    assert!(commands.iter().all(|command| help.contains(command) && text.contains(command)), "{text}");
}

#[test]
fn the_fields_of_a_schedule_are_those_of_the_code() {
    for (head, _) in page("gearctl.1").section("SCHEDULES").items().iter().take(6) {
        let is_named = |field: &Field| head.starts_with(&field.to_string());
        let place = Field::ALL.iter().position(is_named).unwrap();
        let name = Field::ALL[place].to_string();
        let allowed = head[name.len()..].trim();
        let error = |value: &str| {
            let mut words = ["*"; 6];
            words[place] = value;
            Schedule::parse(&words.join(" ")).err().map(|error| error.to_string()).unwrap_or_default()
        };
        let (least, most) = allowed.split_once([' ', ',']).unwrap().0.split_once('-').unwrap();
        let most: u32 = most.parse().unwrap();
        for (value, taken) in [(least.parse().unwrap(), true), (most, true), (most + 1, false)] {
            assert_eq!(error(&value.to_string()).is_empty(), taken, "{name}: {value}");
        }
        let bare = |text: &str| text.replace(" and", "").replace([' ', ','], "");
        assert!(bare(&error("x")).contains(&bare(allowed)), "{name}: {allowed:?}: {}", error("x"));
    }
}
