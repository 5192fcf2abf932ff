mod cells;
mod host;

use super::*;
use crate::machine::Process;
use host::{Host, init};
use serde_json::json;

pub fn settings() -> DaemonSettings {
    DaemonSettings {
        dir: "/var/lib/cargo/daemon".into(),
        log: "/var/log/cargo".into(),
        run: "/var/run/cargo".into(),
        shell: "/bin/bash".into(),
        output_limit: 10 << 20,
        output_files: 4,
        servers: Vec::new(),
        tls: "/etc/cargo/pki".into(),
    }
}

#[test]
fn a_host_is_brought_to_what_the_definition_says() {
    let mut host = Host::new();
    host.init(&json!({"precheck": "looks", "user": "www"}));
    assert_eq!(host.started, ["Fetch", "Install", "Identify", "looks", "stays"]);
    assert_eq!(host.status(), "starting");
    host.pass(1.0);
    assert_eq!((host.status().as_str(), host.living()), ("running", vec!["stays"]));
    assert_eq!(
        host.facts,
        ["installing 2", "starting 2", "running 2"],
        "what comes and goes in one turn is not told"
    );
}

#[test]
fn the_same_message_again_changes_nothing() {
    let mut host = Host::new();
    host.init(&json!({}));
    host.pass(5.0);
    let (started, told) = (host.started.len(), host.facts.len());
    host.init(&json!({}));
    host.pass(5.0);
    assert_eq!((host.started.len(), host.facts.len(), host.signals.len()), (started, told, 0));
    host.want(Wanted::Stoped);
    host.init(&json!({}));
    host.pass(5.0);
    assert_eq!((host.status().as_str(), host.started.len()), ("stoped", started));
}

#[test]
fn one_that_was_stable_is_started_again_in_the_same_turn() {
    let mut host = Host::new();
    host.init(&json!({}));
    host.pass(20.0);
    host.kill("stays");
    assert_eq!((host.living(), host.status().as_str()), (vec!["stays"], "starting"));
    assert_eq!(host.facts.last().unwrap(), "starting 3102");
    host.pass(2.0);
    assert_eq!(host.status(), "running");
}

#[test]
fn one_that_never_comes_up_is_given_up_and_stays_so_until_told_otherwise() {
    let mut host = Host::new();
    host.init(&json!({"start": "ends:0.1:3", "max_restarts": 4}));
    host.pass(600.0);
    assert_eq!((host.status().as_str(), host.living().len()), ("fatal", 0));
    assert_eq!(host.reason(), "it ended with exit status 3 before it was up");
    let starts = host.started.iter().filter(|words| *words == "ends:0.1:3").count();
    assert_eq!(starts, 5);
    assert_eq!(host.facts.iter().filter(|fact| *fact == "fatal 3101").count(), 1);
    host.init(&json!({"start": "ends:0.1:3", "max_restarts": 4}));
    host.next_agent("boot");
    host.next_agent("another boot");
    host.pass(600.0);
    assert_eq!(host.status(), "fatal");
    host.want(Wanted::Running);
    assert_eq!(host.living(), ["ends:0.1:3"]);
    host.pass(600.0);
    assert_eq!(host.status(), "fatal");
    host.init(&json!({"start": "stays"}));
    host.pass(2.0);
    assert_eq!(host.status(), "running");
}

#[test]
fn stopped_is_when_nobody_is_left() {
    let mut host = Host::new();
    host.init(&json!({"start": "deaf", "stop_timeout": 7}));
    host.pass(5.0);
    host.want(Wanted::Stoped);
    assert_eq!((host.status().as_str(), host.signals.last()), ("stopping", Some(&(101, 15))));
    host.pass(6.9);
    assert_eq!(host.status(), "stopping");
    host.pass(0.2);
    assert_eq!((host.status().as_str(), host.living().len()), ("stoped", 0));
    assert_eq!(host.signals.last(), Some(&(101, 9)));
    host.pass(1000.0);
    assert_eq!(host.started.len(), 3, "it is not started again");
}

