//! From a server list to a connection: resolving, trying, redirects, waiting.

use super::{Fact, Link, State};
use crate::machine::limits::{CONNECT_TIMEOUT, INIT_TIMEOUT, STABLE_LINK};
use crate::machine::{ConnId, Effects, Event, Instant, Now, Resolved, Security, Task};
use crate::task::PendingTask;
use crate::wire::server_list::{self, Server};
use crate::wire::session::MAX_REDIRECTS;
use std::collections::VecDeque;
use std::net::SocketAddr;

/// One address being tried, and those that come after it.
#[derive(Debug)]
pub(super) struct Dial {
    pub conn: ConnId,
    pub to: SocketAddr,
    pub until: Instant,
    /// Redirects that led here, in a row.
    pub redirects: u32,
    rest: VecDeque<SocketAddr>,
    greeted: bool,
}

impl Dial {
    pub fn greeted(&mut self, now: Now) {
        self.greeted = true;
        self.until = now.mono + INIT_TIMEOUT;
    }

    pub fn timed_out(&self) -> String {
        if self.greeted {
            format!("no answer to init within {} s", INIT_TIMEOUT.as_secs())
        } else {
            format!("no connection within {} s", CONNECT_TIMEOUT.as_secs())
        }
    }
}

impl Link {
    /// Sets out for the servers of a list. Addresses need no look-up.
    pub(super) fn begin(
        &mut self,
        now: Now,
        servers: Vec<Server>,
        redirects: u32,
        fx: &mut Effects,
        facts: &mut Vec<Fact>,
    ) {
        let address = |server: &Server| Some(SocketAddr::new(server.address()?, server.port));
        if let Some(addresses) = servers.iter().map(address).collect::<Option<VecDeque<_>>>() {
            self.dial(now, addresses, redirects, fx, facts);
        } else {
            let task = PendingTask::start(now, Task::Resolve(servers), fx);
            self.state = State::Resolving { task: Box::new(task), redirects };
        }
    }

    /// Takes in an event of the resolving child.
    pub(super) fn resolve(&mut self, now: Now, event: &Event<'_>, fx: &mut Effects, facts: &mut Vec<Fact>) {
        let ours = match event {
            Event::Tick => true,
            Event::NotStarted(child, _)
            | Event::Output(child, ..)
            | Event::OutputEnded(child, _)
            | Event::OutputFailed(child, ..)
            | Event::Exited(child, _) => self.resolver() == Some(*child),
            _ => false,
        };
        let State::Resolving { task, redirects } = &mut self.state else { return };
        let redirects = *redirects;
        let answer = if ours { task.handle(now, event, fx) } else { None };
        match answer {
            None => {}
            Some(Ok(Resolved { addresses, failures })) => {
                let tried = |failure: String| match failure.split_once(": ") {
                    Some((name, reason)) => Fact::Tried { server: name.into(), reason: reason.into() },
                    None => Fact::Tried { server: failure, reason: "no address".into() },
                };
                facts.extend(failures.into_iter().map(tried));
                self.dial(now, addresses.into(), redirects, fx, facts);
            }
            Some(Err(reason)) => {
                self.wait(now, format!("the server's name could not be resolved: {reason}"), facts);
            }
        }
    }

    pub(super) fn redirect(
        &mut self,
        now: Now,
        list: &str,
        redirects: u32,
        fx: &mut Effects,
        facts: &mut Vec<Fact>,
    ) {
        let refused = match server_list::parse(list) {
            Err(error) => format!("the server redirected to a bad list: {error}"),
            Ok(_) if redirects > MAX_REDIRECTS => {
                format!("more than {MAX_REDIRECTS} redirects in a row; the last one to {list}")
            }
            Ok(servers) => {
                facts.push(Fact::Redirected { to: list.to_owned() });
                self.leave(fx);
                self.begin(now, servers, redirects, fx, facts);
                return;
            }
        };
        self.leave(fx);
        self.wait(now, refused, facts);
    }

    /// What is under way is no good.
    pub(super) fn fail(&mut self, now: Now, reason: String, fx: &mut Effects, facts: &mut Vec<Fact>) {
        self.leave(fx);
        self.move_on(now, reason, fx, facts);
    }

    /// What was under way has ended: on to the next address, or wait.
    pub(super) fn move_on(&mut self, now: Now, reason: String, fx: &mut Effects, facts: &mut Vec<Fact>) {
        match &mut self.state {
            State::Dialling(dial) => {
                let (rest, redirects) = (std::mem::take(&mut dial.rest), dial.redirects);
                facts.push(Fact::Tried { server: dial.to.to_string(), reason });
                self.dial(now, rest, redirects, fx, facts);
            }
            State::Ready(ready) => {
                if now.mono.since(ready.since) >= STABLE_LINK {
                    self.backoff.reset();
                }
                self.wait(now, reason, facts);
            }
            _ => self.wait(now, reason, facts),
        }
    }

    fn dial(
        &mut self,
        now: Now,
        mut addresses: VecDeque<SocketAddr>,
        redirects: u32,
        fx: &mut Effects,
        facts: &mut Vec<Fact>,
    ) {
        let Some(to) = addresses.pop_front() else {
            self.wait(now, "no server of the list could be reached".into(), facts);
            return;
        };
        let security = Security::Mutual { dir: self.settings.tls_dir.clone() };
        self.state = State::Dialling(Dial {
            conn: fx.connect(to, security),
            to,
            until: now.mono + CONNECT_TIMEOUT,
            redirects,
            rest: addresses,
            greeted: false,
        });
    }

    fn wait(&mut self, now: Now, reason: String, facts: &mut Vec<Fact>) {
        let wait = self.backoff.next_wait();
        self.state = State::Waiting { until: now.mono + wait };
        facts.push(Fact::Down { reason, wait });
    }
}
