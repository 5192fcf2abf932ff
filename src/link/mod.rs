//! The link: the one connection to Polaris, and everything until it is there.
//!
//! Resolve every name of the server list, try every address in turn, TLS with
//! both sides' certificates, `init`, then follow a redirect or be ready. What
//! fails is tried again for ever, with growing waits.

mod backoff;
mod dial;
mod outbox;
mod renewal;

pub use outbox::Outbox;

use crate::machine::limits::STABLE_LINK;
use crate::machine::{ChildId, ConnId, Effect, Effects, Event, Instant, Now, earliest};
use crate::wire::frame::encode;
use crate::wire::server_list::Server;
use crate::wire::session::{Frame, FromServer, HEARTBEAT_SECONDS, Init};
use crate::wire::{FrameReader, Rejected, Request};
pub use backoff::Backoff;
use dial::{Dial, Resolving};
use renewal::Renewal;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Silence of this many tenths of a heartbeat ends the link.
const SILENCE_TENTHS: u32 = 25;

/// `[link]` and `[tls]` of the configuration, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkSettings {
    pub servers: Vec<Server>,
    /// Where the server names none.
    pub heartbeat: Duration,
    pub backoff_min: Duration,
    pub backoff_max: Duration,
    /// The folder of ca.pem, cert.pem and key.pem.
    pub tls_dir: PathBuf,
}

/// What the link tells its machine.
#[derive(Debug)]
pub enum Fact {
    Up {
        server: SocketAddr,
        heartbeat: Duration,
        /// The digests of the host's facts that the server holds, where it keeps any.
        held: Option<BTreeMap<String, String>>,
    },
    /// One address, or a name, did not work; the next one is tried.
    Tried {
        server: String,
        reason: String,
    },
    Redirected {
        to: String,
    },
    /// There is no link; the next try is in `wait`.
    Down {
        reason: String,
        wait: Duration,
    },
    Request(Request),
    Rejected(Rejected),
    /// The server has the result with this number.
    Acknowledged(u64),
    /// The next connection shows a new certificate.
    Renewed {
        /// RFC 3339.
        expires: String,
    },
    /// The host goes on with the certificate that it has; the server asks again, an hour later or more.
    NotRenewed {
        reason: String,
    },
}

#[derive(Debug)]
pub struct Link {
    settings: LinkSettings,
    /// What `init` says, but for the uptime.
    init: Init,
    started: Instant,
    backoff: Backoff,
    frames: FrameReader,
    renewal: Renewal,
    state: State,
}

#[derive(Debug)]
enum State {
    Waiting { until: Instant },
    Resolving(Box<Resolving>),
    Dialling(Dial),
    Ready(Ready),
    Stopped,
}

#[derive(Debug)]
struct Ready {
    conn: ConnId,
    server: SocketAddr,
    since: Instant,
    /// Redirects that led here, in a row.
    redirects: u32,
    heard: Instant,
    heartbeat: Duration,
    next_ping: Instant,
}

impl Ready {
    fn is_stable(&self, now: Now) -> bool {
        now.mono.since(self.since) >= STABLE_LINK
    }

    fn silent_at(&self) -> Instant {
        self.heard + self.heartbeat * SILENCE_TENTHS / 10
    }
}

impl Link {
    /// A link that makes its first try at the first tick.
    pub fn new(now: Now, settings: LinkSettings, init: Init, seed: u64) -> Self {
        Link {
            backoff: Backoff::new(settings.backoff_min, settings.backoff_max, seed),
            settings,
            init,
            started: now.mono,
            frames: FrameReader::default(),
            renewal: Renewal::default(),
            state: State::Waiting { until: now.mono },
        }
    }

    /// Takes over new settings; where they are news, the link is made anew.
    pub fn configure(&mut self, now: Now, settings: LinkSettings, init: Init, fx: &mut Effects) {
        if (&self.settings, &self.init) == (&settings, &init) {
            return;
        }
        self.backoff.configure(settings.backoff_min, settings.backoff_max);
        (self.settings, self.init) = (settings, init);
        self.leave(fx);
        self.state = State::Waiting { until: now.mono };
    }

    /// The connection that takes replies, where there is one.
    pub fn ready(&self) -> Option<ConnId> {
        match &self.state {
            State::Ready(ready) => Some(ready.conn),
            _ => None,
        }
    }

