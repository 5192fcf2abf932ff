//! The helper's program: one process works, and another sees that it comes to its end.

use super::hands::{RealHands, pause};
use super::plan::{Paths, Plan};
use super::stages::carry_out;
use crate::machine::limits::{HELPER_LOOK, KILLED_LOOKS, PLAN_BYTES, WORKER_TRIES};
use crate::reactor;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::Signal;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use std::env;
use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

/// Set for the process that works: to [`LATE`] where the one before took too long.
pub(super) const WORKER: &str = "ASPIRE_HANDOVER_WORKER";
const FIRST: &str = "1";
const LATE: &str = "late";

/// Carries a plan out to its end, whoever is killed meanwhile: this process starts a copy of itself
/// that works, and another one should that be killed. Where another helper is at work nothing is done.
/// Blocks, for as long as it takes.
///
/// # Errors
/// It did not come to its end, and why; the plan is unfinished, and may be carried out again.
pub fn take_over(plan: &Path) -> Result<(), String> {
    if let Some(word) = env::var_os(WORKER) {
        return work(plan, word == LATE);
    }
    let mut word = FIRST;
    for _ in 0..WORKER_TRIES {
        match start_worker(word) {
            Ok(status) => match status.signal() {
                None => return ended(status),
                Some(signal) => word = if signal == libc::SIGALRM { LATE } else { word },
            },
            // There is no room for two of us.
            Err(_) => return work(plan, word == LATE),
        }
    }
    Err(format!("{WORKER_TRIES} workers were killed"))
}

fn start_worker(word: &str) -> std::io::Result<ExitStatus> {
    let mut words = env::args_os();
    // By this name it is our own program, whatever has its name now.
    let mut worker = Command::new("/proc/self/exe");
    if let Some(name) = words.next() {
        worker.arg0(name);
    }
    // A group of its own: what it has installed is of that.
    let worker = worker.args(words).env(WORKER, word).stdin(Stdio::null()).process_group(0);
    let mut worker = worker.spawn()?;
    let pid = worker.id().cast_signed();
    if is_late(pid) {
        // It must not go on behind whoever puts the version before back.
        reactor::end_group(pid, KILLED_LOOKS, || pause(HELPER_LOOK));
    }
    worker.wait()
}

/// Waits for its end, and leaves it there to be reaped: whether it has taken too long.
fn is_late(pid: i32) -> bool {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
    loop {
        match waitid(Id::Pid(Pid::from_raw(pid)), flags) {
            Err(Errno::EINTR) => {}
            Ok(WaitStatus::Signaled(_, Signal::SIGALRM, _)) => return true,
            _ => return false,
        }
    }
}

fn ended(status: ExitStatus) -> Result<(), String> {
    if status.success() { Ok(()) } else { Err(format!("the worker failed ({status}); its log says why")) }
}

fn work(path: &Path, is_late: bool) -> Result<(), String> {
    let paths = Paths::of_plan(path);
    let Some(_lock) = lock(&paths.lock())? else { return Ok(()) };
    // Read once nobody else writes to it.
    let mut plan = read(path)?;
    if plan.stage.is_end() {
        return Ok(());
    }
    let mut hands = RealHands::new(paths, &plan, is_late)?;
    carry_out(&mut plan, &mut hands).map_err(|died| died.to_string())
}

/// `None` where another has it.
fn lock(path: &Path) -> Result<Option<Flock<File>>, String> {
    let named = |error: std::io::Error| format!("{}: {error}", path.display());
    let file = File::options().write(true).create(true).truncate(false).open(path).map_err(named)?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Some(lock)),
        Err((_, Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, errno)) => Err(named(errno.into())),
    }
}

fn read(path: &Path) -> Result<Plan, String> {
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(PLAN_BYTES + 1).read_to_end(&mut text));
    match read {
        Err(error) if error.kind() == ErrorKind::NotFound => Err(format!("{}: no plan", path.display())),
        Err(error) => Err(format!("{}: {error}", path.display())),
        Ok(_) => Plan::parse(&text).map_err(|reason| format!("{}: {reason}", path.display())),
    }
}
