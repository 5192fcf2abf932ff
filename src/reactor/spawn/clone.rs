//! clone(2) and clone3(2): for a child that shares our memory, on a stack of
//! its own, while we are suspended; and for one that is a copy of us.

use libc::{c_int, c_void, pid_t};
use nix::errno::Errno;
use std::os::fd::{AsRawFd as _, BorrowedFd};

/// What the child calls. It must not return.
pub(super) type Entry = extern "C" fn(*mut c_void) -> c_int;

const STACK_BYTES: usize = 16 * 1024;

const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// `struct clone_args` of clone3(2).
#[repr(C)]
#[derive(Default)]
struct Arguments {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Starts a child that calls `entry(argument)`. We go on when it has executed or ended.
///
/// # Safety
/// Until then it may make nothing but system calls, and must leave our memory as it is
/// but for what `argument` points to. No signal may have a handler: it would run there.
pub(super) unsafe fn clone(entry: Entry, argument: *mut c_void) -> Result<pid_t, Errno> {
    let mut stack = vec![0u8; STACK_BYTES];
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: the stack outlives the child's use of it. Its end is aligned down
    // to 16 bytes as the ABI asks.
    let pid = unsafe {
        let end = stack.as_mut_ptr().add(STACK_BYTES);
        let end = end.sub(end as usize % 16);
        libc::clone(entry, end.cast::<c_void>(), flags, argument)
    };
    Errno::result(pid)
}

/// As [`clone`], with the child in this cgroup (v2) from the first. Moving it there
/// later would take some 10 ms, for which the kernel waits for every processor.
///
/// # Errors
/// `ENOSYS` where the kernel, or this program on this processor, cannot do it.
///
/// # Safety
/// As [`clone`].
#[cfg(target_arch = "x86_64")]
pub(super) unsafe fn clone_into(
    cgroup: BorrowedFd<'_>,
    entry: Entry,
    argument: *mut c_void,
) -> Result<pid_t, Errno> {
    let mut stack = vec![0u8; STACK_BYTES];
    let start = stack.as_mut_ptr() as u64;
    let arguments = Arguments {
        flags: u64::from((libc::CLONE_VM | libc::CLONE_VFORK).cast_unsigned()) | CLONE_INTO_CGROUP,
        exit_signal: u64::from(libc::SIGCHLD.cast_unsigned()),
        stack: start,
        // Its end is aligned down to 16 bytes as the ABI asks.
        stack_size: STACK_BYTES as u64 - start % 16,
        cgroup: u64::from(cgroup.as_raw_fd().cast_unsigned()),
        ..Arguments::default()
    };
    let answer: i64;
    // SAFETY: the stack outlives the child's use of it. The child begins after
    // `syscall` with our registers, but for a stack that is empty: it must not
    // come back to this function, and does not.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r12",
            "call r13",
            "ud2",
            "2:",
            inlateout("rax") libc::SYS_clone3 => answer,
            in("rdi") &raw const arguments,
            in("rsi") size_of::<Arguments>(),
            in("r12") argument,
            in("r13") entry,
            out("rcx") _,
            out("r11") _,
        );
    }
    match i32::try_from(answer) {
        Ok(pid) if pid > 0 => Ok(pid),
        Ok(negative) => Err(Errno::from_raw(-negative)),
        Err(_) => Err(Errno::ENOSYS),
    }
}

/// As fork(2), with the child in this cgroup (v2) from the first. `None` is returned in the child.
///
/// # Errors
/// `ENOSYS` where the kernel cannot do it.
///
/// # Safety
/// This process has one thread: no lock is held by another, and no handler waits for a fork.
pub(super) unsafe fn fork_into(cgroup: BorrowedFd<'_>) -> Result<Option<pid_t>, Errno> {
    let arguments = Arguments {
        flags: CLONE_INTO_CGROUP,
        exit_signal: u64::from(libc::SIGCHLD.cast_unsigned()),
        cgroup: u64::from(cgroup.as_raw_fd().cast_unsigned()),
        ..Arguments::default()
    };
    // SAFETY: the child goes on in a copy of our memory, on a copy of this stack.
    let answer = unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<Arguments>()) };
    let pid = Errno::result(answer)?;
    Ok(pid_t::try_from(pid).ok().filter(|pid| *pid != 0))
}

/// glibc has no clone3, and each processor an assembly of its own.
#[cfg(not(target_arch = "x86_64"))]
pub(super) unsafe fn clone_into(_: BorrowedFd<'_>, _: Entry, _: *mut c_void) -> Result<pid_t, Errno> {
    Err(Errno::ENOSYS)
}
