//! One short exchange: the same request to one server after the other, each at every address that
//! its name has now, until one has given an answer that its asker can read.

use super::{HttpError, Response, ResponseReader, post_json};
use crate::machine::limits::{ADDRESSES_A_NAME, CONNECT_TIMEOUT};
use crate::machine::{ConnId, ConnectionEnd, Effect, Effects, Event, Instant, Now, Security, Task};
use crate::task::PendingTask;
use crate::wire::server_list::Server;
use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

/// What is asked, and how.
#[derive(Debug)]
pub struct Ask<T> {
    pub security: Security,
    pub path: &'static str,
    /// JSON.
    pub body: Vec<u8>,
    /// The largest body of an answer, in bytes.
    pub most_bytes: usize,
    /// What of an answer is one; otherwise the reason why it is none.
    pub read: fn(Response) -> Result<T, String>,
    /// How long a server may take that was asked.
    pub answer_within: Duration,
    /// How long all may take. Each server has its share of what the ones before it have left, and at
    /// least the time that one of its addresses may take.
    pub all_within: Duration,
    /// Whether another is asked, too, where one that was asked gave no answer: it may have heard it.
    pub is_repeatable: bool,
}

/// Who answered what.
#[derive(Debug, PartialEq, Eq)]
pub struct Answered<T> {
    pub server: Server,
    pub answer: T,
}

/// Nobody gave an answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExchangeError {
    /// Each that was tried, and why it was not it.
    #[error("{}", .0.iter().map(Failure::to_string).collect::<Vec<_>>().join("; "))]
    Failed(Vec<Failure>),
    /// While this one was tried, within so many seconds; and what was tried before.
    #[error("no answer within {1} s; the last that was tried is {0}{before}", before = before(.2))]
    TimedOut(Server, u64, Vec<Failure>),
}

fn before(failures: &[Failure]) -> String {
    failures.iter().map(|failure| format!("; {failure}")).collect::<Vec<_>>().concat()
}

/// Why a server was not it, or one of its addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub server: Server,
    /// `None` where it did not come to that.
    pub address: Option<SocketAddr>,
    pub reason: Reason,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// It could not be reached.
    #[error("{0}")]
    Unreachable(String),
    #[error("its certificate is of another CA")]
    OtherCa,
    #[error(transparent)]
    Http(#[from] HttpError),
    /// It was reached, and its answer is not what was asked for.
    #[error("{0}")]
    Answer(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.address, self.server.address()) {
            (Some(address), None) => write!(f, "{} ({address}): {}", self.server, self.reason),
            _ => write!(f, "{}: {}", self.server, self.reason),
        }
    }
}

/// An exchange under way.
#[derive(Debug)]
pub struct Exchange<T> {
    ask: Ask<T>,
    until: Instant,
    /// Whose turn it is.
    server: Server,
    /// Till when.
    server_until: Instant,
    addresses: VecDeque<SocketAddr>,
    servers: VecDeque<Server>,
    state: State,
    failures: Vec<Failure>,
}

#[derive(Debug)]
enum State {
    Over,
    Resolving(PendingTask<Vec<SocketAddr>>),
    Dialling { conn: ConnId, to: SocketAddr, until: Instant },
    Asked { conn: ConnId, to: SocketAddr, until: Instant, answer: ResponseReader },
}

type End<T> = Option<Result<Answered<T>, ExchangeError>>;

impl<T> Exchange<T> {
    /// Sets out for `first`, and for the others where it is not it.
    pub fn start(now: Now, ask: Ask<T>, first: Server, others: &[Server], fx: &mut Effects) -> Self {
        let mut exchange = Exchange {
            until: now.mono + ask.all_within,
            ask,
            server: first.clone(),
            server_until: now.mono,
            addresses: VecDeque::new(),
            servers: [first].into_iter().chain(others.iter().cloned()).collect(),
            state: State::Over,
            failures: Vec::new(),
        };
        exchange.go_on(now, fx);
        exchange
    }

    pub fn deadline(&self) -> Instant {
        let own = match &self.state {
            State::Over => self.until,
            State::Resolving(task) => task.deadline(),
            State::Dialling { until, .. } | State::Asked { until, .. } => *until,
        };
        own.min(self.server_until).min(self.until)
    }

    /// Takes in an event; what is another's is passed over. `Some` is the end.
    pub fn handle(&mut self, now: Now, event: &Event<'_>, fx: &mut Effects) -> End<T> {
        match (event, &self.state) {
            (Event::Tick, _) => self.tick(now, fx),
            (Event::Connected(conn), State::Dialling { conn: own, to, .. }) if conn == own => {
                let (conn, to) = (*own, *to);
                let bytes = post_json(&self.server.to_string(), self.ask.path, &self.ask.body);
                fx.push(Effect::Send { conn, bytes });
                let answer = ResponseReader::new(self.ask.most_bytes);
                self.state = State::Asked { conn, to, until: now.mono + self.ask.answer_within, answer };
                None
            }
            (Event::Received(conn, bytes), State::Asked { conn: own, .. }) if conn == own => {
                self.received(now, bytes, fx)
            }
            (
                Event::Closed(conn, end),
                State::Dialling { conn: own, .. } | State::Asked { conn: own, .. },
            ) if conn == own => self.closed(now, end, fx),
            (
                Event::Started(child, _)
                | Event::NotStarted(child, _)
                | Event::Output(child, ..)
                | Event::OutputEnded(child, _)
                | Event::OutputFailed(child, ..)
                | Event::Exited(child, _),
                State::Resolving(task),
            ) if *child == task.child() => self.resolve(now, event, fx),
            _ => None,
        }
    }

