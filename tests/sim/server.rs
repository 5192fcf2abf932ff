//! A fake Polaris at the end of one simulated connection.

use super::child::Behaviour;
use aspire::machine::ConnectionEnd;
use aspire::wire::frame::encode;
use aspire::wire::session::{Frame, FromAgent};
use aspire::wire::{FrameReader, MAX_FRAME_BYTES, Reply};
use serde_json::json;
use std::collections::HashMap;

/// What is wrong with a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    None,
    /// It is closed again some time after `ready`.
    Dropped,
    /// What the server sends arrives byte by byte.
    Dripping,
    /// Nothing arrives any more, some time after `ready`, and nobody says so.
    HalfOpen,
    ResetMidFrame,
    Oversized,
    Garbage,
    WrongCa,
    RedirectLoop,
    /// Refused at once.
    Away,
    /// The address does not answer at all.
    BlackHole,
    /// It connects and never answers `init`.
    Mute,
    Bye,
    BadHeartbeat,
}

pub const FAULTS: &[Fault] = &[
    Fault::None,
    Fault::Dropped,
    Fault::Dripping,
    Fault::HalfOpen,
    Fault::ResetMidFrame,
    Fault::Oversized,
    Fault::Garbage,
    Fault::WrongCa,
    Fault::RedirectLoop,
    Fault::Away,
    Fault::BlackHole,
    Fault::Mute,
    Fault::Bye,
    Fault::BadHeartbeat,
];

/// What the server does in answer to something.
#[derive(Debug)]
pub enum Act {
    Say(Vec<u8>),
    End(ConnectionEnd),
}

#[derive(Debug)]
pub struct Peer {
    pub fault: Fault,
    pub heartbeat: u64,
    frames: FrameReader,
    pub ready: bool,
    pub pings: u64,
    pub replies: Vec<Reply>,
    /// What came of each command's output while it ran, by the request's id.
    pub output: HashMap<String, String>,
}

impl Peer {
    pub fn new(fault: Fault, heartbeat: u64) -> Self {
        Peer {
            fault,
            heartbeat,
            frames: FrameReader::default(),
            ready: false,
            pings: 0,
            replies: Vec::new(),
            output: HashMap::new(),
        }
    }

    /// Takes in what the agent sent.
    pub fn receive(&mut self, bytes: &[u8]) -> Vec<Act> {
        self.frames.push(bytes);
        let mut acts = Vec::new();
        while let Some(line) = self.frames.next_line().expect("the agent keeps to the frame's limit") {
            match FromAgent::parse(line).expect("the agent speaks the protocol") {
                FromAgent::Init(init) => {
                    assert_eq!(init.hostname, super::HOST_ID);
                    assert!(!self.ready, "a second init");
                    acts.extend(self.welcome());
                }
                FromAgent::Ping => {
                    self.pings += 1;
                    acts.push(Act::Say(encode(&Frame::Pong)));
                }
                FromAgent::Reply(reply) => self.replies.push(reply),
                FromAgent::Output(output) => {
                    self.output.entry(output.id).or_default().push_str(&output.data);
                }
                FromAgent::Result(result) => panic!("the agent sent {result:?}"),
                FromAgent::Job(notice) => panic!("the agent sent {notice:?}"),
                FromAgent::Event(event) => panic!("the agent sent {event:?}"),
                FromAgent::Daemons(daemons) => assert_eq!(daemons.daemons, []),
                FromAgent::Facts(facts) => panic!("nobody asked for {facts:?}"),
                FromAgent::Renew(answer) => panic!("nobody asked for {answer:?}"),
                FromAgent::Renewed(outcome) => panic!("nobody signed what led to {outcome:?}"),
                FromAgent::Unknown(method) => panic!("the agent sent {method}"),
            }
        }
        acts
    }

    fn welcome(&mut self) -> Vec<Act> {
        let ready = |heartbeat| Act::Say(encode(&Frame::Ready { heartbeat, facts: None }));
        match self.fault {
            Fault::Mute => vec![],
            Fault::BadHeartbeat => vec![ready(0)],
            Fault::Garbage => vec![Act::Say(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec())],
            Fault::Oversized => vec![ready(60), Act::Say(vec![b' '; MAX_FRAME_BYTES + 1])],
            Fault::Bye => {
                vec![Act::Say(encode(&Frame::Bye { reason: "full" })), Act::End(ConnectionEnd::ByPeer)]
            }
            Fault::RedirectLoop => {
                vec![Act::Say(encode(&Frame::Redirect { server: "10.0.0.1,10.0.0.2:8181" }))]
            }
            Fault::ResetMidFrame => {
                let half = encode(&Frame::Ready { heartbeat: 60, facts: None })[..9].to_vec();
                vec![Act::Say(half), Act::End(ConnectionEnd::Io("Connection reset by peer".into()))]
            }
            _ => {
                self.ready = true;
                vec![ready(self.heartbeat)]
            }
        }
    }
}

/// A `sync.bash` frame.
pub fn request(id: &str, timeout: u64, behaviour: &Behaviour) -> Vec<u8> {
    let cmd = behaviour.line();
    encode(&json!({"id": id, "method": "sync.bash", "cmd": cmd, "timeout": timeout, "stream": true}))
}

/// A `job.cancel` frame.
pub fn cancel(id: &str, job: &str) -> Vec<u8> {
    encode(&json!({"id": id, "method": "job.cancel", "job": job}))
}
