//! From a server list to a connection: resolving, trying, redirects, waiting.

use super::{Fact, Link, State, concerns};
use crate::machine::limits::{CONNECT_TIMEOUT, INIT_TIMEOUT};
use crate::machine::{ConnId, Effects, Event, Instant, Now, Protocol, Security, Task};
use crate::task::PendingTask;
use crate::wire::server_list::{self, Server};
use crate::wire::session::MAX_REDIRECTS;
use std::collections::VecDeque;
use std::net::SocketAddr;

/// What is left of a server list: one name at a time is resolved, so that one
/// whose name service is silent costs the servers after it no more than time.
#[derive(Debug, Default)]
pub(super) struct Route {
    /// Of the server whose turn it is.
    addresses: VecDeque<SocketAddr>,
    servers: VecDeque<Server>,
    /// Redirects that led here, in a row.
    redirects: u32,
}

/// The name being resolved.
#[derive(Debug)]
pub(super) struct Resolving {
    server: Server,
    pub task: PendingTask<Vec<SocketAddr>>,
    route: Route,
}

/// The address being tried.
#[derive(Debug)]
pub(super) struct Dial {
    pub conn: ConnId,
    pub to: SocketAddr,
    pub until: Instant,
    route: Route,
    greeted: bool,
}

impl Dial {
    pub fn redirects(&self) -> u32 {
        self.route.redirects
    }

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
    /// Sets out for the servers of a list.
    pub(super) fn begin(
        &mut self,
        now: Now,
        servers: Vec<Server>,
        redirects: u32,
        fx: &mut Effects,
        facts: &mut Vec<Fact>,
    ) {
        let route = Route { servers: servers.into(), redirects, ..Route::default() };
        self.go_on(now, route, fx, facts);
    }

    /// To the next address, or to the next server and its addresses. Addresses need no look-up.
    fn go_on(&mut self, now: Now, mut route: Route, fx: &mut Effects, facts: &mut Vec<Fact>) {
        if let Some(to) = route.addresses.pop_front() {
            self.dial(now, to, route, fx);
            return;
        }
        let Some(server) = route.servers.pop_front() else {
            self.wait(now, "no server of the list could be reached".into(), facts);
            return;
        };
        if let Some(address) = server.address() {
            self.dial(now, SocketAddr::new(address, server.port), route, fx);
        } else {
            let task = PendingTask::start(now, Task::Resolve(server.clone()), fx);
            self.state = State::Resolving(Box::new(Resolving { server, task, route }));
        }
    }

    fn dial(&mut self, now: Now, to: SocketAddr, route: Route, fx: &mut Effects) {
        let security = Security::Mutual { dir: self.settings.tls_dir.clone(), protocol: Protocol::Link };
        let (conn, until) = (fx.connect(to, security), now.mono + CONNECT_TIMEOUT);
        self.state = State::Dialling(Dial { conn, to, until, route, greeted: false });
    }

    /// Takes in an event of the resolving child.
    pub(super) fn resolve(&mut self, now: Now, event: &Event<'_>, fx: &mut Effects, facts: &mut Vec<Fact>) {
        let State::Resolving(resolving) = &mut self.state else { return };
        let ours = concerns(event, resolving.task.child());
        let Some(answer) = ours.then(|| resolving.task.handle(now, event, fx)).flatten() else { return };
        let mut route = std::mem::take(&mut resolving.route);
        match answer {
            Ok(addresses) => route.addresses = addresses.into(),
            Err(reason) => facts.push(Fact::Tried { server: resolving.server.to_string(), reason }),
        }
        self.go_on(now, route, fx, facts);
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
        self.renewal.link_down(fx);
        match &mut self.state {
            State::Dialling(dial) => {
                let route = std::mem::take(&mut dial.route);
                facts.push(Fact::Tried { server: dial.to.to_string(), reason });
                self.go_on(now, route, fx, facts);
            }
            State::Ready(ready) => {
                if ready.is_stable(now) {
                    self.backoff.reset();
                }
                self.wait(now, reason, facts);
            }
            _ => self.wait(now, reason, facts),
        }
    }

    fn wait(&mut self, now: Now, reason: String, facts: &mut Vec<Fact>) {
        let wait = self.backoff.next_wait();
        self.state = State::Waiting { until: now.mono + wait };
        facts.push(Fact::Down { reason, wait });
    }
}