    /// The server, and for how long it has been, where the link is up.
    pub fn server(&self, now: Now) -> Option<(SocketAddr, Duration)> {
        match &self.state {
            State::Ready(ready) => Some((ready.server, now.mono.since(ready.since))),
            _ => None,
        }
    }

    /// In a word, for people.
    pub fn state_name(&self) -> &'static str {
        match &self.state {
            State::Waiting { .. } => "waiting",
            State::Resolving(_) => "resolving",
            State::Dialling(_) => "dialling",
            State::Ready(_) => "ready",
            State::Stopped => "stopped",
        }
    }

    pub fn deadline(&self) -> Option<Instant> {
        earliest([self.next_step(), self.renewal.deadline()])
    }

    fn next_step(&self) -> Option<Instant> {
        match &self.state {
            State::Waiting { until } => Some(*until),
            State::Resolving(resolving) => Some(resolving.task.deadline()),
            State::Dialling(dial) => Some(dial.until),
            State::Ready(ready) => Some(ready.next_ping.min(ready.silent_at())),
            State::Stopped => None,
        }
    }

    /// Queues a frame on the connection that its request came by. False where that is gone.
    pub fn send(&self, conn: ConnId, frame: Vec<u8>, fx: &mut Effects) -> bool {
        let alive = self.ready() == Some(conn);
        if alive {
            fx.push(Effect::Send { conn, bytes: frame });
        }
        alive
    }

    /// Ends the link for good, after what was queued on it.
    pub fn stop(&mut self, fx: &mut Effects) {
        self.leave(fx);
        self.state = State::Stopped;
    }

    /// Takes in an event of its connection or its child, or a tick. What is
    /// another's is passed over.
    pub fn handle(&mut self, now: Now, event: &Event<'_>, fx: &mut Effects, facts: &mut Vec<Fact>) {
        self.renew(now, event, fx, facts);
        match event {
            Event::Tick => self.tick(now, fx, facts),
            Event::Connected(conn) if self.conn() == Some(*conn) => self.greet(now, fx),
            Event::Received(conn, bytes) if self.conn() == Some(*conn) => {
                self.receive(now, *conn, bytes, fx, facts);
            }
            Event::Closed(conn, end) if self.conn() == Some(*conn) => {
                self.move_on(now, end.to_string(), fx, facts);
            }
            _ => self.resolve(now, event, fx, facts),
        }
    }

    fn conn(&self) -> Option<ConnId> {
        match &self.state {
            State::Dialling(dial) => Some(dial.conn),
            State::Ready(ready) => Some(ready.conn),
            _ => None,
        }
    }

    fn tick(&mut self, now: Now, fx: &mut Effects, facts: &mut Vec<Fact>) {
        if self.next_step().is_none_or(|deadline| now.mono < deadline) {
            return;
        }
        match &mut self.state {
            State::Waiting { .. } => {
                let servers = self.settings.servers.clone();
                self.begin(now, servers, 0, fx, facts);
            }
            State::Resolving(_) => self.resolve(now, &Event::Tick, fx, facts),
            State::Dialling(dial) => {
                let reason = dial.timed_out();
                self.fail(now, reason, fx, facts);
            }
            State::Ready(ready) if now.mono >= ready.silent_at() => {
                let reason = format!("no sign of the server for {} s", now.mono.since(ready.heard).as_secs());
                self.fail(now, reason, fx, facts);
            }
            State::Ready(ready) => {
                fx.push(Effect::Send { conn: ready.conn, bytes: encode(&Frame::Ping) });
                ready.next_ping = (ready.next_ping + ready.heartbeat).max(now.mono);
            }
            State::Stopped => {}
        }
    }

    fn greet(&mut self, now: Now, fx: &mut Effects) {
        let State::Dialling(dial) = &mut self.state else { return };
        dial.greeted(now);
        self.frames = FrameReader::default();
        let init = Init { uptime: now.mono.since(self.started).as_secs(), ..self.init.clone() };
        fx.push(Effect::Send { conn: dial.conn, bytes: encode(&Frame::Init(&init)) });
    }

    fn receive(&mut self, now: Now, conn: ConnId, bytes: &[u8], fx: &mut Effects, facts: &mut Vec<Fact>) {
        if let State::Ready(ready) = &mut self.state {
            ready.heard = now.mono;
        }
        let mut frames = std::mem::take(&mut self.frames);
        frames.push(bytes);
        // A frame may end the connection; what came behind it is not looked at.
        while self.conn() == Some(conn) {
            match frames.next_line().map(|line| line.map(FromServer::parse)) {
                Ok(None) => {
                    self.frames = frames;
                    return;
                }
                Ok(Some(Ok(frame))) => self.frame(now, frame, fx, facts),
                Ok(Some(Err(error))) | Err(error) => self.fail(now, error.to_string(), fx, facts),
            }
        }
    }

    fn frame(&mut self, now: Now, frame: FromServer, fx: &mut Effects, facts: &mut Vec<Fact>) {
        match (&mut self.state, frame) {
            (_, FromServer::Bye(reason)) => self.fail(now, format!("the server said: {reason}"), fx, facts),
            (State::Dialling(dial), FromServer::Redirect(list)) => {
                let redirects = dial.redirects() + 1;
                self.redirect(now, &list, redirects, fx, facts);
            }
            (State::Ready(ready), FromServer::Redirect(list)) => {
                // Servers that welcome everybody and send them on could go on so for ever.
                let redirects = if ready.is_stable(now) { 1 } else { ready.redirects + 1 };
                self.redirect(now, &list, redirects, fx, facts);
            }
            (State::Dialling(_), FromServer::Ready { heartbeat, facts: held }) => {
                self.become_ready(now, heartbeat, held, fx, facts);
            }
            (State::Ready(_), FromServer::Request(request)) => facts.push(Fact::Request(request)),
            (State::Ready(_), FromServer::Rejected(rejected)) => facts.push(Fact::Rejected(rejected)),
            (State::Ready(_), FromServer::Ack(seq)) => facts.push(Fact::Acknowledged(seq)),
            (State::Ready(_), FromServer::Renew) => self.begin_renewal(now, fx, facts),
            (State::Ready(_), FromServer::Renewed(cert)) => self.take_certificate(now, cert, fx, facts),
            (State::Ready(_), FromServer::Pong | FromServer::Ready { .. }) => {}
            // What it was may hold secrets, which are nobody's who reads the log.
            (_, _) => {
                let reason = "the server answered init with neither ready nor redirect".into();
                self.fail(now, reason, fx, facts);
            }
        }
    }

    fn become_ready(
        &mut self,
        now: Now,
        heartbeat: Option<u64>,
        held: Option<BTreeMap<String, String>>,
        fx: &mut Effects,
        facts: &mut Vec<Fact>,
    ) {
        let State::Dialling(dial) = &self.state else { return };
        let (conn, server, redirects) = (dial.conn, dial.to, dial.redirects());
        let heartbeat = match heartbeat {
            None => self.settings.heartbeat,
            Some(seconds) if HEARTBEAT_SECONDS.contains(&seconds) => Duration::from_secs(seconds),
            Some(seconds) => {
                let reason =
                    format!("the server asked for a heartbeat of {seconds} s, which is out of range");
                self.fail(now, reason, fx, facts);
                return;
            }
        };
        self.state = State::Ready(Ready {
            conn,
            server,
            since: now.mono,
            redirects,
            heard: now.mono,
            heartbeat,
            next_ping: now.mono + heartbeat,
        });
        facts.push(Fact::Up { server, heartbeat, held });
    }

    /// Closes whatever is under way.
    fn leave(&mut self, fx: &mut Effects) {
        self.renewal.link_down(fx);
        if let State::Resolving(resolving) = &self.state {
            resolving.task.cancel(fx);
        }
        if let Some(conn) = self.conn() {
            fx.push(Effect::Close { conn });
        }
    }
}

/// Whether it is news of this child, or a tick.
fn concerns(event: &Event<'_>, child: ChildId) -> bool {
    match event {
        Event::Tick => true,
        Event::NotStarted(other, _)
        | Event::Output(other, ..)
        | Event::OutputEnded(other, _)
        | Event::OutputFailed(other, ..)
        | Event::Exited(other, _) => child == *other,
        _ => false,
    }
}
