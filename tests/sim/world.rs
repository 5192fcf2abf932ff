//! The world around one simulated gearman: carries out its effects against a
//! fake server and fake children, in an order and at times that a seed decides.

use super::child::Behaviour;
use super::server::{Act, FAULTS, Fault, Peer};
use super::{Rig, gearman, root};
use aspire::gearman::Gearman;
use aspire::machine::{
    ChildId, ConnId, ConnectionEnd, Effect, Event, Exit, Instant, Machine as _, Program, StartError, Stream,
    Task,
};
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::time::Duration;

/// Something that is going to happen to the agent.
#[derive(Debug)]
pub enum Happening {
    Connected(ConnId),
    Received(ConnId, Vec<u8>),
    Closed(ConnId, ConnectionEnd),
    Started(ChildId),
    NotStarted(ChildId),
    Output(ChildId, Vec<u8>),
    Exited(ChildId, Exit),
    PipesClosed(ChildId),
}

#[derive(Debug)]
struct FakeChild {
    behaviour: Behaviour,
    ended: bool,
}

#[derive(Debug)]
pub struct World {
    pub rig: Rig<Gearman>,
    pub random: fastrand::Rng,
    /// Faults are drawn until then.
    pub healed_at: Instant,
    pub peers: HashMap<ConnId, Peer>,
    /// The connection that the agent holds open.
    pub open: Option<ConnId>,
    children: HashMap<ChildId, FakeChild>,
    agenda: BTreeMap<(Instant, u64), Happening>,
    scheduled: u64,
    /// When the last thing happens to a child or a connection.
    latest: HashMap<u64, Instant>,
    /// Command lines that were started, with how often.
    pub started: HashMap<String, u32>,
    pub most_running: usize,
    pub stopped: bool,
}

impl World {
    pub fn new(config: &str, seed: u64, healed_at: Instant) -> Self {
        World {
            rig: gearman(config, root(), seed),
            random: fastrand::Rng::with_seed(seed),
            healed_at,
            peers: HashMap::new(),
            open: None,
            children: HashMap::new(),
            agenda: BTreeMap::new(),
            scheduled: 0,
            latest: HashMap::new(),
            started: HashMap::new(),
            most_running: 0,
            stopped: false,
        }
    }

    pub fn ready(&self) -> Option<ConnId> {
        self.open.filter(|conn| self.peers[conn].ready)
    }

    pub fn now(&self) -> Instant {
        self.rig.now.mono
    }

    pub fn running(&self) -> usize {
        self.children.len()
    }

    /// The server says something on the open connection.
    pub fn say(&mut self, conn: ConnId, bytes: Vec<u8>) {
        let fault = self.peers[&conn].fault;
        if fault == Fault::Dripping {
            for (n, byte) in bytes.into_iter().enumerate() {
                self.later(Duration::from_millis(1 + n as u64), Happening::Received(conn, vec![byte]));
            }
        } else {
            self.soon(Happening::Received(conn, bytes));
        }
    }

    /// Lets the next thing happen, at the latest at `until`. False once there is nothing before.
    pub fn turn(&mut self, until: Instant) -> bool {
        let due = self.agenda.first_key_value().map(|((at, _), _)| *at);
        let deadline = self.rig.machine.deadline();
        let next = [due, deadline].into_iter().flatten().min();
        let Some(next) = next.filter(|next| *next <= until && !self.stopped) else {
            self.rig.set_time(until);
            return false;
        };
        self.rig.set_time(next.max(self.now()));
        let effects = if due == Some(next) {
            let (_, happening) = self.agenda.pop_first().expect("it was just looked at");
            self.happen(happening)
        } else {
            self.rig.event(Event::Tick)
        };
        self.apply(effects);
        true
    }

    /// Lets everything happen until then.
    pub fn run(&mut self, until: Instant) {
        let (mut turns, mut at) = (0, self.now());
        while self.turn(until) {
            turns = if self.now() == at { turns + 1 } else { 0 };
            at = self.now();
            assert!(turns < 5000, "the agent spins at {at:?}");
        }
    }

