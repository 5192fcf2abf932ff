//! A small agent: a real reactor in a process of its own, with a machine that does what a test says
//! and tells what it hears.

#![allow(clippy::unwrap_used, reason = "what goes wrong in a test ends it")]

use crate::rig::{PATIENCE, until};
use aspire::machine::{
    ConnId, Credentials, Effect, Effects, Event, Exit, Instant, Kin, Lasting, Launch, Machine, Now, Probe,
    Process, Program, Rotation, Task,
};
use aspire::reactor::{Clock, Reactor};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, fork};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// What a test may ask for.
#[derive(Debug, Serialize, Deserialize)]
pub enum Order {
    Start(Start),
    /// As a command, whose output is told.
    Run(Vec<String>),
    Adopt {
        pid: i32,
        start: u64,
    },
    Signal {
        child: u64,
        signal: i32,
    },
    Survey(Relation),
    /// As many times, of which the last is told.
    Surveys(Relation, usize),
    SignalFamily {
        of: Relation,
        signal: i32,
    },
    Hear {
        path: PathBuf,
        uid: u32,
    },
    Unhear {
        path: PathBuf,
    },
    ReadEnd {
        path: PathBuf,
        most_bytes: usize,
    },
    Rotate {
        path: PathBuf,
        files: usize,
    },
    /// Whether there is somebody at this socket.
    Probe(PathBuf),
    Descriptors,
    /// Takes every descriptor that is free, or frees them again.
    Exhaust(bool),
    Stop,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Start {
    pub family: String,
    pub output: PathBuf,
    pub argv: Vec<String>,
    pub uid: Option<u32>,
    pub cpu_max: Option<u32>,
    pub memory_max: Option<u64>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Relation {
    pub family: String,
    pub main: Option<(i32, u64)>,
    pub output: PathBuf,
}

impl Relation {
    fn kin(&self) -> Kin {
        let main = self.main.map(|(pid, start)| Process { pid, start });
        Kin { family: self.family.clone(), main, output: self.output.clone() }
    }
}

#[derive(Default)]
struct Obedient {
    test: Option<ConnId>,
    orders: Vec<u8>,
    /// Surveys that are not told.
    untold: usize,
    taken: Vec<File>,
}

impl Machine for Obedient {
    fn handle(&mut self, _: Now, event: Event<'_>, fx: &mut Effects) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let report = match event {
            Event::Accepted(conn) => return self.test = Some(conn),
            Event::Received(_, bytes) => return self.receive(bytes, fx),
            Event::Started(child, process) => {
                let process = process.map(|process| (process.pid, process.start));
                json!({"event": "Started", "child": child.0, "process": process})
            }
            Event::NotStarted(child, error) => {
                json!({"event": "NotStarted", "child": child.0, "reason": error.to_string()})
            }
            Event::Output(_, _, bytes) => json!({"event": "Output", "text": text(bytes)}),
            Event::Exited(child, exit) => {
                let exit = match exit {
                    Exit::Code(code) => json!(code),
                    Exit::Signal(signal) => json!(-signal),
                    Exit::Unknown => Value::Null,
                };
                json!({"event": "Exited", "child": child.0, "exit": exit})
            }
            Event::Surveyed(..) if self.untold > 0 => return self.untold -= 1,
            Event::Surveyed(family, survey) => {
                let processes: Vec<_> = survey.processes.iter().map(|p| (p.pid, p.start)).collect();
                let (cpu, memory, written) = (survey.cpu.as_micros(), survey.memory, survey.written);
                json!({
                    "event": "Surveyed", "family": family, "processes": processes,
                    "cpu": u64::try_from(cpu).unwrap(), "memory": memory, "written": written
                })
            }
            Event::Heard(path, bytes) => json!({"event": "Heard", "path": path, "text": text(bytes)}),
            Event::FileRead(path, Ok(content)) => {
                json!({"event": "FileRead", "path": path, "text": content.map(text)})
            }
            Event::FileRead(_, Err(reason)) => json!({"event": "FileRead", "reason": reason}),
            _ => return,
        };
        self.tell(&report, fx);
    }

    fn deadline(&self) -> Option<Instant> {
        None
    }
}

impl Obedient {
    fn receive(&mut self, bytes: &[u8], fx: &mut Effects) {
        self.orders.extend_from_slice(bytes);
        while let Some(end) = self.orders.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.orders.drain(..=end).collect();
            self.obey(serde_json::from_slice(&line).unwrap(), fx);
        }
    }

