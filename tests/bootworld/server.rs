//! The servers that boot reports to: as many addresses as there are, and one mind.

use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

#[derive(Debug, Default)]
pub struct Server {
    /// Jobs that are in each answer until a last result of theirs has come.
    pub jobs: Vec<Value>,
    /// A job for who wants the agent that it is about, each time with another id.
    pub offer: Option<Value>,
    /// What is answered instead, in turn: the whole of what is sent.
    pub odd: VecDeque<Vec<u8>>,
    /// Every report.
    pub reports: Vec<Value>,
    /// Every result that has come.
    pub results: Vec<Value>,
    /// Every address that was asked, in order, with the path.
    pub asked: Vec<(SocketAddr, String)>,
    /// Results are answered by this errcode.
    pub result_errcode: u32,
    /// `errcode` of an answer to a report.
    pub errcode: u32,
    pub message: Option<String>,
    pub away: Vec<SocketAddr>,
    pub mute: Vec<SocketAddr>,
}

impl Server {
    pub fn is_away(&self, at: SocketAddr) -> bool {
        self.away.contains(&at)
    }

    pub fn is_mute(&self, at: SocketAddr) -> bool {
        self.mute.contains(&at)
    }

    /// Results of this id: errcode and message.
    pub fn results_of(&self, id: &str) -> Vec<(u64, String)> {
        let of_it = self.results.iter().filter(|result| result["id"] == id);
        of_it
            .map(|result| (result["errcode"].as_u64().unwrap(), result["message"].as_str().unwrap().into()))
            .collect()
    }

    /// Takes in a request, and answers.
    pub fn receive(&mut self, at: SocketAddr, bytes: &[u8]) -> Vec<u8> {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").expect("a whole request");
        let path = head.split(' ').nth(1).unwrap().to_owned();
        assert!(head.starts_with("POST ") && head.contains("\r\nConnection: close"), "{head}");
        self.asked.push((at, path.clone()));
        let body: Value = serde_json::from_str(body).unwrap();
        let answer = match path.as_str() {
            "/agent/status" => {
                if let Some(mut job) = self.offer.clone()
                    && body["wanted"].as_array().is_some_and(|wanted| wanted.contains(&job["name"]))
                {
                    job["id"] = json!(format!("offer {}", self.reports.len()));
                    self.jobs.push(job);
                }
                self.reports.push(body);
                let mut answer = json!({"errcode": self.errcode, "jobs": self.jobs});
                if let Some(message) = &self.message {
                    answer["message"] = json!(message);
                }
                answer
            }
            "/agent/job/result" => {
                for result in body.as_array().unwrap() {
                    self.results.push(result.clone());
                    if self.result_errcode == 0 && result["errcode"] != 1 {
                        self.jobs.retain(|job| job["id"] != result["id"]);
                    }
                }
                json!({"errcode": self.result_errcode})
            }
            other => panic!("nobody serves {other}"),
        };
        if let Some(odd) = self.odd.pop_front() {
            return odd;
        }
        conversation("200 OK", &answer.to_string())
    }
}

/// An answer, as it is sent.
pub fn conversation(status: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// Counts.
pub fn count<T: Ord>(of: impl IntoIterator<Item = T>) -> BTreeMap<T, usize> {
    let mut counts = BTreeMap::new();
    for one in of {
        *counts.entry(one).or_default() += 1;
    }
    counts
}
