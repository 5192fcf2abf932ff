//! Jobs over the life and death of agents: a server that asks until it is
//! answered, commands that outlive the agent or not, and an agent that is
//! killed at every change of its database. No socket, no child, no sleep.

#![allow(clippy::unwrap_used, reason = "what is unexpected fails the test")]

mod sim;

use aspire::gearman::Gearman;
use aspire::machine::{
    ChildId, ConnId, Effect, Event, Exit, Instant, Machine as _, Now, Process, Program, Signal, Stream,
};
use aspire::store::Store;
use aspire::wire::frame::encode;
use aspire::wire::session::{Frame, FromAgent};
use aspire::wire::{JobResult, JobState};
use serde_json::{Value, json};
use sim::{Rig, gearman_at, root};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

/// When the agent is killed.
#[derive(Debug, Clone, Copy)]
struct Death {
    /// After so many changes of its database.
    changes: usize,
    /// Whether what it asked for in that moment was still carried out.
    effects: bool,
    /// Whether its commands live on.
    commands: bool,
}

struct World {
    folder: TempDir,
    config: &'static str,
    rig: Option<Rig<Gearman>>,
    /// Since the host's start.
    now: Duration,
    /// How far its clock was set ahead.
    set_to: Duration,
    conn: ConnId,
    changes: Arc<AtomicUsize>,
    death: Option<Death>,
    asked: BTreeMap<String, Value>,
    /// The reply to each request, once it came.
    replies: HashMap<String, u16>,
    results: BTreeMap<String, Vec<JobResult>>,
    acknowledges: bool,
    /// How often the command of each job was started.
    runs: HashMap<String, u32>,
    commands: Vec<Command>,
    events: VecDeque<Happening>,
    stopped: bool,
    output: String,
    /// What the replies held, by request.
    data: HashMap<String, String>,
    details: HashMap<String, String>,
}

#[derive(Debug)]
struct Command {
    job: String,
    process: Process,
    child: Option<ChildId>,
    ends: Duration,
    adopted: bool,
}

enum Happening {
    Started(ChildId, Option<Process>),
    Ended(ChildId, Exit, bool),
    Said(Vec<u8>),
}

impl World {
    fn new(config: &'static str) -> Self {
        let shm = Path::new("/dev/shm");
        let folder = if shm.is_dir() { tempfile::tempdir_in(shm) } else { tempfile::tempdir() };
        World {
            folder: folder.unwrap(),
            config,
            rig: None,
            now: Duration::ZERO,
            set_to: Duration::ZERO,
            conn: ConnId(0),
            changes: Arc::default(),
            death: None,
            asked: BTreeMap::new(),
            replies: HashMap::new(),
            results: BTreeMap::new(),
            acknowledges: true,
            runs: HashMap::new(),
            commands: Vec::new(),
            events: VecDeque::new(),
            stopped: false,
            output: String::new(),
            data: HashMap::new(),
            details: HashMap::new(),
        }
    }

    fn asks(&mut self, request: Value) {
        self.asked.insert(request["id"].as_str().unwrap().to_owned(), request);
    }

    /// An agent begins, over what the one before left.
    fn begin(&mut self) {
        let now = Now { mono: Instant(self.now), wall: self.wall() };
        let mut store = Store::open(&self.folder.path().join("gearman.db"), now.wall).unwrap();
        let (changes, most) = (self.changes.clone(), self.death.map_or(usize::MAX, |death| death.changes));
        store.before_each_change(move || changes.fetch_add(1, Ordering::SeqCst) < most).unwrap();
        let config = format!("[link]\nserver = \"10.0.0.1\"\n{}", self.config);
        self.rig = Some(gearman_at(now, &config, root(), 1, Ok(store)));
        self.stopped = false;
        let effects = self.rig().event(Event::Tick);
        let conn = effects.iter().find_map(|effect| match effect {
            Effect::Connect { conn, .. } => Some(*conn),
            _ => None,
        });
        self.conn = conn.expect("a new agent connects");
        let conn = self.conn;
        self.carry_out(effects);
        self.happens(|rig| rig.event(Event::Connected(conn)));
        self.happens(|rig| {
            rig.event(Event::Received(conn, &encode(&Frame::Ready { heartbeat: 3600, facts: None })))
        });
        for request in self.asked.clone().into_values() {
            if !self.replies.contains_key(request["id"].as_str().unwrap()) {
                self.events.push_back(Happening::Said(encode(&request)));
            }
        }
    }

