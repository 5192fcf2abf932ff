//! What the system's own programs say about the accounts of this host.

use aspire_plugin::Text;
use nix::unistd::geteuid;
use serde_json::{Map, Value, json};
use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::ops::RangeInclusive;
use std::os::unix::ffi::OsStrExt as _;
use std::process::Command;

/// Of larger hosts, a sample is asked about one by one.
const LARGE: usize = 200;

/// Entries in their order, each with the fields between the colons.
#[derive(Debug, PartialEq)]
pub struct Host {
    pub users: Vec<Vec<Vec<u8>>>,
    pub groups: Vec<Vec<Vec<u8>>>,
    /// Primary groups that are told only to those who ask for them.
    unlisted_groups: Vec<Vec<Vec<u8>>>,
    shadow: Vec<Vec<Vec<u8>>>,
    today: String,
}

impl Host {
    pub fn seen() -> Self {
        let today = output("date", &["-u".as_ref(), "+%Y-%m-%d".as_ref()]).expect("there is a date");
        let users = database("passwd", &[]);
        let groups = database("group", &[]);
        let unlisted_groups = unlisted_groups(&users, &groups);
        let shadow = if geteuid().is_root() { shadow(&users) } else { Vec::new() };
        Host { users, groups, unlisted_groups, shadow, today: string(&today).trim().into() }
    }

    pub fn assert_users(&self, answer: &Value) {
        let answers = answer["users"].as_array().unwrap();
        assert_eq!(answer["count"], self.users.len());
        assert_eq!(answers.len(), self.users.len());
        let passwords = self.passwords();
        let group_names = self.group_names();
        let mut memberships = HashMap::<&[u8], Vec<&[u8]>>::new();
        for group in &self.groups {
            for member in members(group) {
                memberships.entry(member).or_default().push(&group[2]);
            }
        }
        for ((user, kind), answer) in self.users.iter().zip(&self.kinds()).zip(answers) {
            let [name, _, uid, gid, gecos, home, shell] = &user[..] else { panic!("{user:?}") };
            let mut seen = HashSet::new();
            let listed = memberships.get(&name[..]).into_iter().flatten().copied();
            let gids = std::iter::once(&gid[..]).chain(listed).filter(|gid| seen.insert(*gid));
            let expected = json!({
                "name": text(name),
                "uid": number(uid),
                "gid": number(gid),
                "group": group_names.get(&gid[..]).map(|name| text(name)),
                "groups": gids.filter_map(|gid| group_names.get(gid)).map(|name| text(name)).collect::<Vec<_>>(),
                "gecos": text(gecos),
                "home": text(home),
                "shell": text(shell),
                "password": passwords[kind],
            });
            assert_eq!(*answer, expected);
        }
        for (user, answer) in sample(&self.users.iter().zip(answers).collect::<Vec<_>>()) {
            self.assert_groups_of(user, answer);
        }
    }

    /// The groups of one user, as `id` names them.
    fn assert_groups_of(&self, user: &[Vec<u8>], answer: &Value) {
        let first = self.users.iter().find(|other| other[0] == user[0]).unwrap();
        if first[3] != user[3] {
            // Nobody can ask id about the second user of a name.
            return;
        }
        let Some(said) = output("id", &["-Gn".as_ref(), "--".as_ref(), OsStr::from_bytes(&user[0])]) else {
            return;
        };
        let said = said.trim_ascii_end().split(|byte| *byte == b' ');
        // In the place of a name that does not exist, id says the number.
        let nameless = usize::from(answer["group"].is_null());
        let said: Vec<_> = said.skip(nameless).map(text).collect();
        assert_eq!(answer["groups"], json!(said), "id -Gn {}", string(&user[0]));
    }

    pub fn assert_groups(&self, answer: &Value) {
        let mut users = HashMap::<&[u8], Vec<Value>>::new();
        for user in &self.users {
            users.entry(&user[3]).or_default().push(text(&user[0]));
        }
        let expected = self.groups.iter().map(|group| {
            json!({
                "name": text(&group[0]),
                "gid": number(&group[2]),
                "members": members(group).map(text).collect::<Vec<_>>(),
                "primary_members": users.get(&group[2][..]).cloned().unwrap_or_default(),
            })
        });
        let answers = answer["groups"].as_array().unwrap();
        assert_eq!(answer["count"], self.groups.len());
        assert_eq!(answers.len(), self.groups.len());
        for (answer, expected) in answers.iter().zip(expected) {
            assert_eq!(*answer, expected);
        }
    }

    fn group_names(&self) -> HashMap<&[u8], &[u8]> {
        let mut names = HashMap::<&[u8], &[u8]>::new();
        for group in self.groups.iter().chain(&self.unlisted_groups) {
            names.entry(&group[2]).or_insert(&group[0]);
        }
        names
    }

