//! Enrolment: a one-time machine that asks Polaris for this host's certificate.

mod files;

pub use files::{install, room_for};

use crate::http::{HttpError, Response, ResponseReader, post_json};
use crate::machine::limits::{CONNECT_TIMEOUT, ENROLL_TIMEOUT};
use crate::machine::{
    ConnId, ConnectionEnd, Effect, Effects, Event, Instant, Machine, Now, Security, Signal, Task, earliest,
};
use crate::task::PendingTask;
use crate::wire::enroll::{ENROLL_PATH, EnrollReply, EnrollRequest, Token};
use crate::wire::frame::encode;
use crate::wire::server_list::Server;
use serde::Deserialize;
use std::collections::VecDeque;
use std::net::SocketAddr;

/// Why this host is not enrolled.
#[derive(Debug, thiserror::Error)]
pub enum EnrollError {
    #[error("{server}: {reason}")]
    Unreachable { server: String, reason: String },
    #[error("{0} is not the Polaris that printed the token: its CA has another fingerprint")]
    OtherServer(SocketAddr),
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error("the server refused: {0}")]
    Refused(String),
    #[error("the server's answer is not understood: {0}")]
    Answer(String),
    #[error("no answer from {0} within {limit} s", limit = ENROLL_TIMEOUT.as_secs())]
    TimedOut(Server),
    #[error("interrupted")]
    Interrupted,
    #[error("{path}: {reason}")]
    Files { path: String, reason: String },
}

#[derive(Debug)]
pub struct Enroll {
    server: Server,
    fingerprint: [u8; 32],
    request: Vec<u8>,
    until: Instant,
    state: State,
    /// The addresses that were not it, and why.
    tried: Vec<EnrollError>,
    /// Once it is over.
    pub result: Option<Result<EnrollReply, EnrollError>>,
}

#[derive(Debug)]
enum State {
    Start,
    Resolving(PendingTask<Vec<SocketAddr>>),
    Dialling {
        conn: ConnId,
        to: SocketAddr,
        until: Instant,
        rest: VecDeque<SocketAddr>,
    },
    /// The request is sent, and with it the token.
    Asked {
        conn: ConnId,
        to: SocketAddr,
        answer: ResponseReader,
    },
}

impl Enroll {
    /// `csr` is PEM; `name` is what the host is to be called.
    pub fn new(now: Now, server: Server, token: &Token, csr: String, name: String) -> Self {
        let body = encode(&EnrollRequest { token: token.secret_text(), csr, name });
        Enroll {
            request: post_json(&server.to_string(), ENROLL_PATH, &body),
            server,
            fingerprint: token.fingerprint,
            until: now.mono + ENROLL_TIMEOUT,
            state: State::Start,
            tried: Vec::new(),
            result: None,
        }
    }

    fn tick(&mut self, now: Now, fx: &mut Effects) {
        if now.mono >= self.until {
            self.end(Err(EnrollError::TimedOut(self.server.clone())), fx);
            return;
        }
        match &self.state {
            State::Start => self.begin(now, fx),
            State::Resolving(_) => self.resolve(now, &Event::Tick, fx),
            State::Dialling { conn, until, .. } if now.mono >= *until => {
                fx.push(Effect::Close { conn: *conn });
                let reason = format!("no connection within {} s", CONNECT_TIMEOUT.as_secs());
                self.closed(now, &ConnectionEnd::Io(reason), fx);
            }
            State::Dialling { .. } | State::Asked { .. } => {}
        }
    }

    fn begin(&mut self, now: Now, fx: &mut Effects) {
        if let Some(address) = self.server.address() {
            self.dial(now, [SocketAddr::new(address, self.server.port)].into(), fx);
        } else {
            let task = Task::Resolve(self.server.clone());
            self.state = State::Resolving(PendingTask::start(now, task, fx));
        }
    }

    fn resolve(&mut self, now: Now, event: &Event<'_>, fx: &mut Effects) {
        let State::Resolving(task) = &mut self.state else { return };
        match task.handle(now, event, fx) {
            None => {}
            Some(Ok(addresses)) => self.dial(now, addresses.into(), fx),
            Some(Err(reason)) => {
                self.tried.push(EnrollError::Unreachable { server: self.server.to_string(), reason });
                self.give_up(fx);
            }
        }
    }

