//! Every signal at its default in a child, and none blocked: what is ignored or
//! blocked is inherited by the program. (What is handled is not.)

use libc::{c_long, c_void};
use std::ptr;

/// The highest signal number of Linux.
const LAST: c_long = 64;
const SET_BYTES: usize = size_of::<u64>();

/// The signals that this process ignores, which it does from its start: those
/// that whoever started it ignores, and SIGPIPE. The lowest bit is the signal 1.
#[derive(Debug, Clone, Copy)]
pub(in crate::reactor) struct Ignored(u64);

impl Ignored {
    pub fn look() -> Self {
        /// `SIG_IGN`, as the kernel's `struct sigaction` begins with it.
        const IGNORE: u64 = 1;
        let ignores = |signal: &c_long| {
            let mut action = [0u64; 4];
            let (none, to) = (ptr::null_mut::<c_void>(), action.as_mut_ptr());
            // SAFETY: it writes to the array, which has room for the kernel's struct.
            // Not libc's wrapper: it passes over the two that it keeps for itself.
            unsafe { libc::syscall(libc::SYS_rt_sigaction, *signal, none, to, SET_BYTES) };
            action[0] == IGNORE
        };
        Ignored((1..=LAST).filter(ignores).fold(0, |set, signal| set | 1 << (signal - 1)))
    }

    /// For a child that is about to be something else.
    ///
    /// # Safety
    /// Nobody here relies on a signal's being ignored or blocked any more.
    pub unsafe fn end(self) {
        const DEFAULT: [u64; 4] = [0; 4];
        // SAFETY: only system calls on local values.
        unsafe {
            for signal in (1..=LAST).filter(|signal| self.0 >> (signal - 1) & 1 == 1) {
                let none = ptr::null_mut::<c_void>();
                libc::syscall(libc::SYS_rt_sigaction, signal, DEFAULT.as_ptr(), none, SET_BYTES);
            }
            let mut none: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut none);
            libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
        }
    }
}
