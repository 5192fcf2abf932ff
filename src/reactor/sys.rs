//! System calls that no safe crate wraps as they are needed here.

use super::process::Stat;
use crate::machine::{Exit, Process};
use nix::errno::Errno;
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::unistd::Pid;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::ptr;

/// What there is of children.
pub(super) enum Children {
    /// One has ended and is not reaped yet; how it ended.
    Ended(Pid, Exit),
    /// None has.
    Run,
    /// There are none.
    Gone,
}

/// Whether a child has ended. (nix knows no name for a real-time signal, and would hide the child
/// that one killed.)
pub(super) fn look_at_children() -> Children {
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: siginfo_t is plain data, for which zeros are a value.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: waitid(2) writes to the siginfo that it is given.
    while unsafe { libc::waitid(libc::P_ALL, 0, &raw mut info, options) } != 0 {
        match Errno::last() {
            Errno::EINTR => {}
            Errno::ECHILD => return Children::Gone,
            _ => return Children::Run,
        }
    }
    // SAFETY: waitid(2) has filled in the fields of SIGCHLD, or left the zeros.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    let exit = if info.si_code == libc::CLD_EXITED { Exit::Code(status) } else { Exit::Signal(status) };
    if pid == 0 { Children::Run } else { Children::Ended(Pid::from_raw(pid), exit) }
}

/// Takes SIGCHLD back to its default. Where whoever started us had it ignored,
/// the system would reap our children, and we would never learn how they ended.
///
/// # Errors
/// The system's reason.
pub(super) fn learn_of_children() -> io::Result<()> {
    // SAFETY: no handler is involved.
    unsafe { signal(Signal::SIGCHLD, SigHandler::SigDfl) }?;
    Ok(())
}

/// Gives what the allocator holds free back to the system.
pub(super) fn give_back_free_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim(3) has no preconditions.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// What becomes readable when this process ends, whosever child it is: pidfd_open(2), since Linux 5.3.
///
/// # Errors
/// The system's reason; there may be no such process.
pub(super) fn watch_process(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: pidfd_open(2) takes two numbers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let fd = i32::try_from(fd).ok().filter(|fd| *fd >= 0).ok_or_else(io::Error::last_os_error)?;
    // SAFETY: the descriptor is new, and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Signals this process and no later one of the same number. One that is gone is passed over.
pub(super) fn signal_process(process: Process, signal: i32) {
    let is_meant = || Stat::read(process.pid).is_some_and(|now| now.started == process.start);
    match watch_process(process.pid) {
        // Looked at afterwards: what the descriptor stands for cannot become another any more.
        Ok(watch) if is_meant() => {
            let (fd, none) = (watch.as_raw_fd(), ptr::null_mut::<libc::siginfo_t>());
            // SAFETY: pidfd_send_signal(2) reads no siginfo where it is given none.
            unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, signal, none, 0) };
        }
        // Linux before 5.3.
        Err(error) if error.raw_os_error() == Some(libc::ENOSYS) && is_meant() => {
            // SAFETY: kill(2) takes two numbers.
            unsafe { libc::kill(process.pid, signal) };
        }
        _ => {}
    }
}

/// Whether what is watched is a child of ours that has ended and is not reaped yet.
pub(super) fn is_to_be_reaped(watch: BorrowedFd<'_>) -> bool {
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: siginfo_t is plain data, for which zeros are a value.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let fd = watch.as_raw_fd().cast_unsigned();
    // SAFETY: waitid(2) writes to the siginfo that it is given, and has filled in the field where
    // it succeeded, or left the zero.
    unsafe { libc::waitid(libc::P_PIDFD, fd, &raw mut info, options) == 0 && info.si_pid() != 0 }
}

/// Sends any signal, a real-time one as well, to a child of ours that is not reaped yet.
pub(super) fn signal_child(child: Pid, signal: i32) {
    // SAFETY: kill(2) takes two numbers.
    unsafe {
        libc::kill(child.as_raw(), signal);
    }
}