    /// What the host's clock shows: in 1970, unless it was set.
    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + self.set_to + self.now
    }

    /// Sets the host's clock so far ahead of the one that it started with, and the agent wakes up.
    fn set_clock(&mut self, ahead: Duration) {
        self.set_to = ahead;
        let wall = self.wall();
        self.happens(|rig| {
            rig.now.wall = wall;
            rig.event(Event::Tick)
        });
    }

    fn begin_if_none(&mut self) {
        if self.rig.is_none() {
            self.begin();
        }
    }

    fn rig(&mut self) -> &mut Rig<Gearman> {
        self.rig.as_mut().expect("an agent")
    }

    /// Hands something to the agent, and kills it where its time has come.
    fn happens(&mut self, what: impl FnOnce(&mut Rig<Gearman>) -> Vec<Effect>) {
        let Some(rig) = &mut self.rig else { return };
        let effects = what(rig);
        let Some(death) = self.death.filter(|death| self.changes.load(Ordering::SeqCst) >= death.changes)
        else {
            return self.carry_out(effects);
        };
        if death.effects {
            self.carry_out(effects);
        }
        self.death = None;
        self.kill(death.commands);
    }

    /// The agent is gone, from one moment to the next.
    fn kill(&mut self, commands_live: bool) {
        self.rig = None;
        self.events.clear();
        if !commands_live {
            self.commands.clear();
        }
        for command in &mut self.commands {
            command.child = None;
        }
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Send { bytes, .. } => self.hear(&bytes),
                Effect::Spawn { child, program: Program::Exec(launch) } => {
                    let job = launch.argv[2].clone();
                    *self.runs.entry(job.clone()).or_default() += 1;
                    let number = self.runs.values().sum::<u32>();
                    let process = Process { pid: 1000 + i32::try_from(number).unwrap(), start: 7 };
                    let ends = self.now + takes(&job);
                    let child_of_ours = Some(child);
                    self.commands.push(Command { job, process, child: child_of_ours, ends, adopted: false });
                    let told = launch.remembered.then_some(process);
                    self.events.push_back(Happening::Started(child, told));
                }
                Effect::Adopt { child, process, .. } => {
                    let alive = self.commands.iter_mut().find(|command| command.process == process);
                    match alive {
                        Some(command) => (command.child, command.adopted) = (Some(child), true),
                        None => self.events.push_back(Happening::Ended(child, Exit::Unknown, true)),
                    }
                }
                Effect::Signal { child, signal } => {
                    let index = self.commands.iter().position(|command| command.child == Some(child));
                    if let Some(index) = index {
                        let command = self.commands.swap_remove(index);
                        let exit = if command.adopted { Exit::Unknown } else { Exit::Signal(signal) };
                        self.events.push_back(Happening::Ended(child, exit, command.adopted));
                    }
                }
                Effect::Stop => self.stopped = true,
                _ => {}
            }
        }
    }

    /// What the server makes of what the agent says.
    fn hear(&mut self, bytes: &[u8]) {
        match FromAgent::parse(bytes.trim_ascii_end()).expect("a frame") {
            FromAgent::Reply(reply) => {
                let data = reply.outcome.data.map(|data| data.get().to_owned());
                self.data.insert(reply.id.clone(), data.unwrap_or_default());
                self.details.insert(reply.id.clone(), reply.outcome.detail.unwrap_or_default());
                let retcode = reply.outcome.retcode;
                let before = self.replies.insert(reply.id, retcode);
                assert!(before.is_none_or(|before| before == retcode), "{before:?}, then {retcode}");
            }
            FromAgent::Result(result) => {
                let seq = result.seq;
                self.results.entry(result.id.clone()).or_default().push(*result);
                if self.acknowledges {
                    self.events.push_back(Happening::Said(encode(&Frame::Ack { seq })));
                }
            }
            FromAgent::Output(output) => self.output.push_str(&output.data),
            FromAgent::Init(_)
            | FromAgent::Ping
            | FromAgent::Job(_)
            | FromAgent::Daemons(_)
            | FromAgent::Facts(_) => {}
            FromAgent::Event(event) => panic!("nobody has daemons here: {event:?}"),
            FromAgent::Renew(_) | FromAgent::Renewed(_) => panic!("nobody renews certificates here"),
            FromAgent::Unknown(method) => panic!("{method}"),
        }
    }

    /// Lets so much time pass, a tenth of a second at a time.
    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end && !self.stopped {
            self.begin_if_none();
            self.turn();
            self.now += Duration::from_millis(100);
            if let Some(rig) = &mut self.rig {
                rig.set_time(Instant(self.now));
            }
        }
    }

    fn turn(&mut self) {
        let now = self.now;
        let ended: Vec<_> = self.commands.extract_if(.., |command| command.ends <= now).collect();
        for command in ended {
            let code = i32::from(command.job.contains("fails"));
            let exit = if command.adopted { Exit::Unknown } else { Exit::Code(code) };
            if let Some(child) = command.child {
                self.events.push_back(Happening::Ended(child, exit, command.adopted));
            }
        }
        while let Some(happening) = self.events.pop_front() {
            let conn = self.conn;
            match happening {
                Happening::Started(child, process) => {
                    self.happens(|rig| rig.event(Event::Started(child, process)));
                }
                Happening::Said(bytes) => self.happens(|rig| rig.event(Event::Received(conn, &bytes))),
                Happening::Ended(child, exit, adopted) => {
                    if !adopted {
                        self.happens(|rig| rig.event(Event::Output(child, Stream::Out, b"hi\n")));
                        self.happens(|rig| rig.event(Event::OutputEnded(child, Stream::Out)));
                        self.happens(|rig| rig.event(Event::OutputEnded(child, Stream::Err)));
                    }
                    self.happens(|rig| rig.event(Event::Exited(child, exit)));
                }
            }
        }
        if self.rig.as_ref().is_some_and(|rig| rig.machine.deadline().is_some_and(|at| at.0 <= now)) {
            self.happens(|rig| rig.event(Event::Tick));
        }
    }

    /// The state of each job by its results, which must agree.
    fn ends(&self) -> BTreeMap<&str, JobState> {
        let one = |(id, results): (&'_ String, &Vec<JobResult>)| {
            let retcodes: Vec<u16> = results.iter().map(|result| result.outcome.retcode).collect();
            assert!(retcodes.windows(2).all(|pair| pair[0] == pair[1]), "{id}: {retcodes:?}");
            JobState::of_result(retcodes[0])
        };
        self.results.iter().map(|(id, results)| (id.as_str(), one((id, results)))).collect()
    }
}

