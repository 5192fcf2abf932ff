//! The control socket: programs on this host ask what the server may ask, in
//! the same frames, whether or not there is a server.
//!
//! What they ask gets a name of its own before it goes the way of every
//! request, so that the ids which they choose are theirs alone; the answer
//! finds its way back by that name and has the asker's id again.

use crate::machine::limits::{LOCAL_IDLE, LOCAL_REQUESTS};
use crate::machine::{ConnId, Effect, Effects, Event, Instant, Now, earliest};
use crate::wire::frame::encode;
use crate::wire::session::{Frame, Output};
use crate::wire::{
    Call, CallError, FrameError, FrameReader, JobName, Outcome, Rejected, Reply, Request, Retcode,
};
use log::{debug, warn};
use std::collections::HashMap;

/// Who is connected, and what they wait for.
#[derive(Debug)]
pub struct Control {
    /// With a number it names a request. No other run of this agent has the same.
    prefix: String,
    last_request: u64,
    peers: HashMap<ConnId, Peer>,
    /// What is under way, those requests included whose peer has gone.
    asked: HashMap<String, Asked>,
}

#[derive(Debug)]
struct Peer {
    frames: FrameReader,
    under_way: usize,
    /// When it was last accepted, heard with a whole frame, or answered.
    active: Instant,
}

/// Whom to answer.
#[derive(Debug)]
struct Asked {
    conn: ConnId,
    /// The peer's own name for it.
    id: String,
}

impl Control {
    /// `seed` tells this run of the agent from those before.
    pub fn new(seed: u64) -> Self {
        Control {
            prefix: format!("local-{seed:016x}-"),
            last_request: 0,
            peers: HashMap::new(),
            asked: HashMap::new(),
        }
    }

    pub fn deadline(&self) -> Option<Instant> {
        earliest(self.peers.values().map(Peer::deadline))
    }

    /// Takes in an event of a local connection, or a tick. What is another's is
    /// passed over. What is asked for goes into `requests`.
    pub fn handle(&mut self, now: Now, event: &Event<'_>, fx: &mut Effects, requests: &mut Vec<Request>) {
        match event {
            Event::Tick => self.tick(now, fx),
            Event::Accepted(conn) => {
                let peer = Peer { frames: FrameReader::default(), under_way: 0, active: now.mono };
                self.peers.insert(*conn, peer);
            }
            Event::Received(conn, bytes) if self.peers.contains_key(conn) => {
                self.receive(now, *conn, bytes, fx, requests);
            }
            Event::Closed(conn, _) => drop(self.peers.remove(conn)),
            _ => {}
        }
    }

    /// Whether the request of this name came from here.
    pub fn has_asked(&self, name: &str) -> bool {
        self.asked.contains_key(name)
    }

    /// Answers a request that came from here. Where the peer has gone nobody hears it.
    pub fn answer(&mut self, now: Now, name: &str, outcome: Outcome, fx: &mut Effects) {
        let Some(Asked { conn, id }) = self.asked.remove(name) else { return };
        let Some(peer) = self.peers.get_mut(&conn) else {
            debug!("control=unheard id={name:?}");
            return;
        };
        peer.under_way -= 1;
        peer.active = now.mono;
        send(conn, id, outcome, fx);
    }

    /// Sends on what a command writes while it runs.
    pub fn pass_on(&self, output: &Output, fx: &mut Effects) {
        let asked = self.asked.get(&output.id);
        if let Some(Asked { conn, id }) = asked.filter(|asked| self.peers.contains_key(&asked.conn)) {
            let output = Output { id: id.clone(), ..output.clone() };
            fx.push(Effect::Send { conn: *conn, bytes: encode(&Frame::Output(&output)) });
        }
    }

    /// Closes every connection, after what was queued on it.
    pub fn stop(&mut self, fx: &mut Effects) {
        for (conn, _) in self.peers.drain() {
            fx.push(Effect::Close { conn });
        }
    }

    fn tick(&mut self, now: Now, fx: &mut Effects) {
        let due = |peer: &Peer| peer.deadline().is_some_and(|deadline| now.mono >= deadline);
        for (conn, _) in self.peers.extract_if(|_, peer| due(peer)) {
            debug!("control=idle for={}s", LOCAL_IDLE.as_secs());
            fx.push(Effect::Close { conn });
        }
    }

    fn receive(
        &mut self,
        now: Now,
        conn: ConnId,
        bytes: &[u8],
        fx: &mut Effects,
        requests: &mut Vec<Request>,
    ) {
        let Some(mut peer) = self.peers.remove(&conn) else { return };
        peer.frames.push(bytes);
        loop {
            let asked = match peer.frames.next_line() {
                Ok(None) => break,
                Ok(Some(line)) => Request::parse(line).unwrap_or_else(|error| Err(malformed(&error))),
                Err(error) => Err(malformed(&error)),
            };
            peer.active = now.mono;
            match asked {
                Ok(request) if self.asked.len() >= LOCAL_REQUESTS => {
                    let detail = format!("{LOCAL_REQUESTS} requests of this socket are under way");
                    send(conn, request.id, Outcome::with_detail(Retcode::Busy, detail), fx);
                }
                Ok(request) => {
                    peer.under_way += 1;
                    requests.push(self.named(conn, request));
                }
                Err(rejected) => {
                    warn!("control=refused id={:?} reason={:?}", rejected.id, rejected.error.to_string());
                    let goes_on = !matches!(rejected.error, CallError::Malformed(_));
                    fx.push(Effect::Send { conn, bytes: encode(&Reply::from(rejected)) });
                    if !goes_on {
                        // Whoever says such things does not speak this language.
                        fx.push(Effect::Close { conn });
                        return;
                    }
                }
            }
        }
        self.peers.insert(conn, peer);
    }

    /// The request under a name of its own.
    fn named(&mut self, conn: ConnId, request: Request) -> Request {
        let Request { id, mut call } = request;
        // Of the peer's own requests it knows its own ids; every other has the name that it has here.
        if let Call::JobStatus(JobName { job }) | Call::JobCancel(JobName { job }) = &mut call {
            let own = |asked: &Asked| asked.conn == conn && asked.id == *job;
            if let Some((name, _)) = self.asked.iter().find(|(_, asked)| own(asked)) {
                job.clone_from(name);
            }
        }
        self.last_request += 1;
        let name = format!("{}{}", self.prefix, self.last_request);
        self.asked.insert(name.clone(), Asked { conn, id });
        Request { id: name, call }
    }
}

impl Peer {
    /// When it has been idle for too long.
    fn deadline(&self) -> Option<Instant> {
        (self.under_way == 0).then(|| self.active + LOCAL_IDLE)
    }
}

fn malformed(error: &FrameError) -> Rejected {
    Rejected { id: String::new(), error: CallError::Malformed(error.to_string()) }
}

fn send(conn: ConnId, id: String, outcome: Outcome, fx: &mut Effects) {
    fx.push(Effect::Send { conn, bytes: encode(&Reply::new(id, outcome)) });
}
