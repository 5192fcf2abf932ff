//! A gearman with a ready link, and what its effects say.

use super::{Rig, gearman, root};
use aspire::gearman::Gearman;
use aspire::machine::{ChildId, ConnId, Effect, Event, Exit, Identity, Launch, Program, Stream};
use aspire::wire::Outcome;
use aspire::wire::frame::encode;
use aspire::wire::session::{Frame, FromAgent};
use serde_json::json;
use std::time::Duration;

/// A gearman with a ready link.
pub struct Agent {
    pub rig: Rig<Gearman>,
    pub conn: ConnId,
}

impl Agent {
    pub fn new(config: &str) -> Self {
        Self::running_as(config, root())
    }

    pub fn running_as(config: &str, own: Identity) -> Self {
        let mut rig = gearman(&format!("[link]\nserver = \"10.0.0.1\"\n{config}"), own, 1);
        let [Effect::Connect { conn, .. }] = rig.tick()[..] else { panic!("no connect") };
        rig.event(Event::Connected(conn));
        rig.event(Event::Received(conn, &encode(&Frame::Ready { heartbeat: 3600, facts: None })));
        Agent { rig, conn }
    }

    pub fn asks(&mut self, frame: &serde_json::Value) -> Vec<Effect> {
        let frame = encode(frame);
        self.rig.event(Event::Received(self.conn, &frame))
    }

    /// Sends a command and returns the child that is started for it.
    pub fn starts(&mut self, id: &str, more: &serde_json::Value) -> (ChildId, Launch) {
        let mut frame = json!({"id": id, "method": "sync.bash", "cmd": "cmd"});
        frame.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        started(&self.asks(&frame))
    }

    /// Both streams end, then the process.
    pub fn ends(&mut self, child: ChildId, exit: Exit) -> Vec<Effect> {
        self.rig.event(Event::OutputEnded(child, Stream::Out));
        self.rig.event(Event::OutputEnded(child, Stream::Err));
        self.rig.event(Event::Exited(child, exit))
    }

    /// Ticks and says what signals went where and how long it took.
    pub fn next_signal(&mut self) -> (i32, Duration) {
        let begin = self.rig.now.mono;
        match self.rig.tick()[..] {
            [Effect::Signal { signal, .. }] => (signal, self.rig.now.mono.since(begin)),
            ref other => panic!("no signal: {other:?}"),
        }
    }
}

pub fn started(effects: &[Effect]) -> (ChildId, Launch) {
    match effects {
        [Effect::Spawn { child, program: Program::Exec(launch) }] => (*child, (**launch).clone()),
        other => panic!("no command was started: {other:?}"),
    }
}

/// What the frames among the effects are.
pub fn frames(effects: &[Effect]) -> Vec<FromAgent> {
    let frame = |effect: &Effect| match effect {
        Effect::Send { bytes, .. } => Some(FromAgent::parse(bytes.trim_ascii_end()).expect("a frame")),
        _ => None,
    };
    effects.iter().filter_map(frame).collect()
}

/// The replies among the effects, in their order.
pub fn replies(effects: &[Effect]) -> Vec<(String, Outcome)> {
    let reply = |frame| match frame {
        FromAgent::Reply(reply) => Some((reply.id, reply.outcome)),
        _ => None,
    };
    frames(effects).into_iter().filter_map(reply).collect()
}

/// The one reply among the effects.
pub fn reply(effects: &[Effect]) -> (String, Outcome) {
    let Ok([reply]) = <[_; 1]>::try_from(replies(effects)) else { panic!("not one reply: {effects:?}") };
    reply
}

pub fn text(outcome: &Outcome) -> String {
    serde_json::from_str(outcome.data.as_ref().expect("data").get()).expect("a string")
}
