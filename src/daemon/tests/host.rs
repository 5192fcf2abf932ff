//! A host that is played: its processes do what their command says, and time goes where it is sent.

use super::super::*;
use crate::machine::{
    ChildId, Effect, Exit, Kin, Launch, Process, Program, StartError, Stream, Survey, Task,
};
use crate::wire::Account;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

pub struct Host {
    pub now: Now,
    pub daemons: Daemons,
    pub store: Store,
    pub processes: Vec<Played>,
    /// Every program that was started, as its words.
    pub started: Vec<String>,
    /// Every signal that was sent, with its process.
    pub signals: Vec<(i32, i32)>,
    /// Every change that was told.
    pub facts: Vec<String>,
    /// What tasks answer, by a word of them: the first that fits.
    pub answers: Vec<(&'static str, String)>,
    pub files: Vec<(PathBuf, String)>,
    /// Programs that are not there.
    pub missing: bool,
    pub memory: u64,
    pub written: u64,
    pub listens: Vec<PathBuf>,
    watched: Vec<(ChildId, i32)>,
    tasks: Vec<(ChildId, String)>,
    coming: VecDeque<Happening>,
    fx: Effects,
    last_pid: i32,
}

/// A process, and what it does.
#[derive(Debug, Clone)]
pub struct Played {
    pub family: String,
    pub process: Process,
    pub words: String,
    /// Ends by itself then.
    ends: Option<(Instant, Exit)>,
    deaf: bool,
    cpu_percent: u32,
    since: Instant,
}

enum Happening {
    Started(ChildId, Option<Process>),
    NotStarted(ChildId),
    Exited(ChildId, Exit),
    Output(ChildId, String),
    Ended(ChildId, Stream),
    Surveyed(Kin),
    File(PathBuf),
}

/// A definition with the fields that a test cares for.
pub fn init(more: &Value) -> DaemonInit {
    let mut fields = json!({
        "name": "web", "version": "1", "url": "http://x/web.deb", "start": "stays", "stop": "kill:TERM",
        "checksum": format!("SHA256:{}", "a".repeat(64))
    });
    fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(fields).unwrap()
}

pub fn own() -> Identity {
    Identity {
        uid: 0,
        gid: 0,
        groups: vec![0],
        name: "root".into(),
        group_name: "root".into(),
        home: "/root".into(),
    }
}

impl Host {
    pub fn new() -> Self {
        let now = Now { mono: Instant(Duration::from_secs(1000)), wall: SystemTime::UNIX_EPOCH };
        let store = Store::in_memory().unwrap();
        let daemons = Daemons::restore(now, super::settings(), own(), "boot", &store, 7).unwrap();
        Host {
            now,
            daemons,
            store,
            processes: Vec::new(),
            started: Vec::new(),
            signals: Vec::new(),
            facts: Vec::new(),
            answers: Vec::new(),
            files: Vec::new(),
            missing: false,
            memory: 1000,
            written: 0,
            listens: Vec::new(),
            watched: Vec::new(),
            tasks: Vec::new(),
            coming: VecDeque::new(),
            fx: Effects::default(),
            last_pid: 100,
        }
    }

    /// The agent is killed, and another begins. Processes live on.
    pub fn next_agent(&mut self, boot: &str) {
        self.coming.clear();
        self.watched.clear();
        self.tasks.clear();
        self.fx = Effects::default();
        self.listens.clear();
        if boot != "boot" {
            self.processes.clear();
        }
        let settings = super::settings();
        self.daemons = Daemons::restore(self.now, settings, own(), boot, &self.store, 8).unwrap();
        self.hand_over(&Event::Tick);
        self.run();
    }

    pub fn init(&mut self, more: &Value) {
        let outcome = self.daemons.init(self.now, init(more), &mut self.store);
        assert_eq!(outcome.retcode, 1, "{outcome:?}");
        self.hand_over(&Event::Tick);
        self.run();
    }

    pub fn close(&mut self) {
        self.daemons.close(&mut self.fx);
        self.fx.take();
    }

    pub fn tick(&mut self) {
        self.hand_over(&Event::Tick);
        self.run();
    }

    pub fn want(&mut self, wanted: Wanted) {
        assert_eq!(self.daemons.want("web", wanted, &mut self.store).retcode, 1);
        self.hand_over(&Event::Tick);
        self.run();
    }

    pub fn restart(&mut self) {
        assert_eq!(self.daemons.restart("web", &mut self.store).retcode, 1);
        self.hand_over(&Event::Tick);
        self.run();
    }

    /// Lets time pass, with all that comes of it.
    pub fn pass(&mut self, seconds: f64) {
        let end = self.now.mono + Duration::from_secs_f64(seconds);
        loop {
            let ends = self.processes.iter().filter_map(|process| process.ends.map(|(at, _)| at)).min();
            let next = earliest([self.daemons.deadline(), ends]).filter(|next| *next <= end);
            let Some(next) = next else { break };
            self.set_time(next.max(self.now.mono));
            self.let_end();
            if self.daemons.deadline().is_some_and(|deadline| self.now.mono >= deadline) {
                self.hand_over(&Event::Tick);
            }
            self.run();
        }
        self.set_time(end);
    }

