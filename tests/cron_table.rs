//! The table of entries: what is due when, overlap, catching up, splay, and
//! clocks that are set. No clock is read and nothing sleeps.

#![allow(clippy::unwrap_used, reason = "what is unexpected fails the test")]

use aspire::cron::{CronError, Due, Entry, Fact, Listed, Schedule, Table, Zone};
use aspire::machine::{Instant, Now, limits};
use aspire::wire::Overlap;
use aspire::wire::cron::SPLAY_SECONDS;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

const HOUR: i64 = 3600;

fn at(text: &str) -> SystemTime {
    chrono::DateTime::parse_from_rfc3339(&format!("{text}Z")).expect(text).into()
}

fn entry(name: &str, schedule: &str) -> Entry {
    Entry {
        name: name.into(),
        schedule: Schedule::parse(schedule).expect(schedule),
        zone: Zone::named("UTC").unwrap(),
        overlap: Overlap::Skip,
        catchup: false,
        splay: 0,
    }
}

fn catching_up(entry: Entry) -> Entry {
    Entry { catchup: true, ..entry }
}

/// A table and its clocks.
struct Rig {
    table: Table,
    now: Now,
    wakes: usize,
}

impl Rig {
    /// Its first tick is at this time.
    fn new(time: &str) -> Rig {
        let now = Now { mono: Instant(Duration::from_secs(1000)), wall: at(time) };
        let mut rig = Rig { table: Table::new("edd6c192".into()), now, wakes: 0 };
        assert_eq!(rig.tick(), []);
        rig
    }

    fn with(time: &str, entries: impl IntoIterator<Item = Entry>) -> Rig {
        let mut rig = Rig::new(time);
        for entry in entries {
            assert!(rig.table.set(rig.now, entry).unwrap());
        }
        rig
    }

    fn tick(&mut self) -> Vec<Fact> {
        let mut facts = Vec::new();
        self.table.tick(self.now, &mut facts);
        facts
    }

    fn pass(&mut self, time: Duration) {
        self.now = Now { mono: self.now.mono + time, wall: self.now.wall + time };
    }

    /// The wall clock is set; nobody has noticed yet.
    fn step(&mut self, seconds: i64) {
        let by = Duration::from_secs(seconds.unsigned_abs());
        self.now.wall = if seconds < 0 { self.now.wall - by } else { self.now.wall + by };
    }

    /// Sleeps from deadline to deadline up to this time, as the reactor does.
    fn until(&mut self, time: &str) -> Vec<Fact> {
        let mut facts = Vec::new();
        loop {
            let rest = at(time).duration_since(self.now.wall).unwrap();
            let wait = self.table.deadline().map(|deadline| deadline.since(self.now.mono));
            match wait.filter(|wait| *wait <= rest) {
                None => {
                    self.pass(rest);
                    return facts;
                }
                Some(wait) => {
                    self.pass(wait);
                    self.wakes += 1;
                    facts.extend(self.tick());
                }
            }
        }
    }

    fn ended(&mut self, name: &str) -> Vec<Fact> {
        let mut facts = Vec::new();
        self.table.ended(name, &mut facts);
        facts
    }

    fn listed(&self) -> Listed<'_> {
        self.table.list(3).next().unwrap()
    }
}

fn run(name: &str, scheduled: &str, missed: u64) -> Fact {
    Fact::Run(Due { name: name.into(), scheduled: at(scheduled), missed })
}

fn skipped(name: &str, scheduled: &str) -> Fact {
    Fact::Skipped { name: name.into(), scheduled: at(scheduled) }
}

fn missed(name: &str, scheduled: &str) -> Fact {
    Fact::Missed { name: name.into(), scheduled: at(scheduled) }
}

fn stepped(seconds: i64) -> Fact {
    Fact::ClockStepped { seconds }
}

#[test]
fn entries_run_at_their_times_and_the_table_sleeps_between() {
    let mut rig = Rig::with("2026-01-01T00:00:00", [entry("a", "0 */2 * * *"), entry("b", "30 1 * * *")]);
    let expected = [run("b", "2026-01-01T01:30:00", 0), run("a", "2026-01-01T02:00:00", 0)];
    assert_eq!(rig.until("2026-01-01T03:00:00"), expected);
    assert_eq!(rig.wakes, 2);
    assert_eq!(rig.tick(), []);
    let mut empty = Rig::new("2026-01-01T00:00:00");
    assert_eq!((empty.table.deadline(), empty.tick()), (None, vec![]));
}

