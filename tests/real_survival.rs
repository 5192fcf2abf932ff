//! Real agents that are killed, and the jobs that outlive them.
//!
//! `SURVIVAL_KILLS=200 cargo test --test real_survival` kills two hundred; without
//! the variable it is sixty, which take about half a minute. `SURVIVAL_SEED`
//! gives another sequence of jobs, lives and lost connections.

#![allow(clippy::unwrap_used, reason = "what goes wrong in a test ends it")]
#![allow(clippy::disallowed_methods, reason = "real processes take real time")]

mod rig;

use fastrand::Rng;
use nix::sys::signal::Signal;
use rig::agent::{Agent, Host, signal};
use rig::pki::Ca;
use rig::polaris::{Link, Polaris};
use rig::{process, until};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

const KILLS: usize = 60;

fn from_environment(name: &str, otherwise: usize) -> usize {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect(name))
}

/// Processes whose command line names this folder, the agent's own among them.
fn processes(folder: &Path) -> Vec<u32> {
    let folder = folder.to_string_lossy();
    let pids = fs::read_dir("/proc").unwrap();
    let pids = pids.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let names = |pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(&*folder) && process::is_alive(*pid)
    };
    pids.filter(names).collect()
}

/// What a Polaris knows: what it asked for, and what came of it.
struct Ledger {
    random: Rng,
    asked: BTreeMap<String, Value>,
    accepted: BTreeSet<String>,
    /// By the job's id: every result that arrived.
    results: HashMap<String, Vec<Value>>,
}

impl Ledger {
    /// Asks for a few jobs more, and again for what was never answered.
    fn ask(&mut self, folder: &Path, link: &mut Link) {
        let runs = folder.join("runs");
        let runs = runs.display();
        for _ in 0..self.random.usize(0..4) {
            let id = format!("job-{}", self.asked.len());
            let write = format!("echo {id} >> {runs}");
            let mut request = json!({"id": id, "method": "async.bash"});
            let cmd = match self.random.u8(0..4) {
                0 => write,
                1 => format!("{write}; sleep 0.{}", self.random.u8(0..4)),
                2 => format!("{write}; head -c {} /dev/zero | tr '\\0' x", self.random.u32(..20_000)),
                _ => {
                    request["retries"] = json!(2);
                    request["retry_delay"] = json!(0);
                    format!("{write}; test $(grep -cx {id} {runs}) -ge 2")
                }
            };
            request["cmd"] = json!(cmd);
            self.asked.insert(id, request);
        }
        for (id, request) in &self.asked {
            if !self.accepted.contains(id) {
                link.send_what_goes(format!("{request}\n").as_bytes());
            }
        }
    }

    /// Reads until the link ends; acknowledges most results, now or later, and hangs up before some.
    fn listen(&mut self, mut link: Link, faults: bool, mut enough: impl FnMut(&Ledger) -> bool) {
        let mut unacknowledged = Vec::new();
        while !enough(self) {
            let Ok(Some(frame)) = link.try_next() else { return };
            let id = frame["id"].as_str().unwrap_or_default().to_owned();
            if frame["method"] == "result" {
                unacknowledged.push(frame["seq"].clone());
                self.results.entry(id).or_default().push(frame);
            } else if frame["retcode"] == 1 {
                self.accepted.insert(id);
            } else if frame["method"].is_null() {
                assert_eq!(frame["retcode"], 2, "{frame}");
            }
            match if faults { self.random.u8(..) } else { 255 } {
                0..4 => return link.hang_up(),
                4..80 => {}
                _ => {
                    for seq in unacknowledged.drain(..) {
                        let ack = json!({"method": "ack", "seq": seq});
                        link.send_what_goes(format!("{ack}\n").as_bytes());
                    }
                }
            }
        }
    }

    fn has_all(&self) -> bool {
        self.asked.keys().all(|id| self.results.contains_key(id))
    }

    /// The one result of a job.
    fn end(&self, id: &str) -> &Value {
        let results = &self.results[id];
        for again in &results[1..] {
            assert_eq!(again, &results[0], "{id}: two ends of one job");
        }
        &results[0]
    }
}

/// The agent's link; `None` where it is dead before it is there.
fn link(polaris: &Polaris, agent: &mut Agent) -> Option<Link> {
    while agent.is_alive() {
        let Some(socket) = polaris.has_caller() else {
            std::thread::sleep(Duration::from_millis(2));
            continue;
        };
        let Ok(mut link) = polaris.shake_hands(socket) else { continue };
        if let Ok(Some(init)) = link.try_next() {
            assert_eq!(init["method"], "init");
            link.send_what_goes(b"{\"method\":\"ready\",\"heartbeat\":3600}\n");
            return Some(link);
        }
    }
    None
}

