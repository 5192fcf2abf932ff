//! Who runs on behalf of which command: every descendant of a command has its
//! mark in its environment, wherever it went and whoever its parent is by now.

use crate::rig::agent::signal;
use crate::rig::{PATIENCE, until};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, getpgid, getpgrp};
use std::collections::BTreeMap;
use std::fs;
use std::time::Instant;

/// The variable that requests set, and that nothing else on the host has.
pub const MARK: &str = "ASPIRE_MATRIX";

#[derive(Debug)]
pub struct Process {
    pub pid: u32,
    pub comm: String,
    pub state: char,
}

/// The living of each mark that begins with `prefix`.
pub fn census(prefix: &str) -> BTreeMap<String, Vec<Process>> {
    let mut marked: BTreeMap<String, Vec<Process>> = BTreeMap::new();
    let pids = fs::read_dir("/proc").unwrap().filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok());
    for pid in pids {
        if let Some(mark) = mark(pid).filter(|mark| mark.starts_with(prefix))
            && let Some(process) = Process::read(pid)
        {
            marked.entry(mark).or_default().push(process);
        }
    }
    marked
}

/// The mark of a process. One that has ended has no environment any more, be
/// it a zombie.
fn mark(pid: u32) -> Option<String> {
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let mut variables = environment.split(|byte| *byte == 0);
    let value = variables.find_map(|variable| variable.strip_prefix(MARK.as_bytes())?.strip_prefix(b"="))?;
    Some(String::from_utf8_lossy(value).into_owned())
}

impl Process {
    fn read(pid: u32) -> Option<Process> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (before, after) = stat.rsplit_once(") ")?;
        let comm = before.split_once('(')?.1.to_owned();
        let state = after.chars().next()?;
        (!['Z', 'X'].contains(&state)).then_some(Process { pid, comm, state })
    }
}

/// Kills everybody whose mark begins so when it is dropped: a test that fails
/// leaves nothing behind.
pub struct Sweep(pub String);

impl Drop for Sweep {
    fn drop(&mut self) {
        // Not in vain for ever: what is dropped after this has to be ended as well.
        let begun = Instant::now();
        while !kill_once(&self.0) && begun.elapsed() < PATIENCE {}
    }
}

/// Kills the marked until there are none.
pub fn kill_all(prefix: &str) {
    until(&format!("the processes of {prefix} to be gone"), || kill_once(prefix).then_some(()));
}

/// True where there was nobody.
fn kill_once(prefix: &str) -> bool {
    let left = census(prefix);
    for process in left.values().flatten() {
        // All of a group at once, before any of them forks again. Its number is
        // no other's while one of its processes is there, and this test's own
        // group has no mark.
        let group = getpgid(Some(pid(process))).ok().filter(|group| *group != getpgrp());
        let _ = group.map(|group| killpg(group, Signal::SIGKILL));
        signal(process.pid, Signal::SIGKILL);
    }
    left.is_empty()
}

fn pid(process: &Process) -> Pid {
    Pid::from_raw(process.pid.cast_signed())
}
