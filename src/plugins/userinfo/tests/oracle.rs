//! Every field of every user and group, compared with what `getent`, `passwd -S`,
//! `chage -l` and `id` say: on this machine, and where another's /etc lies over it.

#![expect(clippy::unwrap_used, reason = "what is unexpected fails the test")]
#![expect(clippy::print_stderr, reason = "what could not be seen is said")]

#[path = "../../../../tests/elsewhere/mod.rs"]
mod elsewhere;
#[path = "oracle/host.rs"]
mod host;

use aspire_plugin::{Root, clock};
use elsewhere::elsewhere;
use host::Host;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use userinfo::{groups, users};

/// Below it, an answer can be sent.
const LARGEST_ANSWER: usize = 1 << 20;

fn ask_users(args: &str) -> Value {
    serde_json::from_str(&users::answer(args).unwrap()).unwrap()
}

fn ask_groups(args: &str) -> Value {
    serde_json::from_str(&groups::answer(args).unwrap()).unwrap()
}

/// The one comparison, for every host. Returns what was compared.
fn compare() -> Host {
    // Somebody may add a user right now.
    for _ in 0..5 {
        let before = Host::seen();
        let (all_users, all_groups) = (ask_users("-A"), ask_groups(""));
        if before == Host::seen() {
            before.assert_users(&all_users);
            before.assert_groups(&all_groups);
            assert_selections(&before, &all_users["users"]);
            assert_lookups(&all_users["users"], &all_groups["groups"]);
            return before;
        }
    }
    panic!("the accounts of this host do not hold still");
}

/// Ordinary and system users are the two parts of all.
fn assert_selections(host: &Host, all: &Value) {
    let range = host::ordinary_uids();
    let (ordinary, system): (Vec<_>, Vec<_>) = all.as_array().unwrap().iter().cloned().partition(|user| {
        user["uid"] != 0 && range.contains(&u32::try_from(user["uid"].as_u64().unwrap()).unwrap())
    });
    assert_eq!(ordinary.len() + system.len(), host.users.len());
    let expected = json!({ "count": ordinary.len(), "users": ordinary });
    assert_eq!(ask_users("-u"), expected);
    assert_eq!(ask_users(""), expected);
    assert_eq!(ask_users("-S"), json!({ "count": system.len(), "users": system }));
}