fn counts(path: &Path) -> HashMap<String, usize> {
    let mut counts = HashMap::new();
    for line in fs::read_to_string(path).unwrap_or_default().lines() {
        *counts.entry(line.to_owned()).or_default() += 1;
    }
    counts
}

#[test]
fn killed_again_and_again_it_loses_no_job_and_runs_none_twice() {
    let (kills, seed) = (from_environment("SURVIVAL_KILLS", KILLS), from_environment("SURVIVAL_SEED", 7));
    let begun = Instant::now();
    let ca = Ca::new();
    let (polaris, host) = (Polaris::start(&ca), Host::enrolled(&ca));
    host.configure(&polaris.server(), "max_children = 8");
    let entry = json!({
        "id": "set", "method": "cron.set", "name": "each", "schedule": "* * * * * *", "overlap": "parallel",
        "cmd": format!("echo each >> {}", host.path("runs").display())
    });
    let mut ledger = Ledger {
        random: Rng::with_seed(seed as u64),
        asked: BTreeMap::new(),
        accepted: BTreeSet::new(),
        results: HashMap::new(),
    };
    for _ in 0..kills {
        let mut agent = host.start();
        let (pid, life) = (agent.pid(), Duration::from_millis(ledger.random.u64(10..400)));
        std::thread::scope(|scope| {
            scope.spawn(move || {
                std::thread::sleep(life);
                signal(pid, Signal::SIGKILL);
            });
            while let Some(mut link) = link(&polaris, &mut agent) {
                if !ledger.accepted.contains("set") {
                    link.send_what_goes(format!("{entry}\n").as_bytes());
                }
                ledger.ask(host.folder(), &mut link);
                ledger.listen(link, true, |_| false);
            }
        });
        agent.ended();
    }
    // The last one lives until everything has its end.
    let mut agent = host.start();
    let mut last = link(&polaris, &mut agent).unwrap();
    last.send(&json!({"id": "remove", "method": "cron.remove", "name": "each"}));
    ledger.ask(host.folder(), &mut last);
    ledger.listen(last, false, Ledger::has_all);
    let mut last = link(&polaris, &mut agent).unwrap();
    let mut turn = 0;
    until("the outbox to be empty", || {
        turn += 1;
        last.send(&json!({"id": format!("info-{turn}"), "method": "agent.info"}));
        loop {
            let frame = last.receive();
            if frame["method"] == "result" {
                last.send(&json!({"method": "ack", "seq": frame["seq"]}));
                ledger.results.entry(frame["id"].as_str().unwrap().to_owned()).or_default().push(frame);
            } else if frame["id"] == format!("info-{turn}") {
                let (jobs, results) = (&frame["data"]["jobs"], &frame["data"]["results"]);
                return (jobs == 0 && results == 0).then_some(());
            }
        }
    });
    agent.signal(Signal::SIGTERM);
    agent.ended();
    judge(&host, &ledger);
    let vanished = ledger.results.values().filter(|results| results[0]["retcode"] == 3110).count();
    println!(
        "{kills} kills, {} jobs, {} results, {vanished} of them lost, in {:?}",
        ledger.asked.len(),
        ledger.results.len(),
        begun.elapsed()
    );
}

fn judge(host: &Host, ledger: &Ledger) {
    let runs = counts(&host.path("runs"));
    for (id, request) in &ledger.asked {
        let (end, ran) = (ledger.end(id), runs.get(id).copied().unwrap_or(0));
        let attempts = usize::try_from(end["attempts"].as_u64().unwrap()).unwrap();
        let most = if request["retries"].is_null() { 1 } else { 3 };
        assert!(attempts <= most && ran <= attempts, "{id} ran {ran} times: {end}");
        match end["retcode"].as_u64().unwrap() {
            2 => assert_eq!(ran, attempts, "{end}"),
            3110 => {}
            other => panic!("{other}: {end}"),
        }
    }
    let seconds: Vec<_> = ledger.results.keys().filter(|id| id.starts_with("each@")).collect();
    let done = seconds.iter().filter(|id| ledger.end(id)["retcode"] == 2).count();
    let ran = runs.get("each").copied().unwrap_or(0);
    assert!(done <= ran && ran <= seconds.len(), "{ran} runs of {} seconds, {done} done", seconds.len());
    assert!(done > 0, "no run of the entry at all");
    let asked = |id: &String| ledger.asked.contains_key(id) || id.starts_with("each@");
    assert!(ledger.results.keys().all(asked), "a result of no job");
    let mut numbers = BTreeSet::new();
    assert!(ledger.results.values().all(|results| numbers.insert(results[0]["seq"].as_u64().unwrap())));
    assert_eq!(processes(host.folder()), Vec::<u32>::new(), "left behind");
}

