//! Enrolment: a one-time machine that asks Polaris for this host's certificate.

mod files;

pub use files::{install, room_for};

use crate::http::{Ask, Exchange, ExchangeError, Failure, HttpError, Reason, Response};
use crate::machine::limits::ENROLL_TIMEOUT;
use crate::machine::{Effect, Effects, Event, Instant, Machine, Now, Security, Signal};
use crate::wire::enroll::{ENROLL_PATH, EnrollReply, EnrollRequest, MAX_BODY_BYTES, Token};
use crate::wire::frame::encode;
use crate::wire::server_list::Server;
use serde::Deserialize;
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
    /// With what was tried before.
    #[error("no answer from {0} within {limit} s{1}", limit = ENROLL_TIMEOUT.as_secs())]
    TimedOut(Server, String),
    #[error("interrupted")]
    Interrupted,
    #[error("{path}: {reason}")]
    Files { path: String, reason: String },
}

#[derive(Debug)]
pub struct Enroll {
    server: Server,
    state: State,
    /// Once it is over.
    pub result: Option<Result<EnrollReply, EnrollError>>,
}

#[derive(Debug)]
enum State {
    /// What is to be asked.
    Start(Option<Box<Ask<Response>>>),
    Asking(Box<Exchange<Response>>),
}

impl Enroll {
    /// `csr` is PEM; `name` is what the host is to be called.
    pub fn new(server: Server, token: &Token, csr: String, name: String) -> Self {
        let ask = Ask {
            security: Security::Pinned { fingerprint: token.fingerprint },
            path: ENROLL_PATH,
            body: encode(&EnrollRequest { token: token.secret_text(), csr, name }),
            most_bytes: MAX_BODY_BYTES,
            read: Ok,
            answer_within: ENROLL_TIMEOUT,
            all_within: ENROLL_TIMEOUT,
            // The token may be used up by then.
            is_repeatable: false,
        };
        Enroll { server, state: State::Start(Some(Box::new(ask))), result: None }
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

    fn error(&self, error: ExchangeError) -> EnrollError {
        match error {
            ExchangeError::TimedOut(server, _, failures) => {
                let before: Vec<String> = failures.iter().map(|failure| format!("; {failure}")).collect();
                EnrollError::TimedOut(server, before.concat())
            }
            ExchangeError::Failed(failures) => {
                let mut errors: Vec<EnrollError> = failures.into_iter().map(EnrollError::from).collect();
                if errors.len() == 1 {
                    return errors.remove(0);
                }
                let reasons: Vec<String> = errors.iter().map(EnrollError::to_string).collect();
                EnrollError::Unreachable { server: self.server.to_string(), reason: reasons.join("; ") }
            }
        }
    }

    fn end(&mut self, result: Result<EnrollReply, EnrollError>, fx: &mut Effects) {
        self.result = Some(result);
        fx.push(Effect::Stop);
    }
}

impl From<Failure> for EnrollError {
    fn from(Failure { server, address, reason }: Failure) -> Self {
        let shown = address.map_or(server.to_string(), |address| address.to_string());
        match (reason, address) {
            (Reason::OtherCa, Some(address)) => EnrollError::OtherServer(address),
            (Reason::Http(error), _) => error.into(),
            (Reason::Answer(reason), _) => EnrollError::Answer(reason),
            (reason, _) => EnrollError::Unreachable { server: shown, reason: reason.to_string() },
        }
    }
}

impl Machine for Enroll {
    fn handle(&mut self, now: Now, event: Event<'_>, fx: &mut Effects) {
        if self.result.is_some() {
            return;
        }
        match (&mut self.state, event) {
            (State::Asking(exchange), Event::Signal(Signal::Stop)) => {
                exchange.cancel(fx);
                self.end(Err(EnrollError::Interrupted), fx);
            }
            (State::Start(_), Event::Signal(Signal::Stop)) => self.end(Err(EnrollError::Interrupted), fx),
            (State::Start(ask), Event::Tick) => {
                if let Some(ask) = ask.take() {
                    let exchange = Exchange::start(now, *ask, self.server.clone(), &[], fx);
                    self.state = State::Asking(Box::new(exchange));
                }
            }
            (State::Start(_), _) => {}
            (State::Asking(exchange), event) => {
                let Some(end) = exchange.handle(now, &event, fx) else { return };
                let result = match end {
                    Ok(answered) => self.read(&answered.answer),
                    Err(error) => Err(self.error(error)),
                };
                self.end(result, fx);
            }
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match &self.state {
            _ if self.result.is_some() => None,
            State::Start(_) => Some(Instant::default()),
            State::Asking(exchange) => Some(exchange.deadline()),
        }
    }
}