#[test]
fn what_a_forked_daemon_left_behind_is_the_daemon() {
    let mut host = Host::new();
    host.init(&json!({"start": "forks"}));
    host.pass(2.0);
    assert_eq!((host.status().as_str(), host.living()), ("running", vec!["left"]));
    host.pass(20.0);
    host.kill("left");
    assert_eq!(host.status(), "starting");
    host.pass(2.0);
    host.want(Wanted::Stoped);
    assert_eq!((host.status().as_str(), host.living().len()), ("stoped", 0));
}

#[test]
fn a_pidfile_may_come_late_and_may_not_name_a_stranger() {
    let mut host = Host::new();
    host.files.push(("/run/web.pid".into(), "1\n".into()));
    host.init(&json!({"start": "forks", "pidfile": "/run/web.pid"}));
    host.pass(3.0);
    assert_eq!(host.status(), "starting");
    assert_eq!(host.reason(), "pidfile: it says \"1\", which is no process of this daemon");
    host.files[0].1 = "102\n".into();
    host.pass(4.0);
    assert_eq!((host.status().as_str(), host.living()), ("running", vec!["left"]));
    // One that never comes is a failure, and what runs is ended.
    host.files.clear();
    host.restart();
    host.pass(6.5);
    assert_eq!(host.status(), "backoff");
    assert_eq!((host.reason().as_str(), host.living().len()), ("pidfile: there is none", 0));
}

#[test]
fn a_starter_that_takes_its_time_may_still_leave_a_daemon_behind() {
    let mut host = Host::new();
    host.files.push(("/run/web.pid".into(), "102\n".into()));
    host.init(&json!({"start": "forks slowly", "pidfile": "/run/web.pid"}));
    host.pass(2.0);
    assert_eq!(host.status(), "running");
    host.pass(3.0);
    assert_eq!((host.status().as_str(), host.living(), host.signals.len()), ("running", vec!["left"], 0));
    host.kill("left");
    assert_eq!(host.facts.last().unwrap(), "backoff 3102");
    // Where it names nobody, whoever is left is no daemon.
    host.files.clear();
    host.pass(7.2);
    assert_eq!((host.living().len(), host.reason().as_str()), (0, "it ended with exit status 0"));
}

#[test]
fn who_is_wanted_again_while_its_package_goes_has_it_anew() {
    let mut host = Host::new();
    host.init(&json!({}));
    host.pass(2.0);
    host.answers.push(("Uninstall", "never".into()));
    host.want(Wanted::Removed);
    host.next_agent("boot");
    host.answers.clear();
    host.started.clear();
    host.init(&json!({}));
    host.pass(2.0);
    assert_eq!((host.started.join(" ").as_str(), host.status().as_str()), ("Fetch Install stays", "running"));
}

#[test]
fn how_the_main_process_ended_is_told_though_it_left_others_behind() {
    let mut host = Host::new();
    host.init(&json!({"start": "stays", "start_delay": 0}));
    host.pass(1.0);
    let mut left = host.processes[0].clone();
    (left.words, left.process) = ("left".into(), Process { pid: 900, start: 9 });
    host.processes.push(left);
    host.kill("stays");
    host.pass(0.5);
    assert_eq!((host.facts.last().unwrap().as_str(), host.living().len()), ("backoff 3102", 0));
    assert_eq!(host.reason(), "it was killed by SIGKILL");
}

#[test]
fn whoever_is_left_by_the_main_process_is_ended_before_the_next_begins() {
    let mut host = Host::new();
    host.init(&json!({"start": "deaf", "stop_timeout": 3}));
    host.pass(20.0);
    let mut orphan = host.processes[0].clone();
    orphan.process.pid = 999;
    orphan.words = "deaf orphan".into();
    host.processes.push(orphan);
    host.kill("deaf");
    assert_eq!((host.status().as_str(), host.living()), ("stopping", vec!["deaf orphan"]));
    assert_eq!(host.signals, [(999, 15)]);
    host.pass(3.2);
    assert_eq!((host.status().as_str(), host.living()), ("starting", vec!["deaf"]));
}