/// A job that runs, and whose agent was killed: by its id, with what it is asked for.
fn orphaned(more: &Value) -> (Polaris, Host, Agent, Link) {
    let ca = Ca::new();
    let (polaris, host) = (Polaris::start(&ca), Host::enrolled(&ca));
    host.configure(&polaris.server(), "");
    let mut agent = host.start();
    let mut link = polaris.ready();
    let (go, begun) = (host.path("go"), host.path("begun"));
    let wait = format!("until test -e {}; do sleep 0.05; done", go.display());
    let cmd = format!("setsid bash -c '{wait}' & : > {}; {wait}; wait", begun.display());
    let mut job = json!({"id": "long", "method": "async.bash", "cmd": cmd});
    job.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    link.send(&job);
    until("the job to begin", || begun.exists().then_some(()));
    // The store learns of the process while it begins: this is answered after that.
    link.send(&json!({"id": "info", "method": "agent.info"}));
    frame(&mut link, "info");
    agent.signal(Signal::SIGKILL);
    agent.ended();
    // One that just executes shows no arguments.
    until("both of the job, which lives on", || (processes(host.folder()).len() >= 2).then_some(()));
    let agent = host.start();
    host.logged(&["job=found"]);
    let link = polaris.ready();
    (polaris, host, agent, link)
}

/// The next reply to or result of this.
fn frame(link: &mut Link, id: &str) -> Value {
    let is_it = |frame: &Value| frame["id"] == id && frame["method"] != "job";
    std::iter::repeat_with(|| link.receive()).find(is_it).unwrap()
}

fn nothing_left(host: &Host, agent: &Agent) {
    until("nothing of the job to be left", || {
        (processes(host.folder()).iter().all(|pid| *pid == agent.pid())).then_some(())
    });
}

#[test]
fn a_job_is_followed_to_its_end_by_the_next_agent() {
    let (_polaris, host, agent, mut link) = orphaned(&json!({}));
    fs::write(host.path("go"), "").unwrap();
    let result = frame(&mut link, "long");
    assert_eq!((&result["method"], &result["retcode"]), (&json!("result"), &json!(3110)), "{result}");
    assert!(!result["detail"].as_str().unwrap().is_empty());
    nothing_left(&host, &agent);
}

#[test]
fn a_job_of_an_earlier_agent_is_cancelled_for_real() {
    let (_polaris, host, agent, mut link) = orphaned(&json!({}));
    link.send(&json!({"id": "cancel", "method": "job.cancel", "job": "long"}));
    let (mut reply, mut result) = (None, None);
    while reply.is_none() || result.is_none() {
        let frame = link.receive();
        match frame["id"].as_str() {
            Some("cancel") => reply = Some(frame),
            Some("long") if frame["method"] == "result" => result = Some(frame),
            _ => {}
        }
    }
    let (reply, result) = (reply.unwrap(), result.unwrap());
    assert_eq!((&reply["retcode"], &result["retcode"]), (&json!(2), &json!(3108)), "{reply} {result}");
    nothing_left(&host, &agent);
}

#[test]
fn a_jobs_time_out_holds_under_the_next_agent() {
    let (_polaris, host, agent, mut link) = orphaned(&json!({"timeout": 2}));
    let result = frame(&mut link, "long");
    assert!([3103, 3104].contains(&result["retcode"].as_u64().unwrap()), "{result}");
    nothing_left(&host, &agent);
}

#[test]
fn a_stop_leaves_nothing_of_a_job_and_says_lost() {
    let (polaris, host, mut agent, mut link) = orphaned(&json!({}));
    agent.signal(Signal::SIGTERM);
    while link.next().is_some() {}
    assert!(agent.ended().success());
    assert_eq!(processes(host.folder()), Vec::<u32>::new());
    let _next = host.start();
    let mut link = polaris.ready();
    let result = frame(&mut link, "long");
    assert_eq!((&result["method"], &result["retcode"]), (&json!("result"), &json!(3110)), "{result}");
}
