//! The task of one link. One task, one TLS stream, no buffer while it is idle:
//! bytes are read on the stack, and what is to be written waits in the link's
//! outbox. Ten thousand of these are idle most of the time.

use super::hub::Registered;
use super::link::{Link, Order};
use super::{LinkEnd, entry, facts, renewal};
use crate::app::{App, STOPPING};
use crate::hosts::{Conflict, Greeting};
use crate::jobs::{self, Owed};
use crate::requests::ReplyTo;
use crate::{clock, limits};
use aspire_wire::session::{Frame, FromAgent, Init, Output};
use aspire_wire::{FrameReader, Reply};
use bytes::{Buf as _, Bytes};
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep, sleep};
use tokio_rustls::server::TlsStream;
use uuid::Uuid;

/// What both sides of a replaced link are told.
const REPLACED: &str = "replaced by a newer link of the same host";

/// See the module.
pub struct Session {
    app: Arc<App>,
    stream: TlsStream<TcpStream>,
    link: Arc<Link>,
    reader: FrameReader,
    /// What is owed and found no room where it is to wait to be on disk. Nothing is read until it has.
    held: Option<Box<Owed>>,
    /// The rest of the frame that is being written.
    writing: Bytes,
    unflushed: bool,
    phase: Phase,
    timer: Pin<Box<Sleep>>,
    heard: Instant,
    /// Dropped with the task, so that whoever stops the server knows.
    _alive: mpsc::Sender<()>,
}

enum Phase {
    /// Waits for `init`.
    Greeting,
    Live,
    /// A newer link has come. An answer to the request of this id proves that
    /// this one's agent lives all the same.
    Probing(String),
    /// The last frame is queued; `shut` once it is written and the peer knows that no more comes.
    Leaving {
        end: LinkEnd,
        shut: bool,
    },
}

/// Starts the link's task.
pub fn start(app: Arc<App>, stream: TlsStream<TcpStream>, link: Link, alive: mpsc::Sender<()>) {
    let mut session = Session {
        app,
        stream,
        link: Arc::new(link),
        reader: FrameReader::default(),
        held: None,
        writing: Bytes::new(),
        unflushed: false,
        phase: Phase::Greeting,
        timer: Box::pin(sleep(limits::INIT_LIMIT)),
        heard: Instant::now(),
        _alive: alive,
    };
    tokio::spawn(async move {
        let end = poll_fn(|context| session.poll(context)).await;
        session.retire(&end.to_string());
        session.app.metrics.links.ended(&end);
        let Link { host, peer, .. } = &*session.link;
        tracing::info!(host = %host.id, %peer, reason = %end, "link ended");
    });
}

impl Session {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<LinkEnd> {
        loop {
            if let Some(order) = self.link.poll(context) {
                self.obey(order);
            }
            if let Err(error) = self.write(context) {
                return Poll::Ready(self.ended_by(error.into()));
            }
            match self.poll_read(context) {
                // A peer that never stops talking must not hold off the timer.
                Poll::Ready(Ok(true)) if Instant::now() < self.timer.deadline() => continue,
                Poll::Ready(Ok(true)) | Poll::Pending => {}
                Poll::Ready(Ok(false)) => return Poll::Ready(self.ended_by(LinkEnd::Closed)),
                Poll::Ready(Err(error)) => return Poll::Ready(self.ended_by(error.into())),
            }
            if self.timer.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            match self.phase {
                Phase::Greeting => self.leave(LinkEnd::NoInit),
                Phase::Live => self.check_silence(),
                Phase::Probing(_) => self.leave(LinkEnd::Told(REPLACED.into())),
                Phase::Leaving { .. } => return Poll::Ready(self.ended_by(LinkEnd::Closed)),
            }
        }
    }

    /// The reason that counts: the server's own, if it had one.
    fn ended_by(&mut self, end: LinkEnd) -> LinkEnd {
        match std::mem::replace(&mut self.phase, Phase::Greeting) {
            Phase::Leaving { end, .. } => end,
            _ => end,
        }
    }