    fn happen(&mut self, happening: Happening) -> Vec<Effect> {
        let open = self.open;
        let rig = &mut self.rig;
        match happening {
            Happening::Connected(conn) if open == Some(conn) => rig.event(Event::Connected(conn)),
            Happening::Received(conn, bytes) if open == Some(conn) => {
                rig.event(Event::Received(conn, &bytes))
            }
            Happening::Closed(conn, end) if open == Some(conn) => {
                self.open = None;
                rig.event(Event::Closed(conn, end))
            }
            Happening::Started(child) if self.children.contains_key(&child) => {
                rig.event(Event::Started(child, None))
            }
            Happening::Output(child, bytes) if self.children.contains_key(&child) => {
                rig.event(Event::Output(child, Stream::Out, &bytes))
            }
            Happening::NotStarted(child) => {
                self.children.remove(&child);
                let error = StartError { step: "execve".into(), reason: "No such file".into() };
                rig.event(Event::NotStarted(child, error))
            }
            Happening::Exited(child, exit) => match self.children.get_mut(&child).filter(|c| !c.ended) {
                None => Vec::new(),
                Some(fake) => {
                    fake.ended = true;
                    let held = Duration::from_millis(fake.behaviour.pipes_held_ms);
                    let effects = rig.event(Event::Exited(child, exit));
                    self.later(held, Happening::PipesClosed(child));
                    effects
                }
            },
            Happening::PipesClosed(child) if self.children.remove(&child).is_some() => {
                let mut effects = rig.event(Event::OutputEnded(child, Stream::Out));
                effects.extend(rig.event(Event::OutputEnded(child, Stream::Err)));
                effects
            }
            _ => Vec::new(),
        }
    }