/// A command's line says how it behaves: `takes 3`, `takes 3 fails`.
fn takes(line: &str) -> Duration {
    let seconds = line.split("takes ").nth(1).and_then(|rest| rest.split(' ').next());
    Duration::from_secs(seconds.map_or(0, |seconds| seconds.parse().unwrap()))
}

fn job(id: &str, cmd: &str) -> Value {
    json!({"id": id, "method": "async.bash", "cmd": format!("{id} {cmd}")})
}

fn with(mut request: Value, more: &Value) -> Value {
    request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    request
}

#[test]
fn a_job_is_accepted_runs_and_leaves_its_result() {
    let mut world = World::new("");
    world.asks(with(job("a", "takes 2"), &json!({"stream": true})));
    world.run(Duration::from_secs(1));
    assert_eq!(world.replies["a"], 1);
    assert!(world.results.is_empty());
    world.run(Duration::from_secs(3));
    let [result] = &world.results["a"][..] else { panic!("{:?}", world.results) };
    assert_eq!((result.outcome.retcode, result.run.attempts, result.seq), (2, 1, 1));
    assert_eq!(result.outcome.data.as_ref().unwrap().get(), "\"hi\\n\"");
    assert_eq!(result.run.ended - result.run.started.unwrap(), 2000);
    assert_eq!(world.output, "hi\n");
    assert_eq!(world.runs["a takes 2"], 1);
}

#[test]
fn what_fails_is_tried_again_after_its_delay_and_only_the_last_attempt_is_told() {
    let mut world = World::new("");
    world.asks(with(job("a", "takes 1 fails"), &json!({"retries": 2, "retry_delay": 5})));
    world.run(Duration::from_secs(8));
    assert_eq!((world.runs["a takes 1 fails"], world.results.len()), (2, 0));
    world.run(Duration::from_secs(10));
    let [result] = &world.results["a"][..] else { panic!("{:?}", world.results) };
    assert_eq!((result.outcome.retcode, result.run.attempts), (3101, 3));
    assert_eq!(world.runs["a takes 1 fails"], 3);
}