#[test]
fn a_command_may_end_it() {
    let mut host = Host::new();
    host.init(&json!({"stop": "process:stops stays"}));
    host.pass(5.0);
    host.want(Wanted::Stoped);
    assert_eq!((host.status().as_str(), host.signals.len()), ("stoped", 0));
    host.init(&json!({"stop": "process:fails", "stop_timeout": 2}));
    host.want(Wanted::Running);
    host.pass(5.0);
    host.want(Wanted::Stoped);
    assert_eq!(host.reason(), "stop: exit status 1: fails says so");
    host.pass(2.2);
    assert_eq!((host.status().as_str(), host.living().len()), ("stoped", 0));
}

#[test]
fn a_precheck_that_fails_is_tried_again_and_then_counts() {
    let mut host = Host::new();
    host.init(&json!({"precheck": "fails", "precheck_retries": 2}));
    host.pass(2.5);
    assert_eq!(host.started.iter().filter(|words| *words == "fails").count(), 3);
    assert_eq!(host.reason(), "precheck: exit status 1: fails says so");
    assert_eq!((host.status().as_str(), host.facts.last().unwrap().as_str()), ("backoff", "backoff 3107"));
    assert!(host.living().is_empty());
}

#[test]
fn checks_that_fail_in_a_row_end_it_and_one_that_passes_forgives() {
    let mut host = Host::new();
    let script = json!({"check": "script:looks", "check_interval": 5, "check_failures": 3});
    host.init(&script);
    host.pass(2.0);
    assert_eq!(host.status(), "running");
    let fails = json!({"check": "script:fails", "check_interval": 5, "check_failures": 3});
    host.init(&fails);
    host.pass(11.0);
    assert_eq!(host.reason(), "check script: exit status 1: fails says so (2 in a row)");
    host.init(&script);
    host.pass(5.0);
    host.init(&fails);
    host.pass(11.0);
    assert_eq!((host.status().as_str(), host.signals.len()), ("running", 0), "it was well in between");
    host.pass(5.0);
    assert_eq!(host.signals.len(), 1);
    assert!(host.facts.contains(&"starting 3304".to_owned()), "{:?}", host.facts);
}

#[test]
fn while_it_comes_up_a_check_may_fail_and_one_that_goes_on_so_is_not_up() {
    let mut host = Host::new();
    host.init(&json!({"check": "script:fails", "check_failures": 3, "start_delay": 2}));
    host.pass(3.5);
    assert_eq!((host.status().as_str(), host.signals.len()), ("starting", 0));
    host.pass(0.6);
    assert_eq!((host.status().as_str(), host.living().len()), ("backoff", 0));
    assert_eq!(host.facts.last().unwrap(), "backoff 3304");
}

#[test]
fn a_check_that_hangs_has_failed() {
    let mut host = Host::new();
    host.init(&json!({"check": "script:hangs", "check_failures": 1, "check_timeout": 4}));
    host.pass(5.1);
    assert_eq!(host.status(), "backoff");
    assert_eq!(host.reason(), "check script: it took longer than 4 seconds (1 in a row)");
}

#[test]
fn one_that_is_silent_is_not_well() {
    let mut host = Host::new();
    host.init(&json!({"heartbeat": 5}));
    host.pass(5.0);
    for _ in 0..10 {
        host.heard("web");
        host.pass(4.9);
    }
    assert_eq!((host.status().as_str(), host.signals.len()), ("running", 0));
    host.pass(0.2);
    assert!(host.facts.contains(&"starting 3304".to_owned()), "{:?}", host.facts);
    assert_eq!(host.living(), ["stays"]);
    host.want(Wanted::Stoped);
    assert!(host.listens.is_empty());
}

