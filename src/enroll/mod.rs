//! Enrolment: a one-time machine that asks Polaris for this host's certificate.

mod files;

pub use files::{install, room_for};

use crate::http::{HttpError, Response, ResponseReader, post_json};
use crate::machine::limits::ENROLL_TIMEOUT;
use crate::machine::{
    ConnId, ConnectionEnd, Effect, Effects, Event, Instant, Machine, Now, Resolved, Security, Signal, Task,
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
    /// Once it is over.
    pub result: Option<Result<EnrollReply, EnrollError>>,
}

#[derive(Debug)]
enum State {
    Start,
    Resolving(PendingTask<Resolved>),
    Exchanging { conn: ConnId, to: SocketAddr, rest: VecDeque<SocketAddr>, answer: ResponseReader },
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
            result: None,
        }
    }

    fn tick(&mut self, now: Now, fx: &mut Effects) {
        if now.mono >= self.until {
            self.end(Err(EnrollError::TimedOut(self.server.clone())), fx);
        } else if let State::Start = self.state {
            if let Some(address) = self.server.address() {
                self.dial([SocketAddr::new(address, self.server.port)].into(), fx);
            } else {
                let task = Task::Resolve(vec![self.server.clone()]);
                self.state = State::Resolving(PendingTask::start(now, task, fx));
            }
        }
    }

    fn resolve(&mut self, now: Now, event: &Event<'_>, fx: &mut Effects) {
        let State::Resolving(task) = &mut self.state else { return };
        match task.handle(now, event, fx) {
            None => {}
            Some(Ok(resolved)) if !resolved.addresses.is_empty() => self.dial(resolved.addresses.into(), fx),
            Some(answer) => {
                let reason = match answer {
                    Ok(resolved) => resolved.failures.join("; "),
                    Err(reason) => reason,
                };
                let server = self.server.to_string();
                self.end(Err(EnrollError::Unreachable { server, reason }), fx);
            }
        }
    }

    fn dial(&mut self, mut addresses: VecDeque<SocketAddr>, fx: &mut Effects) {
        let Some(to) = addresses.pop_front() else { return };
        let conn = fx.connect(to, Security::Pinned { fingerprint: self.fingerprint });
        self.state = State::Exchanging { conn, to, rest: addresses, answer: ResponseReader::default() };
    }

    fn closed(&mut self, end: &ConnectionEnd, fx: &mut Effects) {
        let State::Exchanging { to, rest, .. } = &mut self.state else { return };
        let (to, rest) = (*to, std::mem::take(rest));
        if !rest.is_empty() {
            self.dial(rest, fx);
            return;
        }
        let error = match end {
            ConnectionEnd::OtherCa => EnrollError::OtherServer(to),
            ConnectionEnd::ByPeer => HttpError::CutShort.into(),
            end => EnrollError::Unreachable { server: to.to_string(), reason: end.to_string() },
        };
        self.end(Err(error), fx);
    }

    fn received(&mut self, bytes: &[u8], fx: &mut Effects) {
        let State::Exchanging { answer, .. } = &mut self.state else { return };
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
            State::Exchanging { conn, .. } => fx.push(Effect::Close { conn: *conn }),
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
            Event::Connected(conn) => fx.push(Effect::Send { conn, bytes: self.request.clone() }),
            Event::Received(_, bytes) => self.received(bytes, fx),
            Event::Closed(_, end) => self.closed(&end, fx),
            Event::Signal(Signal::Stop) => self.end(Err(EnrollError::Interrupted), fx),
            event => self.resolve(now, &event, fx),
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match (&self.result, &self.state) {
            (Some(_), _) => None,
            (None, State::Start) => Some(Instant::default()),
            (None, _) => Some(self.until),
        }
    }
}