#[test]
fn an_entry_is_due_at_its_second_and_not_before() {
    let mut rig = Rig::with("2026-01-01T00:00:00.250", [entry("a", "* * * * * *")]);
    rig.pass(Duration::from_millis(749));
    assert_eq!(rig.tick(), []);
    assert_eq!(rig.table.deadline().unwrap().since(rig.now.mono), Duration::from_millis(1));
    rig.pass(Duration::from_millis(1));
    assert_eq!(rig.tick(), [run("a", "2026-01-01T00:00:01", 0)]);
}

#[test]
fn a_turn_that_comes_late_runs_once_for_all_that_was_due() {
    let mut rig = Rig::with("2026-01-01T00:00:00", [entry("a", "* * * * * *"), entry("b", "0 1 * * *")]);
    rig.pass(Duration::from_secs(5));
    assert_eq!(rig.tick(), [run("a", "2026-01-01T00:00:05", 4)]);
    rig.ended("a");
    // The process was stopped for hours: what was due long ago is not wanted.
    rig.pass(Duration::from_secs(5 * 3600));
    assert_eq!(rig.tick(), [missed("a", "2026-01-01T00:00:06"), missed("b", "2026-01-01T01:00:00")]);
}

#[test]
fn an_overlap_is_skipped_and_counted() {
    let mut rig = Rig::with("2026-01-01T00:00:00", [entry("a", "0 * * * *")]);
    let expected = [
        run("a", "2026-01-01T01:00:00", 0),
        skipped("a", "2026-01-01T02:00:00"),
        skipped("a", "2026-01-01T03:00:00"),
    ];
    assert_eq!(rig.until("2026-01-01T03:30:00"), expected);
    let listed = rig.listed();
    assert_eq!((listed.skipped, listed.running), (2, 1));
    assert_eq!(listed.last, Some(at("2026-01-01T03:00:00")));
    assert_eq!(rig.ended("a"), []);
    assert_eq!(rig.until("2026-01-01T04:30:00"), [run("a", "2026-01-01T04:00:00", 0)]);
}

#[test]
fn an_overlap_is_queued_once() {
    let queue = Entry { overlap: Overlap::Queue, ..entry("a", "0 * * * *") };
    let mut rig = Rig::with("2026-01-01T00:00:00", [queue]);
    let expected = [run("a", "2026-01-01T01:00:00", 0), skipped("a", "2026-01-01T03:00:00")];
    assert_eq!(rig.until("2026-01-01T03:30:00"), expected);
    assert_eq!((rig.listed().queued, rig.listed().skipped), (Some(at("2026-01-01T02:00:00")), 1));
    assert_eq!(rig.ended("a"), [run("a", "2026-01-01T02:00:00", 0)]);
    assert_eq!((rig.listed().queued, rig.listed().running), (None, 1));
    assert_eq!(rig.ended("a"), []);
    assert_eq!(rig.listed().running, 0);
    // An end too many is nobody's.
    assert_eq!(rig.ended("a"), []);
    assert_eq!(rig.ended("b"), []);
}

#[test]
fn an_overlap_runs_in_parallel() {
    let parallel = Entry { overlap: Overlap::Parallel, ..entry("a", "0 * * * *") };
    let mut rig = Rig::with("2026-01-01T00:00:00", [parallel]);
    assert_eq!(rig.until("2026-01-01T03:30:00").len(), 3);
    assert_eq!((rig.listed().running, rig.listed().skipped), (3, 0));
    rig.ended("a");
    assert_eq!(rig.listed().running, 2);
}

#[test]
fn a_run_outlives_its_entry() {
    let mut rig = Rig::with("2026-01-01T00:00:00", [entry("a", "0 * * * *")]);
    assert_eq!(rig.until("2026-01-01T01:30:00").len(), 1);
    assert!(rig.table.remove("a"));
    assert!(!rig.table.remove("a"));
    assert_eq!(rig.table.deadline(), None);
    rig.table.set(rig.now, entry("a", "0 * * * *")).unwrap();
    assert_eq!(rig.until("2026-01-01T02:30:00"), [skipped("a", "2026-01-01T02:00:00")]);
    rig.ended("a");
    assert_eq!(rig.until("2026-01-01T03:30:00"), [run("a", "2026-01-01T03:00:00", 0)]);
}

