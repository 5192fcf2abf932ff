//! Schedules with the times at which they fire, and those that are refused,
//! with the reason and the place.

#![allow(clippy::unwrap_used, reason = "what is unexpected fails the test")]

use aspire::cron::{CronError, Line, Schedule, Zone, Zones};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// As the table writes it.
fn shown(zone: &Zone, time: SystemTime) -> String {
    let text = zone.rfc3339(time);
    let (time, offset) = text.split_at(19);
    let time = time.strip_suffix(":00").unwrap_or(time);
    format!("{time}{}", if zone.name() == "UTC" { "" } else { offset })
}

fn rfc3339(text: &str) -> SystemTime {
    chrono::DateTime::parse_from_rfc3339(text).expect(text).into()
}

/// What is no schedule, and why.
const REFUSED: &[(&str, &str)] = &[
    ("60 * * * *", "minute: 60 is out of range 0-59 (column 1)"),
    ("60 * * * * *", "second: 60 is out of range 0-59 (column 1)"),
    ("0 60 * * * *", "minute: 60 is out of range 0-59 (column 3)"),
    ("* 24 * * *", "hour: 24 is out of range 0-23 (column 3)"),
    ("0 25 * * *", "hour: 25 is out of range 0-23 (column 3)"),
    ("  0  25 * * *", "hour: 25 is out of range 0-23 (column 6)"),
    ("0 1,2,25 * * *", "hour: 25 is out of range 0-23 (column 7)"),
    ("0 1-25/2 * * *", "hour: 25 is out of range 0-23 (column 5)"),
    ("0 99999999999999999999 * * *", "hour: 99999999999999999999 is out of range 0-23 (column 3)"),
    ("* * 0 * *", "day of month: 0 is out of range 1-31 (column 5)"),
    ("* * 32 * *", "day of month: 32 is out of range 1-31 (column 5)"),
    ("* * 32W * *", "day of month: 32 is out of range 1-31 (column 5)"),
    ("* * 0C * *", "day of month: 0 is out of range 1-31 (column 5)"),
    ("* * * 13 *", "month: 13 is out of range 1-12 or jan-dec (column 7)"),
    ("* * * 0 *", "month: 0 is out of range 1-12 or jan-dec (column 7)"),
    ("* * * * 8", "day of week: 8 is out of range 0-7 or sun-sat (column 9)"),
    ("* * * * 8L", "day of week: 8 is out of range 0-7 or sun-sat (column 9)"),
    ("*/0 * * * *", "minute: a step of 0 goes nowhere: it is 1 or more (column 3)"),
    ("*/x * * * *", "minute: \"x\" is no step: it is a number from 1 (column 3)"),
    ("*/ * * * *", "minute: \"\" is no step: it is a number from 1 (column 3)"),
    ("*/2/3 * * * *", "minute: \"2/3\" is no step: it is a number from 1 (column 3)"),
    ("? * * * *", "minute: ? is only for the day of month and the day of week (column 1)"),
    ("* ? * * *", "hour: ? is only for the day of month and the day of week (column 3)"),
    ("* * * ? *", "month: ? is only for the day of month and the day of week (column 7)"),
    (
        "* * ?,5 * *",
        "day of month: ? stands for the whole field and cannot be part of anything here (column 5)",
    ),
    (
        "* * * * ?/2",
        "day of week: ? stands for the whole field and cannot be part of anything here (column 9)",
    ),
    ("*-5 * * * *", "minute: * stands for the whole field and cannot be part of anything here (column 1)"),
    (
        "* * W * *",
        "day of month: \"W\" is not understood: L, LW, 15W and 15C stand alone or in a list (column 5)",
    ),
    (
        "* * 10-15W * *",
        "day of month: \"10-15W\" is not understood: L, LW, 15W and 15C stand alone or in a list (column 5)",
    ),
    (
        "* * 1,5LW * *",
        "day of month: \"5LW\" is not understood: L, LW, 15W and 15C stand alone or in a list (column 7)",
    ),
    ("* * LL * *", "day of month: \"L\" is not understood, allowed are 1-31 and * , - / ? L W C (column 5)"),
    ("* * * * C", "day of week: \"C\" is not understood: L, 5L and 5C stand alone or in a list (column 9)"),
    ("5,,6 * * * *", "minute: a value is missing: allowed are 0-59 and * , - / (column 3)"),
    (",5 * * * *", "minute: a value is missing: allowed are 0-59 and * , - / (column 1)"),
    ("5, * * * *", "minute: a value is missing: allowed are 0-59 and * , - / (column 3)"),
    ("5- * * * *", "minute: a value is missing: allowed are 0-59 and * , - / (column 3)"),
    ("1-2-3 * * * *", "minute: \"2-3\" is not understood, allowed are 0-59 and * , - / (column 3)"),
    ("-1 * * * *", "minute: a value is missing: allowed are 0-59 and * , - / (column 1)"),
    ("+1 * * * *", "minute: \"+1\" is not understood, allowed are 0-59 and * , - / (column 1)"),
    ("1.5 * * * *", "minute: \"1.5\" is not understood, allowed are 0-59 and * , - / (column 1)"),
    ("** * * * *", "minute: \"**\" is not understood, allowed are 0-59 and * , - / (column 1)"),
    ("* mon * * *", "hour: \"mon\" is not understood, allowed are 0-23 and * , - / (column 3)"),
    ("* * * mon *", "month: \"mon\" is not understood, allowed are 1-12, jan-dec and * , - / (column 7)"),
    (
        "* * * * friday",
        "day of week: \"friday\" is not understood, allowed are 0-7, sun-sat and * , - / ? L C (column 9)",
    ),
    (
        "0 0 * * 2#2",
        "day of week: \"2#2\": # is not supported, allowed are 0-7, sun-sat and * , - / ? L C (column 9)",
    ),
    ("0 0 0 30 2 ?", "day of month: it never fires: none of its months has such a day (column 7)"),
    ("0 0 31 4,6,9,11 *", "day of month: it never fires: none of its months has such a day (column 5)"),
    ("0 0 30W 2 *", "day of month: it never fires: none of its months has such a day (column 5)"),
    ("@daily", "@daily is not supported: write the fields (column 1)"),
    (" @reboot", "@reboot is not supported: write the fields (column 2)"),
    ("", "a schedule has 6 fields, or 5 without the second, not 0 (column 1)"),
    ("   ", "a schedule has 6 fields, or 5 without the second, not 0 (column 4)"),
    ("* * * *", "a schedule has 6 fields, or 5 without the second, not 4 (column 8)"),
    ("******", "a schedule has 6 fields, or 5 without the second, not 1 (column 7)"),
    (
        "0 0 0 1 1 ? 2027",
        "a schedule has 6 fields, or 5 without the second, not 7; there is none for the year (column 13)",
    ),
    ("1 , 5 * * * * * *", "a schedule has 6 fields, or 5 without the second, not 9 (column 13)"),
    ("ü 25 * * *", "minute: \"ü\" is not understood, allowed are 0-59 and * , - / (column 1)"),
    ("0 0\n1 * * *", "hour: \"0\\n1\" is not understood, allowed are 0-23 and * , - / (column 3)"),
    ("0 0\r * * *", "hour: \"0\\r\" is not understood, allowed are 0-23 and * , - / (column 3)"),
];

