//! What it costs to supervise: how soon a process that had been stable is there
//! again after kill -9, beside runit and supervisord with the same process on
//! the same machine; and what a hundred idle daemons cost an agent, beside one
//! that has none.
//!
//! `cargo bench --bench supervise [-- SECONDS]`

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a program that measures"
)]
#![allow(clippy::disallowed_methods, reason = "it measures real time")]

#[path = "../rig/mod.rs"]
mod rig;

mod peers;

use aspire::machine::limits::STABLE_DAEMON;
use peers::{Beacon, Begun, Peer};
use rig::agent::{Agent, Host};
use rig::daemons::{STAYS, Told, checksum, definition, packed};
use rig::pki::Ca;
use rig::{process, until};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Killed one after the other, twice, for gearman and runit.
const KILLED: usize = 20;
/// For supervisord, which takes a second each time.
const KILLED_OF_SUPERVISORD: usize = 5;
const IDLE: usize = 100;

/// An agent as a host has it, its link up, and whatever it tells is acknowledged.
struct Supervisor {
    /// Ends first: it would start again what ends with the host.
    agent: Agent,
    host: Host,
    _server: Told,
}

impl Supervisor {
    fn start() -> Supervisor {
        let ca = Ca::new();
        let server = Told::start(&ca);
        let host = Host::enrolled(&ca);
        host.configure(&server.server, "");
        let agent = Agent::of(host.command().arg("-f").stdin(Stdio::null()).spawn().unwrap());
        host.logged(&["link=ready"]);
        Supervisor { host, agent, _server: server }
    }

    /// Defines so many daemons, and waits until all of them run.
    fn supervise(&self, count: usize, package: &(String, String), more: &Value) {
        for number in 0..count {
            let init = definition(&format!("d{number}"), package, more);
            self.host.asks("daemon.init", &init).unwrap();
        }
        until("all daemons to run", || {
            let list = self.host.asks("daemon.list", &json!({})).unwrap();
            let daemons = list["daemons"].as_array().unwrap();
            daemons.iter().all(|daemon| daemon["status"] == "running").then_some(())
        });
    }

    /// Its processor time in milliseconds, without its children's.
    fn cpu_ms(&self) -> f64 {
        let text = fs::read_to_string(format!("/proc/{}/schedstat", self.agent.pid())).unwrap();
        text.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e6
    }

    fn rss_kib(&self) -> f64 {
        let text = process::status(self.agent.pid(), "VmRSS");
        text.trim_end_matches(" kB").parse().unwrap()
    }

    fn turns(&self) -> u64 {
        process::status(self.agent.pid(), "voluntary_ctxt_switches").parse().unwrap()
    }
}

/// The beacon in a package.
fn package(host: &Host, beacon: &Beacon) -> (String, String) {
    let archive = host.path("beacon.tar.gz");
    let folder = beacon.program().parent().map(Path::to_owned).unwrap();
    let packed = Command::new("tar").arg("-czf").arg(&archive).arg("-C").arg(folder).arg("beacon").status();
    assert!(packed.unwrap().success());
    (format!("file://{}", archive.display()), checksum(&archive))
}

/// Sorted, in milliseconds.
struct Times(Vec<f64>);

impl Times {
    fn new(times: &[Duration]) -> Times {
        let mut times: Vec<f64> = times.iter().map(|time| time.as_secs_f64() * 1e3).collect();
        times.sort_by(f64::total_cmp);
        Times(times)
    }

    fn of_hundred(&self, part: usize) -> f64 {
        (self.0[(self.0.len() - 1) * part / 100] * 1e3).round() / 1e3
    }

    fn shown(&self, name: &str, bar: &str) -> Value {
        let [p50, p90, most] = [50, 90, 100].map(|part| self.of_hundred(part));
        println!("{name:12} {:6} {p50:9.3} {p90:9.3} {most:9.3}   {bar}", self.0.len());
        json!({"rounds": self.0.len(), "p50": p50, "p90": p90, "max": most})
    }
}