#[test]
fn an_entry_set_again_changes_what_is_new() {
    let mut rig = Rig::with("2026-01-01T00:00:00", [entry("a", "0 * * * *")]);
    assert_eq!(rig.until("2026-01-01T01:00:00").len(), 1);
    rig.ended("a");
    assert!(!rig.table.set(rig.now, entry("a", "0 * * * *")).unwrap());
    assert_eq!(rig.listed().last, Some(at("2026-01-01T01:00:00")));
    assert_eq!(rig.listed().next[0], at("2026-01-01T02:00:00"));
    assert!(rig.table.set(rig.now, catching_up(entry("a", "0 * * * *"))).unwrap());
    assert_eq!(rig.listed().last, Some(at("2026-01-01T01:00:00")));
    assert!(rig.table.set(rig.now, entry("a", "*/20 * * * *")).unwrap());
    let next = ["2026-01-01T01:20:00", "2026-01-01T01:40:00", "2026-01-01T02:00:00"].map(at);
    assert_eq!(rig.listed().next, next);
    assert_eq!(rig.until("2026-01-01T01:30:00"), [run("a", "2026-01-01T01:20:00", 0)]);
    assert_eq!(rig.table.len(), 1);
}

#[test]
fn downtime_is_made_up_for_once_or_not_at_all() {
    let last = Some(at("2026-01-01T01:00:00"));
    let restored = |entry: Entry, last| {
        let mut rig = Rig::new("2026-01-03T02:30:00");
        rig.table.restore(rig.now, entry, last).unwrap();
        let facts = rig.tick();
        assert_eq!(rig.listed().next[0], at("2026-01-03T03:00:00"));
        facts
    };
    let hourly = || entry("a", "0 * * * *");
    assert_eq!(restored(hourly(), last), []);
    // 2026-01-01T02:00 to 2026-01-03T02:00 are 49 hours.
    assert_eq!(restored(catching_up(hourly()), last), [run("a", "2026-01-03T02:00:00", 48)]);
    assert_eq!(restored(catching_up(hourly()), Some(at("2026-01-03T02:00:00"))), []);
    // One that never ran has missed nothing.
    assert_eq!(restored(catching_up(hourly()), None), []);
}

#[test]
fn of_many_missed_runs_the_last_is_found_without_counting_them_all() {
    for (schedule, last, expected) in [
        ("* * * * * *", "1999-01-01T00:00:00", "2026-01-03T02:30:00"),
        ("0 * * * *", "1999-01-01T00:00:00", "2026-01-03T02:00:00"),
        ("0 0 1 * *", "1999-01-01T00:00:00", "2026-01-01T00:00:00"),
        ("29 2 * * *", "1999-01-01T00:00:00", "2026-01-03T02:29:00"),
        ("*/50 * * * * *", "2026-01-03T00:00:00", "2026-01-03T02:30:00"),
    ] {
        let mut rig = Rig::new("2026-01-03T02:30:00");
        rig.table.restore(rig.now, catching_up(entry("a", schedule)), Some(at(last))).unwrap();
        assert_eq!(rig.tick(), [run("a", expected, limits::CRON_MISSED_COUNT)], "{schedule}");
        assert_eq!(rig.tick(), []);
        assert!(rig.listed().next[0] > rig.now.wall);
    }
    for seconds in 101..300 {
        let mut rig = Rig::new("2026-01-03T02:30:00");
        let last = rig.now.wall - Duration::from_secs(seconds);
        rig.table.restore(rig.now, catching_up(entry("a", "* * * * * *")), Some(last)).unwrap();
        let missed = (seconds - 1).min(limits::CRON_MISSED_COUNT);
        assert_eq!(rig.tick(), [run("a", "2026-01-03T02:30:00", missed)], "{seconds} s");
    }
}

