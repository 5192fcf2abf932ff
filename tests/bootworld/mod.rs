//! A simulated host with boot on it, and the servers that it reports to: no socket, no process, no
//! sleep. Packages do what their file says; boot may be killed after any of its effects.

#![allow(dead_code, reason = "each test binary uses its own part")]

mod played;
pub mod server;

pub use played::Tree;
pub use server::Server;

use aspire::boot::{Boot, Config, ConfigSource, Host};
use aspire::handover::{Life, Own};
use aspire::machine::{
    ChildId, ConnId, ConnectionEnd, Effect, Effects, Event, Exit, Identity, Instant, Kin, Machine as _, Now,
    Process, Program, Protocol, Security, Signal, Stream, Task,
};
use aspire::store::Store;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

/// How long what the host does takes at least.
const SOON: Duration = Duration::from_millis(10);

/// Something that is going to happen.
#[derive(Debug)]
enum Happening {
    Started(ChildId, Option<Process>),
    Exited(ChildId, Exit),
    Output(ChildId, Stream, String),
    Ended(ChildId, Stream),
    Surveyed(Kin),
    File(PathBuf, bool),
    Connected(ConnId),
    Received(ConnId, Vec<u8>),
    Closed(ConnId, ConnectionEnd),
    /// A task comes to its end, and this of the host is otherwise then.
    Done(ChildId, Task),
}

pub struct World {
    pub now: Now,
    pub boot: Option<Boot>,
    pub server: Server,
    pub tree: Tree,
    pub config: String,
    /// Names and their addresses.
    pub names: BTreeMap<String, Vec<SocketAddr>>,
    /// After so many effects boot is killed.
    pub kill_after: Option<usize>,
    /// Effects that were carried out.
    pub effects: usize,
    /// After so many changes of its database boot is killed, and does no effect of that turn.
    pub kill_after_changes: Option<usize>,
    /// Changes of the database that were allowed, or asked for.
    changes: Arc<AtomicUsize>,
    most_changes: Arc<AtomicUsize>,
    /// How often boot was killed.
    pub kills: usize,
    /// How often boot was woken.
    pub wakes: usize,
    /// Every try to reach a server, and when.
    pub dialled: Vec<(Instant, SocketAddr)>,
    /// Every line of what was started: tasks by their kind, programs by their words.
    pub started: Vec<String>,
    /// Whether a task that was under way when boot was killed comes to its end all the same.
    pub tasks_go_on: bool,
    conns: HashMap<ConnId, SocketAddr>,
    tasks: Vec<ChildId>,
    coming: BTreeMap<(Instant, u64), Happening>,
    counter: u64,
    fx: Effects,
    seed: u64,
}

pub fn root() -> Identity {
    Identity {
        uid: 0,
        gid: 0,
        groups: vec![0],
        name: "root".into(),
        group_name: "root".into(),
        home: "/root".into(),
    }
}

/// The host, of the boot with this number.
fn host(life: u64) -> Host {
    Host {
        node_name: "web-1".into(),
        boot_id: "boot".into(),
        own: root(),
        packages: vec!["deb".into(), "tar.gz".into()],
        program: Own {
            version: "1".into(),
            program: "/usr/bin/boot".into(),
            stamp: None,
            image: "/proc/self/exe".into(),
            arguments: vec!["-f".into()],
            given: vec!["-f".into()],
            pid_file: "/run/boot.pid".into(),
            life: Life { pid: 7, start: 7 + life, boot: "boot".into() },
            unit: None,
            systemd_run: None,
            env: Vec::new(),
        },
    }
}

impl World {
    /// A host with a boot that has just begun; its server is 10.0.0.1.
    pub fn new() -> World {
        World::with("[report]\nserver = \"10.0.0.1\"\n", Store::in_memory().unwrap())
    }

