//! Random schedules against an oracle that looks at every second of a window.

#![allow(clippy::unwrap_used, reason = "what is unexpected fails the test")]

#[path = "cron/naive.rs"]
mod naive;

use aspire::cron::{Line, Schedule, Zone};
use naive::Fields;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How far the oracle looks.
const WINDOW_SECONDS: i64 = 10 * 86_400;

/// New York in 2026, by the law: to 7 UTC on 8 March, and from 6 UTC on 1
/// November, UTC-5; UTC-4 between.
const NEW_YORK: [i64; 2] = [1_772_953_200, 1_793_512_800];

fn new_york(unix: i64) -> i64 {
    if (NEW_YORK[0]..NEW_YORK[1]).contains(&unix) { -4 * 3600 } else { -5 * 3600 }
}

fn utc(_: i64) -> i64 {
    0
}

/// When it fires in the window: all of it, in order.
fn oracle(expression: &str, offset: fn(i64) -> i64, from: i64) -> Vec<i64> {
    let is_interval = expression.split(' ').take(3).any(|field| field.contains('*'));
    let mut fields = Fields::new(expression);
    let mut fires = Vec::new();
    // Wall time that is done with, from an hour before the window on.
    let mut done = from - 7200 + offset(from - 7200);
    for unix in from - 7200..=from + WINDOW_SECONDS {
        let wall = unix + offset(unix);
        let due = if is_interval {
            fields.suit(wall)
        } else {
            // What was left out comes at once, what comes again does not.
            (done + 1..=wall).any(|wall| fields.suit(wall))
        };
        done = done.max(wall);
        if due && unix > from {
            fires.push(unix);
        }
    }
    fires
}

/// An item of values from `least` to `most`, with what is rare made common.
fn item(least: u32, most: u32) -> impl Strategy<Value = String> {
    let value = least..=most;
    prop_oneof![
        4 => value.clone().prop_map(|v| v.to_string()),
        2 => (value.clone(), value.clone()).prop_map(|(a, b)| format!("{a}-{b}")),
        2 => (value.clone(), value.clone(), 1..=most + 5).prop_map(|(a, b, step)| format!("{a}-{b}/{step}")),
        1 => (value, 1..=most + 5).prop_map(|(a, step)| format!("{a}/{step}")),
        1 => (1..=most + 5).prop_map(|step| format!("*/{step}")),
    ]
}

fn list(item: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    prop::collection::vec(item, 1..4).prop_map(|items| items.join(","))
}

fn field(least: u32, most: u32) -> impl Strategy<Value = String> {
    prop_oneof![1 => Just("*".to_owned()), 2 => list(item(least, most))]
}

fn names(names: &'static [&'static str]) -> impl Strategy<Value = String> {
    let name = || prop::sample::select(names);
    prop_oneof![
        name().prop_map(str::to_owned),
        (name(), name()).prop_map(|(a, b)| format!("{}-{b}", a.to_uppercase())),
    ]
}

fn day_of_month() -> impl Strategy<Value = String> {
    let special = prop_oneof![
        Just("L".to_owned()),
        Just("lw".to_owned()),
        (1..=31u32).prop_map(|day| format!("{day}W")),
        (1..=31u32).prop_map(|day| format!("{day}C")),
    ];
    prop_oneof![Just("*".to_owned()), Just("?".to_owned()), list(prop_oneof![item(1, 31), special])]
}

fn day_of_week() -> impl Strategy<Value = String> {
    let special = prop_oneof![
        Just("L".to_owned()),
        (0..=7u32).prop_map(|day| format!("{day}L")),
        (0..=7u32).prop_map(|day| format!("{day}C")),
        names(&["sun", "mon", "tue", "wed", "thu", "fri", "sat"]),
        Just("friL".to_owned()),
    ];
    prop_oneof![Just("*".to_owned()), Just("?".to_owned()), list(prop_oneof![item(0, 7), special])]
}

fn expression() -> impl Strategy<Value = String> {
    let month = prop_oneof![
        4 => Just("*".to_owned()),
        1 => field(1, 12),
        1 => list(names(&["jan", "feb", "mar", "oct", "nov", "dec"])),
    ];
    (field(0, 59), field(0, 59), field(0, 23), day_of_month(), month, day_of_week()).prop_map(
        |(second, minute, hour, of_month, month, of_week)| {
            format!("{second} {minute} {hour} {of_month} {month} {of_week}")
        },
    )
}