#[test]
fn what_it_uses_trips_after_so_many_samples_and_shows_as_killed() {
    let mut host = Host::new();
    host.init(&json!({"limits": {"hits": 5, "cpu": "5%", "memory": "1M"}, "check_interval": 10}));
    host.pass(1.5);
    host.use_cpu(20);
    host.pass(59.0);
    assert_eq!((host.status().as_str(), host.signals.len()), ("running", 0));
    host.pass(1.0);
    assert_eq!((host.status().as_str(), host.living().len()), ("killed", 0));
    assert!(host.reason().starts_with("limits.cpu: 20.0% in the last of 5 samples beyond 5%"));
    assert_eq!(host.facts.last().unwrap(), "killed 3305");
    host.pass(2.5);
    assert_eq!(host.status(), "running", "it counts anew");
    host.memory = 2 << 20;
    host.pass(48.5);
    assert_eq!(host.status(), "running");
    host.pass(0.9);
    assert_eq!(host.facts.last().unwrap(), "killed 3305");
}

#[test]
fn restarts_for_limits_count_as_any_other() {
    let mut host = Host::new();
    host.memory = 2 << 20;
    let limits = json!({"hits": 1, "memory": "1M"});
    host.init(&json!({"limits": limits, "check_interval": 1, "max_restarts": 3}));
    host.pass(60.0);
    assert_eq!(host.status(), "fatal");
}

#[test]
fn too_much_output_is_set_aside() {
    let mut host = Host::new();
    host.written = 11 << 20;
    host.init(&json!({}));
    host.pass(12.0);
    assert_eq!(host.started.last().unwrap(), "Rotate");
}

#[test]
fn another_package_is_fetched_while_the_one_before_runs() {
    let mut host = Host::new();
    host.init(&json!({}));
    host.pass(5.0);
    host.answers.push(("Fetch(", "never".into()));
    host.init(&json!({"version": "2"}));
    host.pass(60.0);
    assert_eq!((host.status().as_str(), host.signals.len()), ("running", 0));
    host.answers.clear();
    // That task is given up for the next definition.
    host.init(&json!({"version": "3"}));
    assert_eq!(host.signals.len(), 1);
    host.pass(2.0);
    assert_eq!(host.status(), "running");
    assert_eq!(host.started[3..], ["Fetch", "Fetch", "Install", "stays"]);
    let installed = host.daemons.list(host.now, None).data.unwrap().to_string();
    assert!(installed.contains("\"installed\":\"3\""), "{installed}");
}

#[test]
fn a_version_that_does_not_come_up_makes_room_for_the_one_before() {
    for bad in [
        json!({"version": "2", "start": "ends:0.1:1"}),
        json!({"version": "2", "start": "missing"}),
        json!({"version": "2", "precheck": "fails", "precheck_retries": 0}),
        json!({"version": "2", "check": "script:fails", "check_failures": 1}),
        json!({"start": "ends:0.1:1"}),
    ] {
        let mut host = Host::new();
        host.init(&json!({}));
        host.pass(5.0);
        host.init(&bad);
        host.pass(30.0);
        assert_eq!((host.status().as_str(), host.living()), ("running", vec!["stays"]), "{bad}");
        assert_eq!(*host.daemons.by_name["web"].daemon.init, init(&json!({})), "{bad}");
        let rolled_back = host.facts.iter().filter(|fact| fact.ends_with("3303")).count();
        assert_eq!(rolled_back, 1, "{bad}: {:?}", host.facts);
        assert_eq!(*host.store.daemons().unwrap().0[0].init, init(&json!({})), "{bad}");
    }
}

fn cannot(task: &'static str, error: &aspire_package::Error) -> (&'static str, String) {
    (task, format!("{{\"Err\":{}}}", serde_json::to_string(error).unwrap()))
}

