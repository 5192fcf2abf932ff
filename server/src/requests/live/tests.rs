//! What comes of one request is kept in order, once, and within bounds.

use super::*;
use aspire_wire::Retcode;
use aspire_wire::session::StreamName::Stdout;
use serde_json::{Value, json};

fn live(hosts: usize, held_bytes: &Arc<AtomicUsize>) -> Live {
    let head = Head {
        id: "r".into(),
        who: "ann".into(),
        method: "sync.bash".into(),
        cmd: None,
        target: None,
        rollout: None,
        params: "{}".into(),
        url: None,
        stream: true,
        follow: None,
        waits: None,
        digest: String::new(),
        created: 1,
        deadline: 2,
    };
    let targets = (0..hosts).map(|n| Target { host: n.to_string(), name: None });
    Live::new(head, targets.collect(), Arc::default(), held_bytes.clone(), Arc::default())
}

fn piece(bytes: &[u8]) -> Output {
    Output::new("r", Stdout, bytes)
}

async fn log(live: &Live) -> Vec<Value> {
    let mut log = Vec::new();
    while let Some(lines) = live.since(log.len()).await {
        log.extend(lines.iter().map(|line| serde_json::from_slice::<Value>(line).unwrap()));
    }
    log
}

#[tokio::test]
async fn output_stands_before_its_hosts_final_state_and_the_recorder_sees_none_of_it() {
    let live = live(2, &Arc::default());
    let done = Outcome::new(Retcode::NormalTermination);
    assert!(live.output(1, &piece(b"so ")));
    live.settle(0, &done);
    assert!(!live.output(0, &piece(b"too late")));
    assert!(live.output(1, &piece(b"\xff")));
    live.settle(1, &done);
    let told: Vec<_> =
        log(&live).await.iter().map(|line| (line["host"].clone(), line["data"].clone())).collect();
    assert_eq!(
        told,
        [("1", json!("so ")), ("0", json!(null)), ("1", json!("/w==")), ("1", json!(null))]
            .map(|(host, data)| (json!(host), data))
    );
    let news = live.news(9).unwrap();
    assert_eq!(news.settled.iter().map(|(n, _)| *n).collect::<Vec<_>>(), [0, 1]);
}

#[tokio::test]
async fn at_the_cap_of_a_request_its_output_stops_for_good_and_its_results_do_not() {
    let held = Arc::default();
    let live = live(200, &held);
    let full = vec![b'x'; limits::MAX_OUTPUT_BYTES_PER_STREAM];
    let passed_on = (0..200).filter(|host| live.output(*host, &piece(&full))).count();
    assert!((50..=64).contains(&passed_on), "{passed_on}");
    assert!(held.load(Ordering::Relaxed) <= limits::MAX_OUTPUT_BYTES_PER_REQUEST);
    assert!(!live.output(199, &piece(b"small")), "it would stand after a gap");
    live.settle_rest(&Outcome::new(Retcode::NormalTermination));
    assert_eq!(log(&live).await.len(), passed_on + 200);
    drop(live);
    assert_eq!(held.load(Ordering::Relaxed), 0);
}

#[test]
fn small_pieces_cost_what_they_take() {
    let live = live(1, &Arc::default());
    let passed_on = (0..100_000).take_while(|_| live.output(0, &piece(b"x"))).count();
    assert!((10_000..30_000).contains(&passed_on), "{passed_on}");
}

#[test]
fn where_memory_is_full_no_output_is_passed_on() {
    let held = Arc::new(AtomicUsize::new(limits::MAX_LIVE_RESULT_BYTES));
    let live = live(1, &held);
    assert!(!live.output(0, &piece(b"x")));
    held.store(0, Ordering::Relaxed);
    assert!(!live.output(0, &piece(b"y")), "it would stand after a gap");
}

#[test]
fn beyond_its_bound_a_requests_results_go_without_what_was_written() {
    let held = Arc::default();
    let live = live(200, &held);
    let large = Outcome::new(Retcode::NormalTermination).with_data(&"x".repeat(1024 * 1024));
    live.settle_rest(&large);
    let (settled, finished) = live.results();
    assert!(finished.is_some());
    let entries: Vec<Value> =
        settled.iter().map(|settled| serde_json::from_str(settled.json()).unwrap()).collect();
    let whole = entries.iter().take_while(|entry| entry["data"].is_string()).count();
    assert_eq!(whole, limits::MAX_RESULT_BYTES_PER_REQUEST / (1024 * 1024) - 1);
    for entry in &entries[whole..] {
        assert_eq!((&entry["retcode"], entry.get("data")), (&json!(2), None));
        assert!(entry["detail"].as_str().unwrap().starts_with("its output was not kept: "), "{entry}");
    }
    assert!(held.load(Ordering::Relaxed) <= limits::MAX_RESULT_BYTES_PER_REQUEST + 200 * 1024);
}

#[test]
fn beyond_the_bound_of_all_only_what_is_small_is_kept_whole() {
    let held = Arc::new(AtomicUsize::new(limits::MAX_HELD_RESULT_BYTES));
    let live = live(2, &held);
    live.settle(0, &Outcome::new(Retcode::NormalTermination).with_data(&"x".repeat(2000)));
    live.settle(1, &Outcome::new(Retcode::NormalTermination).with_data(&"x".repeat(500)));
    let has_data: Vec<bool> =
        live.results().0.iter().map(|settled| settled.json().contains("\"data\"")).collect();
    assert_eq!(has_data, [false, true]);
}