    /// For each user, what the description of the password follows from: the passwd
    /// field and the shadow entry without the name.
    fn kinds(&self) -> Vec<Kind<'_>> {
        let mut entries = HashMap::<&[u8], &[Vec<u8>]>::new();
        for entry in &self.shadow {
            entries.entry(&entry[0]).or_insert(&entry[1..]);
        }
        self.users.iter().map(|user| (&user[1][..], entries.get(&user[0][..]).copied())).collect()
    }

    /// The expected description of each kind, as the programs describe one user of it.
    fn passwords(&self) -> HashMap<Kind<'_>, Value> {
        let mut passwords = HashMap::new();
        for (user, kind) in self.users.iter().zip(self.kinds()) {
            passwords.entry(kind).or_insert_with(|| match kind {
                (b"x", None) => Value::Null,
                (_, shadow) => self.password(&user[0], shadow.is_some()),
            });
        }
        passwords
    }

    fn password(&self, name: &[u8], has_shadow: bool) -> Value {
        let name = OsStr::from_bytes(name);
        let status = output("passwd", &["-S".as_ref(), "--".as_ref(), name]).expect("passwd -S answers");
        let status = status.strip_prefix(name.as_bytes()).expect("it begins with the name");
        let words: Vec<_> = str::from_utf8(status).unwrap().split_whitespace().collect();
        let state = match words[0] {
            "L" => "locked",
            "NP" => "empty",
            "P" => "set",
            other => panic!("{other}"),
        };
        assert_eq!(words.len(), if has_shadow { 6 } else { 1 }, "{words:?}");
        let day = |place| {
            words.get(place).and_then(|word: &&str| word.parse::<i64>().ok().filter(|days| *days != -1))
        };
        let aging = if has_shadow { aging(name) } else { HashMap::new() };
        let aging = |key| aging.get(key).map_or("never", String::as_str);
        let expired = match aging("Password expires") {
            "never" => false,
            "password must be changed" => true,
            // ISO dates of four-figure years are in the order of their letters.
            date => date < &self.today[..],
        };
        let mut password = Map::new();
        password.insert("state".into(), state.into());
        password.insert("expired".into(), expired.into());
        password.insert("last_change".into(), words.get(1).map_or(Value::Null, |word| date(word)));
        password.insert("min_days".into(), json!(day(2)));
        password.insert("max_days".into(), json!(day(3)));
        password.insert("warn_days".into(), json!(day(4)));
        password.insert("inactive_days".into(), json!(day(5)));
        password.insert("account_expires".into(), date(aging("Account expires")));
        password.into()
    }
}

type Kind<'a> = (&'a [u8], Option<&'a [Vec<u8>]>);

/// `chage -l`: what is before and after the colon of each line.
fn aging(name: &OsStr) -> HashMap<String, String> {
    let said =
        output("chage", &["-l".as_ref(), "-i".as_ref(), "--".as_ref(), name]).expect("chage -l answers");
    let lines = str::from_utf8(&said).unwrap().lines();
    lines
        .map(|line| line.split_once(':').expect(line))
        .map(|(key, value)| (key.trim().into(), value.trim().into()))
        .collect()
}

/// As passwd writes it, by its version: never, 2024-02-29 or 02/29/2024.
fn date(word: &str) -> Value {
    match word.split('/').collect::<Vec<_>>()[..] {
        ["never"] => Value::Null,
        [month, day, year] => format!("{year}-{month}-{day}").into(),
        _ => word.into(),
    }
}

/// Those that are asked about by themselves.
pub fn sample<T>(entries: &[T]) -> impl Iterator<Item = &T> {
    let step = if entries.len() > LARGE { entries.len() / 20 } else { 1 };
    entries.iter().step_by(step)
}

/// The uids of ordinary users, as a shell script would find them.
pub fn ordinary_uids() -> RangeInclusive<u32> {
    let limit = |key: &str, default| {
        let script = format!(r"s/^{key}[ \t]*//p");
        let arguments = ["-n".as_ref(), script.as_ref(), "/etc/login.defs".as_ref()];
        let said = output("sed", &arguments).unwrap_or_default();
        string(&said).trim().parse().unwrap_or(default)
    };
    limit("UID_MIN", 1000)..=limit("UID_MAX", 60000)
}

/// What a program writes. `None`, and a word to people, where there is none.
fn output(program: &str, args: &[&OsStr]) -> Option<Vec<u8>> {
    match Command::new(program).args(args).env("LC_ALL", "C").env("TZ", "UTC").output() {
        Ok(output) => Some(output.stdout),
        Err(error) => {
            eprintln!("NOT SEEN: {program}: {error}");
            None
        }
    }
}

fn unlisted_groups(users: &[Vec<Vec<u8>>], groups: &[Vec<Vec<u8>>]) -> Vec<Vec<Vec<u8>>> {
    let listed: HashSet<_> = groups.iter().map(|group| &group[2]).collect();
    let missing = users.iter().map(|user| &user[3]).filter(|gid| !listed.contains(gid));
    let missing: Vec<_> = missing.map(|gid| OsStr::from_bytes(gid)).collect();
    if missing.is_empty() { Vec::new() } else { database("group", &missing) }
}

/// The list, and what is told only to those who ask for a name.
fn shadow(users: &[Vec<Vec<u8>>]) -> Vec<Vec<Vec<u8>>> {
    let mut shadow = database("shadow", &[]);
    let listed: HashSet<_> = shadow.iter().map(|entry| &entry[0]).collect();
    let missing = users.iter().filter(|user| user[1] == b"x" && !listed.contains(&user[0]));
    let missing: Vec<_> = missing.map(|user| OsStr::from_bytes(&user[0])).collect();
    if !missing.is_empty() {
        shadow.append(&mut database("shadow", &missing));
    }
    shadow
}

fn database(name: &str, keys: &[&OsStr]) -> Vec<Vec<Vec<u8>>> {
    let said = output("getent", &[&[name.as_ref()], keys].concat()).expect("every C library has a getent");
    let lines = said.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| line.split(|byte| *byte == b':').map(<[u8]>::to_vec).collect()).collect()
}

fn members(group: &[Vec<u8>]) -> impl Iterator<Item = &[u8]> {
    group[3].split(|byte| *byte == b',').filter(|member| !member.is_empty())
}

fn text(bytes: &[u8]) -> Value {
    serde_json::to_value(Text::from(bytes)).unwrap()
}

fn number(digits: &[u8]) -> u32 {
    string(digits).parse().unwrap()
}

fn string(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
