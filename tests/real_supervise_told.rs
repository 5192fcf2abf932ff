//! What a real agent tells its server of its daemons, and what it refuses.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test ends it")]

mod rig;

use aspire::gearctl::client::AskError;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rig::agent::{Agent, Host};
use rig::daemons::{STAYS, alone, definition, packed};
use rig::pki::Ca;
use rig::polaris::Link;
use rig::{Connected, aloud, connected, is_root, process, until};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Stdio;

/// Reads events until one is as it is looked for; all of them, in the order of their numbers.
fn events(link: &mut Link, is_last: impl Fn(&Value) -> bool) -> Vec<Value> {
    let mut events = Vec::new();
    loop {
        let frame = link.receive();
        if frame["method"] == "result" {
            assert_eq!(frame["daemon"]["name"], "web", "{frame}");
            events.push(frame);
            if is_last(events.last().unwrap()) {
                return events;
            }
        }
    }
}

fn statuses(events: &[Value]) -> Vec<(&str, u64)> {
    let status = |event: &Value| event["daemon"]["status"].as_str().map(str::to_owned);
    assert!(events.iter().all(|event| status(event).is_some()));
    events.iter().map(|e| (e["daemon"]["status"].as_str().unwrap(), e["retcode"].as_u64().unwrap())).collect()
}

#[test]
fn every_change_is_an_event_with_its_reason() {
    let Connected { mut link, agent: _agent, host, polaris: _polaris } = connected("");
    let package = packed(&host, "web", &[("run", "#!/bin/sh\necho all is lost >&2\nexec sleep 1000000\n")]);
    let mut init = definition("web", &package, &json!({}));
    init.as_object_mut()
        .unwrap()
        .extend([("id".into(), json!("i")), ("method".into(), json!("daemon.init"))]);
    link.send(&init);
    let up = events(&mut link, |event| event["daemon"]["status"] == "running");
    assert_eq!(statuses(&up), [("installing", 2), ("starting", 2), ("running", 2)]);
    until("its words", || (host.written("web") == "all is lost\n").then_some(()));
    let pid = up[2]["daemon"]["pid"].as_i64().unwrap();
    kill(Pid::from_raw(i32::try_from(pid).unwrap()), Signal::SIGKILL).unwrap();
    let again = events(&mut link, |event| event["daemon"]["status"] == "running");
    assert_eq!(statuses(&again), [("backoff", 3102), ("starting", 2), ("running", 2)]);
    let fell = &again[0];
    assert_eq!((&fell["signal"], &fell["detail"]), (&json!(9), &json!("it was killed by SIGKILL")), "{fell}");
    assert_eq!((&fell["data"], &fell["daemon"]["restarts"]), (&json!("all is lost"), &json!(1)), "{fell}");
    link.send(&json!({"id": "r", "method": "daemon.remove", "name": "web"}));
    let gone = events(&mut link, |event| event["daemon"]["removed"] == true);
    assert_eq!(gone[0]["daemon"]["status"], "stopping", "{gone:?}");
    let numbers: Vec<u64> =
        [&up, &again, &gone].into_iter().flatten().map(|event| event["seq"].as_u64().unwrap()).collect();
    assert!(numbers.is_sorted_by(|one, next| one < next), "{numbers:?}");
}

#[test]
fn events_come_again_until_they_are_acknowledged_and_then_no_more() {
    let Connected { mut link, mut agent, host, polaris } = connected("");
    let package = packed(&host, "web", &[("run", STAYS)]);
    host.asks("daemon.init", &definition("web", &package, &json!({}))).unwrap();
    let first = events(&mut link, |event| event["daemon"]["status"] == "running");
    let by_id = |events: &[Value]| -> BTreeMap<String, Value> {
        events.iter().map(|event| (event["id"].as_str().unwrap().to_owned(), event.clone())).collect()
    };
    assert_eq!(by_id(&first).len(), first.len(), "each has an id of its own");
    let next = |agent: &mut Agent, signal: Signal| {
        agent.signal(signal);
        agent.ended();
        *agent = host.start();
        polaris.ready()
    };
    link = next(&mut agent, Signal::SIGKILL);
    let mut again = Vec::new();
    while again.len() < first.len() {
        let frame = link.receive();
        if frame["method"] == "result" {
            again.push(frame);
        }
    }
    assert_eq!(by_id(&again), by_id(&first), "the same, each once");
    // All but the last.
    for event in &again[..again.len() - 1] {
        link.send(&json!({"method": "ack", "seq": event["seq"]}));
    }
    // It has heard that when it answers this.
    assert_eq!(asked(&mut link)["data"]["results"], 1);
    link = next(&mut agent, Signal::SIGKILL);
    let (mut results, mut told) = (Vec::new(), None);
    while results.is_empty() || told.is_none() {
        let frame = link.receive();
        match frame["method"].as_str() {
            Some("result") => results.push(frame),
            Some("daemons") => told = Some(frame),
            _ => {}
        }
    }
    assert_eq!(results, again[again.len() - 1..], "only that one");
    let told = told.unwrap();
    let is = &told["daemons"][0];
    assert_eq!(
        (&is["name"], &is["status"], &is["wanted"]),
        (&json!("web"), &json!("running"), &json!("running"))
    );
    assert_eq!(
        (&is["pid"], told["daemons"].as_array().unwrap().len()),
        (&first.last().unwrap()["daemon"]["pid"], 1)
    );
    link.send(&json!({"method": "ack", "seq": results[0]["seq"]}));
    assert_eq!(asked(&mut link)["data"]["results"], 0);
}