#[test]
fn no_more_run_than_may_the_rest_waits_in_order_and_some_too_long() {
    let mut world = World::new("[exec]\nmax_children = 2");
    for n in 0..4 {
        world.asks(job(&n.to_string(), "takes 4"));
    }
    world.asks(with(job("5", "takes 4"), &json!({"ttl": 5})));
    world.asks(json!({"id": "list", "method": "job.list", "state": "queued"}));
    world.run(Duration::from_secs(3));
    assert_eq!(world.runs.len(), 2);
    assert!(world.runs.contains_key("0 takes 4") && world.runs.contains_key("1 takes 4"));
    world.run(Duration::from_secs(12));
    let states: Vec<_> = world.ends().into_iter().collect();
    let done = |id| (id, JobState::Done);
    assert_eq!(states, [done("0"), done("1"), done("2"), done("3"), ("5", JobState::Expired)]);
    assert!(!world.runs.contains_key("5 takes 4"));
}

#[test]
fn one_that_waits_and_one_that_runs_are_cancelled_and_both_say_so() {
    let mut world = World::new("[exec]\nmax_children = 1");
    world.asks(job("a", "takes 100"));
    world.asks(job("b", "takes 100"));
    world.run(Duration::from_secs(1));
    for (id, job) in [("ca", "a"), ("cb", "b"), ("cx", "x")] {
        let cancel = encode(&json!({"id": id, "method": "job.cancel", "job": job}));
        world.events.push_back(Happening::Said(cancel));
    }
    world.run(Duration::from_secs(2));
    assert_eq!([world.replies["ca"], world.replies["cb"], world.replies["cx"]], [2, 2, 3024]);
    let states: Vec<_> = world.ends().into_values().collect();
    assert_eq!(states, [JobState::Cancelled, JobState::Cancelled]);
    assert_eq!(world.runs.len(), 1);
}

#[test]
fn what_the_server_does_not_acknowledge_is_sent_again_on_each_link() {
    let mut world = World::new("");
    world.acknowledges = false;
    for id in ["a", "b"] {
        world.asks(job(id, "takes 0"));
    }
    world.run(Duration::from_secs(2));
    assert_eq!(world.results["a"].len(), 1);
    world.kill(false);
    world.acknowledges = true;
    world.run(Duration::from_secs(2));
    world.kill(false);
    world.run(Duration::from_secs(2));
    for id in ["a", "b"] {
        assert_eq!(world.results[id].len(), 2, "{id}: once more, and then acknowledged");
        assert_eq!(world.results[id][0].seq, world.results[id][1].seq);
    }
}

#[test]
fn a_stop_ends_what_runs_as_lost_and_keeps_what_waits() {
    let mut world = World::new("[exec]\nmax_children = 1");
    world.asks(job("a", "takes 100"));
    world.asks(job("b", "takes 1"));
    world.run(Duration::from_secs(1));
    world.happens(|rig| rig.event(Event::Signal(Signal::Stop)));
    world.run(Duration::from_secs(2));
    assert!(world.stopped);
    assert_eq!(world.ends().into_iter().collect::<Vec<_>>(), [("a", JobState::Lost)]);
    world.kill(false);
    world.stopped = false;
    world.run(Duration::from_secs(5));
    assert_eq!(world.ends()["b"], JobState::Done);
}

#[test]
fn an_entry_runs_when_it_is_due_whether_the_server_is_there_or_not() {
    let mut world = World::new("");
    world.asks(json!({
        "id": "set", "method": "cron.set", "name": "tidy", "schedule": "*/10 * * * * *", "timezone": "UTC",
        "cmd": "tidy takes 3"
    }));
    world.run(Duration::from_secs(15));
    assert_eq!(world.replies["set"], 1);
    let [result] = &world.results["tidy@1970-01-01T00:00:10Z"][..] else { panic!("{:?}", world.results) };
    assert_eq!((result.run.cron.as_deref(), result.run.scheduled), (Some("tidy"), Some(10_000)));
    let conn = world.conn;
    world.happens(|rig| rig.event(Event::Closed(conn, aspire::machine::ConnectionEnd::ByPeer)));
    world.run(Duration::from_secs(30));
    assert_eq!(world.runs["tidy takes 3"], 4);
    assert_eq!(world.results.len(), 1, "nobody was there to take them");
    world.kill(false);
    world.run(Duration::from_secs(4));
    assert_eq!(world.results.len(), 4);
}