    pub fn status(&self) -> String {
        self.daemons.by_name.get("web").map_or("gone".into(), |known| known.daemon.status().to_string())
    }

    pub fn reason(&self) -> String {
        self.daemons.by_name["web"].daemon.reason.clone().unwrap_or_default()
    }

    /// The words of each process that lives.
    pub fn living(&self) -> Vec<&str> {
        self.processes.iter().map(|process| process.words.as_str()).collect()
    }

    pub fn heard(&mut self, name: &str) {
        let path = self.daemons.place.settings.heartbeat(name);
        assert!(self.listens.contains(&path), "nobody listens at {path:?}");
        self.hand_over(&Event::Heard(&path, b"alive\n"));
        self.run();
    }

    /// A process ends as if somebody had killed it.
    pub fn kill(&mut self, words: &str) {
        let place = self.processes.iter().position(|process| process.words == words).unwrap();
        self.ended(place, Exit::Signal(9));
        self.run();
    }

    pub fn use_cpu(&mut self, percent: u32) {
        for process in &mut self.processes {
            process.cpu_percent = percent;
        }
    }

    fn set_time(&mut self, to: Instant) {
        let took = to.since(self.now.mono);
        self.now = Now { mono: to, wall: self.now.wall + took };
    }

    fn let_end(&mut self) {
        while let Some(place) =
            self.processes.iter().position(|process| process.ends.is_some_and(|(at, _)| self.now.mono >= at))
        {
            let exit = self.processes[place].ends.unwrap().1;
            self.ended(place, exit);
        }
    }

    fn ended(&mut self, place: usize, exit: Exit) {
        let Played { process, .. } = self.processes.remove(place);
        self.watched.retain(|(child, pid)| {
            if *pid == process.pid {
                self.coming.push_back(Happening::Exited(*child, exit));
            }
            *pid != process.pid
        });
    }

    /// Hands over what has come until nothing more does.
    pub fn run(&mut self) {
        while let Some(happening) = self.coming.pop_front() {
            match happening {
                Happening::Started(child, process) => self.hand_over(&Event::Started(child, process)),
                Happening::NotStarted(child) => {
                    let error = StartError { step: "execve".into(), reason: "No such file".into() };
                    self.hand_over(&Event::NotStarted(child, error));
                }
                Happening::Exited(child, exit) => self.hand_over(&Event::Exited(child, exit)),
                Happening::Output(child, text) => {
                    self.hand_over(&Event::Output(child, Stream::Out, text.as_bytes()));
                }
                Happening::Ended(child, stream) => self.hand_over(&Event::OutputEnded(child, stream)),
                Happening::Surveyed(kin) => {
                    let survey = self.survey(&kin);
                    self.hand_over(&Event::Surveyed(&kin.family, &survey));
                }
                Happening::File(path) => {
                    let file = self.files.iter().find(|(at, _)| *at == path).map(|(_, text)| text.clone());
                    self.hand_over(&Event::FileRead(&path, Ok(file.as_ref().map(String::as_bytes))));
                }
            }
        }
    }

    fn survey(&self, kin: &Kin) -> Survey {
        let of_it = || self.processes.iter().filter(|process| process.family == kin.family);
        let cpu = of_it().map(|process| {
            self.now.mono.since(process.since).mul_f64(f64::from(process.cpu_percent) / 100.0)
        });
        Survey {
            processes: of_it().map(|process| process.process).collect(),
            cpu: cpu.sum(),
            memory: self.memory,
            written: self.written,
        }
    }

    fn hand_over(&mut self, event: &Event<'_>) {
        let mut facts = Vec::new();
        self.daemons.handle(self.now, event, &mut self.fx, &mut self.store, &mut facts);
        for fact in facts {
            match fact {
                Fact::Changed { told, outcome, .. } => {
                    let gone = if told.removed { " removed" } else { "" };
                    self.facts.push(format!("{} {}{gone}", told.status, outcome.retcode));
                }
                Fact::StoreFailed(error) => self.facts.push(error.to_string()),
            }
        }
        for effect in self.fx.take() {
            self.apply(effect);
        }
    }

    fn apply(&mut self, effect: Effect) {
        match effect {
            Effect::Spawn { child, program: Program::Exec(launch) } => self.execute(child, *launch),
            Effect::Spawn { child, program: Program::Task(task) } => self.task(child, &task),
            Effect::Adopt { child, process, lasting } => {
                assert!(lasting);
                let lives = self.processes.iter().any(|played| played.process == process);
                if lives {
                    self.watched.push((child, process.pid));
                } else {
                    self.coming.push_back(Happening::Exited(child, Exit::Unknown));
                }
            }
            Effect::Signal { child, signal } => {
                self.tasks.retain(|(task, _)| *task != child);
                let pid = self.watched.iter().find(|(watched, _)| *watched == child).map(|(_, pid)| *pid);
                if let Some(pid) = pid {
                    self.signal(pid, signal);
                }
            }
            Effect::SignalFamily { kin, signal } => {
                let of_it = self.processes.iter().filter(|process| process.family == kin.family);
                for pid in of_it.map(|process| process.process.pid).collect::<Vec<_>>() {
                    self.signal(pid, signal);
                }
            }
            Effect::Survey(kin) => self.coming.push_back(Happening::Surveyed(kin)),
            Effect::ReadFile { path } | Effect::ReadEnd { path, .. } => {
                self.coming.push_back(Happening::File(path));
            }
            Effect::Hear { path, .. } => self.listens.push(path),
            Effect::Unhear { path } => self.listens.retain(|at| *at != path),
            Effect::Release { .. } => {}
            other => panic!("{other:?}"),
        }
    }

