//! What /proc says of a process.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::time::Duration;

/// The state's letter and the parent of a process; `None` where it is gone.
fn stat(pid: u32) -> Option<(char, u32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before may hold spaces and brackets of its own.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

/// The children of a process with their states.
fn children_with_states(pid: u32) -> Vec<(u32, char)> {
    let pids =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter_map(|child: u32| stat(child).filter(|stat| stat.1 == pid).map(|stat| (child, stat.0)))
        .collect()
}

pub fn children(pid: u32) -> Vec<u32> {
    children_with_states(pid).into_iter().map(|(child, _)| child).collect()
}

pub fn zombies(pid: u32) -> usize {
    children_with_states(pid).iter().filter(|(_, state)| *state == 'Z').count()
}

/// Whoever has these words in its command line and has not ended, but for this very process.
pub fn with_words(words: &str) -> Vec<i32> {
    let pids = fs::read_dir("/proc").unwrap();
    let pids = pids.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let has_words = |pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        *pid != std::process::id() && String::from_utf8_lossy(&line).contains(words)
    };
    pids.filter(has_words).filter(|pid| is_alive(*pid)).map(u32::cast_signed).collect()
}

/// Kills all of these, and those that they have started meanwhile, until there are none.
pub fn end_all(find: impl Fn() -> Vec<i32>) {
    for _ in 0..200 {
        let left = find();
        if left.is_empty() {
            return;
        }
        for pid in left {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    eprintln!("these do not end: {:?}", find());
}

/// Whether there is such a process that has not ended.
pub fn is_alive(pid: u32) -> bool {
    stat(pid).is_some_and(|(state, _)| !['Z', 'X'].contains(&state))
}

pub fn descriptors(pid: u32) -> Vec<String> {
    let mut open: Vec<String> = fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .filter_map(|entry| fs::read_link(entry.unwrap().path()).ok())
        .map(|target| target.to_string_lossy().into_owned())
        .collect();
    open.sort();
    open
}

/// A line of /proc/PID/status, without its name.
pub fn status(pid: u32, name: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.expect(name).trim().to_owned()
}