#[test]
fn a_host_keeps_its_place_in_a_splay() {
    let splayed = |name: &str| Entry { splay: 3600, ..entry(name, "0 6 * * *") };
    let delay = |host: &str, name: &str| {
        let mut table = Table::new(host.into());
        let now = Now { mono: Instant(Duration::ZERO), wall: at("2026-01-01T00:00:00") };
        table.set(now, splayed(name)).unwrap();
        table.list(1).next().unwrap().delay
    };
    // Of SHA-256 of "edd6c192\0backup": the place must stay from version to version.
    assert_eq!(delay("edd6c192", "backup"), delay("edd6c192", "backup"));
    assert_eq!(delay("edd6c192", "backup"), Duration::from_secs(PLACE));
    let delays: Vec<u64> = (0..1000).map(|host| delay(&format!("host-{host}"), "backup").as_secs()).collect();
    assert!(delays.iter().all(|delay| SPLAY_SECONDS.contains(delay)));
    for quarter in 0..4 {
        let inside = delays.iter().filter(|delay| **delay / 901 == quarter).count();
        assert!((200..300).contains(&inside), "{inside} of 1000 hosts are in quarter {quarter}");
    }
    let entries: Vec<_> = (0..100).map(|name| delay("edd6c192", &name.to_string())).collect();
    assert!(entries.iter().filter(|delay| **delay < Duration::from_secs(1800)).count() > 30);
}

/// Worked out with another implementation of SHA-256.
const PLACE: u64 = 1915;

#[test]
fn a_splayed_run_is_late_by_its_delay_and_keeps_its_scheduled_time() {
    let splayed = || Entry { splay: 3600, ..entry("backup", "0 6 * * *") };
    let mut rig = Rig::with("2026-01-01T00:00:00", [splayed()]);
    let delay = rig.listed().delay;
    assert!(delay > Duration::from_secs(60), "a delay that this test can tell");
    assert_eq!(rig.listed().next[0], at("2026-01-01T06:00:00") + delay);
    assert_eq!(rig.until("2026-01-01T08:00:00"), [run("backup", "2026-01-01T06:00:00", 0)]);
    // A restart between the scheduled time and the delayed one loses nothing, and one behind it repeats nothing.
    let mut again = Rig::new("2026-01-02T06:00:30");
    again.table.restore(again.now, splayed(), Some(at("2026-01-01T06:00:00"))).unwrap();
    assert_eq!(again.until("2026-01-02T08:00:00"), [run("backup", "2026-01-02T06:00:00", 0)]);
    let mut again = Rig::new("2026-01-02T07:30:00");
    again.table.restore(again.now, splayed(), Some(at("2026-01-02T06:00:00"))).unwrap();
    assert_eq!(again.listed().next[0], at("2026-01-03T06:00:00") + delay);
    // More often than the delay is long.
    let mut often = Rig::with("2026-01-01T00:00:00", [Entry { splay: 3600, ..entry("backup", "* * * * *") }]);
    often.table.set(often.now, Entry { overlap: Overlap::Parallel, ..often.listed().entry.clone() }).unwrap();
    let runs = often.until("2026-01-01T02:00:00");
    assert_eq!(runs[0], run("backup", "2026-01-01T00:01:00", 0));
    assert_eq!(runs.len() as u64, (7200 - delay.as_secs()) / 60);
}

#[test]
fn a_clock_set_forward_a_little_was_late() {
    for schedule in ["30 0 * * *", "*/30 * * * *"] {
        let mut rig = Rig::with("2026-01-01T00:29:00", [entry("a", schedule)]);
        rig.step(120);
        assert_eq!(rig.tick(), [stepped(120), run("a", "2026-01-01T00:30:00", 0)], "{schedule}");
        assert_eq!(rig.tick(), []);
    }
}

#[test]
fn a_clock_set_forward_runs_what_names_its_time_once() {
    let entries = || {
        let fixed = entry("fixed", "0,30 1 * * *");
        [
            fixed,
            entry("interval", "*/30 * * * *"),
            catching_up(entry("late", "*/30 * * * *")),
            entry("then", "0 5 * * *"),
        ]
    };
    let mut rig = Rig::with("2026-01-01T00:45:00", entries());
    rig.step(2 * HOUR);
    let expected = [
        stepped(2 * HOUR),
        run("fixed", "2026-01-01T01:30:00", 1),
        missed("interval", "2026-01-01T01:00:00"),
        run("late", "2026-01-01T02:30:00", 3),
    ];
    assert_eq!(rig.tick(), expected);
    let expected = [skipped("late", "2026-01-01T03:00:00"), run("interval", "2026-01-01T03:00:00", 0)];
    let mut facts = rig.until("2026-01-01T03:15:00");
    facts.reverse();
    assert_eq!(facts, expected);
    // Three hours and more are another time.
    let mut rig = Rig::with("2026-01-01T00:45:00", entries());
    rig.step(4 * HOUR);
    let expected = [
        stepped(4 * HOUR),
        missed("fixed", "2026-01-01T01:00:00"),
        missed("interval", "2026-01-01T01:00:00"),
        run("late", "2026-01-01T04:30:00", 7),
    ];
    assert_eq!(rig.tick(), expected);
    assert_eq!(rig.until("2026-01-01T05:00:00").len(), 3);
}

