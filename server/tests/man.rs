//! What the manual pages say of polaris and polarisctl, held against the
//! programs. gearman is held against them in the agents' `tests/man.rs`.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test ends it")]

#[path = "../../tests/man/page.rs"]
mod page;

use aspire_wire::cron::SPLAY_SECONDS;
use aspire_wire::job::{DEFAULT_RETRY_DELAY_SECONDS, RETRIES, RETRY_DELAY_SECONDS};
use page::{Page, flags_of_help};
use polaris::limits;
use polaris::pki::passphrase;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

const POLARIS: &str = env!("CARGO_BIN_EXE_polaris");
const POLARISCTL: &str = env!("CARGO_BIN_EXE_polarisctl");

fn page(name: &str) -> Page {
    Page::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join(".."), name)
}

fn help(program: &str, words: &[&str]) -> String {
    let output = Command::new(program).args(words).arg("--help").output().unwrap();
    assert!(output.status.success(), "{program} {words:?} --help");
    String::from_utf8(output.stdout).unwrap()
}

/// What the help lists below `Commands:`, itself apart.
fn verbs(help: &str) -> BTreeSet<String> {
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let verbs = lines.take_while(|line| !line.is_empty()).filter_map(|line| line.split_whitespace().next());
    verbs.filter(|verb| *verb != "help").map(str::to_owned).collect()
}

#[test]
fn each_command_has_a_section_with_its_verbs_and_flags() {
    let page = page("cargo.1");
    for (name, program) in [("polaris", POLARIS), ("polarisctl", POLARISCTL)] {
        let own = help(program, &[]);
        let general = flags_of_help(&own);
        assert!(!verbs(&own).is_empty(), "{own}");
        assert_eq!(page.section(name).flags(), general, "{name}");
        for command in verbs(&own) {
            let text = help(program, &[&command]);
            let mut flags = flags_of_help(&text);
            for verb in verbs(&text) {
                flags.append(&mut flags_of_help(&help(program, &[&command, &verb])));
            }
            let section = page.section(&format!("{name} {command}"));
            let special: BTreeSet<String> = flags.difference(&general).cloned().collect();
            assert_eq!(section.flags().difference(&general).cloned().collect::<BTreeSet<_>>(), special);
            assert_eq!(section.items_of("Cm"), verbs(&text), "{name} {command}");
        }
    }
}

#[test]
fn the_variables_are_those_of_the_help() {
    let text = help(POLARISCTL, &[]);
    let names = text.lines().filter_map(|line| {
        let (_, rest) = line.split_once("[env: ")?;
        rest.split(['=', ']']).next().map(str::to_owned)
    });
    let mut expected: BTreeSet<String> = names.collect();
    assert_eq!(expected.len(), 3, "{text}");
    // Not clap's: what polaris logs, and what must not stand on a command line.
    expected.extend(["RUST_LOG", passphrase::VARIABLE, passphrase::FILE_VARIABLE].map(String::from));
    assert_eq!(page("cargo.1").section("ENVIRONMENT").items_of("Ev"), expected);
}

fn cargo_says(sentences: &[String]) {
    let text = page("cargo.1").whole().text();
    for sentence in sentences {
        assert!(text.contains(sentence), "it does not say {sentence:?}");
    }
}

#[test]
fn what_cargo_says_of_hosts_and_requests_is_so() {
    cargo_says(&[
        format!(
            "Up to {} requests wait for one host, and {} for all",
            limits::MAX_QUEUED_PER_HOST,
            limits::MAX_QUEUED
        ),
        format!("up to {}; {} by default", limits::PAGE_ENTRIES.end(), limits::DEFAULT_PAGE_ENTRIES),
        format!("each of which has its grace and {} seconds more", limits::CANCEL_MARGIN_SECONDS),
        format!("failed is run again, up to {}", RETRIES.end()),
        format!("to the next attempt, up to {}; {DEFAULT_RETRY_DELAY_SECONDS} by", RETRY_DELAY_SECONDS.end()),
        format!("hosts spread their runs, up to {}", SPLAY_SECONDS.end()),
        format!("An expression has at most {} bytes", limits::MAX_TARGET_BYTES),
        format!("parentheses and not at most {} deep", limits::MAX_TARGET_DEPTH),
        format!("so is one for more than {} hosts", limits::MAX_HOSTS_PER_REQUEST),
        format!("there are at most {} characters where a", limits::MAX_SOUGHT_CHARS),
        format!(
            "A number of hosts, {} to {}, or a part of the request's",
            limits::BATCH_HOSTS.start(),
            limits::BATCH_HOSTS.end()
        ),
        format!("A number of hosts, 0 to {}, or a part of them", limits::MAX_ERRORS_HOSTS.end()),
        format!("the next one in its place, 0 to {};", limits::PAUSE_SECONDS.end()),
        format!("of the server, {} by default", limits::DEFAULT_CONFIRM_ABOVE_HOSTS),
        format!("the whole request, from 1 to {} seconds", limits::DEADLINE_SECONDS.end()),
        format!("{} seconds more than the third time-out, then it is 205", limits::DEADLINE_MARGIN_SECONDS),
        format!(
            "The latest {} of each daemon are kept, and {} of a host; of the last lines, {} KiB",
            limits::MAX_EVENTS_PER_DAEMON,
            limits::MAX_EVENTS_PER_HOST,
            limits::MAX_EVENT_OUTPUT_BYTES / 1024
        ),
        format!("A host's certificate is good for {} days", limits::LEAF_DAYS),
        format!(
            "as many as agents.certificate_days says, from {} to {}",
            limits::CERTIFICATE_DAYS.start(),
            limits::CERTIFICATE_DAYS.end()
        ),
        format!("A target selects at most {} hosts here", limits::MAX_LISTED_HOSTS),
    ]);
}