    fn signal(&mut self, pid: i32, signal: i32) {
        self.signals.push((pid, signal));
        let place = self.processes.iter().position(|process| process.process.pid == pid);
        if let Some(place) = place.filter(|place| signal == 9 || !self.processes[*place].deaf) {
            self.ended(place, Exit::Signal(signal));
        }
    }

    /// What a process does is in the words of its command: `ends:3:1` ends after 3 seconds with exit
    /// status 1, `forks` leaves a process behind, `slowly` after 3 seconds, `deaf` does not end when asked to.
    fn execute(&mut self, child: ChildId, launch: Launch) {
        let words = launch.argv.last().unwrap().clone();
        self.started.push(words.clone());
        if self.missing || words.contains("missing") {
            self.coming.push_back(Happening::NotStarted(child));
            return;
        }
        let ends = words.split_once("ends:").map(|(_, how)| {
            let (seconds, code) = how.split_once(':').unwrap();
            let code = code.split(' ').next().unwrap().parse().unwrap();
            (self.now.mono + Duration::from_secs_f64(seconds.parse().unwrap()), Exit::Code(code))
        });
        let Some(lasting) = launch.lasting else {
            self.coming.push_back(Happening::Started(child, None));
            if let Some(rest) = words.strip_prefix("stops ") {
                let place = self.processes.iter().position(|process| process.words == rest).unwrap();
                self.ended(place, Exit::Code(0));
            }
            if words.contains("hangs") {
                return;
            }
            let code = i32::from(words.contains("fails"));
            self.coming.push_back(Happening::Output(child, format!("{words} says so")));
            self.finish(child, Exit::Code(code));
            return;
        };
        assert!(
            !self.processes.iter().any(|process| process.family == lasting.family),
            "a family has one beginning"
        );
        self.last_pid += 1;
        let process = Process { pid: self.last_pid, start: 1 };
        let mut played = Played {
            family: lasting.family,
            process,
            ends,
            deaf: words.contains("deaf"),
            cpu_percent: 0,
            since: self.now.mono,
            words,
        };
        self.coming.push_back(Happening::Started(child, Some(process)));
        self.watched.push((child, process.pid));
        if played.words.contains("forks") {
            self.last_pid += 1;
            let process = Process { pid: self.last_pid, start: 2 };
            let left = Played { process, words: "left".into(), ends: None, ..played.clone() };
            let takes = if played.words.contains("slowly") { 3 } else { 0 };
            played.ends = Some((self.now.mono + Duration::from_secs(takes), Exit::Code(0)));
            self.processes.push(left);
        }
        self.processes.push(played);
        self.let_end();
    }

    fn finish(&mut self, child: ChildId, exit: Exit) {
        for stream in [Stream::Out, Stream::Err] {
            self.coming.push_back(Happening::Ended(child, stream));
        }
        self.coming.push_back(Happening::Exited(child, exit));
    }

    fn task(&mut self, child: ChildId, task: &Task) {
        let text = format!("{task:?}");
        let name = text.split(['(', ' ']).next().unwrap().to_owned();
        self.started.push(name);
        let answer =
            self.answers.iter().find(|(word, _)| text.contains(word)).map(|(_, answer)| answer.clone());
        let answer = answer.unwrap_or_else(|| match task {
            Task::Fetch(_) => r#"{"Ok":{"bytes":1,"resumed_at":0}}"#.into(),
            Task::Install(_) => r#"{"Ok":{"package":"web"}}"#.into(),
            Task::Uninstall(_) => r#"{"Ok":null}"#.into(),
            Task::Identify { user: Account::Name(name), .. } => {
                let user = Identity { uid: 7, name: name.clone(), ..own() };
                serde_json::to_string(&user).unwrap()
            }
            _ => "null".into(),
        });
        if answer == "never" {
            self.tasks.push((child, text));
            return;
        }
        if let Some(reason) = answer.strip_prefix("refused ") {
            self.hand_over_later_words(child, reason);
            return;
        }
        self.coming.push_back(Happening::Output(child, answer));
        self.finish(child, Exit::Code(0));
    }

    /// A task that says on its standard error why it has no answer.
    fn hand_over_later_words(&mut self, child: ChildId, _: &str) {
        self.finish(child, Exit::Code(1));
    }
}