    /// Ends it; nothing more is heard of it.
    pub fn cancel(&mut self, fx: &mut Effects) {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Dialling { conn, .. } | State::Asked { conn, .. } => fx.push(Effect::Close { conn }),
            State::Resolving(task) => task.cancel(fx),
            State::Over => {}
        }
    }

    fn tick(&mut self, now: Now, fx: &mut Effects) -> End<T> {
        if now.mono >= self.until {
            self.cancel(fx);
            let (server, seconds) = (self.server.clone(), self.ask.all_within.as_secs());
            return Some(Err(ExchangeError::TimedOut(server, seconds, std::mem::take(&mut self.failures))));
        }
        if now.mono >= self.server_until {
            return self.leave_server(now, fx);
        }
        match &self.state {
            State::Resolving(_) => self.resolve(now, &Event::Tick, fx),
            State::Dialling { until, .. } if now.mono >= *until => {
                let reason = format!("no connection within {} s", CONNECT_TIMEOUT.as_secs());
                self.failed(now, Reason::Unreachable(reason), fx)
            }
            State::Asked { until, .. } if now.mono >= *until => {
                let reason = format!("no answer within {} s", self.ask.answer_within.as_secs());
                self.failed(now, Reason::Answer(reason), fx)
            }
            _ => None,
        }
    }

    /// The others are to have their time.
    fn leave_server(&mut self, now: Now, fx: &mut Effects) -> End<T> {
        self.addresses.clear();
        let was_asked = matches!(self.state, State::Asked { .. });
        if let State::Resolving(task) = &self.state {
            task.cancel(fx);
            self.state = State::Over;
        }
        let reason = "no answer in the time that each server has".to_owned();
        self.failed(now, if was_asked { Reason::Answer(reason) } else { Reason::Unreachable(reason) }, fx)
    }

    /// What the server whose turn begins may take.
    fn share(&self, now: Now) -> Duration {
        let servers = u32::try_from(self.servers.len()).unwrap_or(u32::MAX).saturating_add(1);
        let least = CONNECT_TIMEOUT + self.ask.answer_within;
        (self.until.since(now.mono) / servers).max(least)
    }

    /// To the next address, or to the next server and its addresses. Addresses need no look-up.
    fn go_on(&mut self, now: Now, fx: &mut Effects) -> End<T> {
        if let Some(to) = self.addresses.pop_front() {
            let conn = fx.connect(to, self.ask.security.clone());
            self.state = State::Dialling { conn, to, until: now.mono + CONNECT_TIMEOUT };
            return None;
        }
        let Some(server) = self.servers.pop_front() else {
            return Some(Err(ExchangeError::Failed(std::mem::take(&mut self.failures))));
        };
        self.server = server;
        self.server_until = now.mono + self.share(now);
        if let Some(address) = self.server.address() {
            self.addresses.push_back(SocketAddr::new(address, self.server.port));
            return self.go_on(now, fx);
        }
        let task = Task::Resolve(self.server.clone());
        self.state = State::Resolving(PendingTask::start(now, task, fx));
        None
    }

    fn resolve(&mut self, now: Now, event: &Event<'_>, fx: &mut Effects) -> End<T> {
        let State::Resolving(task) = &mut self.state else { return None };
        let reason = match task.handle(now, event, fx)? {
            Ok(addresses) if addresses.is_empty() => "it has no address".to_owned(),
            Ok(addresses) => {
                self.addresses = addresses.into_iter().take(ADDRESSES_A_NAME).collect();
                return self.go_on(now, fx);
            }
            Err(reason) => reason,
        };
        self.state = State::Over;
        self.failed(now, Reason::Unreachable(reason), fx)
    }

    fn closed(&mut self, now: Now, end: &ConnectionEnd, fx: &mut Effects) -> End<T> {
        let was_asked = matches!(self.state, State::Asked { .. });
        let reason = match end {
            ConnectionEnd::OtherCa => Reason::OtherCa,
            ConnectionEnd::ByPeer if was_asked => HttpError::CutShort.into(),
            end => Reason::Unreachable(end.to_string()),
        };
        self.lost(now, reason, fx)
    }

    fn received(&mut self, now: Now, bytes: &[u8], fx: &mut Effects) -> End<T> {
        let State::Asked { answer, .. } = &mut self.state else { return None };
        let reason = match answer.push(bytes) {
            Ok(None) => return None,
            Ok(Some(response)) => match (self.ask.read)(response) {
                Ok(answer) => {
                    self.cancel(fx);
                    return Some(Ok(Answered { server: self.server.clone(), answer }));
                }
                Err(reason) => Reason::Answer(reason),
            },
            Err(error) => error.into(),
        };
        self.failed(now, reason, fx)
    }

    /// What is under way is given up.
    fn failed(&mut self, now: Now, reason: Reason, fx: &mut Effects) -> End<T> {
        if let State::Dialling { conn, .. } | State::Asked { conn, .. } = &self.state {
            fx.push(Effect::Close { conn: *conn });
        }
        self.lost(now, reason, fx)
    }

    fn lost(&mut self, now: Now, reason: Reason, fx: &mut Effects) -> End<T> {
        let state = std::mem::replace(&mut self.state, State::Over);
        let address = match &state {
            State::Dialling { to, .. } | State::Asked { to, .. } => Some(*to),
            State::Over | State::Resolving(_) => None,
        };
        let failure = Failure { server: self.server.clone(), address, reason };
        if matches!(state, State::Asked { .. }) && !self.ask.is_repeatable {
            return Some(Err(ExchangeError::Failed(vec![failure])));
        }
        self.failures.push(failure);
        self.go_on(now, fx)
    }
}

#[cfg(test)]
#[path = "exchange_tests.rs"]
mod tests;
