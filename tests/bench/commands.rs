//! What commands cost: many of them through one agent, by a link whose other
//! end costs little. Whether each is answered once, and whether the agent
//! grows; the processor time that it takes itself; how many it runs a second
//! against the floor, measured in turns in the same run.
//!
//! `cargo bench --bench commands [-- COMMANDS]`

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_precision_loss,
    reason = "a program that measures"
)]
#![allow(clippy::disallowed_methods, reason = "it measures real time")]

#[path = "../fleet/mod.rs"]
mod fleet;
#[path = "../rig/mod.rs"]
mod rig;

mod driver;
mod floor;

use aspire::wire::Retcode;
use driver::{Driver, Shape};
use fleet::Fleet;
use floor::Floor;
use rig::process;
use serde_json::{Map, Value, json};
use std::fs;
use std::time::{Duration, Instant};

const AT_ONCE: usize = 16;
/// Pauses of the soak, at which memory is looked at: in the first and the last
/// quarter of them for its growth.
const PARTS: usize = 20;
const TURNS: usize = 9;
const SLICE: Duration = Duration::from_secs(2);

/// A figure, and what it is to be.
type Row = (&'static str, Value, &'static str);

/// What the soak sends: mostly `true`, and of every thousand some of each other shape.
struct Mix {
    plain: Shape,
    others: [(usize, usize, Shape); 7],
}

impl Mix {
    fn new() -> Mix {
        let bash = |cmd: &str, retcode| Shape::new(&format!("\"cmd\":{}", json!(cmd)), retcode);
        let with = |more: &str, retcode| Shape::new(&format!("\"cmd\":\"true\",{more}"), retcode);
        let done = Retcode::NormalTermination;
        let stranger = if rig::is_root() { Retcode::NoSuchUserOrGroup } else { Retcode::NotPermitted };
        let others = [
            (100, 10, bash("head -c 100000 /dev/zero | tr '\\0' x", done)),
            (100, 20, bash("exit 3", Retcode::ExitedWithAnError)),
            (100, 30, bash("echo trouble >&2", done)),
            (100, 40, with("\"user\":\"nobody-of-this-name\"", stranger)),
            (100, 50, with("\"cwd\":\"/tmp\"", done)),
            (100, 60, bash("sleep 0.05 &", done)),
            (1000, 70, Shape::new("\"cmd\":\"sleep 30\",\"timeout\":1", Retcode::TimedOut)),
        ];
        Mix { plain: bash("true", done), others }
    }

    fn nth(&self, n: usize) -> &Shape {
        let other = self.others.iter().find(|(every, at, _)| n % every == *at);
        other.map_or(&self.plain, |(_, _, shape)| shape)
    }
}

/// What an agent with nothing to do holds.
struct Held {
    rss_kib: u64,
    descriptors: usize,
    children: usize,
    zombies: usize,
}

impl Held {
    fn by(driver: &Driver) -> Held {
        driver.settle();
        // Its last turn, in which it gives memory back.
        std::thread::sleep(Duration::from_millis(300));
        let pid = driver.pid();
        Held {
            rss_kib: rss_kib(pid),
            descriptors: process::descriptors(pid).len(),
            children: process::children(pid).len(),
            zombies: process::zombies(pid),
        }
    }
}

/// Exact, unlike the one in /proc/PID/status.
fn rss_kib(pid: u32) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// The processor time of a process of one thread in milliseconds, without its children's.
fn cpu_ms(pid: u32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap();
    text.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e6
}

fn rounded(figure: f64, digits: i32) -> Value {
    let unit = 10f64.powi(digits);
    ((figure * unit).round() / unit).into()
}

fn soak(driver: &mut Driver, commands: usize) -> Vec<Row> {
    let mix = Mix::new();
    let warm_up = (commands / 20).max(2000).min(commands);
    let before = Held::by(driver);
    let mut sent = 0..warm_up;
    driver.run(AT_ONCE, || sent.next().map(|n| mix.nth(n)));
    let (pid, mut peak, mut rest) = (driver.pid(), 0, Vec::new());
    for part in 0..PARTS {
        let part_end = |part| warm_up + (commands - warm_up) * part / PARTS;
        let (begin, mut sent) = (Instant::now(), part_end(part)..part_end(part + 1));
        driver.run(AT_ONCE, || {
            let n = sent.next()?;
            if n % 500 == 0 {
                peak = rss_kib(pid).max(peak);
            }
            Some(mix.nth(n))
        });
        let rate = (part_end(part + 1) - part_end(part)) as f64 / begin.elapsed().as_secs_f64();
        rest.push(Held::by(driver));
        let rss = rest[part].rss_kib;
        eprintln!("{:9} of {commands} answered, {rate:5.0} a second, RSS {rss} KiB", part_end(part + 1));
    }
    // One moment's may hold a page more or less of what the allocator could not give back.
    let mean = |held: &[Held]| held.iter().map(|held| held.rss_kib as f64).sum::<f64>() / held.len() as f64;
    let (warm, last) = (mean(&rest[..PARTS / 4]), mean(&rest[PARTS - PARTS / 4..]));
    let after = &rest[PARTS - 1];
    let back = |before: usize, after: usize| json!(format!("{before} → {after}"));
    vec![
        ("soak: commands", json!(driver.sent()), ""),
        ("soak: lost", json!(driver.lost()), "0"),
        ("soak: doubled", json!(driver.doubled), "0"),
        ("soak: other retcode", json!(driver.wrong), "0"),
        ("soak: RSS KiB before", json!(before.rss_kib), ""),
        ("soak: RSS KiB under load", json!(peak), ""),
        ("soak: RSS KiB warm", rounded(warm, 0), ""),
        ("soak: RSS KiB at the end", rounded(last, 0), ""),
        ("soak: growth %", rounded((last / warm - 1.0) * 100.0, 2), "< 2"),
        ("soak: descriptors", back(before.descriptors, after.descriptors), "the same"),
        ("soak: children", back(before.children, after.children), "the same"),
        ("soak: zombies", json!(after.zombies), "0"),
    ]
}

