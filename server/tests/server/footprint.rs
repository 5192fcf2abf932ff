//! What a link costs the server in memory. A measurement, not a test: it
//! prints and judges nothing. `cargo test --release --test server -- --ignored --nocapture footprint`.

use crate::agent::{Agent, enroll};
use crate::lifecycle::Program;
use futures_util::StreamExt as _;
use serde_json::json;
use std::time::Instant;
use tempfile::TempDir;

const LINKS: u32 = 2000;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn footprint() {
    let dir = TempDir::new().unwrap();
    let program = Program::start(dir.path()).await;
    let token = program.rest.post("/api/v1/tokens", &json!({"uses": LINKS})).await.text("token");
    let identities = futures_util::stream::iter(0..LINKS)
        .map(async |n| enroll(program.agents, &token, &format!("n{n}")).await)
        .buffer_unordered(50)
        .map(|identity| identity.unwrap_or_else(|refused| panic!("{refused:?}")));
    let identities: Vec<_> = identities.collect().await;
    let before = program.resident_kilobytes();
    let begin = Instant::now();
    let links = futures_util::stream::iter(&identities)
        .map(|identity| Agent::link(program.agents, identity, &identity.id, "b"))
        .buffer_unordered(50);
    let agents: Vec<_> = links.collect().await;
    let linked = begin.elapsed();
    let after = program.resident_kilobytes();
    println!("{LINKS} links in {linked:.1?}: {before} kB before, {after} kB after");
    println!("{:.1} kB a link", f64::from(after - before) / f64::from(LINKS));

    let hosts: Vec<_> = identities.iter().map(|identity| identity.id.clone()).collect();
    for mut agent in agents {
        tokio::spawn(async move {
            while let Some(request) = agent.next().await {
                agent.answer(&request, "").await;
            }
        });
    }
    for _ in 0..5 {
        let begin = Instant::now();
        let body = json!({"hosts": hosts, "method": "sync.bash", "cmd": "true"});
        let answer = program.rest.run(body).await;
        assert!(answer.retcodes().iter().all(|(_, retcode)| *retcode == 2));
        println!("{LINKS} hosts answered in {:.1?}", begin.elapsed());
    }
    println!("{} kB at the end", program.resident_kilobytes());
}