    fn obey(&mut self, order: Order, fx: &mut Effects) {
        match order {
            Order::Start(start) => drop(fx.spawn(Program::Exec(Box::new(lasting(start))))),
            Order::Run(argv) => drop(fx.spawn(Program::Exec(Box::new(launch(argv, None))))),
            Order::Adopt { pid, start } => {
                let child = fx.adopt(Process { pid, start }, true);
                self.tell(&json!({"event": "Adopted", "child": child.0}), fx);
            }
            Order::Signal { child, signal } => {
                fx.push(Effect::Signal { child: aspire::machine::ChildId(child), signal });
            }
            Order::Survey(of) => fx.push(Effect::Survey(of.kin())),
            Order::Surveys(of, times) => {
                self.untold = times - 1;
                (0..times).for_each(|_| fx.push(Effect::Survey(of.kin())));
            }
            Order::SignalFamily { of, signal } => {
                fx.push(Effect::SignalFamily { kin: of.kin(), signal });
                self.tell(&json!({"event": "Signalled"}), fx);
            }
            Order::Hear { path, uid } => {
                fx.push(Effect::Hear { path, uid });
                self.tell(&json!({"event": "Hears"}), fx);
            }
            Order::Unhear { path } => {
                fx.push(Effect::Unhear { path });
                self.tell(&json!({"event": "Hears"}), fx);
            }
            Order::ReadEnd { path, most_bytes } => fx.push(Effect::ReadEnd { path, most_bytes }),
            Order::Rotate { path, files } => {
                fx.spawn(Program::Task(Task::Rotate(Rotation { path, files })));
            }
            Order::Probe(path) => drop(fx.spawn(Program::Task(Task::Probe(Probe::Unix(path))))),
            Order::Descriptors => {
                let open: Vec<PathBuf> = fs::read_dir("/proc/self/fd")
                    .unwrap()
                    .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
                    .collect();
                self.tell(&json!({"event": "Descriptors", "open": open}), fx);
            }
            Order::Exhaust(true) => {
                self.taken.extend(std::iter::from_fn(|| File::open("/dev/null").ok()));
                self.tell(&json!({"event": "Exhausted"}), fx);
            }
            Order::Exhaust(false) => self.taken.clear(),
            Order::Stop => {
                fx.push(Effect::Close { conn: self.test.unwrap() });
                fx.push(Effect::Stop);
            }
        }
    }

    fn tell(&self, report: &Value, fx: &mut Effects) {
        fx.push(Effect::Send { conn: self.test.unwrap(), bytes: format!("{report}\n").into_bytes() });
    }
}

fn launch(argv: Vec<String>, uid: Option<u32>) -> Launch {
    Launch {
        argv,
        env: vec![("PATH".into(), "/usr/bin:/bin".into()), ("ASPIRE_DAEMON".into(), "another".into())],
        cwd: "/".into(),
        credentials: uid.map(|uid| Credentials { uid, gid: uid, groups: vec![uid] }),
        limits: aspire::wire::Limits::default(),
        remembered: false,
        lasting: None,
    }
}

fn lasting(start: Start) -> Launch {
    let Start { family, output, argv, uid, cpu_max, memory_max } = start;
    let lasting = Some(Lasting { family, output, cpu_max, memory_max });
    Launch { lasting, ..launch(argv, uid) }
}

/// The small agent's process, which is killed where a test has not ended it.
pub struct SmallAgent {
    pub pid: Pid,
    stream: BufReader<UnixStream>,
    ended: bool,
    _folder: TempDir,
}

impl SmallAgent {
    /// In this cgroup, where there is one.
    pub fn start(cgroup: Option<&Path>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("test.sock");
        // SAFETY: of the C library's locks fork(3) sees to the allocator's, and no other is taken
        // by what this child does.
        let pid = match unsafe { fork() }.unwrap() {
            ForkResult::Child => become_agent(&socket, cgroup),
            ForkResult::Parent { child } => child,
        };
        let stream = until("the small agent to listen", || UnixStream::connect(&socket).ok());
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        SmallAgent { pid, stream: BufReader::new(stream), ended: false, _folder: folder }
    }