/// Milliseconds of the agent and of this program a command of `true`.
fn cpu_each(driver: &mut Driver, at_once: usize, commands: usize) -> [f64; 2] {
    let mix = Mix::new();
    let pids = [driver.pid(), std::process::id()];
    let begin = pids.map(cpu_ms);
    driver.run(at_once, {
        let mut left = std::iter::repeat_n(&mix.plain, commands);
        move || left.next()
    });
    driver.settle();
    let end = pids.map(cpu_ms);
    [0, 1].map(|i| (end[i] - begin[i]) / commands as f64)
}

fn processor(driver: &mut Driver, commands: usize) -> Vec<Row> {
    cpu_each(driver, AT_ONCE, commands / 10);
    let [one, _] = cpu_each(driver, 1, commands);
    let [many, own] = cpu_each(driver, AT_ONCE, commands);
    vec![
        ("agent CPU ms, one at a time", rounded(one, 4), "≤ 0.15"),
        ("agent CPU ms, 16 in flight", rounded(many, 4), "≤ 0.15"),
        ("this program's, 16 in flight", rounded(own, 4), ""),
    ]
}

/// Commands of `true` by the link for a while, and in what time the last was answered.
fn link_slice(driver: &mut Driver, plain: &Shape) -> (u64, Duration) {
    let (begin, mut commands) = (Instant::now(), 0);
    driver.run(AT_ONCE, || {
        (begin.elapsed() < SLICE).then(|| {
            commands += 1;
            plain
        })
    });
    (commands, begin.elapsed())
}

/// The same by REST, from as many clients.
fn rest_slice(fleet: &Fleet) -> (u64, Duration) {
    let begin = Instant::now();
    let client = || {
        let mut commands = 0;
        while begin.elapsed() < SLICE {
            commands += u64::from(fleet.run(&json!({"cmd": "true"}))["retcode"] == 2);
        }
        commands
    };
    let commands = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(client)).collect();
        clients.into_iter().map(|client| client.join().unwrap()).sum()
    });
    (commands, begin.elapsed())
}

fn throughput(driver: &mut Driver, fleet: &Fleet) -> Vec<Row> {
    let (floor, mix) = (Floor::new(), Mix::new());
    let rate = |(commands, time): (u64, Duration)| commands as f64 / time.as_secs_f64();
    let mut rates: [Vec<f64>; 5] = Default::default();
    // The first turn warms up.
    for turn in 0..=TURNS {
        let [floor, link, rest] =
            [floor.slice(AT_ONCE, SLICE), link_slice(driver, &mix.plain), rest_slice(fleet)].map(rate);
        eprintln!("turn {turn}: floor {floor:.0}, link {link:.0}, REST {rest:.0} a second");
        if turn > 0 {
            let turn = [floor, link, rest, link / floor * 100.0, rest / floor * 100.0];
            rates.iter_mut().zip(turn).for_each(|(rates, rate)| rates.push(rate));
        }
    }
    // At the median, so that who else uses the machine for a while is not in it.
    let [floor, link, rest, link_of_floor, rest_of_floor] = rates.map(|mut rates| {
        rates.sort_by(f64::total_cmp);
        rates
    });
    let range = |sorted: &[f64]| json!(format!("{:.0} to {:.0}", sorted[0], sorted[TURNS - 1]));
    vec![
        ("floor, commands a second", rounded(floor[TURNS / 2], 0), ""),
        ("by the link", rounded(link[TURNS / 2], 0), ""),
        ("by the link, % of the floor", rounded(link_of_floor[TURNS / 2], 1), "≥ 85"),
        ("by the link, % in its turns", range(&link_of_floor), ""),
        ("by REST", rounded(rest[TURNS / 2], 0), ""),
        ("by REST, % of the floor", rounded(rest_of_floor[TURNS / 2], 1), ""),
        ("by REST, % in its turns", range(&rest_of_floor), ""),
    ]
}

fn main() {
    let commands = std::env::args().find_map(|a| a.parse().ok()).unwrap_or(100_000);
    // First of all, because it builds the server.
    let fleet = Fleet::start(env!("CARGO_BIN_EXE_gearman"), "release", "");
    let load = fs::read_to_string("/proc/loadavg").unwrap();
    let mut driver = Driver::start();
    let mut rows = soak(&mut driver, commands);
    rows.extend(processor(&mut driver, (commands / 10).clamp(500, 5000)));
    rows.extend(throughput(&mut driver, &fleet));
    println!("{:30} {:>12}  to be", "commands through one agent", "measured");
    for (name, figure, bar) in &rows {
        let figure = figure.as_str().map_or_else(|| figure.to_string(), str::to_owned);
        println!("{name:30} {figure:>12}  {bar}");
    }
    let figures: Map<_, _> = rows.into_iter().map(|(name, figure, _)| (name.to_owned(), figure)).collect();
    let load = load.split(' ').next().unwrap();
    println!("{}", json!({"bench": "commands", "load": load, "figures": figures}));
}
