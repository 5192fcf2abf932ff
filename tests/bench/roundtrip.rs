//! REST to bash and back, against the floor: posix_spawn of the same command
//! with the same environment, measured warm and in turns in the same run.
//!
//! `cargo bench --bench roundtrip [-- ROUNDS]`

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a program that measures")]
#![allow(clippy::disallowed_methods, reason = "it measures real time")]

#[path = "../fleet/mod.rs"]
mod fleet;

mod floor;

use fleet::Fleet;
use floor::Floor;
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// One connection to the REST API and one request, which it sends in one write: a client that
/// costs next to nothing, so that what is measured is Polaris and the agent.
struct Client {
    stream: TcpStream,
    request: Vec<u8>,
    answer: Vec<u8>,
}

impl Client {
    fn new(fleet: &Fleet) -> Client {
        let address = fleet.polaris.url.strip_prefix("http://").unwrap();
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        let body = json!({"hosts": [fleet.host_id], "method": "sync.bash", "cmd": "true"}).to_string();
        let head = format!(
            "POST /api/v1/requests HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            fleet.polaris.token,
            body.len()
        );
        Client { stream, request: (head + &body).into_bytes(), answer: vec![0; 64 * 1024] }
    }

    /// The host's entry of the answer.
    fn ask(&mut self) -> Value {
        self.stream.write_all(&self.request).unwrap();
        let mut length = 0;
        loop {
            length += self.stream.read(&mut self.answer[length..]).unwrap();
            let answer = std::str::from_utf8(&self.answer[..length]).unwrap();
            let Some((head, body)) = answer.split_once("\r\n\r\n") else { continue };
            let announced = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect(head);
            if body.len() == announced.parse::<usize>().unwrap() {
                return serde_json::from_str::<Value>(body).unwrap()["response"][0].take();
            }
        }
    }
}

/// Rounds of one kind in a row, so that each is measured warm, and what disturbs the machine
/// disturbs both.
const WARM: usize = 50;

fn timed(act: impl FnOnce()) -> Duration {
    let begin = Instant::now();
    act();
    begin.elapsed()
}

fn quantile(sorted: &[Duration], of_hundred: usize) -> f64 {
    sorted[(sorted.len() - 1) * of_hundred / 100].as_secs_f64() * 1e3
}

fn main() {
    let rounds = std::env::args().find_map(|a| a.parse().ok()).unwrap_or(1000);
    let fleet = Fleet::start(env!("CARGO_BIN_EXE_gearman"), "release", "");
    let bare = Floor::new();
    // As the agent saw it, from the start of bash to its end.
    let mut client = Client::new(&fleet);
    let mut true_over_rest = || {
        let entry = client.ask();
        assert_eq!(entry["retcode"], 2, "{entry}");
        Duration::from_secs_f64(entry["elapsed"].as_f64().unwrap())
    };
    for _ in 0..100 {
        true_over_rest();
    }
    let (mut rest, mut agent, mut floor) = (Vec::new(), Vec::new(), Vec::new());
    while rest.len() < rounds {
        floor.extend((0..WARM).map(|_| timed(|| bare.one())));
        rest.extend((0..WARM).map(|_| timed(|| agent.push(true_over_rest()))));
    }
    for times in [&mut rest, &mut agent, &mut floor] {
        times.sort();
    }
    println!("{rounds} rounds          p50 ms    p90 ms    p99 ms");
    for (name, times) in [("REST to bash", &rest), ("in the agent", &agent), ("posix_spawn ", &floor)] {
        let [p50, p90, p99] = [50, 90, 99].map(|of_hundred| quantile(times, of_hundred));
        println!("{name}     {p50:9.3} {p90:9.3} {p99:9.3}");
    }
    let ratio = quantile(&rest, 50) / quantile(&floor, 50);
    println!("ratio at the median  {ratio:.2}");
    let figures = json!({
        "bench": "roundtrip", "rounds": rounds, "ratio_p50": ratio,
        "rest_ms": {"p50": quantile(&rest, 50), "p99": quantile(&rest, 99)},
        "agent_ms": {"p50": quantile(&agent, 50), "p99": quantile(&agent, 99)},
        "floor_ms": {"p50": quantile(&floor, 50), "p99": quantile(&floor, 99)},
    });
    println!("{figures}");
}
