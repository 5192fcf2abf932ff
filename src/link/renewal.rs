//! Renewal of the host's certificate, as the server asks for it: a child makes a new key and its
//! signing request, the server signs, another child puts both into the place of the old ones. This link
//! goes on as it is; the next one shows the new certificate.

use super::{Fact, Link, concerns};
use crate::machine::limits::RENEWAL_PACE;
use crate::machine::{Effect, Effects, Event, Instant, NewCertificate, Now, Task};
use crate::task::PendingTask;
use crate::wire::frame::encode;
use crate::wire::renewal::{MAX_CERT_BYTES, Renew, Renewed};
use crate::wire::session::Frame;

#[derive(Debug, Default)]
pub(super) struct Renewal {
    state: State,
    /// When the last one began.
    begun: Option<Instant>,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Idle,
    /// A child makes the key.
    Making(PendingTask<String>),
    /// The server has the signing request.
    Waiting,
    /// A child puts it into place.
    Taking(PendingTask<String>),
}

impl Renewal {
    pub fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Making(task) | State::Taking(task) => Some(task.deadline()),
            State::Idle | State::Waiting => None,
        }
    }

    /// What was signed by a link that has ended is nobody's; what is about to take its place does.
    pub fn link_down(&mut self, fx: &mut Effects) {
        match &self.state {
            State::Making(task) => {
                task.cancel(fx);
                self.state = State::Idle;
            }
            State::Waiting => self.state = State::Idle,
            State::Idle | State::Taking(_) => {}
        }
    }

    /// Why no renewal may begin now.
    fn refuses(&self, now: Now) -> Option<&'static str> {
        let recently = self.begun.is_some_and(|begun| now.mono.since(begun) < RENEWAL_PACE);
        match self.state {
            State::Making(_) | State::Taking(_) => Some("a renewal is under way"),
            State::Idle | State::Waiting if recently => Some("the last renewal began just now"),
            State::Idle | State::Waiting => None,
        }
    }
}

impl Link {
    /// The server wants a signing request.
    pub(super) fn begin_renewal(&mut self, now: Now, fx: &mut Effects, facts: &mut Vec<Fact>) {
        if let Some(reason) = self.renewal.refuses(now) {
            self.say(&Frame::Renew(Renew { error: Some(reason), ..Renew::default() }), fx);
            facts.push(Fact::NotRenewed { reason: reason.into() });
            return;
        }
        let task = PendingTask::start(now, Task::NewKey(self.settings.tls_dir.clone()), fx);
        self.renewal = Renewal { state: State::Making(task), begun: Some(now.mono) };
    }

    /// The server has signed, or says why not. What nobody waits for is passed over.
    pub(super) fn take_certificate(
        &mut self,
        now: Now,
        cert: Result<String, String>,
        fx: &mut Effects,
        facts: &mut Vec<Fact>,
    ) {
        if !matches!(self.renewal.state, State::Waiting) {
            return;
        }
        self.renewal.state = State::Idle;
        let reason = match cert {
            Ok(cert) if cert.len() <= MAX_CERT_BYTES => {
                let (dir, host) = (self.settings.tls_dir.clone(), self.init.hostname.clone());
                let task = Task::TakeCertificate(NewCertificate { dir, cert, host });
                self.renewal.state = State::Taking(PendingTask::start(now, task, fx));
                return;
            }
            Ok(cert) => {
                let reason = format!("a certificate of {} bytes, more than {MAX_CERT_BYTES}", cert.len());
                self.say(&Frame::Renewed(Renewed { error: Some(&reason), ..Renewed::default() }), fx);
                reason
            }
            Err(reason) => format!("the server said: {reason}"),
        };
        facts.push(Fact::NotRenewed { reason });
    }

    /// Takes in an event of the child, or a tick.
    pub(super) fn renew(&mut self, now: Now, event: &Event<'_>, fx: &mut Effects, facts: &mut Vec<Fact>) {
        let (State::Making(task) | State::Taking(task)) = &mut self.renewal.state else { return };
        let ours = concerns(event, task.child());
        let Some(answer) = ours.then(|| task.handle(now, event, fx)).flatten() else { return };
        let error = answer.as_ref().err().map(String::as_str);
        if let State::Making(_) = &self.renewal.state {
            self.renewal.state = if answer.is_ok() { State::Waiting } else { State::Idle };
            self.say(&Frame::Renew(Renew { csr: answer.as_ref().ok().map(String::as_str), error }), fx);
        } else {
            self.renewal.state = State::Idle;
            self.say(&Frame::Renewed(Renewed { error, ..Renewed::default() }), fx);
            if let Ok(expires) = &answer {
                facts.push(Fact::Renewed { expires: expires.clone() });
            }
        }
        if let Err(reason) = answer {
            facts.push(Fact::NotRenewed { reason });
        }
    }

    /// To the server, where there is one.
    fn say(&self, frame: &Frame<'_>, fx: &mut Effects) {
        if let Some(conn) = self.ready() {
            fx.push(Effect::Send { conn, bytes: encode(frame) });
        }
    }
}
