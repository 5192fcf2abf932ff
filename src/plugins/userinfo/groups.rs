//! `getinfo.groups`: which groups there are, and who is in them.

use crate::nss::{Account, Group as Entry, NameService};
use aspire_plugin::args::{self, Part};
use aspire_plugin::{Failure, Text, json};
use aspire_wire::Retcode;
use getopts::Options;
use serde::Serialize;
use std::collections::HashMap;

/// `-G NAME` one group (a name, or else a gid), or all. `-n COUNT` and
/// `-o OFFSET` show a part.
///
/// # Errors
/// 3021: the arguments are wrong. 3023: there is no such group. 3101: the name
/// service fails.
pub fn answer(args: &str) -> Result<String, Failure> {
    let mut options = Options::new();
    options.optopt("G", "", "one group", "NAME");
    Part::options(&mut options);
    let matches = args::matches(&options, args)?;
    let part = Part::of(&matches)?;
    let mut service = NameService::open();
    let entries = match matches.opt_str("G") {
        Some(name) => vec![service.named_or_numbered::<Entry>(&name)?.ok_or_else(|| {
            Failure::new(Retcode::NoSuchUserOrGroup, format!("there is no group {name:?}"))
        })?],
        None => service.entries().collect::<Result<_, _>>()?,
    };
    let mut users = HashMap::<u32, Vec<Text>>::new();
    for account in service.entries::<Account>() {
        let account = account?;
        users.entry(account.gid).or_default().push(account.name);
    }
    let count = entries.len();
    let primary_members = |gid| users.get(&gid).cloned().unwrap_or_default();
    let group =
        |Entry { name, gid, members }| Group { name, gid, members, primary_members: primary_members(gid) };
    json(&Answer { groups: part.take(entries).into_iter().map(group).collect(), count })
}

#[derive(Serialize)]
struct Answer {
    /// In the order of the group database.
    groups: Vec<Group>,
    /// Of all groups that were asked for, shown or not.
    count: usize,
}

/// An entry of the group database, and those who need not be in it.
#[derive(Serialize)]
struct Group {
    name: Text,
    gid: u32,
    /// The names of the users that the group database lists, in its order. It need
    /// not list those whose primary group this is.
    members: Vec<Text>,
    /// The names of the users whose primary group this is, in the order of the
    /// passwd database.
    primary_members: Vec<Text>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_named() {
        for (args, retcode, reason) in [
            ("-G", 3021, "args: Argument to option 'G' missing"),
            ("-U root", 3021, "args: Unrecognized option: 'U'"),
            ("-o x", 3021, "args: -o: \"x\" is not a number in range"),
            ("-G 'no such group'", 3023, "there is no group \"no such group\""),
            ("-G 4294967294", 3023, "there is no group \"4294967294\""),
        ] {
            let refused = answer(args).unwrap_err();
            assert_eq!((refused.retcode.code(), refused.reason.as_str()), (retcode, reason), "{args}");
        }
    }
}