#[test]
fn schedules_fire_when_they_should() {
    let mut zones = Zones::default();
    let rows = include_str!("cron/cases.txt").lines().filter(|row| !row.is_empty() && !row.starts_with('#'));
    let mut wrong = Vec::new();
    let mut count = 0;
    for row in rows {
        let [expression, zone, after, times] = row.split(" | ").collect::<Vec<_>>()[..] else {
            panic!("{row}")
        };
        let zone = zones.named(zone).unwrap();
        let schedule = Schedule::parse(expression).expect(row);
        let mut time = rfc3339(after);
        let found = times.split(' ').map(|_| {
            time = schedule.next(&zone, time).expect(row);
            shown(&zone, time)
        });
        let found: Vec<String> = found.collect();
        if found.join(" ") != times {
            wrong.push(format!("{row}\n    found {}", found.join(" ")));
        }
        count += 1;
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
    assert!(count >= 150, "only {count} cases");
}

#[test]
fn what_is_no_schedule_is_refused_with_its_place() {
    let allowed_days = "allowed are 1-31 and * , - / ? L W C";
    for (expression, reason) in REFUSED {
        assert_eq!(Schedule::parse(expression).unwrap_err().to_string(), *reason, "{expression:?}");
    }
    for expression in ["* * L-3 * *", "* * 15#2 * *", "* * x * *", "* * LL * *"] {
        let error = Schedule::parse(expression).unwrap_err().to_string();
        assert!(error.starts_with("day of month: ") && error.contains(allowed_days), "{expression}: {error}");
    }
}

#[test]
fn a_schedule_is_bounded() {
    let list = |length: usize| format!("{}59 * * * *", "0,".repeat(length));
    assert!(Schedule::parse(&list(500)).is_ok());
    assert_eq!(Schedule::parse(&list(100_000)), Err(CronError::TooLong(200_010)));
}

#[test]
fn times_end_where_the_years_do() {
    let utc = Zone::named("UTC").unwrap();
    let every_second = Schedule::parse("* * * * * *").unwrap();
    let end = rfc3339("2100-12-31T23:59:58Z");
    assert_eq!(every_second.next(&utc, end), Some(end + Duration::from_secs(1)));
    assert_eq!(every_second.next(&utc, end + Duration::from_secs(1)), None);
    assert_eq!(every_second.next(&utc, end + Duration::from_secs(1 << 40)), None);
    let leap_day = Schedule::parse("0 0 29 2 *").unwrap();
    assert_eq!(leap_day.next(&utc, rfc3339("2096-02-29T00:00:00Z")), None);
    // Times before 1970 have the first of 1970 after them.
    for before in [UNIX_EPOCH - Duration::from_secs(1), UNIX_EPOCH - Duration::from_secs(1 << 40)] {
        assert_eq!(every_second.next(&utc, before), Some(UNIX_EPOCH));
    }
    // A part of a second is later than its second.
    let half = UNIX_EPOCH + Duration::from_millis(500);
    assert_eq!(every_second.next(&utc, half), Some(UNIX_EPOCH + Duration::from_secs(1)));
}

#[test]
fn a_zone_is_in_the_systems_tzdata_or_refused() {
    for name in
        ["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+5", "America/Port-au-Prince"]
    {
        assert_eq!(Zone::named(name).unwrap().name(), name);
    }
    let long = "x".repeat(10 * 1024);
    for (name, reason) in [
        ("", "\"\" is no name of a time zone"),
        ("../../etc/passwd", "\"../../etc/passwd\" is no name of a time zone"),
        ("Europe/../../../../etc/passwd", "is no name of a time zone"),
        ("/etc/localtime", "\"/etc/localtime\" is no name of a time zone"),
        ("Europe//Berlin", "is no name of a time zone"),
        ("Europe/", "is no name of a time zone"),
        ("Europe/Berlin\0", "is no name of a time zone"),
        ("Europe/Bërlin", "is no name of a time zone"),
        ("zone.tab", "\"zone.tab\" is no name of a time zone"),
        (":Europe/Berlin", "is no name of a time zone"),
        ("EST5EDT,M3.2.0,M11.1.0", "is no name of a time zone"),
        ("Europe", "/usr/share/zoneinfo has no zone Europe"),
        ("Europe/Berlin/Mitte", "/usr/share/zoneinfo has no zone Europe/Berlin/Mitte"),
        ("Mars/Olympus", "/usr/share/zoneinfo has no zone Mars/Olympus"),
        ("right/UTC", "right/UTC: its seconds are not those of this system"),
        (&long, "a name has at most 64 bytes, not 10240"),
    ] {
        let error = Zone::named(name).unwrap_err().to_string();
        assert!(error.starts_with("timezone: ") && error.contains(reason), "{name:.30}: {error}");
        assert!(error.len() < 200);
    }
    assert!(!Zone::local().unwrap().name().is_empty());
}

#[test]
fn a_line_has_schedule_user_and_command() {
    for (text, schedule, user, command) in [
        ("0 0/30 8-10 * * * root echo hi", "0 0/30 8-10 * * *", "root", "echo hi"),
        ("0 6 * * * root echo hi", "0 6 * * *", "root", "echo hi"),
        (
            "45 11 * * 0,6 www-data echo \"Have a good lunch.\" >> /tmp/foo.txt",
            "45 11 * * 0,6",
            "www-data",
            "echo \"Have a good lunch.\" >> /tmp/foo.txt",
        ),
        // What crontab(5) does with % is not done.
        ("* * * * *  _apt\tdate +%F; echo 1%2  \n", "* * * * *", "_apt", "date +%F; echo 1%2  "),
        ("0 0 6 * * FRIL 1000 ls", "0 0 6 * * FRIL", "1000", "ls"),
        ("0 0 6 * * mon mon ls", "0 0 6 * * mon", "mon", "ls"),
        ("0 0 6 * * * 1 ls", "0 0 6 * * *", "1", "ls"),
        // The sixth word is taken for what it reads like.
        ("0 6 1 * * 1 1 ls", "0 6 1 * * 1", "1", "ls"),
        ("0 6 1 * * l echo hi", "0 6 1 * * l", "echo", "hi"),
        ("0 6 * * * friday echo hi", "0 6 * * *", "friday", "echo hi"),
        ("0 6 * * * a.b@c echo hi", "0 6 * * *", "a.b@c", "echo hi"),
    ] {
        let line = Line::parse(text).expect(text);
        assert_eq!((line.schedule.to_string().trim(), line.user, line.command), (schedule, user, command));
    }
}

#[test]
fn what_is_no_line_is_refused() {
    for (text, reason) in [
        ("", "the line is empty (column 1)"),
        (" \t", "the line is empty (column 1)"),
        ("  # comment", "this is a comment (column 3)"),
        ("MAILTO=root", "this sets a variable, which only a command's own environment can (column 1)"),
        (
            "PATH = /bin:/usr/bin",
            "this sets a variable, which only a command's own environment can (column 1)",
        ),
        ("\"A\"=b", "this sets a variable, which only a command's own environment can (column 1)"),
        ("@daily root ls", "@daily is not supported: write the fields (column 1)"),
        ("0 6 * *", "a schedule has 6 fields, or 5 without the second, not 4 (column 8)"),
        ("0 6 * * *", "the user is missing after a schedule of 5 fields (column 10)"),
        ("0 6 * * * *", "the user is missing after a schedule of 6 fields (column 12)"),
        (
            "0 6 * * * root",
            "the command of user \"root\" is missing after a schedule of 5 fields (column 15)",
        ),
        ("0 6 * * * 1 ls", "the command of user \"ls\" is missing after a schedule of 6 fields (column 15)"),
        ("0 0 25 * * 1 root ls", "hour: 25 is out of range 0-23 (column 5)"),
        // A mistake in the sixth field does not make it a user.
        ("0 0 8 * * 8 root ls", "day of week: 8 is out of range 0-7 or sun-sat (column 11)"),
        (
            "0 0 8 * * mon,fry root ls",
            "day of week: \"fry\" is not understood, allowed are 0-7, sun-sat and * , - / ? L C (column 15)",
        ),
        ("0 6 * * * root ls\n0 7 * * * root ls", "one line is expected, without a line break (column 1)"),
    ] {
        assert_eq!(Line::parse(text).unwrap_err().to_string(), reason, "{text:?}");
    }
}
