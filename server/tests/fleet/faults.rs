//! What is wrong with some hosts is no harm to the others.

use crate::common::eventually;
use crate::{Rig, counts};
use serde_json::{Value, json};
use simulator::{Fault, Profile};
use std::collections::BTreeSet;

const HOSTS: usize = 200;

/// Ten hosts with each of the faults.
fn with(seed: u64, faults: &[Fault]) -> Profile {
    Profile { seed, faults: faults.iter().map(|fault| (*fault, 50)).collect(), ..Profile::default() }
}

#[tokio::test]
async fn a_link_that_breaks_ends_its_own_hosts_command_alone_and_is_made_anew() {
    let rig = Rig::start("", HOSTS, &with(4, &[Fault::Drops, Fault::Resets]), HOSTS).await;
    let answer = rig.program.rest.run(rig.body(&json!({}))).await;
    assert_eq!(counts(&answer), [(2, HOSTS - 20), (206, 20)].into());
    let lost: BTreeSet<_> = answer.retcodes().into_iter().filter(|(_, code)| *code == 206).collect();
    let expected = rig.ids_of(&rig.fleet.which(|traits| traits.fault.is_some()));
    assert_eq!(lost.iter().map(|(host, _)| &**host).collect::<BTreeSet<_>>(), expected.into_iter().collect());
    let tally = &rig.fleet.tally;
    eventually("all are back", async || {
        (tally.handshakes().len() >= HOSTS + 20 && tally.up() == HOSTS).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_link_that_has_gone_silent_is_noticed_and_made_anew() {
    // So short that a busy machine may find others silent, too.
    let rig = Rig::start("[agents]\nheartbeat = 2\n", HOSTS, &with(4, &[Fault::HalfOpen]), HOSTS).await;
    let answer = rig.program.rest.run(rig.body(&json!({}))).await;
    let entries = answer.body["response"].as_array().unwrap();
    let silent = entries.iter().filter(|entry| entry["detail"] == "nothing heard for 5 s");
    let silent: BTreeSet<_> = silent.map(|entry| entry["host"].as_str().unwrap()).collect();
    let half_open = rig.ids_of(&rig.fleet.which(|traits| traits.fault.is_some()));
    assert_eq!(half_open.len(), 10);
    assert!(half_open.iter().all(|id| silent.contains(&**id)), "{half_open:?} {silent:?}");
    let tally = &rig.fleet.tally;
    eventually("all are back", async || {
        (tally.handshakes().len() >= HOSTS + 10 && tally.up() == HOSTS).then_some(())
    })
    .await;
}

#[tokio::test]
async fn who_reads_or_writes_slowly_holds_up_nobody() {
    let rig = Rig::start("", HOSTS, &with(5, &[Fault::SlowReader, Fault::Dribbles]), HOSTS).await;
    let slow = rig.ids_of(&rig.fleet.which(|traits| traits.fault == Some(Fault::SlowReader)));
    let others = rig.fleet.which(|traits| traits.fault != Some(Fault::SlowReader));
    assert_eq!((slow.len(), others.len()), (10, HOSTS - 10));
    // More than a slow reader reads in ten minutes.
    let long = format!("true {}", "x".repeat(100_000));
    let mut lines = rig.program.rest.stream(rig.body(&json!({"cmd": long}))).await;
    let mut answered = BTreeSet::new();
    for _ in 0..others.len() {
        let line = lines.next().await.unwrap();
        assert_eq!(line["retcode"], 2, "{line}");
        answered.insert(line["host"].as_str().unwrap().to_owned());
    }
    assert_eq!(answered, rig.ids_of(&others).into_iter().map(str::to_owned).collect());
    // While those still read, the others are asked again.
    let again = rig.program.rest.run(rig.body(&json!({"hosts": rig.ids_of(&others)}))).await;
    assert_eq!(counts(&again), [(2, HOSTS - 10)].into());
    let kept = rig.program.rest.get(&format!("/api/v1/requests/{}", lines.id)).await;
    assert_eq!((&kept.body["finished"], kept.retcodes().len()), (&Value::Null, HOSTS - 10));
}

#[tokio::test]
async fn a_strangers_certificate_is_never_admitted_and_a_shared_one_is_shown() {
    let profile = with(6, &[Fault::WrongCa, Fault::Duplicate]);
    let rig = Rig::start("", HOSTS, &profile, HOSTS - 10).await;
    let places = |fault| rig.fleet.which(|traits| traits.fault == Some(fault));
    for id in rig.ids_of(&places(Fault::Duplicate)) {
        eventually("the conflict is shown", async || {
            let shown = rig.program.rest.get(&format!("/api/v1/hosts/{id}")).await.body;
            shown["conflict"]["peers"].is_array().then_some(())
        })
        .await;
    }
    let tally = &rig.fleet.tally;
    eventually("each stranger has tried twice", async || (tally.failed() >= 20).then_some(())).await;
    let strangers = places(Fault::WrongCa);
    for id in rig.ids_of(&strangers) {
        let shown = rig.program.rest.get(&format!("/api/v1/hosts/{id}")).await.body;
        assert_eq!(shown["status"], "unknown", "it never had a link: {shown}");
    }
    let asked: Vec<_> = (0..HOSTS).filter(|n| rig.fleet.traits[*n].fault != Some(Fault::Duplicate)).collect();
    let answer = rig.program.rest.run(rig.body(&json!({"hosts": rig.ids_of(&asked)}))).await;
    assert_eq!(counts(&answer), [(2, HOSTS - 20), (204, 10)].into());
}