    fn dial(&mut self, now: Now, mut addresses: VecDeque<SocketAddr>, fx: &mut Effects) {
        let Some(to) = addresses.pop_front() else {
            self.give_up(fx);
            return;
        };
        let conn = fx.connect(to, Security::Pinned { fingerprint: self.fingerprint });
        self.state = State::Dialling { conn, to, until: now.mono + CONNECT_TIMEOUT, rest: addresses };
    }

    /// No address was it.
    fn give_up(&mut self, fx: &mut Effects) {
        self.state = State::Start;
        let server = self.server.to_string();
        let mut tried = std::mem::take(&mut self.tried);
        let error = match tried.len() {
            0 => EnrollError::Unreachable { server, reason: "it has no address".into() },
            1 => tried.remove(0),
            _ => {
                let reasons: Vec<String> = tried.iter().map(EnrollError::to_string).collect();
                EnrollError::Unreachable { server, reason: reasons.join("; ") }
            }
        };
        self.end(Err(error), fx);
    }

    fn connected(&mut self, fx: &mut Effects) {
        let State::Dialling { conn, to, .. } = self.state else { return };
        fx.push(Effect::Send { conn, bytes: self.request.clone() });
        self.state = State::Asked { conn, to, answer: ResponseReader::default() };
    }

    fn closed(&mut self, now: Now, end: &ConnectionEnd, fx: &mut Effects) {
        let error = |to: SocketAddr| match end {
            ConnectionEnd::OtherCa => EnrollError::OtherServer(to),
            end => EnrollError::Unreachable { server: to.to_string(), reason: end.to_string() },
        };
        match &mut self.state {
            State::Dialling { to, rest, .. } => {
                let rest = std::mem::take(rest);
                self.tried.push(error(*to));
                self.dial(now, rest, fx);
            }
            // Another address is not asked: the token may be used up by now.
            State::Asked { .. } if *end == ConnectionEnd::ByPeer => {
                self.end(Err(HttpError::CutShort.into()), fx);
            }
            State::Asked { to, .. } => {
                let error = error(*to);
                self.end(Err(error), fx);
            }
            State::Start | State::Resolving(_) => {}
        }
    }

    fn received(&mut self, bytes: &[u8], fx: &mut Effects) {
        let State::Asked { answer, .. } = &mut self.state else { return };
        match answer.push(bytes) {
            Ok(None) => {}
            Ok(Some(response)) => {
                let result = self.read(&response);
                self.end(result, fx);
            }
            Err(error) => self.end(Err(error.into()), fx),
        }
    }

    fn read(&self, response: &Response) -> Result<EnrollReply, EnrollError> {
        /// RFC 9457, section 3.1.
        #[derive(Deserialize)]
        struct Problem {
            title: String,
            #[serde(default)]
            detail: Option<String>,
        }
        if response.status == 200 {
            return serde_json::from_slice(&response.body).map_err(|e| EnrollError::Answer(e.to_string()));
        }
        Err(EnrollError::Refused(match serde_json::from_slice::<Problem>(&response.body) {
            Ok(Problem { title, detail }) => detail.unwrap_or(title),
            Err(_) => format!("HTTP status {} from {}", response.status, self.server),
        }))
    }

    fn end(&mut self, result: Result<EnrollReply, EnrollError>, fx: &mut Effects) {
        match &self.state {
            State::Dialling { conn, .. } | State::Asked { conn, .. } => {
                fx.push(Effect::Close { conn: *conn });
            }
            State::Resolving(task) => task.cancel(fx),
            State::Start => {}
        }
        self.result = Some(result);
        fx.push(Effect::Stop);
    }
}

impl Machine for Enroll {
    fn handle(&mut self, now: Now, event: Event<'_>, fx: &mut Effects) {
        match event {
            _ if self.result.is_some() => {}
            Event::Tick => self.tick(now, fx),
            Event::Connected(_) => self.connected(fx),
            Event::Received(_, bytes) => self.received(bytes, fx),
            Event::Closed(_, end) => self.closed(now, &end, fx),
            Event::Signal(Signal::Stop) => self.end(Err(EnrollError::Interrupted), fx),
            event => self.resolve(now, &event, fx),
        }
    }

    fn deadline(&self) -> Option<Instant> {
        if self.result.is_some() {
            return None;
        }
        let next = match &self.state {
            State::Start => Some(Instant::default()),
            State::Resolving(task) => Some(task.deadline()),
            State::Dialling { until, .. } => Some(*until),
            State::Asked { .. } => None,
        };
        earliest([next, Some(self.until)])
    }
}