#[test]
fn what_was_due_anyway_is_not_lost_to_a_step() {
    let mut rig = Rig::with("2026-01-01T00:59:00", [entry("a", "0 * * * *")]);
    rig.pass(Duration::from_secs(60));
    rig.step(5 * HOUR);
    assert_eq!(rig.tick(), [stepped(5 * HOUR), run("a", "2026-01-01T06:00:00", 5)]);
}

#[test]
fn a_clock_set_back_repeats_nothing() {
    let entries =
        [entry("fixed", "30 1 * * *"), entry("interval", "*/30 * * * *"), entry("new", "0 1 2 * *")];
    let mut rig = Rig::with("2026-01-01T01:15:00", entries);
    assert_eq!(rig.until("2026-01-01T02:10:00").len(), 2 + 1);
    rig.ended("fixed");
    rig.ended("interval");
    rig.ended("interval");
    rig.step(-HOUR);
    assert_eq!(rig.tick(), [stepped(-HOUR)]);
    // 01:30 and 02:00 were fired already.
    assert_eq!(rig.until("2026-01-01T02:45:00"), [run("interval", "2026-01-01T02:30:00", 0)]);
}

#[test]
fn a_clock_set_back_by_more_than_three_hours_begins_anew() {
    let entries = [entry("fixed", "30 1 * * *"), entry("interval", "0 * * * *")];
    let mut rig = Rig::with("2026-01-01T01:15:00", entries);
    rig.until("2026-01-01T06:10:00");
    rig.ended("fixed");
    rig.ended("interval");
    rig.step(-5 * HOUR);
    assert_eq!(rig.tick(), [stepped(-5 * HOUR)]);
    let expected = [run("fixed", "2026-01-01T01:30:00", 0), run("interval", "2026-01-01T02:00:00", 0)];
    assert_eq!(rig.until("2026-01-01T02:10:00"), expected);
}

#[test]
fn what_had_its_time_still_to_come_again_gets_it() {
    // Set after 1 h, so that this was not for it; then the clock turned out to be wrong.
    let mut rig = Rig::with("2026-01-01T02:00:00", [entry("a", "0 1 * * *")]);
    assert_eq!(rig.listed().next[0], at("2026-01-02T01:00:00"));
    rig.step(-2 * HOUR);
    assert_eq!(rig.tick(), [stepped(-2 * HOUR)]);
    assert_eq!(rig.until("2026-01-01T01:30:00"), [run("a", "2026-01-01T01:00:00", 0)]);
}

#[test]
fn a_machine_that_starts_in_1970_is_none_the_worse() {
    let last = Some(at("2026-01-01T06:00:00"));
    for (now, expected) in
        [("2026-01-01T12:00:00", vec![]), ("2026-01-02T12:00:00", vec![run("a", "2026-01-02T06:00:00", 0)])]
    {
        let mut rig = Rig::new("1970-01-01T00:00:10");
        rig.table.restore(rig.now, catching_up(entry("a", "0 6 * * *")), last).unwrap();
        assert_eq!(rig.tick(), []);
        rig.now.wall = at(now);
        assert_eq!(rig.tick()[1..], expected);
        assert!(rig.listed().next[0] > rig.now.wall);
    }
    // As long as the clock is wrong, it is the clock there is.
    for entry in [entry("a", "0 * * * *"), catching_up(entry("a", "0 * * * *"))] {
        let mut rig = Rig::new("1970-01-01T00:00:10");
        rig.table.restore(rig.now, entry, last).unwrap();
        assert_eq!(rig.until("1970-01-01T01:30:00"), [run("a", "1970-01-01T01:00:00", 0)]);
    }
}

#[test]
fn small_differences_of_the_clocks_are_no_steps() {
    let mut rig = Rig::with("2026-01-01T00:00:00", [entry("a", "* * * * *")]);
    rig.now.wall -= Duration::from_millis(400);
    assert_eq!(rig.tick(), []);
    // The deadline follows the wall clock.
    assert_eq!(rig.table.deadline().unwrap().since(rig.now.mono), Duration::from_millis(60_400));
    rig.now.wall += Duration::from_millis(900);
    assert_eq!(rig.tick(), []);
    assert_eq!(rig.table.deadline().unwrap().since(rig.now.mono), Duration::from_millis(59_500));
}

