//! `getinfo.users`: who has an account here.

use crate::known::Known;
use crate::login_defs;
use crate::nss::{Account, NameService};
use crate::password::Password;
use aspire_plugin::args::{self, Part};
use aspire_plugin::{Failure, Root, Text, clock, json};
use aspire_wire::Retcode;
use getopts::{Matches, Options};
use libc::c_long;
use serde::Serialize;
use std::time::{SystemTime, UNIX_EPOCH};

/// `-U NAME` one user (a name, or else a uid), `-A` all, `-S` system users, `-u`
/// ordinary users, which is the default; at most one of them. `-n COUNT` and
/// `-o OFFSET` show a part.
///
/// Ordinary are those whose uid is in the range of /etc/login.defs for people;
/// all others, and root in any case, are system users.
///
/// # Errors
/// 3021: the arguments are wrong. 3023: there is no such user. 3101: the name
/// service fails.
pub fn answer(args: &str) -> Result<String, Failure> {
    answer_at(&Root::default(), clock::now(), args)
}

/// Accounts come from the name service, wherever the root is.
///
/// # Errors
/// As [`answer`].
pub fn answer_at(root: &Root, now: SystemTime, args: &str) -> Result<String, Failure> {
    let matches = args::matches(&options(), args)?;
    let part = Part::of(&matches)?;
    let selection = Selection::of(&matches)?;
    let mut service = NameService::open();
    let today = today(now);
    let (users, count) = match selection {
        Selection::One(name) => {
            let account = service.named_or_numbered::<Account>(&name)?.ok_or_else(|| {
                Failure::new(Retcode::NoSuchUserOrGroup, format!("there is no user {name:?}"))
            })?;
            let known = Known::about(&mut service, &account)?;
            (part.take(vec![User::of(account, &known, today)]), 1)
        }
        Selection::Where(chosen) => {
            let ordinary = login_defs::ordinary(root);
            let chosen = |account: &Account| chosen(account.uid != 0 && ordinary.contains(&account.uid));
            let accounts = service.entries::<Account>().filter(|entry| entry.as_ref().map_or(true, chosen));
            let accounts = accounts.collect::<Result<Vec<_>, _>>()?;
            let count = accounts.len();
            let accounts = part.take(accounts);
            let known = Known::about_all(&mut service, &accounts)?;
            (accounts.into_iter().map(|account| User::of(account, &known, today)).collect(), count)
        }
    };
    json(&Answer { users, count })
}

fn options() -> Options {
    let mut options = Options::new();
    options.optopt("U", "", "one user", "NAME");
    options.optflag("A", "", "all users");
    options.optflag("u", "", "ordinary users");
    options.optflag("S", "", "system users");
    Part::options(&mut options);
    options
}

enum Selection {
    /// A name, or else a uid.
    One(String),
    /// Those of whom this is true, told whether they are ordinary.
    Where(fn(bool) -> bool),
}

impl Selection {
    fn of(matches: &Matches) -> Result<Self, Failure> {
        let given = ["U", "A", "u", "S"].into_iter().filter(|option| matches.opt_present(option));
        match given.collect::<Vec<_>>()[..] {
            ["U"] => Ok(Selection::One(matches.opt_str("U").expect("it was given, and takes a value"))),
            ["A"] => Ok(Selection::Where(|_| true)),
            [] | ["u"] => Ok(Selection::Where(|ordinary| ordinary)),
            ["S"] => Ok(Selection::Where(|ordinary| !ordinary)),
            ref many => Err(Failure::invalid(format!(
                "args: -{}: at most one of -U, -A, -u and -S can be given",
                many.join(" and -")
            ))),
        }
    }
}

/// In days since 1970, in UTC, as the shadow database counts.
fn today(now: SystemTime) -> c_long {
    let seconds = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    c_long::try_from(seconds / (24 * 3600)).unwrap_or(c_long::MAX)
}

#[derive(Serialize)]
struct Answer {
    /// In the order of the passwd database.
    users: Vec<User>,
    /// Of all users that were asked for, shown or not.
    count: usize,
}

/// An entry of the passwd database, and what others say about it.
#[derive(Serialize)]
struct User {
    name: Text,
    uid: u32,
    /// Of the primary group.
    gid: u32,
    /// The primary group's name. `null`: no group has that gid.
    group: Option<Text>,
    /// The names of all groups the user is in, as `id -Gn`: the primary one, then
    /// those that list the user, in the order of the group database, each once.
    groups: Vec<Text>,
    /// The fifth field of passwd(5): the full name, and more, parted by commas.
    gecos: Text,
    home: Text,
    /// Empty: /bin/sh.
    shell: Text,
    /// `null`: it cannot be known, as the passwd database says that it is in the
    /// shadow database, which has no entry of this user or, as root alone reads it,
    /// is not read.
    password: Option<Password>,
}

impl User {
    fn of(account: Account, known: &Known, today: c_long) -> Self {
        User {
            group: known.group_name(account.gid).cloned(),
            groups: known.group_names(&account),
            password: Password::of(&account, known.shadow(&account), today),
            name: account.name,
            uid: account.uid,
            gid: account.gid,
            gecos: account.gecos,
            home: account.home,
            shell: account.shell,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_is_wrong_is_named() {
        for (args, retcode, reason) in [
            ("-A -S", 3021, "args: -A and -S: at most one of -U, -A, -u and -S can be given"),
            ("-SuU root", 3021, "args: -U and -u and -S: at most one of -U, -A, -u and -S can be given"),
            ("-A -A", 3021, "args: Option 'A' given more than once"),
            ("-n -1", 3021, "args: -n: \"-1\" is not a number in range"),
            ("-x", 3021, "args: Unrecognized option: 'x'"),
            ("root", 3021, "args: unexpected argument \"root\""),
            ("-U 'no such user'", 3023, "there is no user \"no such user\""),
            ("-U 4294967294", 3023, "there is no user \"4294967294\""),
            ("-U ''", 3023, "there is no user \"\""),
        ] {
            let refused = answer(args).unwrap_err();
            assert_eq!((refused.retcode.code(), refused.reason.as_str()), (retcode, reason), "{args}");
        }
    }

    #[test]
    fn root_is_a_system_user_whatever_the_range() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("etc")).unwrap();
        std::fs::write(folder.path().join("etc/login.defs"), "UID_MIN 0\nUID_MAX 4294967295\n").unwrap();
        let answer = answer_at(&Root::at(folder.path()), UNIX_EPOCH, "-S").unwrap();
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        assert!(answer["users"].as_array().unwrap().iter().all(|user| user["uid"] == 0), "{answer}");
        assert_eq!(answer["users"][0]["name"], "root");
    }

    #[test]
    fn a_part_of_one_is_taken_as_of_many() {
        let answer = |args| answer_at(&Root::default(), UNIX_EPOCH, args).unwrap();
        assert_eq!(answer("-U root -o 1"), r#"{"users":[],"count":1}"#);
        assert_eq!(answer("-U root -n 1"), answer("-U 0"));
    }

    #[test]
    fn days_are_counted_in_utc() {
        let at = |seconds| today(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!((at(0), at(86399), at(86400), at(1_767_225_600)), (0, 0, 1, 20454));
        assert_eq!(today(UNIX_EPOCH - Duration::from_secs(1)), 0);
    }
}
