//! A fleet that lost its server comes back whole, and no faster than the server wants.

use crate::program::Program;
use crate::{Rig, counts, enrolled, soon};
use serde_json::json;
use simulator::{Fleet, Profile};
use std::process::Stdio;
use tempfile::TempDir;
use tokio::time::Instant;

const HOSTS: usize = 1000;
const HANDSHAKES_PER_SECOND: u32 = 200;

#[tokio::test]
async fn after_kill_9_all_come_back_and_no_faster_than_the_limit() {
    let mut rig = Rig::start("", HOSTS, &Profile { seed: 3, ..Profile::default() }, HOSTS).await;
    Program::configure(rig.dir.path(), &format!("[agents]\nhandshakes = {HANDSHAKES_PER_SECOND}\n"));
    let tally = rig.fleet.tally.clone();
    rig.program.kill();
    soon(tally.are_down()).await;
    let begin = Instant::now();
    rig.program.start_again(rig.dir.path()).await;
    soon(tally.are_up(HOSTS / 4)).await;
    // Who is new waits his turn with the others, and no longer.
    soon(enrolled(&rig.program, 1)).await;
    soon(tally.are_up(HOSTS)).await;

    let mut times: Vec<_> = tally.handshakes().into_iter().filter(|at| *at >= begin).collect();
    times.sort_unstable();
    assert!(times.len() >= HOSTS);
    // A handshake ends some time after it began, so on a busy machine one second may see the ends of
    // two. None can end before its turn: up to each moment there are no more than the limit allows.
    for (before, at) in times.iter().enumerate() {
        let second_after = (*at - begin).as_secs_f64() + 1.0;
        let most = f64::from(HANDSHAKES_PER_SECOND) * second_after;
        assert!(
            f64::from(u32::try_from(before + 1).unwrap()) <= most,
            "{before} handshakes {:?} after the start",
            *at - begin
        );
    }
    let answer = rig.program.rest.run(rig.body(&json!({}))).await;
    assert_eq!(counts(&answer), [(2, HOSTS)].into());
}

#[tokio::test]
async fn a_fleet_goes_where_it_is_sent() {
    let there = TempDir::new().unwrap();
    let new = Program::start(there.path()).await;
    let identities = enrolled(&new, 20).await;
    // The old server is of the same fleet: its hosts trust both.
    let here = TempDir::new().unwrap();
    std::fs::create_dir_all(here.path().join("data/pki")).unwrap();
    for file in ["pki/ca.key", "pki/ca.pem"] {
        std::fs::copy(there.path().join("data").join(file), here.path().join("data").join(file)).unwrap();
    }
    let toml = format!("[agents]\nredirect = ['{}']\n", new.agents);
    let old = Program::configured(here.path(), &toml, Stdio::null()).await;
    let fleet = Fleet::start(&old.agents.to_string(), &identities, &Profile::default()).unwrap();
    soon(fleet.tally.are_up(20)).await;
    assert_eq!((fleet.tally.redirected(), fleet.tally.failed()), (20, 0));
    let hosts = new.rest.get("/api/v1/hosts").await.body;
    let online = hosts["hosts"].as_array().unwrap().iter().filter(|host| host["status"] == "online").count();
    assert_eq!(online, 20);
}