/// Windows anywhere from 2024 to 2030, and around the changes of the clocks.
fn begin() -> impl Strategy<Value = i64> {
    let change = prop::sample::select(&NEW_YORK[..]);
    prop_oneof![
        1_704_067_200..1_893_456_000i64,
        (change, -2 * 86_400..7200i64).prop_map(|(change, before)| change + before)
    ]
}

fn time(unix: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(unix.try_into().unwrap())
}

/// Compares the first and the last few fires of a window, and every answer on the way.
fn compare(expression: &str, zone: &Zone, offset: fn(i64) -> i64, from: i64) -> Result<(), TestCaseError> {
    let Ok(schedule) = Schedule::parse(expression) else {
        // Only what has no day in any year may be refused.
        let error = Schedule::parse(expression).unwrap_err().to_string();
        prop_assert!(error.contains("it never fires"), "{expression}: {error}");
        return Ok(());
    };
    let fires = oracle(expression, offset, from);
    let mut now = time(from);
    for expected in fires.iter().take(500) {
        let next = schedule.next(zone, now);
        prop_assert_eq!(next, Some(time(*expected)), "{} after {:?}", expression, now);
        now = time(*expected);
    }
    if fires.len() <= 500 {
        let beyond = schedule.next(zone, now);
        prop_assert!(beyond.is_none_or(|beyond| beyond > time(from + WINDOW_SECONDS)), "{expression}");
    }
    // From anywhere, not only from one fire to the next.
    for step in 0..50 {
        let now = from + step * WINDOW_SECONDS / 50;
        let expected = fires.iter().find(|fire| **fire > now).map(|fire| time(*fire));
        let next = schedule.next(zone, time(now)).filter(|next| *next <= time(from + WINDOW_SECONDS));
        prop_assert_eq!(next, expected, "{} after {}", expression, now);
    }
    Ok(())
}

fn config(cases: u32) -> ProptestConfig {
    let persistence = FileFailurePersistence::Off;
    ProptestConfig { cases, failure_persistence: Some(Box::new(persistence)), ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(300))]

    #[test]
    fn a_schedule_fires_as_its_fields_say(expression in expression(), from in begin()) {
        compare(&expression, &Zone::named("UTC").unwrap(), utc, from)?;
    }

    #[test]
    fn it_does_where_the_clocks_change(expression in expression(), index in 0..2usize, before in 0..2 * 86_400i64) {
        let zone = Zone::named("America/New_York").unwrap();
        compare(&expression, &zone, new_york, NEW_YORK[index] - before)?;
    }
}

proptest! {
    #![proptest_config(config(4096))]

    #[test]
    fn next_is_strictly_later_and_does_not_go_back(
        expression in expression(),
        zone in prop::sample::select(&["UTC", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia"][..]),
        from in 1_262_304_000..2_000_000_000i64,
        step in 0..100_000i64,
    ) {
        let Ok(schedule) = Schedule::parse(&expression) else { return Ok(()) };
        let zone = Zone::named(zone).unwrap();
        let next = |unix| schedule.next(&zone, time(unix));
        let (first, second) = (next(from), next(from + step));
        prop_assert!(first.is_none_or(|first| first > time(from)));
        // None is later than all.
        prop_assert!(second.is_none() || first <= second, "{first:?} {second:?}");
        // Between a time and its next there is nothing.
        if let Some(first) = first && first > time(from + step) {
            prop_assert_eq!(second, Some(first));
        }
    }

    #[test]
    fn garbage_is_refused_and_nothing_else_happens(text in ".{0,64}") {
        let _ = Schedule::parse(&text);
        let _ = Line::parse(&text);
        let _ = Zone::named(&text);
    }

    #[test]
    fn what_looks_like_a_schedule_is_no_worse(text in "[-0-9*/,?LWC#@ \tasunmojrf\\u{fc}]{0,40}") {
        if let Ok(schedule) = Schedule::parse(&text) {
            prop_assert!(schedule.next(&Zone::named("UTC").unwrap(), time(1_767_225_600)).is_some());
        }
        let _ = Line::parse(&format!("{text} root ls"));
    }
}
