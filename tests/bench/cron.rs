//! How long a schedule takes to say when it fires next, and what a table of a
//! thousand entries costs. Fails where a bar does not hold.
//!
//! `cargo bench --bench cron [-- TIMES]`, where TIMES is of each question

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a program that measures")]
#![allow(clippy::disallowed_methods, reason = "it measures real time")]

use aspire::cron::{Entry, Schedule, Table, Zone};
use aspire::machine::{self, Now};
use aspire::wire::Overlap;
use serde_json::json;
use std::hint::black_box;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const MEDIAN_BAR_US: f64 = 100.0;
const WORST_BAR_US: f64 = 1000.0;

/// What is common, what is rare, and what has to look far.
const EXPRESSIONS: &[&str] = &[
    "* * * * * *",
    "*/10 * * * * *",
    "0 * * * *",
    "*/5 9-16 * 1-5,9-12 1-5",
    "0 6 * * *",
    "0 0 23-7/2,8 * * *",
    "45 4 1,10,22 * *",
    "0 11 4 * 1-3",
    "0-59/7 0-59/11 0-23/5 * * *",
    "0/1 0/1 0/1 * * ?",
    "59 59 23 31 12 ?",
    "0 0 0 29 2 ?",
    "* * * 29 2 ?",
    "*/7 */11 */13 29W 2 ?",
    "0 0 0 31W * ?",
    "0 0 0 LW * ?",
    "0 0 0 ? 2 FRIL",
    "0 0 0 ? 12 0L,1L,2L",
    "* 30 2 L 3,11 ?",
    "0 0 0 29 2 1L",
];
const ZONES: &[&str] = &[
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Africa/Casablanca",
    "Asia/Kolkata",
];

/// From 2020 to 2099: days apart, at every hour; the changes of clocks; behind
/// leap days, and before years that have none where one is expected.
fn instants() -> Vec<SystemTime> {
    let unix = |text: &str| -> SystemTime { chrono::DateTime::parse_from_rfc3339(text).unwrap().into() };
    let special =
        ["2026-03-08T06:59:59Z", "2026-11-01T05:30:00Z", "2026-11-01T06:30:00Z", "2096-02-29T23:59:59Z"];
    let spread = (0..250u64).map(|n| UNIX_EPOCH + Duration::from_secs(1_577_836_800 + n * 10_097_797));
    special.into_iter().map(unix).chain(spread).collect()
}

/// The shortest of a few, because what else runs on the machine is not meant.
fn timed<T>(times: usize, mut act: impl FnMut() -> T) -> Duration {
    let once = |_| {
        let begin = Instant::now();
        black_box(act());
        begin.elapsed()
    };
    (0..times).map(once).min().unwrap()
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

fn main() -> ExitCode {
    let times = std::env::args().find_map(|a| a.parse().ok()).unwrap_or(3);
    let (mut all, mut slowest) = (Vec::new(), (Duration::ZERO, String::new()));
    for zone in ZONES.iter().map(|name| Zone::named(name).unwrap()) {
        for expression in EXPRESSIONS {
            let schedule = Schedule::parse(expression).unwrap();
            for after in instants() {
                let took = timed(times, || schedule.next(&zone, after));
                all.push(took);
                if took > slowest.0 {
                    slowest =
                        (took, format!("{expression} in {} after {}", zone.name(), zone.rfc3339(after)));
                }
            }
        }
    }
    all.sort();
    let quantile = |of_thousand: usize| micros(all[(all.len() - 1) * of_thousand / 1000]);
    let (median, p99, worst) = (quantile(500), quantile(990), quantile(1000));
    let never = timed(times, || Schedule::parse("0 0 0 30 2 ?").is_err());
    println!(
        "the next of {} questions  median {median:.1} us, p99 {p99:.1} us, worst {worst:.1} us",
        all.len()
    );
    println!("the worst                 {}", slowest.1);
    println!("what never fires is found in {:.1} us", micros(never));
    table(times);
    println!(
        "{}",
        json!({"bench": "cron", "next_us": {"p50": median, "p99": p99, "worst": worst}, "never_us": micros(never)})
    );
    if median > MEDIAN_BAR_US || worst > WORST_BAR_US {
        println!("a bar does not hold: {MEDIAN_BAR_US} us at the median, {WORST_BAR_US} us at worst");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// A thousand entries: made, at rest, and all due at once.
fn table(times: usize) {
    let zone = Zone::named("Europe/Berlin").unwrap();
    let entry = |number: usize| Entry {
        name: format!("entry-{number}"),
        schedule: Schedule::parse(EXPRESSIONS[number % EXPRESSIONS.len()]).unwrap(),
        zone: zone.clone(),
        overlap: Overlap::Parallel,
        catchup: true,
        splay: 0,
    };
    let mut now =
        Now { mono: machine::Instant(Duration::ZERO), wall: UNIX_EPOCH + Duration::from_secs(1_767_225_600) };
    let entries: Vec<Entry> = (0..1000).map(entry).collect();
    let mut table = Table::new("edd6c192".into());
    let before = resident_bytes();
    let made = timed(1, || entries.iter().for_each(|entry| assert!(table.set(now, entry.clone()).unwrap())));
    println!("a thousand entries        set in {:.0} us", micros(made));
    println!("their memory              {} bytes each", (resident_bytes() - before) / 1000);
    let mut facts = Vec::new();
    let rest = timed(times.max(1000), || table.tick(now, &mut facts));
    println!("a turn with nothing due   {:.3} us", micros(rest));
    // A day's suspension, of which every run is made up for.
    now.wall += Duration::from_secs(86_400);
    let caught_up = timed(1, || table.tick(now, &mut facts));
    println!("{} runs made up for       in {:.0} us", facts.len(), micros(caught_up));
    let listed = timed(times, || table.list(5).count());
    println!("all listed, five times each {:.0} us", micros(listed));
}