#[test]
fn a_server_that_is_away_is_asked_again_and_what_runs_goes_on() {
    let mut host = Host::new();
    host.init(&json!({}));
    host.pass(5.0);
    host.answers.push(cannot("Fetch(", &aspire_package::Error::Download("http://x: refused".into())));
    host.init(&json!({"version": "2"}));
    host.pass(600.0);
    assert_eq!((host.status().as_str(), host.signals.len()), ("running", 0));
    assert_eq!(host.facts[3..], ["running 3301"], "the same reason is told once");
    let tried = host.started.iter().filter(|words| *words == "Fetch").count();
    assert!((10..25).contains(&tried), "{tried}");
    // What runs is caught meanwhile, and so is what a reboot ended.
    host.kill("stays");
    assert_eq!(host.living(), ["stays"]);
    host.next_agent("another boot");
    assert_eq!(host.living(), ["stays"]);
    host.answers.clear();
    host.pass(70.0);
    assert_eq!((host.status().as_str(), host.living()), ("running", vec!["stays"]));
    let listed = host.daemons.list(host.now, None).data.unwrap().to_string();
    assert!(listed.contains("\"defined\":\"2\"") && listed.contains("\"version\":\"2\""), "{listed}");
}

#[test]
fn a_new_daemon_waits_for_its_server() {
    let mut host = Host::new();
    host.answers.push(cannot("Fetch(", &aspire_package::Error::Download("http://x: refused".into())));
    host.init(&json!({"max_restarts": 0}));
    host.pass(3600.0);
    assert_eq!((host.status().as_str(), host.reason().as_str()), ("backoff", "http://x: refused"));
    host.answers.clear();
    host.want(Wanted::Running);
    host.pass(1.0);
    assert_eq!(host.status(), "running", "an order does not wait for the next try");
}

#[test]
fn a_file_that_is_another_one_rolls_a_change_back() {
    let mut host = Host::new();
    host.init(&json!({}));
    host.pass(5.0);
    let sum = |digit: &str| format!("SHA256:{}", digit.repeat(64)).parse().unwrap();
    let error = aspire_package::Error::Checksum { url: "http://x".into(), expected: sum("a"), got: sum("b") };
    host.answers.push(cannot("Fetch(", &error));
    host.init(&json!({"version": "2"}));
    host.pass(60.0);
    assert_eq!((host.status().as_str(), host.signals.len()), ("running", 0));
    assert_eq!(host.daemons.by_name["web"].daemon.init.version, "1");
    assert_eq!(host.facts[3..], ["running 3302", "running 3303"]);
}

#[test]
fn another_file_of_the_same_version_is_kept_apart_from_the_good_one() {
    let settings = settings();
    let other = init(&json!({"checksum": format!("SHA256:{}", "b".repeat(64))}));
    assert_ne!(settings.package(&init(&json!({}))), settings.package(&other));
}

#[test]
fn a_user_of_another_name_is_looked_up_whatever_happened_before() {
    let mut host = Host::new();
    host.init(&json!({"user": "www"}));
    host.pass(20.0);
    host.answers.push(("Fetch(", "never".into()));
    host.init(&json!({"version": "2", "user": "nobody"}));
    host.kill("stays");
    host.answers.clear();
    host.restart();
    host.pass(70.0);
    host.next_agent("another boot");
    host.pass(70.0);
    let known = host.daemons.by_name["web"].daemon.user.as_ref().unwrap();
    assert_eq!((known.identity.name.as_str(), host.status().as_str()), ("nobody", "running"));
}

#[test]
fn an_order_that_the_store_did_not_take_is_not_said_to_be_accepted_the_next_time() {
    let mut host = Host::new();
    host.init(&json!({}));
    host.pass(2.0);
    host.store.before_each_change(|| false).unwrap();
    for _ in 0..2 {
        assert_eq!(host.daemons.want("web", Wanted::Stoped, &mut host.store).retcode, 3201);
        let another = init(&json!({"start": "other"}));
        assert_eq!(host.daemons.init(host.now, another, &mut host.store).retcode, 3201);
    }
}

#[test]
fn a_stop_command_may_do_more_than_end_it() {
    let mut host = Host::new();
    host.init(&json!({"stop": "process:stops stays hangs", "stop_timeout": 5, "start": "stays hangs"}));
    host.pass(2.0);
    host.want(Wanted::Stoped);
    assert_eq!((host.status().as_str(), host.living().len()), ("stopping", 0));
    host.pass(5.1);
    assert_eq!(host.status(), "stoped");
}

