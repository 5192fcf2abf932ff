//! The query `process`.

use crate::entry::{Entry, Process, Users};
use crate::host::Host;
use aspire_plugin::args::{self, Part};
use aspire_plugin::{Failure, Root, json};
use getopts::{Matches, Options};
use serde::Serialize;
use std::collections::BTreeSet;
use std::fs;

/// Without `-p` so many are shown, if `-n` does not say another number.
const SHOWN: usize = 10;

/// The answer.
#[derive(Debug, Serialize)]
pub struct Processes {
    /// Those that use most first: of the processor over their lives, or, with `-m`,
    /// of memory.
    pub processes: Vec<Process>,
    /// How many there are, or how many are as `-N` and `-p` say.
    pub count: usize,
}

/// Which processes are asked for, and in which order.
#[derive(Debug, Default)]
pub struct Selection {
    /// All, if there are none.
    pub pids: BTreeSet<i32>,
    /// What they call themselves, or the file that they run.
    pub name: Option<String>,
    pub by_memory: bool,
}

/// `-m`: by memory. `-N NAME`: those of that name. `-p PID,…`: those. `-n`, `-o`:
/// a part of the list.
pub fn answer(args: &str) -> Result<String, Failure> {
    let mut options = Options::new();
    options.optflag("m", "", "those that use most memory first");
    options.optopt("N", "", "those with this name, or that run a file of this name", "NAME");
    options.optmulti("p", "", "those with these numbers", "PID,...");
    Part::options(&mut options);
    let matches = args::matches(&options, args)?;
    let selection =
        Selection { pids: pids(&matches)?, name: matches.opt_str("N"), by_memory: matches.opt_present("m") };
    let mut part = Part::of(&matches)?;
    if selection.pids.is_empty() {
        part.count.get_or_insert(SHOWN);
    }
    json(&processes(&Root::default(), &selection, part)?)
}

fn pids(matches: &Matches) -> Result<BTreeSet<i32>, Failure> {
    let pid = |text: &str| match text.parse() {
        Ok(pid @ 1..) => Ok(pid),
        _ => Err(Failure::invalid(format!("args: -p: {text:?} is not the number of a process"))),
    };
    matches.opt_strs("p").iter().flat_map(|list| list.split(',')).map(pid).collect()
}

/// As [`answer`], of the system below a root.
///
/// # Errors
/// 3024: one of the numbers asked for is no process's. 3101: there is no /proc.
pub fn processes(root: &Root, selection: &Selection, part: Part) -> Result<Processes, Failure> {
    let host = Host::at(root);
    let mut found = Vec::new();
    let mut missing = selection.pids.clone();
    for pid in running(root)? {
        if !selection.pids.is_empty() && !missing.remove(&pid) {
            continue;
        }
        let Some(entry) = Entry::open(root, pid) else {
            // It has ended since; who asked for it is told so.
            missing.extend(selection.pids.get(&pid));
            continue;
        };
        if selection.name.as_ref().is_none_or(|name| entry.is_called(name.as_bytes())) {
            found.push(Found::of(&entry, &host, selection.by_memory));
        }
    }
    if let Some(missing) = missing.first() {
        return Err(Failure::not_found(format!("there is no process {missing}")));
    }
    found.sort_by(|one, other| other.weight.total_cmp(&one.weight).then(one.pid.cmp(&other.pid)));
    let count = found.len();
    let mut users = Users::default();
    let processes = part.take(found).iter().filter_map(|found| found.tell(root, &host, &mut users)).collect();
    Ok(Processes { processes, count })
}

/// The processes' numbers. Their threads' have folders, too, which are not listed.
fn running(root: &Root) -> Result<Vec<i32>, Failure> {
    let folder = root.path("proc");
    let names = fs::read_dir(&folder)
        .map_err(|error| Failure::broken(format!("{}: {error}", folder.display())))?
        .flatten();
    Ok(names.filter_map(|name| name.file_name().to_str()?.parse().ok()).collect())
}

/// A process to be shown, perhaps. It does not keep the process's folder open: there
/// may be more processes than a process may open files.
struct Found {
    pid: i32,
    started: u64,
    weight: f64,
}

impl Found {
    #[allow(clippy::cast_precision_loss, reason = "2^53 pages are more than there are")]
    fn of(entry: &Entry, host: &Host, by_memory: bool) -> Self {
        let weight =
            if by_memory { entry.resident_pages().map(|pages| pages as f64) } else { entry.cpu_share(host) };
        Found { pid: entry.stat.pid, started: entry.stat.starttime, weight: weight.unwrap_or(0.0) }
    }

    /// `None` if it has ended, and perhaps another one has its number now.
    fn tell(&self, root: &Root, host: &Host, users: &mut Users) -> Option<Process> {
        let entry = Entry::open(root, self.pid)?;
        if entry.stat.starttime != self.started {
            return None;
        }
        entry.tell(host, users)
    }
}