    pub fn send(&mut self, order: &Order) {
        let line = format!("{}\n", serde_json::to_string(order).unwrap());
        self.stream.get_mut().write_all(line.as_bytes()).unwrap();
    }

    /// The next that it tells.
    pub fn hear(&mut self) -> Value {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    /// The next that it tells, which is this.
    pub fn expect(&mut self, event: &str) -> Value {
        let report = self.hear();
        assert_eq!(report["event"], event, "{report}");
        report
    }

    pub fn ask(&mut self, order: &Order, event: &str) -> Value {
        self.send(order);
        self.expect(event)
    }

    /// Its child's number, and the process.
    pub fn begin(&mut self, start: Start) -> (u64, (i32, u64)) {
        let started = self.ask(&Order::Start(start), "Started");
        let process = serde_json::from_value(started["process"].clone()).unwrap();
        (started["child"].as_u64().unwrap(), process)
    }

    /// Its number.
    pub fn adopt(&mut self, (pid, start): (i32, u64)) -> u64 {
        self.ask(&Order::Adopt { pid, start }, "Adopted")["child"].as_u64().unwrap()
    }

    /// The end of this child, which is the next that it tells.
    pub fn expect_end(&mut self, child: u64, exit: Option<i32>) {
        assert_eq!(self.hear(), json!({"event": "Exited", "child": child, "exit": exit}));
    }

    pub fn survey(&mut self, of: &Relation) -> Surveyed {
        serde_json::from_value(self.ask(&Order::Survey(of.clone()), "Surveyed")).unwrap()
    }

    pub fn pids(&mut self, of: &Relation) -> Vec<i32> {
        self.survey(of).processes.iter().map(|(pid, _)| *pid).collect()
    }

    pub fn signal_family(&mut self, of: &Relation, signal: i32) {
        self.ask(&Order::SignalFamily { of: of.clone(), signal }, "Signalled");
    }

    /// Without those that look.
    pub fn descriptors(&mut self) -> Vec<String> {
        let told = self.ask(&Order::Descriptors, "Descriptors");
        let mut open: Vec<String> = serde_json::from_value(told["open"].clone()).unwrap();
        open.sort();
        open
    }

    /// What a task says, and how it ended.
    pub fn task(&mut self, order: &Order) -> (String, Value) {
        self.ask(order, "Started");
        let mut told = [self.hear(), self.hear()];
        told.sort_by_key(|report| report["event"] == "Exited");
        (told[0]["text"].as_str().unwrap().to_owned(), told[1]["exit"].clone())
    }

    pub fn stop(mut self) {
        self.send(&Order::Stop);
        let status = waitpid(self.pid, None).unwrap();
        self.ended = true;
        assert!(matches!(status, nix::sys::wait::WaitStatus::Exited(_, 0)), "{status:?}");
    }

    /// Whatever it was doing.
    pub fn kill(self) {
        drop(self);
    }
}

impl Drop for SmallAgent {
    fn drop(&mut self) {
        if !self.ended {
            let _ = kill(self.pid, Signal::SIGKILL);
            let _ = waitpid(self.pid, None);
        }
    }
}

#[derive(Debug, Deserialize)]
pub struct Surveyed {
    pub processes: Vec<(i32, u64)>,
    pub cpu: u64,
    pub memory: u64,
    pub written: u64,
}

fn become_agent(socket: &Path, cgroup: Option<&Path>) -> ! {
    // What other tests have open is not for what this one starts.
    // SAFETY: nothing here uses a descriptor from before.
    unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0) };
    let run = || {
        if let Some(cgroup) = cgroup {
            fs::write(cgroup.join("cgroup.procs"), "0").unwrap();
        }
        setrlimit(Resource::RLIMIT_NOFILE, 64, 64).unwrap();
        let mut reactor = Reactor::new(Clock::new(), Box::new(|| {})).unwrap();
        reactor.listen(socket);
        reactor.run(&mut Obedient::default()).unwrap();
    };
    let code = i32::from(catch_unwind(AssertUnwindSafe(run)).is_err());
    // SAFETY: the test's own destructors are not this copy's to run.
    unsafe { libc::_exit(code) }
}