#[test]
fn an_entry_is_changed_listed_and_removed() {
    let mut world = World::new("");
    let say = |world: &mut World, request: Value| {
        world.events.push_back(Happening::Said(encode(&request)));
        world.run(Duration::from_millis(100));
    };
    for (id, line) in [("one", "30 4 * * * nobody echo a"), ("two", "0 30 5 * * 1 nobody echo b c")] {
        world.begin_if_none();
        say(
            &mut world,
            json!({"id": id, "method": "cron.set", "name": "n", "line": line, "timezone": "UTC"}),
        );
        assert_eq!(world.replies[id], 1);
    }
    say(&mut world, json!({"id": "list", "method": "cron.list"}));
    let list: Value = serde_json::from_str(&world.data["list"]).unwrap();
    assert_eq!(list["count"], 1);
    let entry = &list["entries"][0];
    assert_eq!(
        [&entry["schedule"], &entry["user"], &entry["cmd"], &entry["next"][0]],
        ["0 30 5 * * 1", "nobody", "echo b c", "1970-01-05T05:30:00+00:00"]
    );
    for (id, more, retcode) in [
        ("no", json!({"schedule": "0 25 * * *", "cmd": "x"}), 3021),
        ("zone", json!({"schedule": "0 5 * * *", "cmd": "x", "timezone": "Mars/Base"}), 3021),
        ("line", json!({"line": "0 5 * * * nobody"}), 3021),
    ] {
        say(&mut world, with(json!({"id": id, "method": "cron.set", "name": "other"}), &more));
        assert_eq!(world.replies[id], retcode, "{id}");
    }
    assert_eq!(world.details["no"], "schedule: hour: 25 is out of range 0-23 (column 3)");
    for (id, retcode) in [("gone", 2), ("nothing", 3024)] {
        say(&mut world, json!({"id": id, "method": "cron.remove", "name": "n"}));
        assert_eq!(world.replies[id], retcode);
    }
    world.kill(false);
    world.begin_if_none();
    say(&mut world, json!({"id": "none", "method": "cron.list", "name": "n"}));
    assert_eq!(world.replies["none"], 3024);
}

#[test]
fn a_run_is_left_out_while_the_one_before_lives_also_over_a_restart() {
    let mut world = World::new("");
    world.asks(json!({
        "id": "set", "method": "cron.set", "name": "slow", "schedule": "*/10 * * * * *", "timezone": "UTC",
        "cmd": "slow takes 25"
    }));
    world.run(Duration::from_secs(15));
    world.kill(true);
    world.run(Duration::from_secs(24));
    assert_eq!(world.runs["slow takes 25"], 1);
    let states: Vec<_> = world.ends().into_iter().collect();
    assert_eq!(states, [("slow@1970-01-01T00:00:10Z", JobState::Lost)], "it went on, and ended unseen");
    world.run(Duration::from_secs(3));
    assert_eq!(world.runs["slow takes 25"], 2);
}

const DAY: Duration = Duration::from_hours(24);
const HOUR: Duration = Duration::from_hours(1);

fn entry(name: &str, schedule: &str, more: &Value) -> Value {
    let entry = json!({
        "id": name, "method": "cron.set", "name": name, "schedule": schedule, "timezone": "UTC",
        "cmd": format!("{name} takes 1")
    });
    with(entry, more)
}

#[test]
fn a_time_that_comes_again_because_the_clock_was_far_ahead_is_run_again() {
    let mut world = World::new("");
    world.set_to = 9 * HOUR + Duration::from_secs(3595);
    world.asks(entry("hourly", "0 0 * * * *", &json!({})));
    world.run(Duration::from_secs(10));
    // It was 8 hours ahead, as a clock with the local time in it.
    world.set_clock(HOUR + Duration::from_secs(3585));
    world.run(8 * HOUR + Duration::from_secs(30));
    let ids: Vec<_> = world.results.keys().map(String::as_str).filter(|id| id.contains("T10:")).collect();
    assert_eq!(ids, ["hourly@1970-01-01T10:00:00Z", "hourly@1970-01-01T10:00:00Z+2"]);
    assert_eq!(world.runs["hourly takes 1"], 10, "none of the hours was left out");
}

#[test]
fn an_entry_catches_up_with_the_first_of_its_times_too_and_with_none_before_it_was_set() {
    let mut world = World::new("");
    world.set_to = 100 * DAY;
    world.asks(entry("daily", "0 0 5 * * *", &json!({"catchup": true})));
    world.run(Duration::from_secs(5));
    // A host without a clock of its own comes up in 1970.
    world.kill(false);
    world.set_to = Duration::ZERO;
    world.run(Duration::from_secs(5));
    world.set_clock(100 * DAY + HOUR);
    world.run(Duration::from_secs(5));
    assert!(!world.runs.contains_key("daily takes 1"), "{:?}", world.results);
    world.kill(false);
    world.now += 5 * HOUR;
    world.run(Duration::from_secs(5));
    assert_eq!(world.results.keys().collect::<Vec<_>>(), ["daily@1970-04-11T05:00:00Z"]);
}

