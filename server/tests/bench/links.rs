//! What a link costs the server in memory, and how long one request to all
//! hosts takes: the real program, with agents that speak real TLS.
//!
//! `cargo bench --bench links [-- LINKS]`, in `server/`.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a program that measures")]
#![allow(dead_code, reason = "what the tests use besides")]

#[path = "../server/agent.rs"]
mod agent;
#[path = "../server/common.rs"]
mod common;
#[path = "../server/database.rs"]
mod database;
#[path = "../server/mariadb.rs"]
mod mariadb;
#[path = "../server/program.rs"]
mod program;

use agent::{Agent, enroll};
use futures_util::StreamExt as _;
use program::Program;
use serde_json::json;
use std::time::Instant;
use tempfile::TempDir;

#[tokio::main]
async fn main() {
    let links: u32 = std::env::args().find_map(|a| a.parse().ok()).unwrap_or(2000);
    let dir = TempDir::new().unwrap();
    let program = Program::start(dir.path()).await;
    let token = program.rest.post("/api/v1/tokens", &json!({"uses": links})).await.text("token");
    let identities = futures_util::stream::iter(0..links)
        .map(async |n| enroll(program.agents, &token, &format!("n{n}")).await)
        .buffer_unordered(50)
        .map(|identity| identity.unwrap_or_else(|refused| panic!("{refused:?}")));
    let identities: Vec<_> = identities.collect().await;
    let before = resident_kilobytes(&program);
    let begin = Instant::now();
    let agents = futures_util::stream::iter(&identities)
        .map(|identity| Agent::link(program.agents, identity, &identity.id, "b"))
        .buffer_unordered(50);
    let agents: Vec<_> = agents.collect().await;
    let linked = begin.elapsed();
    let after = resident_kilobytes(&program);
    println!("{links} links in {linked:.1?}: {before} kB before, {after} kB after");
    println!("{:.1} kB a link", f64::from(after - before) / f64::from(links));

    let hosts: Vec<_> = identities.iter().map(|identity| identity.id.clone()).collect();
    for mut agent in agents {
        tokio::spawn(async move {
            while let Some(request) = agent.next().await {
                agent.answer(&request, "").await;
            }
        });
    }
    let mut fan_out_ms = Vec::new();
    for _ in 0..9 {
        let begin = Instant::now();
        let body = json!({"hosts": hosts, "method": "sync.bash", "cmd": "true"});
        let answer = program.rest.run(body).await;
        assert!(answer.retcodes().iter().all(|(_, retcode)| *retcode == 2));
        fan_out_ms.push(begin.elapsed().as_secs_f64() * 1e3);
    }
    fan_out_ms.sort_by(f64::total_cmp);
    let (least, median, most) =
        (fan_out_ms[0], fan_out_ms[fan_out_ms.len() / 2], fan_out_ms[fan_out_ms.len() - 1]);
    println!("a request to all: {median:.1} ms at the median, {least:.1} to {most:.1}");
    let a_link = f64::from(after - before) / f64::from(links);
    println!("{}", json!({"bench": "links", "links": links, "kb_a_link": a_link, "fan_out_ms_p50": median}));
}

fn resident_kilobytes(program: &Program) -> u32 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", program.child.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