#[test]
fn one_whose_definition_cannot_be_read_is_ended_when_it_is_defined_anew() {
    let mut host = Host::new();
    host.init(&json!({}));
    host.pass(2.0);
    let row = host.daemons.by_name["web"].daemon.row("boot");
    let (family, main, boot) = (row.family, row.main, row.boot);
    host.store.forget_daemon("web", Some(|_: u64| Vec::new())).unwrap();
    host.next_agent("boot");
    host.daemons.unreadable.push(UnreadableDaemon { name: "web".into(), family, main, boot });
    host.init(&json!({}));
    host.pass(2.0);
    assert_eq!((host.living(), host.signals.clone()), (vec!["stays"], vec![(101, 15)]));
    assert_eq!((host.status().as_str(), host.processes[0].process.pid), ("running", 102));
}

#[test]
fn the_first_line_of_a_pidfile_counts() {
    let mut host = Host::new();
    host.files.push(("/run/web.pid".into(), "102\n/var/lib/data\n5432\n".into()));
    host.init(&json!({"start": "forks", "pidfile": "/run/web.pid"}));
    host.pass(2.0);
    assert_eq!((host.status().as_str(), host.living()), ("running", vec!["left"]));
}

#[test]
fn one_that_ends_again_and_again_does_not_fill_the_disk() {
    let mut host = Host::new();
    host.written = 11 << 20;
    host.init(&json!({"start": "ends:0.1:1"}));
    host.pass(1.0);
    assert!(host.started.contains(&"Rotate".to_owned()), "{:?}", host.started);
}

#[test]
fn where_files_are_stays_while_the_agent_runs() {
    let mut host = Host::new();
    let other = DaemonSettings { run: "/elsewhere".into(), output_limit: 5000, ..settings() };
    assert!(!host.daemons.configure(other));
    let kept = &host.daemons.place.settings;
    assert_eq!((kept.run.to_str(), kept.output_limit), (Some("/var/run/cargo"), 5000));
    assert!(host.daemons.configure(settings()));
}

#[test]
fn a_new_daemon_whose_package_cannot_be_had_is_tried_and_given_up() {
    let mut host = Host::new();
    let error = aspire_package::Error::Install("dpkg says no".into());
    host.answers.push(("Install(", format!("{{\"Err\":{}}}", serde_json::to_string(&error).unwrap())));
    host.init(&json!({"max_restarts": 2}));
    host.pass(100.0);
    assert_eq!((host.status().as_str(), host.reason().as_str()), ("fatal", "dpkg says no"));
    assert_eq!(host.facts.last().unwrap(), "fatal 3303");
}

#[test]
fn what_is_removed_is_ended_uninstalled_and_forgotten() {
    let mut host = Host::new();
    host.init(&json!({}));
    host.pass(5.0);
    host.want(Wanted::Removed);
    assert_eq!((host.status().as_str(), host.living().len()), ("gone", 0));
    assert_eq!(host.started.last().unwrap(), "Uninstall");
    assert_eq!(host.facts.last().unwrap(), "stoped 2 removed");
    assert_eq!(host.store.daemons().unwrap().0, []);
    assert_eq!(host.daemons.want("web", Wanted::Running, &mut host.store).retcode, 3024);
}

