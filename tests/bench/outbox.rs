//! Ten thousand results that waited while the server was away: how long they
//! take to reach it, in what order, and what memory that costs the agent.
//!
//! `cargo bench --bench outbox [-- RESULTS]`

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a program that measures")]
#![allow(clippy::disallowed_methods, reason = "it measures real time")]

#[path = "../rig/mod.rs"]
mod rig;

use aspire::store::{NewJob, Store};
use aspire::wire::frame::encode;
use aspire::wire::session::Frame;
use aspire::wire::{Outcome, Retcode};
use nix::sys::signal::Signal;
use rig::agent::Host;
use rig::pki::Ca;
use rig::polaris::Polaris;
use rig::process;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

/// What the agent may hold at its largest, in KiB.
const MOST_KIB: u64 = 10 * 1024;

/// An hour's results, as an agent leaves them.
fn fill(path: &Path, results: usize, output: usize) {
    let begin = SystemTime::now() - Duration::from_hours(1);
    let mut store = Store::open(path, begin).unwrap();
    let job = json!({"command": {"cmd": "cat /var/log/syslog | tail -1"}, "terms": {}});
    let job = serde_json::from_value(job).unwrap();
    for n in 0..results {
        let (id, now) = (format!("job-{n}"), begin + Duration::from_millis(n as u64));
        store.accept(&NewJob { id: &id, job: &job, accepted: now, origin: None }).unwrap().unwrap();
        store.attempt(&id, now).unwrap();
        let line = format!("{n} ").repeat(output);
        let outcome = Outcome::new(Retcode::NormalTermination).with_output(&line.as_bytes()[..output], b"");
        store.end_job(&id, now, &outcome, |result| encode(&Frame::Result(result))).unwrap();
        if n % 1000 == 999 {
            store.forget_jobs(1000, begin).unwrap();
        }
    }
}

/// Seconds, and the most memory in KiB.
fn drain(results: usize, output: usize) -> (f64, u64) {
    let ca = Ca::new();
    let (polaris, host) = (Polaris::start(&ca), Host::enrolled(&ca));
    host.configure(&polaris.server(), "");
    fill(&host.path("gearman.db"), results, output);
    let mut agent = host.start();
    let mut link = polaris.ready();
    let begin = Instant::now();
    let mut seq = 0;
    while seq < results as u64 {
        let mut acks = String::new();
        let goes_on = link.take_lines(|line| {
            let frame: Value = serde_json::from_slice(line).unwrap();
            assert_eq!((&frame["method"], &frame["seq"]), (&json!("result"), &json!(seq + 1)));
            assert_eq!(frame["id"], format!("job-{seq}"));
            assert_eq!(frame["data"].as_str().unwrap().len(), output);
            seq += 1;
            writeln!(acks, "{}", json!({"method": "ack", "seq": seq})).unwrap();
        });
        assert!(goes_on, "the link ended after {seq} results");
        link.send_bytes(acks.as_bytes());
    }
    // Answered after the last acknowledgement is taken in.
    link.send(&json!({"id": "info", "method": "agent.info"}));
    let info = link.receive();
    let took = begin.elapsed().as_secs_f64();
    assert_eq!((&info["id"], &info["data"]["results"]), (&json!("info"), &json!(0)), "{info}");
    let peak = process::status(agent.pid(), "VmHWM");
    agent.signal(Signal::SIGTERM);
    assert_eq!(link.rest(), Vec::<Value>::new(), "each is sent once");
    assert!(agent.ended().success());
    let left = Store::open(&host.path("gearman.db"), SystemTime::now()).unwrap().outbox_weight().unwrap();
    assert_eq!(left.results, 0);
    assert!(!fs::read_to_string(host.path("gearman.log")).unwrap().contains("store=failed"));
    (took, peak.split(' ').next().unwrap().parse().unwrap())
}

fn main() {
    let results = std::env::args().find_map(|a| a.parse().ok()).unwrap_or(10_000);
    let mut figures = Vec::new();
    println!("{results} results       seconds     peak RSS KiB");
    for output in [200, 4096] {
        let (seconds, peak) = drain(results, output);
        println!("{output:5} bytes each  {seconds:9.2}     {peak:12}");
        figures.push(json!({"output_bytes": output, "seconds": seconds, "peak_rss_kib": peak}));
    }
    println!("{}", json!({"bench": "outbox", "results": results, "figures": figures}));
    let peaks = figures.iter().map(|figure| figure["peak_rss_kib"].as_u64().unwrap());
    assert!(peaks.clone().all(|peak| peak <= MOST_KIB), "more than {MOST_KIB} KiB: {figures:?}");
}