#[test]
fn what_cargo_says_of_people_packages_and_the_server_is_so() {
    cargo_says(&[
        format!(
            "A password has {} to {} bytes",
            limits::PASSWORD_BYTES.start(),
            limits::PASSWORD_BYTES.end()
        ),
        format!(
            "ends after {} hours without use, and after {} days",
            limits::SESSION_IDLE.as_secs() / 3600,
            limits::SESSION_LIFE.as_secs() / 86400
        ),
        format!(
            "After {} wrong passwords of one name from one address, {} of one name from wherever they come, \
             or {} from one address",
            limits::LOGIN_FAILURES_PER_NAME,
            limits::LOGIN_FAILURES_FROM_EVERYWHERE,
            limits::LOGIN_FAILURES_PER_ADDRESS
        ),
        format!("it is {} times {}", limits::LOOPBACK_IN_FLIGHT, limits::LOGIN_FAILURES_PER_ADDRESS),
        format!("in the last {} minutes", limits::PASSWORD_KNOWN.as_secs() / 60),
        format!("A folder of more than {} entries has no index", limits::MAX_FOLDER_ENTRIES),
        format!("packages.max_size, {} GiB by default", limits::DEFAULT_PACKAGE_BYTES >> 30),
        format!("At most {} files are stored at once", limits::MAX_UPLOADS),
        format!(
            "a name has at most {} bytes, a path {}",
            limits::MAX_PACKAGE_NAME_BYTES,
            limits::MAX_PACKAGE_PATH_BYTES
        ),
        format!(
            "At most {} files are fetched at once, {} by one host, each for up to an hour",
            limits::MAX_DOWNLOADS,
            limits::MAX_DOWNLOADS_PER_HOST
        ),
        format!("At most {} are in it", limits::MAX_PLUGINS),
        format!(
            "at once, {} to {}; {} by default",
            limits::DATABASE_CONNECTIONS.start(),
            limits::DATABASE_CONNECTIONS.end(),
            limits::DEFAULT_DATABASE_CONNECTIONS
        ),
        format!("max_allowed_packet must be {} bytes or more", limits::DATABASE_PACKET_BYTES),
        format!("looks at it every {} seconds", limits::CLAIM_WATCHED.as_secs()),
        format!("may have the database after {} seconds", limits::CLAIM_SILENCE_SECONDS),
        format!("where it is 1 to {} letters, digits", limits::MAX_REQUEST_ID_CHARS),
        format!("nothing of a body for {} seconds", limits::BODY_PATIENCE.as_secs()),
        format!("less than {} bytes a second in the long run", limits::MIN_BODY_RATE),
        format!(
            "nothing of its answer for {} seconds, or less than {} bytes a second",
            limits::WRITE_PATIENCE.as_secs(),
            limits::MIN_BODY_RATE
        ),
    ]);
}

#[test]
fn what_cargo_exec_says_of_polaris_is_so() {
    let page = page("cargo-exec.5");
    for (section, sentence) in [
        ("RETCODES", format!("owes it {} replies", limits::MAX_PENDING_PER_LINK)),
        ("LIVE OUTPUT", format!("up to {} KiB of each stream", limits::MAX_OUTPUT_BYTES_PER_STREAM / 1024)),
        ("LIVE OUTPUT", format!("{} MiB of memory", limits::MAX_OUTPUT_BYTES_PER_REQUEST / 1024 / 1024)),
        ("OUTPUT", format!("keeps {} MiB of results", limits::MAX_RESULT_BYTES_PER_REQUEST / 1024 / 1024)),
        ("CANCEL", format!("waits for a host {} seconds more than", limits::CANCEL_MARGIN_SECONDS)),
        ("LIMITS", format!("answered at once, {} seconds", limits::DEADLINE_MARGIN_SECONDS)),
        ("LIMITS", format!("it is {} seconds more than the third time-out", limits::DEADLINE_MARGIN_SECONDS)),
    ] {
        let text = page.section(section).text();
        assert!(text.contains(&sentence), "{section} does not say {sentence:?}:\n{text}");
    }
}
