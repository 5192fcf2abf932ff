//! Starting a program: a child that shares our memory until it executes
//! (clone with `CLONE_VM | CLONE_VFORK`), so that the start costs the same
//! however large the agent is.
//!
//! Between clone and execve the child may only make raw system calls: it runs
//! on a stack of its own, in our memory, while we are suspended. What fails
//! there is written to [`Plan::failure`], which we read when we wake up.

use crate::machine::{Launch, StartError};
use libc::{c_char, c_int, c_long, c_void, gid_t, pid_t, uid_t};
use nix::sys::signal::{SigSet, SigmaskHow, pthread_sigmask};
use std::cell::Cell;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::ptr;

const STACK_BYTES: usize = 64 * 1024;
/// Of new files, where the command does not say otherwise.
const UMASK: c_long = 0o022;

/// What the child does before it executes, in this order.
#[derive(Debug, Clone, Copy)]
enum Step {
    Session,
    Descriptors,
    Groups,
    Group,
    User,
    Directory,
    Execute,
}

/// Everything the child needs, made ready while memory may still be allocated.
struct Plan {
    argv: *const *const c_char,
    envp: *const *const c_char,
    cwd: *const c_char,
    stdio: [RawFd; 3],
    credentials: Option<(uid_t, gid_t, *const gid_t, usize)>,
    failure: Cell<Option<(Step, c_int)>>,
}

/// Starts the program with these descriptors as 0, 1 and 2, in a session
/// of its own, with default signal dispositions and nothing else inherited.
///
/// # Errors
/// The step that failed, and the system's reason; no child is left.
pub(super) fn spawn(launch: &Launch, stdio: [BorrowedFd<'_>; 3]) -> Result<pid_t, StartError> {
    let argv = c_strings(launch.argv.iter().cloned())?;
    let env = launch.env.iter().map(|(name, value)| format!("{name}={value}"));
    let env = c_strings(env)?;
    let cwd = c_string(launch.cwd.clone())?;
    let (argv_pointers, env_pointers) = (pointers(&argv), pointers(&env));
    let plan = Plan {
        argv: argv_pointers.as_ptr(),
        envp: env_pointers.as_ptr(),
        cwd: cwd.as_ptr(),
        stdio: stdio.map(|fd| fd.as_raw_fd()),
        credentials: launch.credentials.as_ref().map(|c| (c.uid, c.gid, c.groups.as_ptr(), c.groups.len())),
        failure: Cell::new(None),
    };
    let pid = clone_suspended(&plan)?;
    match plan.failure.get() {
        None => Ok(pid),
        Some((step, errno)) => {
            let _ = nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(pid), None);
            Err(start_error(step_name(step, launch), errno))
        }
    }
}

fn clone_suspended(plan: &Plan) -> Result<pid_t, StartError> {
    let mut stack = vec![0u8; STACK_BYTES];
    let mut before = SigSet::empty();
    // No signal may be handled by a child that is still us.
    pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), Some(&mut before))
        .map_err(|errno| start_error("sigprocmask".into(), errno as c_int))?;
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: the stack outlives the child's use of it, because CLONE_VFORK
    // suspends us until the child has executed or ended; `child` makes nothing
    // but system calls on `plan`, which lives as long. The stack's end is
    // aligned down to 16 bytes as the ABI asks.
    let pid = unsafe {
        let end = stack.as_mut_ptr().add(STACK_BYTES);
        let end = end.sub(end as usize % 16);
        libc::clone(child, end.cast::<c_void>(), flags, ptr::from_ref(plan).cast_mut().cast())
    };
    let errno = nix::errno::Errno::last_raw();
    let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&before), None);
    if pid < 0 { Err(start_error("clone".into(), errno)) } else { Ok(pid) }
}

extern "C" fn child(plan: *mut c_void) -> c_int {
    // SAFETY: `plan` is the one that `clone_suspended` was given, still alive.
    let plan = unsafe { &*plan.cast::<Plan>() };
    // SAFETY: the pointers in the plan are those made in `spawn`, still alive;
    // only raw system calls are made. errno is ours to clobber: the parent
    // reads it before anything else only where clone itself failed.
    unsafe {
        let failed = prepare_and_execute(plan);
        plan.failure.set(Some((failed, *libc::__errno_location())));
        libc::_exit(127)
    }
}

/// Returns only the step that failed.
unsafe fn prepare_and_execute(plan: &Plan) -> Step {
    // SAFETY: as in `child`.
    unsafe {
        // Its own process group, and no terminal of whoever started the agent.
        if libc::setsid() < 0 {
            return Step::Session;
        }
        default_signals();
        for (wanted, &fd) in (0..).zip(&plan.stdio) {
            if libc::dup2(fd, wanted) < 0 {
                return Step::Descriptors;
            }
        }
        // Ours are all close-on-exec; this is for what we inherited. Old kernels lack it.
        libc::syscall(libc::SYS_close_range, 3 as c_long, c_long::from(u32::MAX), 0 as c_long);
        // Not libc's wrappers: they would tell the other threads of a process that is not ours.
        if let Some((uid, gid, groups, count)) = plan.credentials {
            if libc::syscall(libc::SYS_setgroups, count, groups) != 0 {
                return Step::Groups;
            }
            if libc::syscall(libc::SYS_setresgid, gid, gid, gid) != 0 {
                return Step::Group;
            }
            if libc::syscall(libc::SYS_setresuid, uid, uid, uid) != 0 {
                return Step::User;
            }
        }
        libc::syscall(libc::SYS_umask, UMASK);
        if libc::chdir(plan.cwd) != 0 {
            return Step::Directory;
        }
        libc::execve(*plan.argv, plan.argv, plan.envp);
        Step::Execute
    }
}

/// Every signal to its default, none blocked: what is ignored or blocked would
/// be inherited by the program.
pub(super) unsafe fn default_signals() {
    /// The kernel's `struct sigaction`, with room: a handler of 0 is the default.
    const DEFAULT: [u64; 4] = [0; 4];
    const SET_BYTES: usize = 8;
    // SAFETY: only system calls on local values; signals that refuse are left alone.
    unsafe {
        for signal in 1..=64 as c_long {
            // Not libc's wrapper: it passes over the two that it keeps for itself.
            let none = ptr::null_mut::<c_void>();
            libc::syscall(libc::SYS_rt_sigaction, signal, DEFAULT.as_ptr(), none, SET_BYTES);
        }
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
    }
}

fn step_name(step: Step, launch: &Launch) -> String {
    match step {
        Step::Session => "setsid".into(),
        Step::Descriptors => "dup2".into(),
        Step::Groups => "setgroups".into(),
        Step::Group => "setresgid".into(),
        Step::User => "setresuid".into(),
        Step::Directory => format!("cwd: chdir to {}", launch.cwd),
        Step::Execute => format!("execve {}", launch.argv.first().map_or("", String::as_str)),
    }
}

fn start_error(step: String, errno: c_int) -> StartError {
    StartError { step, reason: io::Error::from_raw_os_error(errno).to_string() }
}

fn c_string(text: String) -> Result<CString, StartError> {
    CString::new(text)
        .map_err(|e| StartError { step: "argument".into(), reason: format!("a NUL in it: {e}") })
}

fn c_strings(texts: impl Iterator<Item = String>) -> Result<Vec<CString>, StartError> {
    texts.map(c_string).collect()
}

/// With the null pointer at the end that execve wants.
fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|s| s.as_ptr()).chain([ptr::null()]).collect()
}
