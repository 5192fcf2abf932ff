//! What a host tells of itself, through both real programs.

#![allow(clippy::unwrap_used, reason = "what is unexpected fails the test")]

mod fleet;
mod rig;

use fleet::{Fleet, eventually};
use nix::sys::signal::Signal;
use rig::plugins::Folder;
use serde_json::{Value, json};

#[test]
fn a_host_is_asked_about_itself_and_found_by_what_it_told() {
    let fleet = Fleet::start(env!("CARGO_BIN_EXE_gearman"), "dev", "");
    let without = fleet.ask("getinfo.users", &json!({}));
    assert_eq!(without["retcode"], 3022, "{without}");
    assert!(without["detail"].as_str().unwrap().starts_with("the plugin folder "), "{without}");
    Folder::new(fleet.path("plugins")).ours();
    let root = fleet.ask("getinfo.users", &json!({"args": "-U root"}));
    assert_eq!((&root["retcode"], &root["data"]["users"][0]["uid"]), (&json!(2), &json!(0)), "{root}");
    // The plugins are new, which the agent is told as everything else.
    fleet.gearman.signal(Signal::SIGHUP);
    let host = format!("/api/v1/hosts/{}", fleet.host_id);
    let facts = eventually("the host's facts", || {
        let facts = fleet.polaris.get(&host)["facts"].take();
        facts["os"].is_object().then_some(facts)
    });
    let release = nix::sys::utsname::uname().unwrap().release().to_str().unwrap().to_owned();
    assert_eq!(facts["kernel"]["release"], json!(release));
    let found = |target: &str| {
        let target = target.replace(' ', "%20").replace('"', "%22").replace('<', "%3C");
        fleet.polaris.get(&format!("/api/v1/hosts?target={target}"))["count"].clone()
    };
    assert_eq!(found(&format!("facts.kernel.release == \"{release}\" and name == \"web-1\"")), json!(1));
    assert_eq!(found("facts.memory.total < 1"), json!(0));
    let body = json!({"target": "has(facts.os)", "method": "getinfo.load"});
    let answer: Value = fleet.polaris.post("/api/v1/requests", &body);
    assert_eq!(answer["response"].as_array().unwrap().len(), 1, "{answer}");
    assert!(answer["response"][0]["data"]["load1"].is_number(), "{answer}");
}
