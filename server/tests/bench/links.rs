//! What many links cost the server, and what it does with them: memory a link,
//! one request to all, and how soon all are back after a kill -9. The server is
//! the real program; the hosts are simulated in this process.
//!
//! `cargo bench --bench links [-- LINKS]`, in `server/`.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a program that measures")]
#![allow(dead_code, reason = "what the tests use besides")]

#[path = "../server/common.rs"]
mod common;
#[path = "../server/database.rs"]
mod database;
#[path = "../server/documented.rs"]
mod documented;
#[path = "../server/mariadb.rs"]
mod mariadb;
#[path = "../server/program.rs"]
mod program;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use program::Program;
use serde_json::{Value, json};
use simulator::{Fleet, Profile, enroll_all, host_name};
use std::fs::File;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::time::timeout;

const ROUNDS: usize = 15;
/// For all links to be there.
const LIMIT: Duration = Duration::from_mins(2);

#[tokio::main]
async fn main() {
    let links: usize = std::env::args().find_map(|a| a.parse().ok()).unwrap_or(10_000);
    // A link is a descriptor.
    rlimit::increase_nofile_limit(u64::MAX).unwrap();
    let dir = TempDir::new().unwrap();
    let log = dir.path().join("polaris.log");
    let mut program = Program::with_log(dir.path(), File::create(&log).unwrap().into()).await;
    let token = program.rest.post("/api/v1/tokens", &json!({"uses": links})).await.text("token");
    let begin = Instant::now();
    let identities = enroll_all(program.agents, &token, (0..links).map(host_name)).await;
    let identities = identities.unwrap_or_else(|error| {
        let (ended, said) = (program.child.try_wait(), std::fs::read_to_string(&log).unwrap());
        let last: Vec<_> = said.lines().rev().take(20).collect();
        panic!("{error}; polaris has ended: {ended:?}; what it said last, backwards:\n{}", last.join("\n"))
    });
    println!("{links} hosts enrolled in {:.1} s", begin.elapsed().as_secs_f64());

    // Of a server that has not just enrolled everybody.
    program.kill();
    program.start_again(dir.path()).await;
    let before = resident_kilobytes(&program);
    let begin = Instant::now();
    let fleet = Fleet::start(&program.agents.to_string(), &identities, &Profile::default()).unwrap();
    let tally = fleet.tally.clone();
    timeout(LIMIT, tally.are_up(links)).await.expect("all links");
    let after = resident_kilobytes(&program);
    let kb_a_link = f64::from(after - before) / f64::from(u32::try_from(links).unwrap());
    println!("{links} links in {:.1} s: {before} kB before, {after} kB after", begin.elapsed().as_secs_f64());
    println!("{kb_a_link:.1} kB a link");

    let hosts: Vec<_> = identities.iter().map(|identity| identity.id.as_str()).collect();
    let body = json!({"hosts": hosts, "method": "sync.bash", "cmd": "true", "confirm": links}).to_string();
    let mut fan_out_ms = Vec::new();
    for _ in 0..ROUNDS {
        let processes = [program.child.id(), std::process::id()];
        let (begin, before) = (Instant::now(), processes.map(processor_ms));
        let answer = gathered(&program, &body).await;
        let (took, after) = (begin.elapsed().as_secs_f64() * 1e3, processes.map(processor_ms));
        let [server, hosts] = [after[0] - before[0], after[1] - before[1]];
        println!("{took:.0} ms; of a processor {server} ms for the server, {hosts} ms for the hosts");
        fan_out_ms.push(took);
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        let entries = answer["response"].as_array().unwrap();
        assert!(entries.len() == links && entries.iter().all(|entry| entry["retcode"] == 2));
    }
    let busy = resident_kilobytes(&program);
    fan_out_ms.sort_by(f64::total_cmp);
    let (least, median, most) = (fan_out_ms[0], fan_out_ms[ROUNDS / 2], fan_out_ms[ROUNDS - 1]);
    println!("a request to all: {median:.1} ms at the median, {least:.1} to {most:.1}; then {busy} kB");

    let shaken = tally.handshakes().len();
    program.kill();
    let begin = Instant::now();
    timeout(LIMIT, tally.are_down()).await.expect("the end of all links");
    program.start_again(dir.path()).await;
    let started = begin.elapsed();
    timeout(LIMIT, tally.are_up(links)).await.expect("all links");
    let back = begin.elapsed().as_secs_f64();
    let (shaken, server) = (tally.handshakes().len() - shaken, processor_ms(program.child.id()));
    println!("all back {back:.1} s after kill -9, the server {:.1} s after it", started.as_secs_f64());
    println!("{shaken} handshakes, {} tries that failed, {server} ms of the server", tally.failed());
    println!(
        "{}",
        json!({"bench": "links", "links": links, "kb_a_link": kb_a_link, "fan_out_ms_p50": median,
               "back_s": back})
    );
}

/// The answer, read whole and not looked at.
async fn gathered(program: &Program, body: &str) -> Bytes {
    let request = Request::post("/api/v1/requests")
        .header("host", "localhost")
        .header("authorization", format!("Bearer {}", program.rest.token))
        .header("content-type", "application/json");
    let response = program.rest.open(request.body(Full::from(body.to_owned())).unwrap()).await;
    assert_eq!(response.status(), 200);
    response.into_body().collect().await.unwrap().to_bytes()
}

fn resident_kilobytes(program: &Program) -> u32 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", program.child.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Of all its threads, in user and kernel mode.
fn processor_ms(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, after_name) = stat.rsplit_once(')').unwrap();
    let ticks = after_name.split_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().unwrap());
    // A tick is a hundredth of a second wherever Linux runs.
    ticks.sum::<u64>() * 10
}
