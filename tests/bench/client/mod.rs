//! A client of the REST API that costs next to nothing, and what times are taken with.

use crate::fleet::Fleet;
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// One connection to the REST API and one request, which it sends in one write: a client that
/// costs next to nothing, so that what is measured is Polaris and the agent.
pub struct Client {
    stream: TcpStream,
    request: Vec<u8>,
    answer: Vec<u8>,
}

impl Client {
    /// Asks the fleet's host for this.
    pub fn new(fleet: &Fleet, request: &Value) -> Client {
        let address = fleet.polaris.url.strip_prefix("http://").unwrap();
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut body = json!({"hosts": [fleet.host_id]});
        body.as_object_mut().unwrap().extend(request.as_object().unwrap().clone());
        let body = body.to_string();
        let head = format!(
            "POST /api/v1/requests HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            fleet.polaris.token,
            body.len()
        );
        Client { stream, request: (head + &body).into_bytes(), answer: vec![0; 64 * 1024] }
    }

    /// The host's entry of the answer.
    pub fn ask(&mut self) -> Value {
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
pub const WARM: usize = 50;

pub fn timed(act: impl FnOnce()) -> Duration {
    let begin = Instant::now();
    act();
    begin.elapsed()
}

/// In milliseconds.
pub fn quantile(sorted: &[Duration], of_hundred: usize) -> f64 {
    sorted[(sorted.len() - 1) * of_hundred / 100].as_secs_f64() * 1e3
}
