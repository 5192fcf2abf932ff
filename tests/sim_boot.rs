//! boot on a simulated host: what it makes of jobs, servers, failures and restarts.

#![allow(clippy::unwrap_used, reason = "what is unexpected fails the test")]

mod bootworld;

use aspire::boot::Kept;
use aspire::machine::Signal;
use aspire::store::Store;
use aspire::wire::boot::ConfigChange;
use aspire::wire::server_list;
use bootworld::World;
use bootworld::server::conversation;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::PathBuf;

const SUM: &str = "SHA256:4a34b8d7d3009bb9ef9475fbf33e7bbe4a1e8db003aefc578a241c2f51c2c2f2";

fn job(id: &str, action: &str, more: &Value) -> Value {
    let mut job = json!({"id": id, "action": action, "name": "web"});
    job.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    job
}

/// `install` or `upgrade` of this version.
fn package(id: &str, action: &str, version: &str) -> Value {
    let url = format!("http://files/web-{version}.tar.gz");
    job(id, action, &json!({"url": url, "checksum": SUM}))
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn error(world: &World, id: &str) -> (u64, String) {
    let results = world.server.results_of(id);
    assert_eq!(results.len(), 1, "{results:?}");
    results[0].clone()
}

/// A host where version 1 of `web` was installed by job "first".
fn with_web() -> World {
    let mut world = World::new();
    world.server.jobs = vec![package("first", "install", "1")];
    ends(&mut world, "first");
    assert_eq!(error(&world, "first"), (0, "success".into()));
    assert_eq!(world.tree.running("web"), ["1"]);
    world
}

fn ends(world: &mut World, id: &str) {
    let last = |world: &World| world.server.results_of(id).iter().any(|(errcode, _)| *errcode != 1);
    world.until(&format!("the end of {id}"), last);
}

fn does(world: &mut World, job: Value) -> (u64, String) {
    let id = job["id"].as_str().unwrap().to_owned();
    world.server.jobs.push(job);
    ends(world, &id);
    error(world, &id)
}

#[test]
fn the_seed_s_sample_is_done_and_told() {
    let mut world = World::new();
    world.server.errcode = 2;
    world.server.jobs = vec![
        json!({
            "id": "ddc8a9b9-55bd-4ddd-b53d-47095ee19466",
            "action": "install",
            "name": "BasicAgent",
            "url": "ftp://server:21/BasicAgent/BasicAgent-1.5.6..rpm",
            "checksum": SUM,
            "env": {"PATH": "/usr/bin;/usr/local/bin"},
            "limits": {"CPU": "10%", "memory": "20M"}
        }),
        json!({
            "id": "ddc8a9b9-55bd-4ddd-b53d-47095ee19466",
            "action": "config",
            "svrlist": "192.168.9.1:1234,",
            "step": 1200
        }),
    ];
    world.until("both results", |world| world.server.results.len() == 2);
    assert_eq!(
        world.server.results,
        vec![json!({"id": "ddc8a9b9-55bd-4ddd-b53d-47095ee19466", "errcode": 0, "message": "success"}); 2]
    );
    world.pass(60);
    let first = &world.server.reports[0];
    assert_eq!((&first["hostname"], &first["step"]), (&json!("web-1"), &json!(600)));
    assert!(first["version"].as_str().unwrap().starts_with("bootagent-"), "{first}");
    assert_eq!((&first["uptime"], &first["timestamp"]), (&json!(0), &json!(1_000_000)));
    assert_eq!((&first["agents"], &first["packages"]), (&json!([]), &json!(["deb", "tar.gz"])));
    let last = world.server.reports.last().unwrap();
    assert_eq!(last["step"], 1200);
    let agent = &last["agents"][0];
    assert_eq!((&agent["name"], &agent["version"]), (&json!("BasicAgent"), &json!("1.5.6")));
    assert_eq!((&agent["status"], &agent["state"]), (&json!("running"), &json!("running")));
    assert!(world.server.asked.contains(&(address("192.168.9.1:1234"), "/agent/status".into())));
    assert_eq!(world.started.iter().filter(|what| *what == "Install").count(), 1);
}

#[test]
fn every_action_does_what_it_says() {
    let mut world = with_web();
    assert_eq!(does(&mut world, job("stop", "stop", &json!({}))).0, 0);
    assert_eq!(world.tree.running("web"), [""; 0]);
    world.pass(30);
    assert_eq!(world.agents(), [("web".into(), "1".into(), "stoped".into())]);
    assert_eq!(does(&mut world, package("up", "upgrade", "2")).0, 0);
    assert_eq!((world.tree.running("web").len(), world.tree.installed["web"].as_str()), (0, "2"));
    assert_eq!(does(&mut world, job("start", "start", &json!({}))).0, 0);
    assert_eq!(world.tree.running("web"), ["2"]);
    let before = world.tree.processes[0].process;
    assert_eq!(does(&mut world, job("again", "restart", &json!({}))).0, 0);
    assert_ne!(world.tree.processes[0].process, before);
    assert_eq!(
        does(
            &mut world,
            job(
                "env",
                "upgrade",
                &json!({
                    "url": "http://files/web-2.tar.gz", "checksum": SUM, "env": {"A": "1"}
                })
            )
        )
        .0,
        0
    );
    assert_eq!(does(&mut world, job("off", "uninstall", &json!({}))).0, 0);
    assert_eq!((world.tree.running("web").len(), world.tree.installed.len()), (0, 0));
    world.pass(30);
    assert_eq!(world.agents(), []);
    for action in ["start", "stop", "restart", "uninstall"] {
        let (errcode, message) =
            does(&mut world, job(&format!("no {action}"), action, &json!({"name": "gone"})));
        assert_eq!(errcode, 3024, "{action}: {message}");
    }
}

#[test]
fn what_is_so_already_is_not_done_again() {
    let mut world = with_web();
    let started = world.started.len();
    assert_eq!(does(&mut world, package("same", "install", "1")).0, 0);
    assert_eq!(does(&mut world, package("same too", "upgrade", "1")).0, 0);
    assert_eq!(does(&mut world, job("start", "start", &json!({}))).0, 0);
    assert_eq!(world.started.len(), started, "{:?}", world.started);
}

#[test]
fn what_is_wrong_with_a_job_is_told_with_the_field() {
    let mut world = with_web();
    for (id, bad, errcode, word) in [
        ("a", json!({"action": "explode", "name": "web"}), 3022, "action"),
        ("b", json!({"action": "install", "name": "web"}), 3021, "url"),
        ("c", json!({"action": "install", "name": "x", "url": "http://h/x-1.deb"}), 3021, "checksum"),
        ("d", json!({"action": "config", "step": 1}), 3021, "step"),
        ("e", json!({"action": "upgrade", "name": "x", "url": "/x-1.deb"}), 3024, "name"),
        ("f", json!({"action": "stop", "name": "x", "colour": "red"}), 3021, "colour"),
        ("g", json!({"action": "stop", "name": "../x"}), 3021, "name"),
        ("h", json!({}), 3021, "action"),
        ("i", json!({"action": "stop", "name": "x", "y": "z".repeat(70_000)}), 3021, "65536 bytes"),
        ("j", json!({"action": "upgrade", "name": "boot", "url": "http://h/boot-2.deb"}), 3021, "checksum"),
    ] {
        let mut bad = bad;
        bad["id"] = json!(id);
        let (got, message) = does(&mut world, bad);
        assert_eq!(got, errcode, "{id}: {message}");
        assert!(message.contains(word), "{id}: {message}");
    }
    // Nobody can be told of these, and they cost the others nothing.
    world.server.jobs = vec![json!({"action": "stop"}), json!(7), json!({"id": ""})];
    assert_eq!(does(&mut world, job("z", "stop", &json!({}))).0, 0);
}

#[test]
fn an_agent_has_one_of_its_names() {
    let mut world = World::new();
    let named = |id: &str, action: &str, name: &str| json!({"id": id, "action": action, "name": name, "url": "http://h/gearman-1.deb", "checksum": SUM});
    assert_eq!(does(&mut world, named("1", "install", "gearman")).0, 0);
    let (errcode, message) = does(&mut world, named("2", "install", "BasicAgent"));
    assert_eq!(errcode, 3026, "{message}");
    assert!(message.contains("\"gearman\""), "{message}");
    assert_eq!(does(&mut world, json!({"id": "3", "action": "stop", "name": "BasicAgent"})).0, 3026);
    assert_eq!(world.tree.running("gearman"), ["1"]);
}

#[test]
fn a_job_is_done_once_whatever_comes_again() {
    let mut world = with_web();
    let before = world.tree.processes[0].process;
    let restart = job("again", "restart", &json!({}));
    assert_eq!(does(&mut world, restart.clone()).0, 0);
    let after = world.tree.processes[0].process;
    assert_ne!(before, after);
    // Its end is told again where the server has not got it, and by the next boot as well.
    for round in 2..5 {
        world.server.jobs.push(restart.clone());
        world.until("its result again", |world| world.server.results_of("again").len() == round);
        world.next_boot();
    }
    world.pass(100);
    assert_eq!(world.tree.processes[0].process, after, "it was restarted once");
    assert!(world.server.results_of("again").iter().all(|(errcode, _)| *errcode == 0));
    // Two jobs of one id are two.
    assert_eq!(does(&mut world, job("two", "stop", &json!({}))).0, 0);
    world.server.jobs.push(job("two", "start", &json!({})));
    world.until("the other", |world| world.server.results_of("two").len() == 2);
    assert_eq!(world.tree.running("web"), ["1"]);
}

#[test]
fn results_are_told_until_they_are_taken_and_reports_come_no_faster_for_it() {
    let mut world = with_web();
    world.server.result_errcode = 7;
    world.server.jobs.push(job("stop", "stop", &json!({})));
    world.until("many tries", |world| world.server.results_of("stop").len() == 6);
    let (results, reports) = (world.server.results.len(), world.server.reports.len());
    world.pass(6000);
    let tries = world.server.results.len() - results;
    assert!((10..=60).contains(&tries), "{tries} tries");
    assert!(world.server.reports.len() - reports <= 12, "a report a step");
    world.next_boot();
    world.server.result_errcode = 0;
    let before = world.server.results.len();
    world.until("that it is taken", |world| world.server.jobs.is_empty());
    world.pass(3000);
    assert_eq!(world.server.results.len(), before + 1, "and then no more");
}

#[test]
fn servers_are_tried_in_turn_each_at_all_its_addresses() {
    let config = "[report]\nserver = \"nobody,two.example:99,10.0.0.3\"\n";
    let mut world = World::with(config, Store::in_memory().unwrap());
    let addresses = ["10.0.1.1:99", "10.0.1.2:99"].map(address);
    world.names.insert("two.example".into(), addresses.to_vec());
    world.server.away = addresses.to_vec();
    world.until("a report", |world| !world.server.reports.is_empty());
    assert_eq!(world.server.asked[0].0, address("10.0.0.3:8181"));
    // Names are looked up at each report anew, and what answers badly is not it either.
    world.names.insert("two.example".into(), vec![address("10.0.1.9:99")]);
    world.server.away.clear();
    world.server.odd = [conversation("503 Service Unavailable", "")].into();
    world.until("another report", |world| world.server.asked.len() == 3);
    let asked: Vec<String> = world.server.asked[1..].iter().map(|(at, _)| at.to_string()).collect();
    assert_eq!(asked, ["10.0.1.9:99", "10.0.0.3:8181"]);
    // One that is silent does not hold up the others for long.
    world.server.mute = vec![address("10.0.1.9:99")];
    let begun = world.server.reports.len();
    world.until("a third report", |world| world.server.reports.len() > begun);
    assert_eq!(world.server.asked.last().unwrap().0, address("10.0.0.3:8181"));
}

#[test]
fn added_servers_come_first_and_stay_across_restarts() {
    let mut world = with_web();
    let (first, added) = (address("10.0.0.1:8181"), address("192.168.9.1:1234"));
    let change = json!({"id": "c", "action": "config", "svrlist": "192.168.9.1:1234,", "step": 60});
    assert_eq!(does(&mut world, change).0, 0);
    world.next_boot();
    let (asked, reports) = (world.server.asked.len(), world.server.reports.len());
    world.until("a report", |world| world.server.reports.len() > reports);
    assert_eq!(world.server.asked[asked].0, added);
    assert_eq!(world.server.reports.last().unwrap()["step"], 60);
    // The default list is never replaced.
    world.server.away = vec![added];
    let begun = world.server.asked.len();
    world.until("a report", |world| world.server.asked.len() > begun);
    assert_eq!(world.server.asked[begun].0, first);
    // A package of the server that sent the job needs no checksum, as it comes by TLS.
    let own = job("own", "install", &json!({"name": "own", "url": "/packages/own-1.tar.gz"}));
    assert_eq!(does(&mut world, own).0, 0);
    let change = json!({"id": "d", "action": "config", "svrlist": ""});
    assert_eq!(does(&mut world, change).0, 0);
    world.server.away.clear();
    world.pass(200);
    assert_eq!(world.server.asked.last().unwrap().0, first);
}

#[test]
fn reports_come_every_step_with_some_spread_and_sooner_after_a_failure() {
    let mut world = World::new();
    let mut at = Vec::new();
    for _ in 0..30 {
        let begun = world.server.reports.len();
        world.until("a report", |world| world.server.reports.len() > begun);
        at.push(world.now.mono.0.as_secs());
    }
    let steps: Vec<u64> = at.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(steps.iter().all(|step| (540..=660).contains(step)), "{steps:?}");
    assert!(steps.iter().max() > steps.iter().min(), "{steps:?}");
    // Each outage begins anew.
    for _ in 0..5 {
        let (begun, reports) = (world.dialled.len(), world.server.reports.len());
        world.server.away = vec![address("10.0.0.1:8181")];
        world.pass(10_000);
        let tries: Vec<_> = world.dialled[begun..].iter().map(|(at, _)| *at).collect();
        let gaps: Vec<f64> = tries.windows(2).map(|pair| pair[1].since(pair[0]).as_secs_f64()).collect();
        // To be refused takes a moment.
        assert!((60.0..=120.1).contains(&gaps[0]), "{gaps:?}");
        assert!(gaps.iter().all(|gap| (60.0..=660.0).contains(gap)), "{gaps:?}");
        assert!(gaps.iter().any(|gap| *gap > 240.0), "later and later: {gaps:?}");
        assert_eq!(world.server.reports.len(), reports);
        world.server.away.clear();
        let at = world.now.mono;
        world.until("a report", |world| world.server.reports.len() > reports);
        assert!(world.now.mono.since(at).as_secs() <= 660);
    }
}

#[test]
fn an_idle_boot_wakes_for_its_step_and_its_children_alone() {
    let mut world = World::new();
    world.pass(60);
    let before = world.wakes;
    world.pass(6000);
    // A tick, the connection, the answer.
    let wakes = world.wakes - before;
    assert!(wakes <= 3 * 12, "{wakes} wakes");
    let mut world = with_web();
    world.pass(60);
    let before = world.wakes;
    world.pass(6000);
    let wakes = world.wakes - before;
    // And a check a minute, with a look at the family.
    assert!(wakes <= 3 * 12 + 2 * 101, "{wakes} wakes");
}

#[test]
fn what_changes_is_reported_soon_and_not_too_often() {
    let mut world = with_web();
    world.pass(100);
    let begun = world.server.reports.len();
    world.tree.kill("web");
    world.pass(30);
    assert!((begun + 1..=begun + 3).contains(&world.server.reports.len()), "{}", world.server.reports.len());
    // One that falls again and again.
    world.tree.broken = vec!["1".into()];
    world.tree.kill("web");
    let begun = world.server.reports.len();
    world.pass(100);
    assert!(world.server.reports.len() - begun <= 10);
    world.pass(4000);
    assert_eq!(world.agents(), [("web".into(), "1".into(), "fatal".into())]);
    let agent = &world.server.reports.last().unwrap()["agents"][0];
    assert_eq!(agent["state"], "fatal");
    assert!(agent["reason"].as_str().unwrap().contains("exit status 1"), "{agent}");
}

/// The agent in the last report.
fn told(world: &World) -> Value {
    world.server.reports.last().unwrap()["agents"][0].clone()
}

#[test]
fn an_agent_that_uses_too_much_is_killed_which_is_told() {
    let mut world = World::new();
    let mut install = package("first", "install", "1");
    install["limits"] = json!({"memory": "1M"});
    assert_eq!(does(&mut world, install).0, 0);
    let before = world.tree.processes[0].process;
    world.tree.memory = Some(2 << 20);
    let is_killed = |world: &World| world.agents().iter().any(|(_, _, status)| status == "killed");
    world.until("a report of it", is_killed);
    let agent = told(&world);
    assert_eq!((&agent["name"], &agent["version"]), (&json!("web"), &json!("1")), "{agent}");
    assert_eq!((&agent["state"], &agent["uptime"]), (&json!("killed"), &json!(0)), "{agent}");
    assert!(agent["reason"].as_str().unwrap().contains("limits.memory: 2097152 bytes"), "{agent}");
    world.tree.memory = None;
    world.until("another", |world| world.agents()[0].2 == "running");
    assert_ne!(world.tree.processes[0].process, before);
}

#[test]
fn how_long_an_agent_has_run_is_told() {
    let mut world = with_web();
    world.pass(1300);
    let begun = |world: &World| {
        let report = world.server.reports.last().unwrap();
        report["timestamp"].as_u64().unwrap() - report["agents"][0]["uptime"].as_u64().unwrap()
    };
    let (uptime, since) = (told(&world)["uptime"].as_u64().unwrap(), begun(&world));
    assert!((540..=1300).contains(&uptime), "{uptime}");
    // What it has run before the next boot counts.
    world.next_boot();
    world.pass(700);
    let longer = told(&world)["uptime"].as_u64().unwrap();
    assert!((uptime + 1..=uptime + 1960).contains(&longer), "{longer}");
    assert!(begun(&world).abs_diff(since) <= 1, "{since}: {}", told(&world));
    world.tree.kill("web");
    world.pass(700);
    assert!(told(&world)["uptime"].as_u64().unwrap() <= 700, "{}", told(&world));
    assert_eq!(does(&mut world, job("stop", "stop", &json!({}))).0, 0);
    world.pass(30);
    assert_eq!((&told(&world)["status"], &told(&world)["uptime"]), (&json!("stoped"), &json!(0)));
}

/// What is the matter with a host.
type Trouble = fn(&mut World);

#[test]
fn an_install_that_fails_leaves_nothing_behind() {
    let refused: Trouble = |world| world.tree.refused = vec!["1".into()];
    let broken: Trouble = |world| world.tree.broken = vec!["1".into()];
    let wrong: Trouble = |world| world.tree.wrong = vec!["web-1".into()];
    let missing: Trouble = |world| world.tree.missing = vec!["web-1".into()];
    let ways: [(Trouble, u64, &str); 4] = [
        (refused, 3303, "dpkg does not take it"),
        (broken, 3101, "exit status 1"),
        (wrong, 3302, "checksum"),
        (missing, 3301, "404"),
    ];
    for (way, errcode, word) in ways {
        let mut world = World::new();
        way(&mut world);
        let mut install = package("i", "install", "1");
        install["timeout"] = json!(300);
        let (got, message) = does(&mut world, install);
        assert_eq!(got, errcode, "{message}");
        assert!(message.contains(word) && message.ends_with("nothing of it is left"), "{message}");
        world.pass(100);
        assert_eq!((world.tree.installed.len(), world.tree.fetched.len()), (0, 0), "{word}");
        assert_eq!((world.tree.processes.len(), world.agents()), (0, vec![]), "{word}");
        let fetches = world.started.iter().filter(|what| *what == "Fetch").count();
        assert!(word != "checksum" || fetches == 1, "a wrong file fails at once: {fetches}");
    }
}

#[test]
fn an_upgrade_that_fails_brings_the_one_before_back() {
    let refused: Trouble = |world| world.tree.refused = vec!["2".into()];
    let broken: Trouble = |world| world.tree.broken = vec!["2".into()];
    let wrong: Trouble = |world| world.tree.wrong = vec!["web-2".into()];
    let missing: Trouble = |world| world.tree.missing = vec!["web-2".into()];
    let ways: [(Trouble, u64, &str, bool); 4] = [
        (refused, 3303, "dpkg does not take it", false),
        (broken, 3303, "exit status 1", false),
        (wrong, 3302, "checksum", true),
        (missing, 3301, "404", true),
    ];
    for (way, errcode, word, goes_on) in ways {
        for action in ["upgrade", "install"] {
            let mut world = with_web();
            way(&mut world);
            let before = world.tree.processes[0].process;
            let mut upgrade = package("u", action, "2");
            upgrade["timeout"] = json!(300);
            let (got, message) = does(&mut world, upgrade.clone());
            assert_eq!(got, errcode, "{message}");
            assert!(message.contains(word) && message.ends_with("version 1 is as it was"), "{message}");
            assert_eq!(world.tree.running("web"), ["1"], "{word}");
            assert_eq!(world.tree.installed["web"], "1");
            assert_eq!(world.tree.processes[0].process == before, goes_on, "{word}");
            world.pass(100);
            assert_eq!(world.agents(), [("web".into(), "1".into(), "running".into())]);
            assert_eq!(world.server.reports.last().unwrap()["agents"][0]["reason"], Value::Null);
            // And the same once more.
            upgrade["id"] = json!("u2");
            assert_eq!(does(&mut world, upgrade).0, errcode);
            assert_eq!(world.tree.running("web"), ["1"], "{word}");
        }
    }
}

#[test]
fn an_agent_s_jobs_are_done_one_after_another_and_different_agents_at_once() {
    let mut world = World::new();
    let other =
        job("o", "install", &json!({"name": "other", "url": "http://h/other-1.deb", "checksum": SUM}));
    world.server.jobs = vec![
        package("1", "install", "1"),
        job("2", "stop", &json!({})),
        package("3", "upgrade", "2"),
        other,
        job("4", "start", &json!({})),
    ];
    ends(&mut world, "4");
    let order: Vec<&str> = world.server.results.iter().map(|result| result["id"].as_str().unwrap()).collect();
    let of_web: Vec<&&str> = order.iter().filter(|id| **id != "o").collect();
    assert_eq!(of_web, [&"1", &"2", &"3", &"4"]);
    assert!(order.iter().position(|id| *id == "o") <= Some(1), "{order:?}");
    assert_eq!(world.tree.running("web"), ["2"]);
}

#[test]
fn too_many_jobs_are_refused() {
    let mut world = with_web();
    world.tree.missing = vec!["slow".into()];
    let slow = json!({"url": "http://h/slow-1.deb", "checksum": SUM, "timeout": 86400, "name": "slow"});
    world.server.jobs = (0..64).map(|n| job(&format!("a{n}"), "install", &slow)).collect();
    world.pass(1300);
    world.server.jobs = (0..64).map(|n| job(&format!("b{n}"), "install", &slow)).collect();
    world.pass(1300);
    assert_eq!(world.server.results.len(), 1);
    world.server.jobs.clear();
    let (errcode, message) = does(&mut world, job("c", "stop", &json!({})));
    assert_eq!(errcode, 3026, "{message}");
}

#[test]
fn what_is_asked_for_on_the_host_is_reported_until_it_is_there() {
    let mut store = Store::in_memory().unwrap();
    let server = server_list::entry("10.0.0.9").unwrap();
    let mut kept = Kept::load(&store).unwrap();
    kept.enrolled(&server, &["gearman".into(), "logagent".into()], &mut store).unwrap();
    kept.change(&ConfigChange { servers: None, step: None }, &mut store).unwrap();
    let mut world = World::with("", store);
    world.until("a report", |world| !world.server.reports.is_empty());
    assert_eq!(world.server.asked[0].0, address("10.0.0.9:8181"));
    assert_eq!(world.server.reports[0]["wanted"], json!(["gearman", "logagent"]));
    let install = json!({"id": "1", "action": "install", "name": "BasicAgent",
        "url": "/packages/gearman_1_all.deb"});
    assert_eq!(does(&mut world, install).0, 0);
    world.pass(60);
    assert_eq!(world.server.reports.last().unwrap()["wanted"], json!(["logagent"]));
    // Who takes it away does not want it.
    assert_eq!(does(&mut world, json!({"id": "2", "action": "uninstall", "name": "BasicAgent"})).0, 0);
    world.pass(60);
    assert_eq!(world.server.reports.last().unwrap()["wanted"], json!(["logagent"]));
    // Nor does who takes away what never came, by whichever name.
    let uninstall = |id: &str| json!({"id": id, "action": "uninstall", "name": "LogAgent"});
    assert_eq!(does(&mut world, uninstall("3")).0, 0);
    world.pass(60);
    assert_eq!(world.server.reports.last().unwrap()["wanted"], json!(null));
    assert_eq!(does(&mut world, uninstall("4")).0, 3024);
}

#[test]
fn what_cannot_be_installed_is_asked_for_less_and_less_often() {
    let mut store = Store::in_memory().unwrap();
    let mut kept = Kept::load(&store).unwrap();
    let server = server_list::entry("10.0.0.9").unwrap();
    kept.enrolled(&server, &["web".into(), "other".into()], &mut store).unwrap();
    let mut world = World::with("", store);
    world.tree.refused = vec!["1".into()];
    world.server.offer = Some(package("", "install", "1"));
    world.pass(86_400);
    let tries = world.server.results.len();
    assert!((5..=9).contains(&tries), "{tries} tries in a day");
    let reports = world.server.reports.len();
    assert!(reports < 86_400 / 500, "{reports} reports in a day");
    assert_eq!(world.server.reports.last().unwrap()["wanted"], json!(["other"]), "it is held back alone");
    world.tree.refused.clear();
    world.pass(2 * 86_400);
    assert_eq!(world.tree.running("web"), ["1"]);
    assert_eq!(world.server.results.last().unwrap()["errcode"], 0);
    assert!(world.server.results.len() <= tries + 3, "{}", world.server.results.len());
}

#[test]
fn no_job_takes_the_server_of_the_enrolment_away() {
    let mut store = Store::in_memory().unwrap();
    let mut kept = Kept::load(&store).unwrap();
    kept.enrolled(&server_list::entry("10.0.0.9").unwrap(), &[], &mut store).unwrap();
    let mut world = World::with("", store);
    world.server.away = vec![address("10.0.0.77:8181")];
    for (id, svrlist) in [("mistyped", "10.0.0.77"), ("empty", "")] {
        let config = json!({"id": id, "action": "config", "svrlist": svrlist});
        assert_eq!(does(&mut world, config).0, 0);
        world.next_boot();
        let reports = world.server.reports.len();
        world.until("a report", |world| world.server.reports.len() > reports);
        assert_eq!(world.server.asked.last().unwrap().0, address("10.0.0.9:8181"), "{id}");
    }
    // Those of jobs come first.
    let config = json!({"id": "good", "action": "config", "svrlist": "10.0.0.5"});
    assert_eq!(does(&mut world, config).0, 0);
    let reports = world.server.reports.len();
    world.until("a report", |world| world.server.reports.len() > reports);
    assert_eq!(world.server.asked.last().unwrap().0, address("10.0.0.5:8181"));
}

#[test]
fn a_package_of_a_server_that_is_asked_no_more_is_brought_back_too() {
    let mut world = World::new();
    let install = job("i", "install", &json!({"url": "/packages/web-1.tar.gz"}));
    assert_eq!(does(&mut world, install).0, 0);
    world.config = "[report]\nserver = \"10.0.0.2\"\n".into();
    world.signal(Signal::Reload);
    world.pass(60);
    world.tree.missing = vec!["web-2".into()];
    let before = world.tree.processes[0].process;
    let mut upgrade = package("u", "upgrade", "2");
    upgrade["timeout"] = json!(300);
    let (errcode, message) = does(&mut world, upgrade);
    assert_eq!(errcode, 3301, "{message}");
    assert!(message.ends_with("version 1 is as it was"), "{message}");
    world.pass(1000);
    assert_eq!((world.tree.running("web"), world.tree.processes[0].process), (vec!["1"], before));
    assert_eq!(world.agents(), [("web".into(), "1".into(), "running".into())]);
}

#[test]
fn a_clock_that_jumps_does_not_matter() {
    let mut world = with_web();
    let reports = world.server.reports.len();
    world.now.wall += std::time::Duration::from_secs(365 * 86400);
    world.pass(600);
    world.now.wall = std::time::SystemTime::UNIX_EPOCH;
    world.pass(600);
    assert!((1..=4).contains(&(world.server.reports.len() - reports)));
    assert_eq!(does(&mut world, package("u", "upgrade", "2")).0, 0);
    assert_eq!(world.tree.running("web"), ["2"]);
}

#[test]
fn hostile_answers_are_errors_and_leave_the_host_as_it_was() {
    let mut world = with_web();
    let before = world.tree.processes[0].process;
    let answers = [
        conversation("200 OK", "[]"),
        conversation("200 OK", "{\"errcode\": \"x\"}"),
        conversation("200 OK", "{\"errcode\": 0, \"jobs\": {}}"),
        conversation("200 OK", &json!({"errcode": 0, "jobs": vec![json!({}); 65]}).to_string()),
        conversation("204 No Content", ""),
        conversation("301 Moved Permanently", ""),
        conversation("500 Internal Server Error", "{}"),
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n".to_vec(),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n".to_vec(),
        b"HTTP/1.1 200 OK\r\n\r\n{}".to_vec(),
        b"SSH-2.0-OpenSSH_9\r\n".to_vec(),
        [b"HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n".to_vec(), vec![b'x'; 1 << 21]].concat(),
        b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{".to_vec(),
        Vec::new(),
    ];
    world.server.odd = answers.into();
    world.until("all of them", |world| world.server.odd.is_empty());
    let reports = world.server.reports.len();
    world.until("a good one", |world| world.server.reports.len() > reports);
    world.pass(60);
    assert_eq!(world.tree.processes[0].process, before);
    assert_eq!(does(&mut world, job("stop", "stop", &json!({}))).0, 0);
}

#[test]
fn the_configuration_is_read_again() {
    let mut world = with_web();
    world.config = "[report]\nserver = \"10.0.0.2\"\nstep = 60\n".into();
    world.signal(Signal::Reload);
    let begun = world.server.asked.len();
    world.until("a report", |world| world.server.asked.len() > begun);
    assert_eq!(world.server.asked[begun].0, address("10.0.0.2:8181"));
    assert_eq!(world.server.reports.last().unwrap()["step"], 60);
    world.config = "[report]\nstep = 1\n".into();
    world.signal(Signal::Reload);
    world.pass(100);
    assert_eq!(world.server.reports.last().unwrap()["step"], 60, "a wrong one changes nothing");
}

#[test]
fn agents_go_on_when_boot_stops_and_are_found_again() {
    let mut world = with_web();
    let before = world.tree.processes[0].process;
    world.next_boot();
    world.pass(100);
    assert_eq!(world.tree.processes[0].process, before);
    assert_eq!(world.agents(), [("web".into(), "1".into(), "running".into())]);
    world.tree.kill("web");
    world.pass(10);
    assert_eq!(world.tree.running("web"), ["1"]);
    world.signal(Signal::Stop);
    assert!(world.boot.is_none());
    assert_eq!(world.tree.running("web"), ["1"]);
}

/// The plan that boot has written.
fn plan(world: &World) -> (PathBuf, Value) {
    let path = PathBuf::from("/var/lib/cargo/boot/.self/plan.json");
    let text = world.tree.files.get(&path).expect("a plan");
    (path, serde_json::from_str(text).unwrap())
}

/// Boot has told that it goes on, and a helper is at work, which comes to this.
fn handed_over(world: &mut World, stage: &str) {
    let upgrade =
        json!({"id": "self", "action": "upgrade", "name": "BootAgent", "url": "/packages/boot_2_all.deb"});
    world.server.jobs.push(upgrade);
    world.until("a helper", |world| world.tree.helpers == 1);
    assert_eq!(world.server.results_of("self").iter().map(|(errcode, _)| *errcode).collect::<Vec<_>>(), [1]);
    let (path, mut plan) = plan(world);
    assert_eq!((&plan["stage"], &plan["wanted"]["version"]), (&json!("prepared"), &json!("2")));
    plan["stage"] = json!("proving");
    world.tree.files.insert(path.clone(), plan.to_string());
    // Another boot runs now, and proves itself.
    world.next_boot();
    let confirmed = path.with_file_name("confirmed");
    world.until("its word", |world| world.tree.files.contains_key(&confirmed));
    plan["stage"] = json!(stage);
    plan["reason"] = json!("it was no good");
    plan["failed_at"] = json!("proving");
    world.tree.files.insert(path, plan.to_string());
}

#[test]
fn boot_hands_over_to_another_version_and_tells_how_that_ended() {
    for (stage, errcode) in [("done", 0), ("rolled_back", 3304)] {
        let mut world = with_web();
        handed_over(&mut world, stage);
        ends(&mut world, "self");
        let results = world.server.results_of("self");
        assert_eq!(results.last().unwrap().0, errcode, "{results:?}");
        // It is told again where somebody asks, and not done again.
        world.server.results.clear();
        let again =
            json!({"id": "self", "action": "upgrade", "name": "boot", "url": "/packages/boot_2_all.deb"});
        world.next_boot();
        assert_eq!(does(&mut world, again).0, errcode);
        assert_eq!((world.tree.helpers, world.tree.running("web")), (1, vec!["1"]));
    }
}

#[test]
fn nothing_is_handed_over_before_the_server_knows_of_it() {
    let mut world = with_web();
    world.server.result_errcode = 7;
    let upgrade =
        json!({"id": "self", "action": "upgrade", "name": "boot", "url": "/packages/boot_2_all.deb"});
    world.server.jobs.push(upgrade);
    world.until("some tries", |world| world.server.results_of("self").len() == 3);
    world.next_boot();
    world.until("more tries", |world| world.server.results_of("self").len() == 6);
    assert_eq!(world.tree.helpers, 0);
    world.server.result_errcode = 0;
    world.until("a helper", |world| world.tree.helpers == 1);
}

#[test]
fn a_package_of_boot_that_is_not_to_be_had_is_told_and_leaves_nothing() {
    let mut world = with_web();
    world.tree.missing = vec!["boot_2".into()];
    let mut upgrade =
        json!({"id": "self", "action": "upgrade", "name": "boot", "url": "/packages/boot_2_all.deb"});
    upgrade["timeout"] = json!(100);
    let (errcode, message) = does(&mut world, upgrade);
    assert_eq!((errcode, world.tree.helpers, world.tree.files.len()), (3301, 0, 0), "{message}");
    assert_eq!(
        does(&mut world, json!({"id": "c", "action": "config", "step": 60})).0,
        0,
        "it is not held up"
    );
}
