//! Agents that are killed again and again, and twenty daemons of all kinds that live on: in the end
//! those run that are wanted, once each, and nobody was ever signalled who was not to be.
//!
//! `SUPERVISE_KILLS=100 cargo test --test real_supervise_kills` kills a hundred; without the variable
//! it is twenty-five, which take about fifteen seconds. `SUPERVISE_SEED` gives other moments and other
//! requests.

#![allow(clippy::unwrap_used, reason = "what goes wrong in a test ends it")]
#![allow(clippy::disallowed_methods, reason = "real processes take real time")]

mod rig;

use aspire::gearctl::client::AskError;
use fastrand::Rng;
use nix::sys::signal::Signal;
use rig::agent::{Agent, Host, signal};
use rig::daemons::{definition, packed};
use rig::pki::Ca;
use rig::polaris::Polaris;
use rig::{process, until};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const KILLS: usize = 25;
const SCRIPT: &str = include_str!("scripts/one-of-many.sh");

/// Nobody touches them and nothing ails them: they are started once, and sent no signal.
const UNTOUCHED: [&str; 9] =
    ["plain", "shell", "late", "slow", "helped", "bare", "socket", "checked", "heard"];
/// They come up and stay, whatever they go through.
const RUN: [&str; 3] = ["forks", "deaf", "renewed"];
/// Something is wrong with each.
const ILL: [&str; 6] = ["crashes", "litters", "never", "fatal", "stranger", "silent"];

fn from_environment(name: &str, otherwise: usize) -> usize {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect(name))
}

/// A process that is of no daemon.
struct Bystander {
    name: String,
    child: Child,
}