#[test]
fn what_another_package_takes_the_place_of_is_taken_away() {
    let mut host = Host::new();
    host.init(&json!({}));
    host.pass(2.0);
    host.answers.push(("Install(", r#"{"Ok":{"package":"web2"}}"#.into()));
    host.started.clear();
    host.init(&json!({"version": "2"}));
    host.pass(2.0);
    assert_eq!(
        (host.started.join(" ").as_str(), host.status().as_str()),
        ("Fetch Install Uninstall stays", "running")
    );
    host.answers.clear();
    host.answers.push(("Install(", r#"{"Ok":{"package":null}}"#.into()));
    host.answers.push(("Uninstall(", "never".into()));
    host.init(&json!({"version": "3", "url": "http://x/web.tar.gz"}));
    host.pass(2.0);
    assert_eq!(host.status(), "installing", "{:?}", host.started);
    host.next_agent("boot");
    host.answers.clear();
    host.started.clear();
    host.want(Wanted::Removed);
    host.pass(2.0);
    assert_eq!((host.started.join(" ").as_str(), host.status().as_str()), ("Uninstall Uninstall", "gone"));
}

#[test]
fn a_wish_may_come_at_any_time() {
    let mut host = Host::new();
    host.init(&json!({"start": "deaf", "stop_timeout": 5}));
    host.pass(5.0);
    host.want(Wanted::Removed);
    host.pass(1.0);
    // It is wanted again while it is being ended.
    host.init(&json!({"start": "stays"}));
    host.pass(6.0);
    assert_eq!((host.status().as_str(), host.living()), ("running", vec!["stays"]));
    host.restart();
    assert_eq!((host.status().as_str(), host.living()), ("starting", vec!["stays"]));
    host.want(Wanted::Stoped);
    assert_eq!((host.status().as_str(), host.living().len()), ("stoped", 0));
}

#[test]
fn the_next_agent_takes_up_what_this_one_left() {
    let mut host = Host::new();
    host.init(&json!({"user": "www", "heartbeat": 30}));
    host.pass(5.0);
    let process = host.processes[0].process;
    host.next_agent("boot");
    assert_eq!((host.status().as_str(), host.processes[0].process), ("running", process));
    assert_eq!((host.signals.len(), host.listens.len()), (0, 1));
    host.kill("stays");
    assert_eq!(host.living(), ["stays"], "it ran long enough for a whole agent");
}

#[test]
fn after_another_boot_everything_that_is_wanted_is_started() {
    let mut host = Host::new();
    host.init(&json!({}));
    host.pass(5.0);
    host.next_agent("another boot");
    assert_eq!((host.status().as_str(), host.living()), ("starting", vec!["stays"]));
    host.want(Wanted::Stoped);
    host.next_agent("a third");
    assert_eq!((host.status().as_str(), host.living().len()), ("stoped", 0));
}

#[test]
fn what_ended_while_no_agent_was_there_is_a_failure() {
    let mut host = Host::new();
    host.init(&json!({"start": "stays"}));
    host.pass(50.0);
    host.processes.clear();
    host.next_agent("boot");
    assert_eq!((host.status().as_str(), host.facts.last().unwrap().as_str()), ("backoff", "backoff 3110"));
    host.pass(2.5);
    assert_eq!(host.status(), "running");
}

#[test]
fn what_may_not_be_is_refused() {
    let mut host = Host::new();
    let without = |more| {
        let mut init = init(&more);
        init.checksum = None;
        init
    };
    let bad = init(&json!({"url": "https:///a.deb"}));
    let refused = host.daemons.init(host.now, bad, &mut host.store);
    assert!(refused.retcode == 3021 && refused.detail.as_ref().unwrap().starts_with("url: "), "{refused:?}");
    let refused = host.daemons.init(host.now, without(json!({})), &mut host.store);
    assert_eq!(refused.retcode, 3021);
    assert!(refused.detail.unwrap().starts_with("checksum: missing"));
    host.daemons.place.settings.servers =
        vec![crate::wire::server_list::Server { host: "polaris".into(), port: 8181 }];
    let own = without(json!({"url": "https://polaris:8181/packages/a.deb"}));
    assert_eq!(host.daemons.init(host.now, own, &mut host.store).retcode, 1);
    host.daemons.place.own.uid = 1000;
    let refused = host.daemons.init(host.now, init(&json!({"name": "b", "user": "root2"})), &mut host.store);
    assert_eq!(refused.retcode, 3025);
    for n in 0..MAX_DAEMONS {
        host.daemons.init(host.now, init(&json!({"name": format!("d{n}")})), &mut host.store);
    }
    let refused = host.daemons.init(host.now, init(&json!({"name": "one-more"})), &mut host.store);
    assert_eq!(refused.retcode, 3026);
}

#[test]
fn an_order_to_one_that_runs_does_not_spare_it_the_back_off_later() {
    let mut host = Host::new();
    host.init(&json!({"start": "ends:5:1", "max_restarts": 3}));
    host.pass(2.0);
    host.init(&json!({"start": "ends:5:1", "max_restarts": 3, "check_interval": 7}));
    host.want(Wanted::Running);
    host.pass(3.1);
    assert_eq!(host.status(), "backoff");
    host.pass(100.0);
    assert_eq!(host.status(), "fatal");
}

#[test]
fn an_agent_that_was_killed_before_it_knew_the_process_is_followed_by_one_that_finds_it() {
    for (start, living) in [("stays", "stays"), ("forks", "left")] {
        let mut host = Host::new();
        host.init(&json!({"start": start, "start_delay": 3}));
        let daemon = &mut host.daemons.by_name.get_mut("web").unwrap().daemon;
        daemon.main = None;
        let row = daemon.row("boot");
        host.store.save_daemon(&row, false, None::<fn(u64) -> Vec<u8>>).unwrap();
        host.next_agent("boot");
        host.pass(4.0);
        assert_eq!((host.status().as_str(), host.living()), ("running", vec![living]), "{start}");
        host.kill(living);
        host.pass(6.0);
        assert_eq!(host.status(), "running", "{start}");
    }
}

#[test]
fn a_process_that_the_killed_agent_had_only_begun_to_make_may_show_itself_late() {
    let mut host = Host::new();
    host.init(&json!({"start_delay": 3}));
    let daemon = &mut host.daemons.by_name.get_mut("web").unwrap().daemon;
    daemon.main = None;
    let row = daemon.row("boot");
    host.store.save_daemon(&row, false, None::<fn(u64) -> Vec<u8>>).unwrap();
    let unborn = std::mem::take(&mut host.processes);
    host.next_agent("boot");
    host.pass(0.5);
    host.processes = unborn;
    host.pass(4.0);
    assert_eq!((host.status().as_str(), host.living()), ("running", vec!["stays"]));
    assert_eq!(host.started.iter().filter(|words| *words == "stays").count(), 1, "once");
    // One that never does was not made.
    let daemon = &mut host.daemons.by_name.get_mut("web").unwrap().daemon;
    daemon.main = None;
    daemon.state = table::State::Starting;
    let row = daemon.row("boot");
    host.store.save_daemon(&row, false, None::<fn(u64) -> Vec<u8>>).unwrap();
    host.processes.clear();
    host.next_agent("boot");
    host.pass(1.1);
    assert_eq!(host.status(), "backoff");
}

#[test]
fn an_agent_that_stops_wakes_up_no_more_for_them() {
    let mut host = Host::new();
    host.init(&json!({"check": "script:hangs", "start_delay": 0}));
    host.pass(0.5);
    assert!(host.daemons.deadline().is_some());
    host.close();
    assert_eq!(host.daemons.deadline(), None);
    host.kill("stays");
    assert!(host.living().is_empty(), "the next agent starts it");
    host.next_agent("boot");
    host.pass(2.0);
    assert_eq!(host.living(), ["stays"]);
}

#[test]
fn nothing_is_started_that_the_store_does_not_know_of() {
    let mut host = Host::new();
    host.init(&json!({}));
    host.want(Wanted::Stoped);
    let may = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    assert_eq!(host.daemons.want("web", Wanted::Running, &mut host.store).retcode, 1);
    let seen = may.clone();
    host.store.before_each_change(move || seen.load(std::sync::atomic::Ordering::SeqCst)).unwrap();
    host.tick();
    host.pass(10.0);
    assert_eq!(host.living().len(), 0);
    may.store(true, std::sync::atomic::Ordering::SeqCst);
    host.pass(1.5);
    assert_eq!(host.living(), ["stays"]);
}