fn respawn() -> Value {
    let beacon = Beacon::new();
    let supervisor = Supervisor::start();
    let mut ours = Begun::at(supervisor.host.path("fifo"));
    let more = json!({"start": "./beacon", "env": {"BEACON": ours.path()}, "max_restarts": 100});
    supervisor.supervise(KILLED, &package(&supervisor.host, &beacon), &more);
    ours.wait_for(KILLED);
    let mut runit = Peer::runit(&beacon, KILLED);
    let mut supervisord = Peer::supervisord(&beacon, KILLED_OF_SUPERVISORD);
    let (mut times, mut of_runit, mut of_supervisord) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..2 {
        std::thread::sleep(STABLE_DAEMON + Duration::from_millis(500));
        // In turns, so that who else uses the machine for a while is in both.
        for _ in 0..KILLED {
            times.push(ours.killed());
            of_runit.extend(runit.as_mut().map(|peer| peer.begun.killed()));
        }
    }
    if let Some(peer) = &mut supervisord {
        of_supervisord.extend((0..KILLED_OF_SUPERVISORD).map(|_| peer.begun.killed()));
    }
    println!("kill -9, begun again   p50 ms    p90 ms    max ms   to be");
    let mut shown = json!({"gearman": Times::new(&times).shown("gearman", "p50 ≤ 5")});
    for (name, times) in [("runit", of_runit), ("supervisord", of_supervisord)] {
        if times.is_empty() {
            println!("{name:12} not measured: it is not installed");
        } else {
            shown[name] = Times::new(&times).shown(name, "");
        }
    }
    shown
}

fn idle(seconds: u64) -> Value {
    let [alone, many] = [Supervisor::start(), Supervisor::start()];
    let package = packed(&many.host, "stays", &[("run", STAYS)]);
    many.supervise(IDLE, &package, &json!({}));
    // Pages of a freshly linked program count as dirty until they are written back.
    nix::unistd::sync();
    // What was begun comes to its end, and each has been looked at.
    std::thread::sleep(STABLE_DAEMON + Duration::from_secs(5));
    let both = [&alone, &many];
    let before = both.map(|agent| (agent.cpu_ms(), agent.turns()));
    std::thread::sleep(Duration::from_secs(seconds));
    let after = both.map(|agent| (agent.cpu_ms(), agent.turns()));
    let [cpu_alone, cpu_many] = [0, 1].map(|which| after[which].0 - before[which].0);
    let [turns_alone, turns_many] = [0, 1].map(|which| after[which].1 - before[which].1);
    let [rss_alone, rss_many] = both.map(Supervisor::rss_kib);
    let percent = (cpu_many - cpu_alone) / (seconds as f64 * 10.0);
    println!("{IDLE} idle daemons     none      {IDLE}   for them   to be");
    println!("CPU ms in {seconds:3} s   {cpu_alone:8.2} {cpu_many:8.2} {:10.2}", cpu_many - cpu_alone);
    println!("% of a core                          {percent:10.3}   < 0.2");
    println!("wake-ups          {turns_alone:8} {turns_many:8}");
    let more = rss_many - rss_alone;
    println!("RSS KiB           {rss_alone:8} {rss_many:8} {more:10}   < 1024");
    json!({
        "daemons": IDLE, "seconds": seconds, "cpu_ms": [cpu_alone, cpu_many], "percent": percent,
        "wake_ups": [turns_alone, turns_many], "rss_kib": [rss_alone, rss_many]
    })
}

fn main() {
    let seconds = std::env::args().find_map(|a| a.parse().ok()).unwrap_or(60);
    let load = fs::read_to_string("/proc/loadavg").unwrap();
    let load = load.split(' ').next().unwrap();
    let (respawn, idle) = (respawn(), idle(seconds));
    println!("{}", json!({"bench": "supervise", "load": load, "respawn_ms": respawn, "idle": idle}));
}