impl Bystander {
    /// Its command line is that of a daemon.
    fn new(host: &Host, name: &str) -> Self {
        let mut command = Command::new("/bin/sh");
        command.args(["./run", "bystander"]).current_dir(host.path("all.files"));
        command.env("NAME", name).env("HERE", host.folder()).env("SIGNALS", "strays").env("DEAF", "1");
        let child = command.stdin(Stdio::null()).spawn().unwrap();
        let ready = host.path(&format!("{name}.ready"));
        until("a bystander", || ready.exists().then_some(()));
        Bystander { name: name.into(), child }
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An operator who knows what was asked for, and what was heard of it.
struct Operator {
    random: Rng,
    package: (String, String),
    definitions: BTreeMap<String, Value>,
    /// Not accepted yet.
    open: VecDeque<Value>,
    generation: u64,
    /// What was wanted last, whether or not it was heard.
    wanted: BTreeMap<&'static str, &'static str>,
}

impl Operator {
    fn new(host: &Host, seed: u64, bystander: &Bystander) -> Self {
        let bare = SCRIPT.split_once('\n').unwrap().1;
        let check = "#!/bin/sh\nkill -0 \"$MAINPID\"\n";
        let scripts = [("run", SCRIPT), ("bare", bare), ("check", check)];
        let mut operator = Operator {
            random: Rng::with_seed(seed),
            package: packed(host, "all", &scripts),
            definitions: BTreeMap::new(),
            open: VecDeque::new(),
            generation: 1,
            wanted: BTreeMap::new(),
        };
        let pidfile = |name: &str| host.path(&format!("{name}.pid")).display().to_string();
        let socket = host.path("listens.sock").display().to_string();
        for name in ["late", "slow"] {
            fs::write(pidfile(name), bystander.child.id().to_string()).unwrap();
        }
        let stranger = format!("./run forks {}", bystander.child.id());
        for (name, more, env) in [
            ("plain", json!({"start": "./run stays"}), json!({})),
            ("shell", json!({"start": "X=1; exec ./run stays"}), json!({})),
            ("late", json!({"start": "./run forks", "pidfile": pidfile("late")}), json!({"LATE": "0.7"})),
            ("slow", json!({"start": "./run forks", "pidfile": pidfile("slow")}), json!({"LINGERS": "0.9"})),
            ("helped", json!({"start": "./run helped", "precheck": "./check"}), json!({"MAINPID": "1"})),
            ("bare", json!({"start": "./bare stays"}), json!({})),
            (
                "socket",
                json!({"start": "./run listens", "check": "socket", "socket": socket}),
                json!({"SOCKET": socket}),
            ),
            ("checked", json!({"start": "./run stays", "check": "script:./check"}), json!({})),
            ("heard", json!({"start": "./run speaks", "heartbeat": 20}), json!({})),
            ("forks", json!({"start": "./run forks"}), json!({})),
            ("deaf", json!({"start": "./run helped", "stop_timeout": 1}), json!({"DEAF": "1"})),
            ("renewed", json!({"start": "./run stays"}), json!({"GENERATION": "1"})),
            ("toggled", json!({"start": "./run forks", "pidfile": pidfile("toggled")}), json!({})),
            ("goes", json!({"start": "./run helped", "stop": "kill:INT"}), json!({})),
            ("crashes", json!({"start": "./run crashes"}), json!({})),
            ("litters", json!({"start": "./run litters", "start_delay": 0}), json!({})),
            ("never", json!({"start": "./run never"}), json!({})),
            ("fatal", json!({"start": "./run never", "max_restarts": 1, "restart_window": 3600}), json!({})),
            ("stranger", json!({"start": stranger, "pidfile": pidfile("stranger")}), json!({})),
            ("silent", json!({"start": "./run stays", "heartbeat": 1, "start_delay": 0}), json!({})),
        ] {
            operator.define(host, name, &more, &env);
        }
        operator
    }

    fn define(&mut self, host: &Host, name: &str, more: &Value, env: &Value) {
        let mut all = json!({
            "start_delay": 1, "stop_timeout": 5, "check_interval": 1, "max_restarts": 100_000, "env": env
        });
        all["env"]["NAME"] = json!(name);
        all["env"]["HERE"] = json!(host.folder().display().to_string());
        if let Some(pidfile) = more.get("pidfile") {
            all["env"]["PIDFILE"] = pidfile.clone();
        }
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let definition = definition(name, &self.package, &all);
        self.open.push_back(definition.clone());
        self.definitions.insert(name.to_owned(), definition);
    }

    /// Asks for this and that until nobody answers any more.
    fn meddle(&mut self, host: &Host, agent: &mut Agent) {
        while agent.is_alive() {
            if let Some(init) = self.open.front() {
                if asked(host, "daemon.init", init) {
                    self.open.pop_front();
                }
                continue;
            }
            match self.random.u8(0..5) {
                0 => _ = asked(host, "daemon.restart", &json!({"name": "deaf"})),
                1 => self.renew(host),
                2 | 3 => {
                    let name = if self.random.bool() { "toggled" } else { "goes" };
                    let wanted = match (name, self.random.bool()) {
                        (_, true) => "running",
                        ("toggled", _) => "stoped",
                        _ => "removed",
                    };
                    self.wanted.insert(name, wanted);
                    self.insist(host, name);
                }
                _ => {}
            }
            std::thread::sleep(Duration::from_millis(self.random.u64(0..150)));
        }
    }

    fn renew(&mut self, host: &Host) {
        self.generation += 1;
        let definition = self.definitions.get_mut("renewed").unwrap();
        definition["env"]["GENERATION"] = json!(self.generation.to_string());
        asked(host, "daemon.init", definition);
    }

    /// Asks for what is wanted of this one.
    fn insist(&self, host: &Host, name: &str) -> bool {
        let named = json!({"name": name});
        match (name, self.wanted.get(name).copied().unwrap_or("running")) {
            ("toggled", "running") => asked(host, "daemon.start", &named),
            (_, "stoped") => asked(host, "daemon.stop", &named),
            (_, "removed") => asked(host, "daemon.remove", &named),
            _ => asked(host, "daemon.init", &self.definitions[name]),
        }
    }
}

/// Whether it was heard. What is refused for another reason than that there is no such daemon is a
/// flaw.
fn asked(host: &Host, method: &str, args: &Value) -> bool {
    match host.asks(method, args) {
        Ok(_) => true,
        Err(AskError::Failed { retcode, message, detail }) => {
            assert_eq!(retcode, 3024, "{method} {args}: {message}: {detail:?}");
            true
        }
        Err(_) => false,
    }
}

#[test]
fn killed_again_and_again_the_wanted_ones_run_once_each_and_nobody_else_was_signalled() {
    let (kills, seed) = (from_environment("SUPERVISE_KILLS", KILLS), from_environment("SUPERVISE_SEED", 7));
    println!("SUPERVISE_KILLS={kills} SUPERVISE_SEED={seed}");
    let begun = Instant::now();
    let ca = Ca::new();
    let nobody = Polaris::at("127.0.72.4:0".parse().unwrap(), &ca).unwrap().address;
    let host = Host::enrolled(&ca);
    host.configure(&nobody.to_string(), "");
    packed(&host, "all", &[("run", SCRIPT)]);
    let mut bystanders: Vec<_> = (0..3).map(|n| Bystander::new(&host, &format!("bystander-{n}"))).collect();
    let mut operator = Operator::new(&host, seed as u64, &bystanders[0]);
    for _ in 0..kills {
        let mut agent = host.start();
        let longest = if operator.random.u8(0..4) == 0 { 1500 } else { 400 };
        let (pid, life) = (agent.pid(), Duration::from_millis(operator.random.u64(5..longest)));
        std::thread::scope(|scope| {
            scope.spawn(move || {
                std::thread::sleep(life);
                signal(pid, Signal::SIGKILL);
            });
            operator.meddle(&host, &mut agent);
        });
        agent.ended();
    }
    // The last one lives until everything is as it is wanted.
    let mut last = host.start();
    for init in std::mem::take(&mut operator.open) {
        until("an agent that listens", || asked(&host, "daemon.init", &init).then_some(()));
    }
    for name in ["toggled", "goes", "renewed"] {
        until("an agent that listens", || operator.insist(&host, name).then_some(()));
    }
    settled(&host, &operator);
    judge(&host, &mut bystanders, &operator);
    removed(&host, &operator);
    last.signal(Signal::SIGTERM);
    last.ended();
    let starts = lines(&host, "starts").len();
    println!("{kills} kills, {starts} starts, {} in {:?}", lines(&host, "signals").len(), begun.elapsed());
}

fn settled(host: &Host, operator: &Operator) {
    let wanted = |name| operator.wanted.get(name).copied().unwrap_or("running");
    for name in UNTOUCHED.iter().chain(&RUN) {
        host.comes_to(name, "running");
    }
    let renewed = operator.generation.to_string();
    until("the latest generation", || {
        let of_it = |main: &(String, u32)| *main == (renewed.clone(), pid_of(host, "renewed").unwrap_or(0));
        mains(host, "renewed").iter().any(of_it).then_some(())
    });
    host.comes_to("fatal", "fatal");
    host.comes_to("toggled", wanted("toggled"));
    if wanted("goes") == "removed" {
        until("it to be gone", || host.daemon("goes").is_null().then_some(()));
    } else {
        host.comes_to("goes", "running");
    }
}

fn judge(host: &Host, bystanders: &mut [Bystander], operator: &Operator) {
    assert_eq!(lines(host, "doubles"), Vec::<Vec<String>>::new(), "two of one daemon at once");
    assert_eq!(lines(host, "strays"), Vec::<Vec<String>>::new(), "signals to strangers");
    for bystander in bystanders {
        assert!(bystander.child.try_wait().unwrap().is_none(), "{} was killed", bystander.name);
        assert!(!process::status(bystander.child.id(), "State").starts_with('T'), "and not stopped");
    }
    for name in UNTOUCHED {
        let starts: Vec<_> = lines(host, "starts").into_iter().filter(|line| line[0] == name).collect();
        assert_eq!(starts.len(), 1, "{name} is started once: {starts:?}; {}", host.daemon(name));
        let signals: Vec<_> = lines(host, "signals").into_iter().filter(|line| line[0] == name).collect();
        assert!(signals.is_empty(), "{signals:?}");
    }
    let mut runs: Vec<&str> = UNTOUCHED.iter().chain(&RUN).copied().collect();
    for name in ["toggled", "goes"] {
        match operator.wanted.get(name) {
            None | Some(&"running") => runs.push(name),
            Some(_) => assert_eq!(mains(host, name), [], "{name} is not wanted"),
        }
    }
    for name in runs {
        let pids: Vec<u32> = mains(host, name).into_iter().map(|(_, pid)| pid).collect();
        assert_eq!(pids, [pid_of(host, name).unwrap()], "{name} runs once, as it is told");
    }
    assert_eq!(mains(host, "fatal"), [], "it is left alone");
    let signalled: BTreeSet<String> =
        lines(host, "signals").into_iter().map(|line| line[0].clone()).collect();
    let may_be: BTreeSet<String> =
        ILL.iter().chain(&RUN).chain(&["toggled", "goes"]).map(|name| (*name).to_owned()).collect();
    assert!(signalled.is_subset(&may_be), "{signalled:?}");
}

/// Nothing of any of them is left when it is removed.
fn removed(host: &Host, operator: &Operator) {
    for name in operator.definitions.keys() {
        assert!(asked(host, "daemon.remove", &json!({"name": name})));
    }
    until("all to be gone", || {
        let list = host.asks("daemon.list", &json!({})).unwrap();
        (list["count"] == 0).then_some(())
    });
    let ours = |pid: &i32| environment(pid.cast_unsigned(), "ASPIRE_DAEMON").is_some();
    let left: Vec<i32> = host.processes().into_iter().filter(ours).collect();
    assert_eq!(left, Vec::<i32>::new(), "left behind");
}

/// The words of each line that was noted.
fn lines(host: &Host, file: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(host.path(file)).unwrap_or_default();
    text.lines().map(|line| line.split(' ').map(str::to_owned).collect()).collect()
}

/// The generation and the pid of each main process that lives.
fn mains(host: &Host, name: &str) -> Vec<(String, u32)> {
    let starts = lines(host, "starts").into_iter().filter(|line| line[0] == name);
    let begun = starts.map(|line| (line[1].clone(), line[2].parse().unwrap()));
    let lives = |(_, pid): &(String, u32)| {
        let is_it = environment(*pid, "NAME").is_some_and(|other| other == name)
            && environment(*pid, "HERE").is_some_and(|here| here == host.folder().to_string_lossy());
        is_it && process::is_alive(*pid)
    };
    let alive: BTreeMap<u32, String> =
        begun.filter(lives).map(|(generation, pid)| (pid, generation)).collect();
    alive.into_iter().map(|(pid, generation)| (generation, pid)).collect()
}

fn pid_of(host: &Host, name: &str) -> Option<u32> {
    u32::try_from(host.daemon(name)["pid"].as_u64()?).ok()
}

fn environment(pid: u32, name: &str) -> Option<String> {
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let mut all = environment.split(|byte| *byte == 0);
    let value = all.find_map(|variable| variable.strip_prefix(name.as_bytes())?.strip_prefix(b"="))?;
    Some(String::from_utf8_lossy(value).into_owned())
}