    pub fn apply(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Connect { conn, .. } => self.connect(conn),
                Effect::Send { conn, bytes } => self.send(conn, &bytes),
                Effect::Close { conn } if self.open == Some(conn) => self.open = None,
                Effect::Adopt { process, .. } => panic!("nothing was left by an earlier agent: {process:?}"),
                Effect::Spawn { child, program } => self.spawn(child, program),
                Effect::Signal { child, signal } => self.signal(child, signal),
                Effect::Release { child } => drop(self.children.remove(&child)),
                Effect::Stop => self.stopped = true,
                Effect::Close { .. }
                | Effect::Listen { .. }
                | Effect::ReadFile { .. }
                | Effect::ReadEnd { .. }
                | Effect::Survey(_)
                | Effect::SignalFamily { .. }
                | Effect::Hear { .. }
                | Effect::Unhear { .. }
                | Effect::ReopenLog => {}
            }
        }
    }

    fn connect(&mut self, conn: ConnId) {
        assert_eq!(self.open, None, "one connection at a time");
        let faulty = self.now() < self.healed_at;
        let fault = if faulty { *self.random.choice(FAULTS).expect("not empty") } else { Fault::None };
        self.open = Some(conn);
        self.peers.insert(conn, Peer::new(fault, self.random.u64(1..=60)));
        match fault {
            Fault::Away => self.soon(Happening::Closed(conn, ConnectionEnd::Io("Connection refused".into()))),
            Fault::WrongCa => self.soon(Happening::Closed(conn, ConnectionEnd::OtherCa)),
            Fault::BlackHole => {}
            _ => self.soon(Happening::Connected(conn)),
        }
    }

    fn send(&mut self, conn: ConnId, bytes: &[u8]) {
        assert_eq!(self.open, Some(conn), "sent on a connection that is gone");
        let was_ready = self.peers[&conn].ready;
        let acts = self.peers.get_mut(&conn).expect("every connection has a peer").receive(bytes);
        let (fault, ready) = (self.peers[&conn].fault, self.peers[&conn].ready);
        if fault == Fault::HalfOpen && was_ready {
            return;
        }
        for act in acts {
            match act {
                Act::Say(bytes) => self.say(conn, bytes),
                Act::End(end) => self.later(Duration::from_millis(100), Happening::Closed(conn, end)),
            }
        }
        if fault == Fault::Dropped && ready && !was_ready {
            let wait = Duration::from_millis(self.random.u64(0..100_000));
            self.later(wait, Happening::Closed(conn, ConnectionEnd::ByPeer));
        }
    }

    fn spawn(&mut self, child: ChildId, program: Program) {
        let behaviour = match program {
            Program::Task(Task::Resolve(server)) => {
                let hangs = self.now() < self.healed_at && self.random.u8(..) < 20;
                let runs_ms = if hangs { 999_000 } else { 5 };
                let addresses = [SocketAddr::from(([10, 0, 1, 0], server.port))];
                let found = self.random.u8(..) < 200;
                let output = if found { serde_json::to_string(&addresses).unwrap() } else { String::new() };
                Behaviour { output, code: i32::from(!found), runs_ms, ..Behaviour::default() }
            }
            Program::Task(
                task @ (Task::Fetch(_)
                | Task::Install(_)
                | Task::Uninstall(_)
                | Task::Probe(_)
                | Task::Rotate(_)
                | Task::Place(_)),
            ) => panic!("nobody has daemons here: {task:?}"),
            Program::Task(task @ (Task::NewKey(_) | Task::TakeCertificate(_))) => {
                panic!("nobody renews certificates here: {task:?}")
            }
            Program::Task(Task::Reach(_)) => Behaviour { output: "null".into(), ..Behaviour::default() },
            Program::Task(Task::Ask(_)) => {
                let output = "{\"retcode\":2,\"data\":{}}\0".into();
                Behaviour { output, ..Behaviour::default() }
            }
            Program::Task(Task::Identify { .. }) => {
                Behaviour { output: serde_json::to_string(&Some(root())).unwrap(), ..Behaviour::default() }
            }
            Program::Exec(launch) => {
                *self.started.entry(launch.argv[2].clone()).or_default() += 1;
                Behaviour::of(&launch)
            }
        };
        if behaviour.does_not_start {
            self.soon(Happening::NotStarted(child));
        } else {
            self.soon(Happening::Started(child));
            self.soon(Happening::Output(child, behaviour.output.clone().into_bytes()));
            let runs = Duration::from_millis(behaviour.runs_ms.max(2));
            self.later(runs, Happening::Exited(child, Exit::Code(behaviour.code)));
        }
        self.children.insert(child, FakeChild { behaviour, ended: false });
        self.most_running = self.most_running.max(self.children.len());
    }

    fn signal(&mut self, child: ChildId, signal: i32) {
        let exit = self.children.get(&child).and_then(|fake| fake.behaviour.signalled(signal));
        if let Some(exit) = exit {
            self.soon(Happening::Exited(child, exit));
        }
    }

    fn soon(&mut self, happening: Happening) {
        let wait = Duration::from_micros(self.random.u64(50..2000));
        self.later(wait, happening);
    }

    fn later(&mut self, wait: Duration, happening: Happening) {
        self.scheduled += 1;
        // What happens to one child or connection happens in the order in which
        // it was scheduled; only an exit may come before what was to come.
        let at = self.now() + wait;
        let latest = self.latest.entry(subject(&happening)).or_default();
        let at = if matches!(happening, Happening::Exited(..)) { at } else { at.max(*latest) };
        *latest = at.max(*latest);
        self.agenda.insert((at, self.scheduled), happening);
    }
}

fn subject(happening: &Happening) -> u64 {
    match happening {
        Happening::Connected(conn) | Happening::Received(conn, _) | Happening::Closed(conn, _) => conn.0,
        Happening::Started(child)
        | Happening::NotStarted(child)
        | Happening::Output(child, _)
        | Happening::Exited(child, _)
        | Happening::PipesClosed(child) => child.0,
    }
}