#[test]
fn a_table_is_bounded() {
    let now = Now { mono: Instant(Duration::ZERO), wall: at("2026-01-01T00:00:00") };
    let mut table = Table::new(String::new());
    for number in 0..limits::CRON_ENTRIES {
        table.set(now, entry(&number.to_string(), "0 0 1 1 *")).unwrap();
    }
    assert_eq!(table.set(now, entry("more", "0 0 1 1 *")), Err(CronError::Full));
    assert_eq!(table.restore(now, entry("more", "0 0 1 1 *"), None), Err(CronError::Full));
    assert_eq!(table.set(now, entry("0", "0 0 2 1 *")), Ok(true));
    table.restore(now, entry("0", "0 0 3 1 *"), None).unwrap();
    assert!(table.remove("0"));
    assert_eq!(table.set(now, entry("more", "0 0 1 1 *")), Ok(true));
}

#[test]
fn a_thousand_entries_wake_the_agent_only_when_one_is_due() {
    let splays = [0, 0, 0, 60, 3600];
    let entries = (0..1000u64).map(|number| {
        let (minute, hour) = (number % 60, number / 60 % 24);
        let schedule = match number % 4 {
            0 => format!("{minute} * * * *"),
            1 => format!("{minute} {hour} * * *"),
            2 => format!("*/{} * * * *", 15 + minute),
            _ => format!("{minute} {hour} * * {}", number % 7),
        };
        Entry { splay: splays[usize::try_from(number % 5).unwrap()], ..entry(&number.to_string(), &schedule) }
    });
    let mut rig = Rig::with("2026-01-01T00:00:00", entries);
    // When each should start, by the schedules alone.
    let mut expected: BTreeMap<SystemTime, usize> = BTreeMap::new();
    for listed in rig.table.list(200) {
        let today = listed.next.into_iter().filter(|time| *time <= at("2026-01-02T00:00:00"));
        today.for_each(|time| *expected.entry(time).or_default() += 1);
    }
    let mut runs = 0;
    for fact in rig.until("2026-01-02T00:00:00") {
        assert!(matches!(fact, Fact::Run(_) | Fact::Skipped { .. }), "{fact:?}");
        runs += 1;
    }
    assert_eq!(runs, expected.values().sum::<usize>());
    assert_eq!(rig.wakes, expected.len());
    // Other events between do not make anything due.
    for _ in 0..1000 {
        rig.pass(Duration::from_micros(1));
        assert_eq!(rig.tick(), []);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    /// Whatever is done to the clock: unless it goes back by more than three hours, be it in
    /// parts, an entry's times go forward, none comes before it is due, and the table never
    /// stands still.
    #[test]
    fn nothing_fires_twice(
        schedule in prop::sample::select(&["*/10 * * * *", "0 3 * * *", "0 0-23 * * *", "0 */7 * * * *"][..]),
        catchup in any::<bool>(),
        splay in prop::sample::select(&[0, 600, 3600][..]),
        events in prop::collection::vec((0..20_000u64, -10_700..40_000i64, any::<bool>()), 1..60),
    ) {
        let entry = Entry { catchup, splay, overlap: Overlap::Parallel, ..entry("a", schedule) };
        let mut rig = Rig::with("2026-01-01T00:00:00", [entry]);
        let delay = rig.listed().delay;
        let mut last = None;
        for (wait, step, is_step) in events {
            // An agent sleeps no longer than to its deadline.
            let deadline = rig.table.deadline().unwrap().since(rig.now.mono);
            rig.pass(Duration::from_secs(wait).min(deadline));
            rig.step(if is_step { step } else { 0 });
            last = last.filter(|last| *last <= rig.now.wall + Duration::from_secs(3 * 3600));
            for fact in rig.tick() {
                let Fact::Run(due) = fact else { continue };
                prop_assert!(Some(due.scheduled) > last, "{:?} after {last:?}", due.scheduled);
                prop_assert!(due.scheduled + delay <= rig.now.wall);
                last = Some(due.scheduled);
            }
            prop_assert!(rig.listed().next[0] > rig.now.wall);
        }
    }
}
