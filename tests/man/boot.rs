//! What boot(8) says.

use super::page;
use super::page::flags_of_help;
use aspire::boot::Config;
use aspire::machine::limits;
use aspire::wire::Retcode;
use aspire::wire::boot::{
    Action, AgentStatus, AgentTold, BootJob, BootResult, DEFAULT_JOB_TIMEOUT_SECONDS, ResultAnswer,
    STEP_SECONDS, Status, StatusAnswer,
};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::process::Command;

/// What follows the request line in a display.
fn body(section: &str, request: &str) -> String {
    let displays = page("boot.8").section(section).displays();
    let found = displays.iter().find_map(|display| display.strip_prefix(request));
    found.unwrap_or_else(|| panic!("no {request} in {section}: {displays:?}")).to_owned()
}

#[test]
fn boot_s_flags_are_documented_and_no_others() {
    let output = Command::new(env!("CARGO_BIN_EXE_boot")).arg("-h").output().unwrap();
    let flags = flags_of_help(&String::from_utf8(output.stdout).unwrap());
    assert!(flags.contains("-f") && flags.contains("--install"), "{flags:?}");
    let boot = page("boot.8");
    assert_eq!(boot.section("OPTIONS").flags(), flags);
    assert_eq!(boot.section("SYNOPSIS").flags(), flags);
    assert_eq!(boot.whole().flags(), flags);
    assert_eq!(page("cargo.1").section("boot").flags(), flags);
}

#[test]
fn the_keys_of_its_configuration_are_those_of_the_code() {
    let config = Config::parse("", None).unwrap();
    let agents = &config.agents;
    let begins = [
        ("hostname", config.name.clone()),
        ("report.server", format!("{}:", config.servers[0])),
        ("report.step", format!("{} seconds", config.step)),
        ("tls.dir", format!("{}:", config.tls_dir.display())),
        ("store.path", format!("{}:", config.store.display())),
        ("agents.dir", format!("{}:", agents.dir.display())),
        ("agents.log", format!("{}:", agents.log.display())),
        ("agents.run", format!("{}:", agents.run.display())),
        ("agents.shell", format!("{}:", agents.shell)),
        ("agents.output_limit", format!("{} bytes", agents.output_limit)),
        ("agents.output_files", format!("{} files", agents.output_files)),
    ];
    let items = page("boot.8").section("CONFIGURATION").items();
    assert_eq!(items.len(), begins.len());
    for ((head, text), (key, begin)) in items.iter().zip(&begins) {
        assert!(head == key && text.starts_with(begin), "{head}: {text}");
        let Some((_, range)) = text.split_once(", from ") else { continue };
        let (least, most) = range.trim().trim_end_matches('.').split_once(" to ").unwrap();
        let (least, most): (i64, i64) = (least.parse().unwrap(), most.parse().unwrap());
        let (section, key) = head.split_once('.').unwrap();
        for (value, taken) in [(least - 1, false), (least, true), (most, true), (most + 1, false)] {
            let config = Config::parse(&format!("[{section}]\n{key} = {value}"), None);
            assert_eq!(config.is_ok(), taken, "{head} = {value}");
        }
    }
}

#[test]
fn a_report_is_as_boot_writes_it() {
    let text = body("REPORTS", "POST /agent/status\n");
    let status: Status = serde_json::from_str(&text).unwrap();
    let Value::Object(fields) = json!(status) else { panic!("no object") };
    assert_eq!(Value::Object(fields.clone()), serde_json::from_str::<Value>(&text).unwrap());
    let boot = page("boot.8");
    assert_eq!(boot.section("Fields").names(), fields.keys().cloned().collect::<BTreeSet<_>>());
    let told = AgentTold { reason: Some("why".into()), ..status.agents[0].clone() };
    let Value::Object(told) = json!(told) else { panic!("no object") };
    let described = boot.section("Fields").text();
    assert!(told.keys().all(|field| described.contains(field)), "{described}");
    let statuses: BTreeSet<String> = AgentStatus::ALL.iter().map(|status| status.name().into()).collect();
    assert_eq!(boot.section("Statuses").names(), statuses);
}

#[test]
fn its_jobs_and_results_are_as_boot_reads_and_writes_them() {
    let boot = page("boot.8");
    let answer = boot.section("REPORTS").displays().pop().unwrap();
    let answer: StatusAnswer = serde_json::from_str(&answer).unwrap();
    let job = BootJob::parse(answer.jobs[0].get()).unwrap();
    assert!(matches!(job.action, Action::Install(_)) && job.timeout == DEFAULT_JOB_TIMEOUT_SECONDS);
    // A job of no action there is has its sender told which there are.
    let refused = BootJob::parse(r#"{"id":"1","action":"dance","name":"a"}"#).unwrap_err().reason;
    let actions = refused.strip_prefix("action: must be one of ").unwrap().split_once(", got").unwrap().0;
    let actions: BTreeSet<String> = actions.split(", ").map(str::to_owned).collect();
    assert_eq!(boot.section("Actions").names(), actions);
    let step = format!("from {} to {}", STEP_SECONDS.start(), STEP_SECONDS.end());
    assert!(boot.section("Actions").text().contains(&step));
    let timeout = format!("from 10 to 86400; {DEFAULT_JOB_TIMEOUT_SECONDS} where it is absent");
    assert!(boot.section("JOBS").text().contains(&timeout));
    for (timeout, taken) in [(9, false), (10, true), (86_400, true), (86_401, false)] {
        let job = json!({"id": "1", "action": "stop", "name": "a", "timeout": timeout});
        assert_eq!(BootJob::parse(&job.to_string()).is_ok(), taken, "{timeout}");
    }
    let text = body("Results", "POST /agent/job/result\n");
    let results: Vec<BootResult> = serde_json::from_str(&text).unwrap();
    assert_eq!(results, [BootResult::success(results[0].id.clone())]);
    let acknowledged: ResultAnswer = serde_json::from_str(&boot.section("Results").displays()[1]).unwrap();
    assert_eq!(acknowledged.errcode, aspire::wire::boot::OK);
    for (codes, _) in boot.section("Results").items() {
        for code in codes.split(", ") {
            let code: u16 = code.parse().unwrap();
            assert!(code == 0 || Retcode::ALL.iter().any(|known| known.code() == code), "{code}");
        }
    }
}

#[test]
fn the_pace_of_reports_is_that_of_the_code() {
    let sentence = format!("within {} seconds of the last one", limits::REPORT_PACE.as_secs());
    let text = page("boot.8").section("When and where").text();
    assert!(text.contains(&sentence), "{sentence:?} is not in:\n{text}");
}

#[test]
fn the_time_that_a_new_boot_has_is_that_of_the_code() {
    let sentence = format!("within {} seconds", limits::HANDOVER_SECONDS);
    let text = page("boot.8").section("ITS OWN UPGRADE").text();
    assert!(text.contains(&sentence), "{sentence:?} is not in:\n{text}");
}