#[test]
fn what_waits_does_not_wait_longer_because_the_clock_was_behind_at_the_start() {
    let mut world = World::new("[exec]\nmax_children = 1");
    world.set_to = 100 * DAY;
    world.asks(job("a", "takes 100"));
    world.asks(with(job("b", "takes 1"), &json!({"ttl": 300})));
    world.run(Duration::from_secs(2));
    world.kill(false);
    world.set_to = Duration::ZERO;
    world.run(Duration::from_secs(5));
    assert_eq!(world.ends()["b"], JobState::Done);
}

#[test]
fn a_job_is_listed_however_many_runs_of_entries_end_after_it() {
    let mut world = World::new("");
    world.asks(job("kept", "takes 1"));
    world.asks(entry("often", "* * * * * *", &json!({"overlap": "parallel"})));
    world.run(Duration::from_secs(1300));
    for (id, method) in [("s", "job.status"), ("l", "job.list")] {
        let mut request = json!({"id": id, "method": method});
        if id == "s" {
            request["job"] = "kept".into();
        }
        world.events.push_back(Happening::Said(encode(&request)));
        world.run(Duration::from_secs(1));
    }
    assert_eq!(world.replies["s"], 2);
    let list: Value = serde_json::from_str(&world.data["l"]).unwrap();
    assert!(list["count"].as_u64().is_some_and(|count| (1000..1100).contains(&count)), "{}", list["count"]);
}

/// The story that the next test interrupts everywhere.
fn story(deaths: &[Death]) -> (World, usize) {
    let mut world = World::new("[exec]\nmax_children = 2\ngrace = 1");
    world.asks(job("done", "takes 2"));
    world.asks(job("failed", "takes 1 fails"));
    world.asks(with(job("retried", "takes 1 fails"), &json!({"retries": 1, "retry_delay": 1})));
    world.asks(with(job("late", "takes 1"), &json!({"stream": true})));
    world.asks(with(job("timed", "takes 100"), &json!({"timeout": 2})));
    world.asks(json!({
        "id": "set", "method": "cron.set", "name": "cron", "schedule": "5 * * * * *", "timezone": "UTC",
        "cmd": "cron takes 1", "overlap": "parallel"
    }));
    let mut total = 0;
    for death in deaths {
        world.changes.store(0, Ordering::SeqCst);
        world.death = Some(*death);
        world.run(Duration::from_secs(30));
        total += world.changes.load(Ordering::SeqCst);
    }
    world.death = None;
    world.changes.store(0, Ordering::SeqCst);
    // So that the answer to what was asked just before the death is asked for again.
    world.kill(deaths.last().is_some_and(|death| death.commands));
    world.run(Duration::from_secs(240));
    total += world.changes.load(Ordering::SeqCst);
    (world, total)
}

#[test]
fn killed_at_every_change_of_its_database_it_loses_no_job_and_runs_none_twice() {
    let (quiet, changes) = story(&[]);
    assert_eq!(
        quiet.ends().into_values().collect::<Vec<_>>(),
        [
            [JobState::Done].repeat(5),
            vec![JobState::Failed, JobState::Done, JobState::Failed, JobState::Failed]
        ]
        .concat()
    );
    assert!(changes > 20, "{changes}");
    for at in 1..=changes {
        for (effects, commands) in [(false, false), (false, true), (true, false), (true, true)] {
            let first = Death { changes: at, effects, commands };
            let second = Death { changes: 1 + at % 7, effects: !effects, commands };
            for deaths in [&[first][..], &[first, second]] {
                let (world, _) = story(deaths);
                let ends = world.ends();
                let jobs = ends.keys().filter(|id| !id.contains('@')).count();
                assert_eq!(jobs, 5, "{deaths:?}: {ends:?}");
                let minutes = u32::try_from(ends.len() - jobs).unwrap();
                assert!(
                    world.runs["cron takes 1"] <= minutes,
                    "{deaths:?}: a run without a result: {ends:?}"
                );
                for (line, runs) in &world.runs {
                    let most = match line.split(' ').next() {
                        Some("retried") => 2,
                        Some("cron") => minutes,
                        _ => 1,
                    };
                    assert!(*runs <= most, "{line:?} ran {runs} times: {deaths:?}");
                }
            }
        }
    }
}