    /// Writes as much as the socket takes.
    fn write(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        loop {
            if self.writing.is_empty() {
                match self.link.pop() {
                    Some(frame) => self.writing = frame,
                    None => break,
                }
            }
            match Pin::new(&mut self.stream).poll_write(context, &self.writing) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(written)) => self.writing.advance(written),
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => return Ok(()),
            }
            self.unflushed = true;
        }
        if self.unflushed {
            let Poll::Ready(flushed) = Pin::new(&mut self.stream).poll_flush(context) else { return Ok(()) };
            flushed?;
            self.unflushed = false;
        }
        if let Phase::Leaving { shut, .. } = &mut self.phase
            && !*shut
            && let Poll::Ready(done) = Pin::new(&mut self.stream).poll_shutdown(context)
        {
            done?;
            *shut = true;
        }
        Ok(())
    }

    /// Reads once and handles what is whole. `false` at the end of the stream.
    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if let Some(owed) = self.held.take() {
            // The silence is ours.
            self.heard = Instant::now();
            self.offer(owed);
            if self.held.is_some() {
                return Poll::Pending;
            }
            self.take_lines(&[]);
            return Poll::Ready(Ok(true));
        }
        let mut bytes = [0; limits::READ_BYTES];
        let mut buffer = ReadBuf::new(&mut bytes);
        match Pin::new(&mut self.stream).poll_read(context, &mut buffer) {
            Poll::Pending => return Poll::Pending,
            // A peer that vanished without TLS's own farewell has left all the same.
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Poll::Ready(Ok(false));
            }
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) if buffer.filled().is_empty() => return Poll::Ready(Ok(false)),
            Poll::Ready(Ok(())) => {}
        }
        if matches!(self.phase, Phase::Leaving { .. }) {
            return Poll::Ready(Ok(true));
        }
        self.heard = Instant::now();
        self.link.host.seen();
        self.take_lines(buffer.filled());
        Poll::Ready(Ok(true))
    }

    /// Handles what these bytes make whole.
    fn take_lines(&mut self, bytes: &[u8]) {
        let mut reader = std::mem::take(&mut self.reader);
        reader.push(bytes);
        match self.take_frames(&mut reader) {
            Err(end) => self.leave(end),
            // An idle link keeps no memory of a busy one.
            Ok(()) if reader.is_empty() => {}
            Ok(()) => self.reader = reader,
        }
    }

    fn take_frames(&mut self, reader: &mut FrameReader) -> Result<(), LinkEnd> {
        while self.held.is_none()
            && let Some(line) = reader.next_line()?
        {
            match (FromAgent::parse(line)?, &self.phase) {
                (_, Phase::Leaving { .. }) => return Ok(()),
                (FromAgent::Init(init), Phase::Greeting) => self.admit(init)?,
                (FromAgent::Init(_), _) | (_, Phase::Greeting) => return Err(LinkEnd::Unexpected),
                (FromAgent::Ping, _) => self.link.push(&Frame::Pong),
                (FromAgent::Reply(reply), _) => self.take_reply(&reply)?,
                (FromAgent::Output(piece), _) => self.take_output(&piece),
                (FromAgent::Result(result), _) => self.take_owed(Owed::result(&self.link, *result)),
                (FromAgent::Event(event), _) => self.take_owed(Owed::event(&self.link, *event)),
                // Of two links of one host the newest knows best.
                (FromAgent::Daemons(all), _) if self.app.hub.is_newest(&self.link) => {
                    self.take_owed(Owed::daemons(&self.link, all));
                }
                (FromAgent::Daemons(_), _) => {
                    tracing::debug!(host = %self.link.host.id, "daemons of a replaced link passed over");
                }
                (FromAgent::Job(notice), _) => self.app.jobs.noticed(&self.link.host, notice),
                (FromAgent::Facts(told), _) => facts::take(&self.app, &self.link, &told),
                (FromAgent::Renew(csr), _) => renewal::requested(&self.app, &self.link, csr),
                (FromAgent::Renewed(outcome), _) => renewal::done(&self.app, &self.link, outcome),
                (FromAgent::Unknown(method), _) => {
                    tracing::debug!(host = %self.link.host.id, method, "unknown method passed over");
                }
            }
        }
        Ok(())
    }

    fn take_reply(&mut self, reply: &Reply) -> Result<(), LinkEnd> {
        let Session { app, link, .. } = self;
        let follow = |to: &ReplyTo| {
            if let Some((request, follow)) = to.follow() {
                app.jobs.answered(&link.host, request, follow, &reply.outcome);
            }
        };
        if link.answered(reply, follow) {
            return Ok(());
        }
        if matches!(&self.phase, Phase::Probing(id) if *id == reply.id) {
            if let Some(newer) = self.app.hub.link(self.link.host.id) {
                let peers = [self.link.peer, newer.peer];
                let conflict = self.link.host.state().boots.conflicting(peers, clock::now());
                self.report(conflict.as_ref());
            }
            return Err(LinkEnd::Told(REPLACED.into()));
        }
        tracing::debug!(host = %self.link.host.id, id = reply.id, "reply that nobody waits for");
        Ok(())
    }

    fn take_output(&self, piece: &Output) {
        let host = &self.link.host;
        if !self.link.output(piece) && !self.app.jobs.logs.output(&jobs::target(host), piece) {
            tracing::debug!(host = %self.link.host.id, id = piece.id, "output passed over");
        }
    }

    fn take_owed(&mut self, owed: Box<Owed>) {
        // It may still speak between the revocation and the link's end.
        if !self.link.host.is_revoked() {
            self.offer(owed);
        }
    }

    /// Hands it on to be stored, or holds it until there is room.
    fn offer(&mut self, owed: Box<Owed>) {
        self.held = self.app.jobs.inbox.offer(self.link.host.id, clock::now(), owed).err();
    }

    /// Decides what to answer to `init`.
    fn admit(&mut self, init: Init) -> Result<(), LinkEnd> {
        let (app, link) = (self.app.clone(), self.link.clone());
        let refused = |reason: String| Err(LinkEnd::Told(reason));
        if init.hostname != link.host.id.to_string() {
            return refused(format!("init: hostname must be the certificate's name {}", link.host.id));
        }
        let greeting = match Greeting::of(init, link.peer) {
            Ok(greeting) => greeting,
            Err(reason) => return refused(reason),
        };
        match (entry::enter(&app, &link, &greeting), &app.config.agents.redirect) {
            (Registered::Yes(old), _) => {
                if let Some(old) = old {
                    old.order(Order::Yield);
                }
                self.go_live(&greeting)
            }
            (Registered::Full, Some(server)) => {
                link.push(&Frame::Redirect { server });
                self.close(LinkEnd::Told(format!("redirected to {server}")));
                Ok(())
            }
            (Registered::Full, None) => refused("full: this server has as many links as it may".into()),
        }
    }

    fn go_live(&mut self, greeting: &Greeting) -> Result<(), LinkEnd> {
        let host = &self.link.host;
        // Between the handshake and here; whoever did it looked for links after that.
        if host.is_revoked() {
            return Err(LinkEnd::Told("this host was revoked".into()));
        }
        if self.app.is_stopping() {
            return Err(LinkEnd::Told(STOPPING.into()));
        }
        let conflict = host.state().boots.linked(&greeting.boot, self.link.peer, clock::now());
        self.report(conflict.as_ref());
        renewal::link_up(&self.app, &self.link);
        self.phase = Phase::Live;
        self.set_timer(self.silence());
        self.app.queue.kick(self.link.host.id);
        self.app.metrics.links.accepted();
        let (name, version) = (&greeting.name, &greeting.version);
        tracing::info!(host = %self.link.host.id, name, peer = %self.link.peer, version, "link up");
        Ok(())
    }

    fn report(&self, conflict: Option<&Conflict>) {
        if let Some(Conflict { peers: [one, other], .. }) = conflict {
            let host = &self.link.host.id;
            tracing::warn!(%host, %one, %other, "two machines share one identity; enrol one of them anew");
        }
    }

    fn obey(&mut self, order: Order) {
        match (order, &self.phase) {
            (_, Phase::Leaving { .. }) => {}
            (Order::Leave(reason), _) => self.leave(LinkEnd::Told(reason)),
            (Order::Yield, _) => {
                let id = Uuid::new_v4().to_string();
                let probe = serde_json::json!({ "id": id, "method": "agent.info" });
                self.link.push_bytes(aspire_wire::frame::encode(&probe).into());
                self.phase = Phase::Probing(id);
                self.set_timer(limits::PROBE_LIMIT);
            }
        }
    }

    /// Ends the link after telling the agent why.
    fn leave(&mut self, end: LinkEnd) {
        let reason = end.to_string();
        self.retire(&reason);
        self.link.push(&Frame::Bye { reason: &reason });
        self.close(end);
    }

    /// Ends the link after what is queued.
    fn close(&mut self, end: LinkEnd) {
        self.phase = Phase::Leaving { end, shut: false };
        self.held = None;
        self.set_timer(limits::FAREWELL_LIMIT);
    }

    /// The link is no longer the host's: its requests end.
    fn retire(&self, reason: &str) {
        let (app, link) = (&self.app, &self.link);
        app.hub.unregister(link, || {
            app.directory.offline(&link.host);
            app.jobs.logs.link_ended(link.host.id);
        });
        link.close(reason);
    }

    fn check_silence(&mut self) {
        let limit = self.silence();
        let left = (self.heard + limit).saturating_duration_since(Instant::now());
        if left.is_zero() {
            self.leave(LinkEnd::Silent(limit.as_secs()));
        } else {
            self.set_timer(left);
        }
    }

    fn silence(&self) -> Duration {
        Duration::from_secs(self.app.config.agents.heartbeat) * limits::SILENCE_HALF_HEARTBEATS / 2
    }

    fn set_timer(&mut self, after: Duration) {
        self.timer.as_mut().reset(Instant::now() + after);
    }
}
