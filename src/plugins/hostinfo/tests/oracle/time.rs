//! `time` against date, readlink and adjtimex(2) as Python calls it.

use super::ask::{ask, not_seen, run, settled};
use super::elsewhere::elsewhere;
use aspire_plugin::Root;
use hostinfo::time;
use serde_json::{Value, json};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, SystemTime};

fn date(format: &str) -> String {
    run("date", &[format]).unwrap()
}

/// `+02:00` is 7200.
fn seconds(offset: &str) -> i64 {
    let (hours, minutes) = offset[1..].split_once(':').unwrap();
    let seconds = hours.parse::<i64>().unwrap() * 3600 + minutes.parse::<i64>().unwrap() * 60;
    if offset.starts_with('-') { -seconds } else { seconds }
}

fn compare() -> Value {
    let before: f64 = date("+%s.%N").parse().unwrap();
    let answer = ask(time::answer);
    let after: f64 = date("+%s.%N").parse().unwrap();
    let epoch = answer["epoch"].as_f64().unwrap();
    // Microseconds, rounded down.
    assert!(before - 1e-5 <= epoch && epoch <= after, "{before} {epoch} {after}");
    let now = answer["now"].as_str().unwrap();
    let of_now = |format: &str| run("date", &["-d", now, format]).unwrap();
    assert!((of_now("+%s.%N").parse::<f64>().unwrap() - epoch).abs() < 1e-5);
    // With the offset that the zone has, which date shows the same time in.
    let expected = of_now("+%Y-%m-%dT%H:%M:%S");
    assert!(now.starts_with(&expected) && now.ends_with(&of_now("+%:z")), "{now} {expected}");
    assert_eq!(answer["utc_offset"], seconds(&of_now("+%:z")));
    answer
}

#[test]
fn the_time_is_what_date_says() {
    let answer = compare();
    let link = run("readlink", &["/etc/localtime"]).unwrap();
    let zone = link.split_once("/zoneinfo/").map(|(_, zone)| zone.to_owned());
    assert_eq!(answer["zone"], json!(zone));
    let file = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    assert_eq!(answer["clocksource"], run("cat", &[file]).unwrap());
}

#[test]
fn the_time_elsewhere_is_what_date_says() {
    for zone in ["Asia/Kathmandu", "America/St_Johns", "Europe/Berlin", "Pacific/Kiritimati"] {
        let rules = Path::new("/usr/share/zoneinfo").join(zone);
        if !rules.exists() {
            not_seen(&format!("the time in {zone}: tzdata is not installed"));
            continue;
        }
        elsewhere(&[(&rules, "/etc/localtime")], compare);
    }
}

#[test]
fn a_zone_is_named_by_the_link_or_the_file_beside_it() {
    let place = tempfile::tempdir().unwrap();
    let now = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_250);
    let told = || {
        let time = time::Time::of(&Root::at(place.path()), now, None).unwrap();
        let time = serde_json::to_value(time).unwrap();
        assert_eq!((time.as_object().unwrap().len(), &time["synchronized"]), (9, &Value::Null));
        (time["zone"].clone(), time["now"].clone())
    };
    assert_eq!(told(), (Value::Null, json!("2023-11-14T22:13:20.25+00:00")));
    std::fs::create_dir(place.path().join("etc")).unwrap();
    std::fs::write(place.path().join("etc/timezone"), "Europe/Paris\n").unwrap();
    assert_eq!(told().0, "Europe/Paris");
    symlink("../usr/share/zoneinfo/America/Indiana/Knox", place.path().join("etc/localtime")).unwrap();
    assert_eq!(told().0, "America/Indiana/Knox");
}

/// `struct timex`, as far as it is wanted: state, offset, errors, status.
const ADJTIMEX: &str = "
import ctypes
class Timex(ctypes.Structure):
    _fields_ = [('modes', ctypes.c_uint), ('offset', ctypes.c_long), ('freq', ctypes.c_long),
        ('maxerror', ctypes.c_long), ('esterror', ctypes.c_long), ('status', ctypes.c_int),
        ('rest', ctypes.c_char * 256)]
timex = Timex()
state = ctypes.CDLL(None).adjtimex(ctypes.byref(timex))
print(state, timex.offset, timex.maxerror, timex.esterror, timex.status)";

#[test]
fn the_clocks_state_is_what_the_kernel_tells_others() {
    let adjtimex = || {
        let text = run("python3", &["-c", ADJTIMEX])?;
        Some(text.split(' ').map(|number| number.parse::<i32>().unwrap()).collect::<Vec<_>>())
    };
    let Some((told, answer)) = settled(adjtimex, time::answer) else { return };
    let &[state, offset, max_error, est_error, status] = told.as_slice() else { panic!("{told:?}") };
    let (unsynchronized, nanoseconds) = (status & 0x40 != 0, status & 0x2000 != 0);
    assert_eq!(answer["synchronized"], state != 5 && !unsynchronized);
    let unit = if nanoseconds { 1e9 } else { 1e6 };
    assert_eq!(answer["offset"], f64::from(offset) / unit);
    assert_eq!(answer["max_error"], f64::from(max_error) / 1e6);
    assert_eq!(answer["est_error"], f64::from(est_error) / 1e6);
}
