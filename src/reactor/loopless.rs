//! Processes, for a program of ours that has no loop: it blocks, and looks again.

use super::cgroup::{self, open_folder};
use super::lasting::agent_of;
use super::process::{Stat, everybody};
use super::spawn::{self, Cgroups, Ignored, Inherited, OpenFiles};
use super::sys;
use crate::machine::{Launch, Process, StartError};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::fs::File;
use std::os::fd::AsFd as _;

/// The process of this number, where there is one that has not ended.
pub fn look(pid: i32) -> Option<Process> {
    Stat::read(pid).filter(|stat| !stat.ended).map(|stat| stat.process())
}

/// Signals this process and no later one of the same number. One that is gone is passed over.
pub fn signal(process: Process, signal: i32) {
    sys::signal_process(process, signal);
}

/// Starts a program in a session of its own, which hears and says nothing. It is our child, and does
/// not end with us; where we are of an agent's [`crate::machine::Lasting`] family it takes the agent's
/// place, and is not of that family.
///
/// # Errors
/// The step that failed, and the system's reason.
pub fn start(launch: &Launch) -> Result<Process, StartError> {
    let null = File::options().read(true).write(true).open("/dev/null");
    let null =
        null.map_err(|error| StartError { step: "open /dev/null".into(), reason: error.to_string() })?;
    let inherited = Inherited { ignored: Ignored::look(), open_files: OpenFiles::inherited() };
    let stdio = [null.as_fd(); 3];
    // Else one that is replaced again and again would be ever deeper below the first.
    let place = cgroup::own().and_then(|own| agent_of(&own)).and_then(|place| open_folder(&place).ok());
    let cgroups = Cgroups { unified: place.as_ref().map(File::as_fd), ..Cgroups::default() };
    let started = spawn::spawn(launch, stdio, &inherited, cgroups)?;
    // Not reaped yet, so it is there however short its life was.
    let stat = Stat::read(started.pid);
    stat.map(|stat| stat.process())
        .ok_or_else(|| StartError { step: "look at it".into(), reason: "/proc does not show it".into() })
}

/// Ends whoever is in the process group of this child of ours, which has ended and is not reaped yet:
/// till then the number is nobody else's. Looks `looks` times, with a `pause` after each.
pub fn end_group(leader: i32, looks: u32, mut pause: impl FnMut()) {
    let leader = Pid::from_raw(leader);
    let of_it = |stat: &Stat| stat.group == leader && stat.pid != leader && !stat.ended;
    for _ in 0..looks {
        if !everybody().iter().any(of_it) {
            return;
        }
        let _ = killpg(leader, Signal::SIGKILL);
        pause();
    }
}

/// Takes in that children of ours have ended.
pub fn reap() {
    use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
    while !matches!(waitpid(None, Some(WaitPidFlag::WNOHANG)), Err(_) | Ok(WaitStatus::StillAlive)) {}
}