/// `agent.info`, after whatever else came.
fn asked(link: &mut Link) -> Value {
    link.send(&json!({"id": "info", "method": "agent.info"}));
    std::iter::repeat_with(|| link.receive()).find(|frame| frame["id"] == "info").unwrap()
}

#[test]
fn a_link_begins_with_all_daemons_as_they_are() {
    let Connected { mut link, agent, host, polaris } = connected("");
    let package = packed(&host, "web", &[("run", STAYS)]);
    for name in ["web", "other"] {
        host.asks("daemon.init", &definition(name, &package, &json!({}))).unwrap();
        host.comes_to(name, "running");
    }
    host.wants("stop", "other");
    host.comes_to("other", "stoped");
    link.send(&json!({"method": "ack", "seq": 1}));
    drop(link);
    let mut link = polaris.ready();
    let told = std::iter::repeat_with(|| link.receive()).find(|frame| frame["method"] == "daemons").unwrap();
    let told: Vec<_> =
        told["daemons"].as_array().unwrap().iter().map(|d| (&d["name"], &d["status"])).collect();
    assert_eq!(told, [(&json!("other"), &json!("stoped")), (&json!("web"), &json!("running"))]);
    drop(agent);
}

fn refused(host: &Host, method: &str, args: &Value) -> (u16, String) {
    match host.asks(method, args) {
        Err(AskError::Failed { retcode, detail, .. }) => (retcode, detail.unwrap_or_default()),
        other => panic!("{method} {args}: {other:?}"),
    }
}

#[test]
fn what_cannot_be_is_refused_with_the_field_and_the_reason() {
    let (host, _agent) = alone("");
    let package = packed(&host, "web", &[("run", STAYS)]);
    for (more, reason) in [
        (json!({"name": "../web"}), "name: "),
        (json!({"version": "1/2"}), "version: "),
        (json!({"url": "gopher://x/web.deb"}), "url: "),
        (json!({"checksum": "SHA256:1"}), "checksum: "),
        (json!({"check": "socket"}), "socket: missing"),
        (json!({"stop": "kill:NOTHING"}), "stop: "),
        (json!({"check_interval": 0}), "check_interval: "),
        (json!({"limits": {"memory": "much"}}), "limits"),
        (json!({"pidfile": "web.pid"}), "pidfile: "),
        (json!({"other": 1}), "other"),
    ] {
        let (retcode, detail) = refused(&host, "daemon.init", &definition("web", &package, &more));
        assert!(retcode == 3021 && detail.contains(reason), "{more}: {retcode} {detail}");
    }
    let mut without = definition("web", &package, &json!({}));
    without.as_object_mut().unwrap().remove("checksum");
    let (retcode, detail) = refused(&host, "daemon.init", &without);
    assert!(retcode == 3021 && detail.starts_with("checksum: missing"), "{retcode} {detail}");
    for method in ["start", "stop", "restart", "remove", "list"] {
        let (retcode, detail) = refused(&host, &format!("daemon.{method}"), &json!({"name": "web"}));
        assert_eq!((retcode, detail.as_str()), (3024, "name: there is no daemon of this name"), "{method}");
    }
    assert_eq!(host.asks("daemon.list", &json!({})).unwrap()["count"], 0);
}

#[test]
fn an_agent_that_is_not_root_runs_daemons_as_itself_alone() {
    if !is_root() {
        return aloud("an agent that is not root, started by root");
    }
    let ca = Ca::new();
    let host = Host::enrolled(&ca);
    host.configure("127.0.72.2:1", "");
    everything_to(host.folder(), 65534);
    let mut command = host.command();
    command.args(["-f", "-l", "debug"]).stdin(Stdio::null()).uid(65534).gid(65534);
    let agent = Agent::of(command.spawn().unwrap());
    host.logged(&["control=listening"]);
    let package = packed(&host, "web", &[("run", STAYS)]);
    let init = |more: &Value| definition("web", &package, more);
    let (retcode, detail) = refused(&host, "daemon.init", &init(&json!({"user": "root"})));
    assert!(retcode == 3025 && detail.contains("user"), "{retcode} {detail}");
    host.asks("daemon.init", &init(&json!({}))).unwrap();
    let running = host.comes_to("web", "running");
    let pid = u32::try_from(running["pid"].as_u64().unwrap()).unwrap();
    assert_eq!(process::status(pid, "Uid"), "65534\t65534\t65534\t65534");
    host.wants("remove", "web");
    until("web to be gone", || host.daemon("web").is_null().then_some(()));
    drop(agent);
}

fn everything_to(folder: &Path, uid: u32) {
    chown(folder, Some(uid), Some(uid)).unwrap();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            everything_to(&path, uid);
        } else {
            chown(&path, Some(uid), Some(uid)).unwrap();
        }
    }
}
