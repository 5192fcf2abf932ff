//! Each host answers once, and has one final state.

use crate::{Rig, counts};
use serde_json::{Value, json};
use simulator::{Latency, Profile};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

const HOSTS: usize = 1000;

fn latency() -> Latency {
    let ms = Duration::from_millis;
    Latency { least: ms(0), mean: ms(20), most: ms(300) }
}

#[tokio::test]
async fn a_thousand_hosts_answer_each_request_exactly_once() {
    let profile = Profile { seed: 1, latency: latency(), output_bytes: 0..=2000, ..Profile::default() };
    let rig = Rig::start("", HOSTS, &profile, HOSTS).await;
    let all: BTreeSet<_> = rig.ids.iter().cloned().collect();
    for round in 1..=4 {
        let hosts: Vec<_> = if round % 2 == 0 {
            let mut lines = rig.program.rest.stream(rig.body(&json!({}))).await;
            let mut hosts = Vec::new();
            while let Some(line) = lines.next().await {
                assert_eq!(line["retcode"], 2, "{line}");
                hosts.push(line["host"].as_str().unwrap().to_owned());
            }
            hosts
        } else {
            let answer = rig.program.rest.run(rig.body(&json!({}))).await;
            assert_eq!(counts(&answer), [(2, HOSTS)].into());
            answer.retcodes().into_iter().map(|(host, _)| host).collect()
        };
        assert_eq!(hosts.len(), HOSTS);
        assert_eq!(hosts.into_iter().collect::<BTreeSet<_>>(), all, "each host once");
        let expected = u64::try_from(round * HOSTS).unwrap();
        let tally = &rig.fleet.tally;
        assert_eq!((tally.requests(), tally.repeated(), tally.replies()), (expected, 0, expected));
    }
}

#[tokio::test]
async fn a_request_ends_at_its_deadline_with_exact_counts_where_one_in_a_hundred_is_silent() {
    let profile = Profile { seed: 2, latency: latency(), silent: 10, ..Profile::default() };
    let rig = Rig::start("", HOSTS, &profile, HOSTS).await;
    let begin = Instant::now();
    let answer = rig.program.rest.run(rig.body(&json!({"id": "r", "deadline": 10}))).await;
    assert!(begin.elapsed() >= Duration::from_millis(9900), "{:?}", begin.elapsed());
    assert_eq!(counts(&answer), [(2, 990), (205, 10)].into());
    let retcodes = answer.retcodes();
    let without: Vec<_> = retcodes.iter().filter(|(_, code)| *code == 205).map(|(host, _)| &**host).collect();
    assert_eq!(without, rig.ids_of(&rig.fleet.which(|traits| traits.silent)));
    let kept = rig.program.rest.get("/api/v1/requests/r").await;
    assert_ne!(kept.body["finished"], Value::Null, "it has ended for everybody");
    assert_eq!(kept.retcodes(), retcodes);
    // Who did not answer is there all the same.
    assert_eq!(rig.fleet.tally.up(), HOSTS);
}
