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

/// Takes the program's code, its libraries' and what else they only read out of this process's memory.
/// The system has it in its page cache still, and maps again what is needed.
pub(super) fn give_back_code() {
    unsafe extern "C" fn each(
        object: *mut libc::dl_phdr_info,
        _: libc::size_t,
        _: *mut libc::c_void,
    ) -> libc::c_int {
        // SAFETY: dl_iterate_phdr(3) hands a description that is valid during this call.
        let (base, headers) = unsafe {
            let object = &*object;
            (object.dlpi_addr, std::slice::from_raw_parts(object.dlpi_phdr, object.dlpi_phnum.into()))
        };
        // SAFETY: sysconf(3) has no preconditions.
        let page = u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096).max(1);
        for header in headers {
            // What may be written to is this process's alone, and would be lost.
            let only_read = header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_W == 0;
            let begin = base + header.p_vaddr;
            let first = begin - begin % page;
            let length = begin + header.p_memsz - first;
            if let (true, Ok(first), Ok(length)) = (only_read, usize::try_from(first), length.try_into()) {
                let first = ptr::without_provenance_mut::<libc::c_void>(first);
                // SAFETY: these pages are a file's, which nobody has written to: whoever reads them
                // next, be it this very function, finds in them what they held.
                unsafe { libc::madvise(first, length, libc::MADV_DONTNEED) };
            }
        }
        0
    }
    // SAFETY: the function has the type that is asked for, and keeps nothing of what it is handed.
    unsafe { libc::dl_iterate_phdr(Some(each), ptr::null_mut()) };
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

#[cfg(test)]
mod tests {
    use super::*;

    fn resident_kib() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("RssFile:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    #[test]
    fn code_that_was_given_back_is_there_again() {
        let before = resident_kib();
        give_back_code();
        assert!(resident_kib() < before);
    }
}