/// One user or group is what it is among all, by name and by number.
fn assert_lookups(users: &Value, groups: &Value) {
    let users = users.as_array().unwrap();
    for user in host::sample(users) {
        if let Some(name) = user["name"].as_str() {
            let first = users.iter().find(|other| other["name"] == name).unwrap();
            assert_eq!(ask_users(&format!("-U '{name}'")), json!({ "users": [first], "count": 1 }));
        }
        let uid = user["uid"].to_string();
        let first = users.iter().find(|other| other["name"] == uid.as_str());
        let first = first.or_else(|| users.iter().find(|other| other["uid"] == user["uid"])).unwrap();
        assert_eq!(ask_users(&format!("-U {uid}")), json!({ "users": [first], "count": 1 }));
    }
    let groups = groups.as_array().unwrap();
    for group in host::sample(groups) {
        if let Some(name) = group["name"].as_str() {
            let first = groups.iter().find(|other| other["name"] == name).unwrap();
            assert_eq!(ask_groups(&format!("-G '{name}'")), json!({ "groups": [first], "count": 1 }));
        }
    }
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

#[test]
fn this_machine_is_seen_as_its_own_programs_see_it() {
    let host = compare();
    assert!(!host.users.is_empty() && !host.groups.is_empty());
}

#[test]
fn a_container_without_shadow_does_not_tell_passwords() {
    elsewhere(&[(&fixture("distroless"), "/etc")], || {
        let host = compare();
        assert_eq!(host.users.len(), 3);
        let all = ask_users("-A");
        assert!(all["users"].as_array().unwrap().iter().all(|user| user["password"].is_null()), "{all}");
    });
}

#[test]
fn what_no_file_has_but_a_service_tells_when_asked_is_seen() {
    let nothing = Path::new("/dev/null");
    elsewhere(&[(nothing, "/etc/shadow")], compare);
    elsewhere(&[(nothing, "/etc/shadow"), (nothing, "/etc/group")], compare);
}

#[test]
fn odd_entries_and_old_encodings_are_seen_as_getent_sees_them() {
    elsewhere(&[(&fixture("odd"), "/etc")], || {
        let host = compare();
        assert!(host.users.len() > 40, "{}", host.users.len());
        // What the comparison rests on is there at all.
        let user = |name: &str| ask_users(&format!("-U {name}"))["users"][0].clone();
        assert_eq!(user("jose")["gecos"], json!({ "base64": "Sm9z6SBO+vFleixTYWxhIDIsLA==" }));
        assert_eq!(user("1003")["name"], json!({ "base64": "YW5kcuk=" }));
        assert_eq!(user("svc")["group"], Value::Null);
        assert_eq!(user("mustchange")["password"]["expired"], true);
        assert_eq!(user("nomax")["password"]["expired"], false);
        assert_eq!(user("noshadow")["password"], Value::Null);
        assert_eq!(user("openold")["password"]["state"], "empty");
        assert_eq!(user("many")["groups"].as_array().unwrap().len(), 125);
    });
}

/// Accounts that no file of passwd(5) has, as those of LDAP.
#[test]
fn accounts_of_a_directory_are_seen_as_getent_sees_them() {
    elsewhere(&[(&fixture("directory"), "/etc")], || {
        let host = compare();
        if host.users.len() == 2 {
            eprintln!("NOT SEEN: accounts of a directory: libnss-systemd is not installed");
            return;
        }
        let ann = ask_users("-U ann.directory");
        assert_eq!(ann["users"][0]["uid"], 70001);
        assert_eq!(ann["users"][0]["groups"], json!(["ann.directory", "researchers"]));
    });
}

/// The /etc of a host with so many users: root, and people with a group each and
/// larger groups besides; passwords of several kinds. The same each time.
fn large_etc(users: u32) -> tempfile::TempDir {
    let (mut passwd, mut group, mut shadow) = (String::new(), String::new(), String::new());
    let hash = "$y$j9T$abcdefghijklmnop$0123456789";
    passwd.push_str("root:x:0:0:root:/root:/bin/bash\n");
    for number in 1..users {
        let (name, id) = (format!("user{number:05}"), 1000 + number);
        writeln!(passwd, "{name}:x:{id}:{id}:User {number},Room {}:/home/{name}:/bin/bash", number % 97)
            .unwrap();
        writeln!(group, "{name}:x:{id}:").unwrap();
        let aging = match number {
            // Not every user has an entry.
            _ if number % 1000 == 0 => continue,
            _ if number % 4 == 0 => format!("{hash}:19700:0:99999:7:::"),
            _ if number % 4 == 1 => format!("!{hash}:18000:0:90:7:30::"),
            _ if number % 4 == 2 => format!("{hash}:0:0:90:7:::"),
            _ => ":19000:1::::20000:".into(),
        };
        writeln!(shadow, "{name}:{aging}").unwrap();
    }
    for number in 0..200 {
        let members = (1..users).filter(|user| (user + number) % 101 == 0);
        let members = members.map(|user| format!("user{user:05}")).collect::<Vec<_>>().join(",");
        writeln!(group, "team{number:03}:x:{}:{members}", 100_000 + number).unwrap();
    }
    let etc = tempfile::tempdir().unwrap();
    for (file, text) in [("passwd", passwd), ("group", group), ("shadow", shadow)] {
        std::fs::write(etc.path().join(file), text).unwrap();
    }
    std::fs::copy(fixture("odd/nsswitch.conf"), etc.path().join("nsswitch.conf")).unwrap();
    etc
}

#[test]
fn ten_thousand_users_are_seen_whole_and_at_once() {
    let etc = large_etc(10_000);
    elsewhere(&[(etc.path(), "/etc")], || {
        let before = clock::now();
        let all = ask_users("-A");
        let took = clock::now().duration_since(before).unwrap();
        assert_eq!(all["count"], 10_000);
        // The host waits ten seconds; looking each one up would take longer.
        assert!(took < Duration::from_secs(3), "{took:?}");
        eprintln!("10,000 users took {took:?}");

        let host = compare();
        assert_eq!((host.users.len(), host.groups.len()), (10_000, 10_199));

        let mut joined = Vec::new();
        while joined.len() < 10_000 {
            let part = users::answer(&format!("-A -n 1500 -o {}", joined.len())).unwrap();
            assert!(part.len() < LARGEST_ANSWER, "{} bytes", part.len());
            let mut part: Value = serde_json::from_str(&part).unwrap();
            assert_eq!(part["count"], 10_000);
            joined.append(part["users"].as_array_mut().unwrap());
        }
        assert_eq!(Value::Array(joined), all["users"]);
    });
}

#[test]
fn ten_thousand_users_whom_no_other_database_knows_do_not_take_long() {
    let (mut passwd, mut group, mut shadow) = (String::new(), String::new(), String::new());
    for id in 1000..11_000 {
        writeln!(passwd, "user{id}:x:{id}:{id}::/home/user{id}:/bin/bash").unwrap();
        writeln!(group, "other{id}:x:{}:", id + 50_000).unwrap();
        writeln!(shadow, "other{id}:*:19700:0:99999:7:::").unwrap();
    }
    let etc = tempfile::tempdir().unwrap();
    for (file, text) in [("passwd", passwd), ("group", group), ("shadow", shadow)] {
        std::fs::write(etc.path().join(file), text).unwrap();
    }
    std::fs::copy(fixture("odd/nsswitch.conf"), etc.path().join("nsswitch.conf")).unwrap();
    elsewhere(&[(etc.path(), "/etc")], || {
        let before = clock::now();
        let all = ask_users("-A");
        let took = clock::now().duration_since(before).unwrap();
        assert!(took < Duration::from_secs(5), "{took:?}");
        let users = all["users"].as_array().unwrap();
        assert_eq!(users.len(), 10_000);
        assert!(users.iter().all(|user| user["password"].is_null() && user["group"].is_null()));
    });
}

#[test]
fn a_password_expires_between_two_days() {
    elsewhere(&[(&fixture("odd"), "/etc")], || {
        let expired_at = |day: u64| -> bool {
            let now = std::time::UNIX_EPOCH + Duration::from_secs(day * 86_400 + 3);
            let answer = users::answer_at(&Root::default(), now, "-U aged").unwrap();
            let answer: Value = serde_json::from_str(&answer).unwrap();
            answer["users"][0]["password"]["expired"].as_bool().unwrap()
        };
        assert_eq!((expired_at(18_090), expired_at(18_091)), (false, true));
    });
}