    pub fn with(config: &str, store: Store) -> World {
        let now = Now {
            mono: Instant(Duration::from_secs(1000)),
            wall: SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000),
        };
        let mut world = World {
            now,
            boot: None,
            server: Server::default(),
            tree: Tree::default(),
            config: config.to_owned(),
            names: BTreeMap::new(),
            kill_after: None,
            effects: 0,
            kill_after_changes: None,
            changes: Arc::default(),
            most_changes: Arc::default(),
            kills: 0,
            wakes: 0,
            dialled: Vec::new(),
            started: Vec::new(),
            tasks_go_on: false,
            conns: HashMap::new(),
            tasks: Vec::new(),
            coming: BTreeMap::new(),
            counter: 0,
            fx: Effects::default(),
            seed: 1,
        };
        world.begin(store);
        world
    }

    /// Boot begins with this database.
    fn begin(&mut self, mut store: Store) {
        self.seed += 1;
        let (changes, most) = (self.changes.clone(), self.most_changes.clone());
        self.most_changes.store(usize::MAX, Ordering::Relaxed);
        let may_be = move || changes.fetch_add(1, Ordering::Relaxed) < most.load(Ordering::Relaxed);
        store.before_each_change(may_be).unwrap();
        let config = Config::parse(&self.config, None).unwrap();
        let source = ConfigSource { path: "/etc/cargo/boot.conf".into(), was_named: true, servers: None };
        self.boot = Some(Boot::new(self.now, host(self.seed), source, config, store, self.seed).unwrap());
    }

    /// Boot is killed, and another begins. What it started goes on, but for its tasks.
    pub fn next_boot(&mut self) {
        self.kills += 1;
        let store = self.boot.take().expect("a boot").into_store();
        self.conns.clear();
        self.tasks.clear();
        self.tree.unwatch();
        let goes_on = self.tasks_go_on;
        self.coming.retain(|_, happening| goes_on && matches!(happening, Happening::Done(..)));
        self.fx = Effects::default();
        self.begin(store);
    }

    pub fn signal(&mut self, signal: Signal) {
        self.hand_over(&Event::Signal(signal));
    }

    /// Lets time pass, with all that comes of it.
    pub fn pass(&mut self, seconds: u64) {
        let end = self.now.mono + Duration::from_secs(seconds);
        self.pass_until(end, |_| false);
    }

    /// Lets time pass until this is so, and fails where it never is.
    pub fn until(&mut self, what: &str, is_so: impl Fn(&World) -> bool) {
        let end = self.now.mono + Duration::from_secs(100_000);
        let is_there = self.pass_until(end, &is_so);
        assert!(is_there, "never: {what}; {:?} {:?}", self.server.results, self.agents());
    }

    fn pass_until(&mut self, end: Instant, is_so: impl Fn(&World) -> bool) -> bool {
        let mut turns = 0;
        let mut at = self.now.mono;
        while !is_so(self) {
            let deadline = self.boot.as_ref().and_then(Boot::deadline);
            let coming = self.coming.first_key_value().map(|((at, _), _)| *at);
            let exits = self.tree.next_end();
            let next = [deadline, coming, exits].into_iter().flatten().min();
            let Some(next) = next.filter(|next| *next <= end) else {
                self.set_time(end);
                return is_so(self);
            };
            self.set_time(next.max(self.now.mono));
            turns = if self.now.mono == at { turns + 1 } else { 0 };
            at = self.now.mono;
            assert!(turns < 2000, "boot spins at {at:?}");
            if exits.is_some_and(|exits| exits <= self.now.mono) {
                self.let_end();
            } else if coming == Some(next) {
                let (_, happening) = self.coming.pop_first().expect("it was just looked at");
                self.happen(happening);
            } else {
                self.hand_over(&Event::Tick);
            }
        }
        true
    }

    /// How often boot has changed its database, or would have.
    pub fn changes(&self) -> usize {
        self.changes.load(Ordering::Relaxed)
    }

    /// Agents as boot told them last: name, version, status.
    pub fn agents(&self) -> Vec<(String, String, String)> {
        let text = |agent: &Value, field: &str| agent[field].as_str().unwrap_or_default().to_owned();
        let report = self.server.reports.last().cloned().unwrap_or_default();
        let agents = report["agents"].as_array().cloned().unwrap_or_default();
        agents
            .iter()
            .map(|agent| (text(agent, "name"), text(agent, "version"), text(agent, "status")))
            .collect()
    }

    fn set_time(&mut self, to: Instant) {
        let passed = to.since(self.now.mono);
        self.now = Now { mono: to, wall: self.now.wall + passed };
    }

    fn later(&mut self, wait: Duration, happening: Happening) {
        self.counter += 1;
        self.coming.insert((self.now.mono + wait, self.counter), happening);
    }

    fn soon(&mut self, happening: Happening) {
        self.later(SOON, happening);
    }

    fn let_end(&mut self) {
        for (child, exit) in self.tree.let_end(self.now.mono) {
            self.soon(Happening::Exited(child, exit));
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Started(child, process) => self.hand_over(&Event::Started(child, process)),
            Happening::Exited(child, exit) => self.hand_over(&Event::Exited(child, exit)),
            Happening::Output(child, stream, text) => {
                self.hand_over(&Event::Output(child, stream, text.as_bytes()));
            }
            Happening::Ended(child, stream) => self.hand_over(&Event::OutputEnded(child, stream)),
            Happening::Surveyed(kin) => {
                let survey = self.tree.survey(&kin.family);
                self.hand_over(&Event::Surveyed(&kin.family, &survey));
            }
            Happening::File(path, is_config) => {
                let content =
                    if is_config { Some(self.config.clone()) } else { self.tree.files.get(&path).cloned() };
                self.hand_over(&Event::FileRead(&path, Ok(content.as_deref().map(str::as_bytes))));
            }
            Happening::Connected(conn) if self.conns.contains_key(&conn) => {
                self.hand_over(&Event::Connected(conn));
            }
            Happening::Received(conn, bytes) if self.conns.contains_key(&conn) => {
                self.hand_over(&Event::Received(conn, &bytes));
            }
            Happening::Closed(conn, end) if self.conns.remove(&conn).is_some() => {
                self.hand_over(&Event::Closed(conn, end));
            }
            Happening::Connected(_) | Happening::Received(..) | Happening::Closed(..) => {}
            Happening::Done(child, task) => {
                let (exit, text) = self.tree.does(&task);
                if !self.tasks.contains(&child) {
                    return;
                }
                self.tasks.retain(|other| *other != child);
                let stream = if exit == 0 { Stream::Out } else { Stream::Err };
                self.soon(Happening::Output(child, stream, text));
                for stream in [Stream::Out, Stream::Err] {
                    self.soon(Happening::Ended(child, stream));
                }
                self.soon(Happening::Exited(child, Exit::Code(exit)));
            }
        }
    }

    fn hand_over(&mut self, event: &Event<'_>) {
        let Some(boot) = &mut self.boot else { return };
        self.wakes += 1;
        if let Some(most) = self.kill_after_changes {
            self.most_changes.store(most, Ordering::Relaxed);
        }
        boot.handle(self.now, copy(event), &mut self.fx);
        if self.kill_after_changes.is_some_and(|most| self.changes() > most) {
            self.kill_after_changes = None;
            self.next_boot();
            return;
        }
        for effect in self.fx.take() {
            self.apply(effect);
            self.effects += 1;
            if self.kill_after == Some(self.effects) {
                self.next_boot();
                return;
            }
        }
    }

    fn apply(&mut self, effect: Effect) {
        match effect {
            Effect::Connect { conn, to, security } => {
                assert!(matches!(security, Security::Mutual { protocol: Protocol::Http, .. }));
                self.connect(conn, to);
            }
            Effect::Send { conn, bytes } => {
                let to = self.conns[&conn];
                let answer = self.server.receive(to, &bytes);
                self.soon(Happening::Received(conn, answer));
            }
            Effect::Close { conn } => drop(self.conns.remove(&conn)),
            Effect::Spawn { child, program: Program::Exec(launch) } => {
                self.started.push(launch.argv.last().cloned().unwrap_or_default());
                let process = self.tree.execute(child, &launch, self.now.mono);
                self.soon(Happening::Started(child, process));
                if process.is_none() {
                    for stream in [Stream::Out, Stream::Err] {
                        self.soon(Happening::Ended(child, stream));
                    }
                    self.soon(Happening::Exited(child, Exit::Code(0)));
                }
            }
            Effect::Spawn { child, program: Program::Task(task) } => self.task(child, task),
            Effect::Adopt { child, process, .. } => {
                if !self.tree.watch(child, process) {
                    self.soon(Happening::Exited(child, Exit::Unknown));
                }
            }
            Effect::Signal { child, signal } => {
                self.tasks.retain(|task| *task != child);
                if !self.tasks_go_on {
                    let is_of_it =
                        |happening: &Happening| matches!(happening, Happening::Done(of, _) if *of == child);
                    self.coming.retain(|_, happening| !is_of_it(happening));
                }
                for (child, exit) in self.tree.signal_child(child, signal) {
                    self.soon(Happening::Exited(child, exit));
                }
            }
            Effect::SignalFamily { kin, signal } => {
                for (child, exit) in self.tree.signal_family(&kin.family, signal) {
                    self.soon(Happening::Exited(child, exit));
                }
            }
            Effect::Survey(kin) => self.soon(Happening::Surveyed(kin)),
            Effect::ReadFile { path } | Effect::ReadEnd { path, .. } => {
                let is_config = path == Path::new("/etc/cargo/boot.conf");
                self.soon(Happening::File(path, is_config));
            }
            Effect::Stop => self.boot = None,
            Effect::Hear { .. } | Effect::Unhear { .. } | Effect::Release { .. } | Effect::ReopenLog => {}
            Effect::Listen { .. } => panic!("boot is asked by nobody"),
        }
    }

    fn connect(&mut self, conn: ConnId, to: SocketAddr) {
        self.conns.insert(conn, to);
        self.dialled.push((self.now.mono, to));
        if self.server.is_mute(to) {
            return;
        }
        if self.server.is_away(to) {
            self.soon(Happening::Closed(conn, ConnectionEnd::Io("Connection refused".into())));
        } else {
            self.soon(Happening::Connected(conn));
        }
    }

    fn task(&mut self, child: ChildId, task: Task) {
        let text = format!("{task:?}");
        self.started.push(text.split(['(', ' ']).next().unwrap().to_owned());
        self.tasks.push(child);
        self.soon(Happening::Started(child, None));
        if let Task::Resolve(server) = &task {
            self.tree.addresses = self.names.get(&server.host).cloned();
        }
        // What takes time may be cut short.
        let takes = if matches!(task, Task::Resolve(_)) { SOON * 2 } else { Duration::from_secs(2) };
        self.later(takes, Happening::Done(child, task));
    }
}

fn copy<'a>(event: &Event<'a>) -> Event<'a> {
    match event {
        Event::Tick => Event::Tick,
        Event::Connected(conn) => Event::Connected(*conn),
        Event::Received(conn, bytes) => Event::Received(*conn, bytes),
        Event::Closed(conn, end) => Event::Closed(*conn, end.clone()),
        Event::Started(child, process) => Event::Started(*child, *process),
        Event::Output(child, stream, bytes) => Event::Output(*child, *stream, bytes),
        Event::OutputEnded(child, stream) => Event::OutputEnded(*child, *stream),
        Event::Exited(child, exit) => Event::Exited(*child, *exit),
        Event::Signal(signal) => Event::Signal(*signal),
        Event::Surveyed(family, survey) => Event::Surveyed(family, survey),
        Event::FileRead(path, file) => Event::FileRead(path, file.clone()),
        other => panic!("nobody plays {other:?}"),
    }
}
