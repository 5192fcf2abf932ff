//! Starting a program: a child that shares our memory until it executes
//! (clone with `CLONE_VM | CLONE_VFORK`), so that the start costs the same
//! however large the agent is.
//!
//! Between clone and execve the child may only make raw system calls: it runs
//! on a stack of its own, in our memory, while we are suspended. What fails
//! there is written to [`Plan::failure`], which we read when we wake up.

mod clone;
mod limits;
mod signals;

pub(super) use limits::OpenFiles;
pub(super) use signals::Ignored;

use crate::machine::{Launch, StartError};
use clone::{clone, clone_into, fork_into};
use libc::{c_char, c_int, c_long, c_void, gid_t, pid_t, rlimit64, uid_t};
use limits::Limit;
use nix::errno::Errno;
use nix::unistd::ForkResult;
use std::cell::Cell;
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::ptr;

/// Of new files, where the command does not say otherwise.
const UMASK: c_long = 0o022;

/// What the child does before it executes, in this order.
#[derive(Debug, Clone, Copy)]
enum Step {
    Session,
    Descriptors,
    /// By its place in the plan.
    Limit(usize),
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
    /// Files of cgroups (v1) to be moved to.
    entrances: *const RawFd,
    entrance_count: usize,
    ignored: Ignored,
    limits: *const Limit,
    limit_count: usize,
    credentials: Option<(uid_t, gid_t, *const gid_t, usize)>,
    failure: Cell<Option<(Step, c_int)>>,
    /// Why it is not in one of the cgroups of v1.
    outside: Cell<Option<c_int>>,
}

/// What the agent has otherwise than its children shall have it.
#[derive(Debug)]
pub(super) struct Inherited {
    pub ignored: Ignored,
    pub open_files: OpenFiles,
}

/// A program that runs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Started {
    pub pid: pid_t,
    /// Why it is not in the cgroup where it was to be.
    pub uncontained: Option<Errno>,
    /// Likewise for those of v1.
    pub unlimited: Option<Errno>,
}

impl Started {
    fn new(pid: pid_t, uncontained: Option<Errno>) -> Self {
        Started { pid, uncontained, unlimited: None }
    }
}

/// Where it is to run: each an open descriptor.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cgroups<'a> {
    /// Of v2: the folder, in which it begins.
    pub unified: Option<BorrowedFd<'a>>,
    /// Of v1: the files to which it is moved before it executes. That takes some 10 ms.
    pub entrances: &'a [File],
}

/// Starts the program with these descriptors as 0, 1 and 2, in a session
/// of its own, with default signal dispositions and nothing else inherited;
/// in these cgroups, where there are any and the kernel can do it.
///
/// # Errors
/// The step that failed, and the system's reason; no child is left.
pub(super) fn spawn(
    launch: &Launch,
    stdio: [BorrowedFd<'_>; 3],
    inherited: &Inherited,
    cgroups: Cgroups<'_>,
) -> Result<Started, StartError> {
    let argv = c_strings(launch.argv.iter().cloned())?;
    let env = launch.env.iter().map(|(name, value)| format!("{name}={value}"));
    let env = c_strings(env)?;
    let cwd = c_string(launch.cwd.clone())?;
    let (argv_pointers, env_pointers) = (pointers(&argv), pointers(&env));
    let entrances: Vec<RawFd> = cgroups.entrances.iter().map(AsRawFd::as_raw_fd).collect();
    let limits = limits::of(&launch.limits, &inherited.open_files);
    let plan = Plan {
        argv: argv_pointers.as_ptr(),
        envp: env_pointers.as_ptr(),
        cwd: cwd.as_ptr(),
        stdio: stdio.map(|fd| fd.as_raw_fd()),
        entrances: entrances.as_ptr(),
        entrance_count: entrances.len(),
        ignored: inherited.ignored,
        limits: limits.as_ptr(),
        limit_count: limits.len(),
        credentials: launch.credentials.as_ref().map(|c| (c.uid, c.gid, c.groups.as_ptr(), c.groups.len())),
        failure: Cell::new(None),
        outside: Cell::new(None),
    };
    let started = clone_suspended(&plan, cgroups.unified)?;
    match plan.failure.get() {
        None => Ok(Started { unlimited: plan.outside.get().map(Errno::from_raw), ..started }),
        Some((step, errno)) => {
            let _ = nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(started.pid), None);
            Err(start_error(step_name(step, launch, &limits), errno))
        }
    }
}

/// Makes a copy of this process, in this cgroup, where there is one and the kernel can do it.
/// `None` is returned in the copy.
///
/// # Errors
/// There is no memory or no process left for it.
///
/// # Safety
/// As [`nix::unistd::fork`]; this process must have one thread.
pub(super) unsafe fn fork(cgroup: Option<BorrowedFd<'_>>) -> Result<Option<Started>, StartError> {
    let failed = |errno| start_error("fork".into(), errno as c_int);
    // SAFETY: as the caller promises.
    let contained = cgroup.map(|cgroup| unsafe { fork_into(cgroup) });
    match contained {
        Some(Ok(pid)) => Ok(pid.map(|pid| Started::new(pid, None))),
        Some(Err(errno @ (Errno::EAGAIN | Errno::ENOMEM))) => Err(failed(errno)),
        other => {
            let uncontained = other.and_then(Result::err);
            // SAFETY: as the caller promises.
            match unsafe { nix::unistd::fork() }.map_err(failed)? {
                ForkResult::Parent { child } => Ok(Some(Started::new(child.as_raw(), uncontained))),
                ForkResult::Child => Ok(None),
            }
        }
    }
}

/// Whether a child that is started in this cgroup comes to its own end.
pub(super) fn lives_in(cgroup: BorrowedFd<'_>) -> io::Result<bool> {
    extern "C" fn end(_: *mut c_void) -> c_int {
        // SAFETY: no destructor is skipped that would matter to anybody.
        unsafe { libc::_exit(0) }
    }
    // SAFETY: `end` makes one system call, and no signal of ours has a handler.
    let pid = unsafe { clone_into(cgroup, end, ptr::null_mut()) }?;
    let status = nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(pid), None)?;
    Ok(matches!(status, nix::sys::wait::WaitStatus::Exited(_, 0)))
}

fn clone_suspended(plan: &Plan, cgroup: Option<BorrowedFd<'_>>) -> Result<Started, StartError> {
    let argument = ptr::from_ref(plan).cast_mut().cast();
    // SAFETY: `child` makes nothing but system calls, on a plan that outlives them, and the
    // agent handles no signal: those that it hears of it reads from descriptors.
    let contained = cgroup.map(|cgroup| unsafe { clone_into(cgroup, child, argument) });
    let started = match contained {
        Some(Ok(pid)) => Ok(Started::new(pid, None)),
        Some(Err(errno @ (Errno::EAGAIN | Errno::ENOMEM))) => Err(errno),
        other => {
            let uncontained = other.and_then(Result::err);
            // SAFETY: as above.
            unsafe { clone(child, argument) }.map(|pid| Started::new(pid, uncontained))
        }
    };
    started.map_err(|errno| start_error("clone".into(), errno as c_int))
}

extern "C" fn child(plan: *mut c_void) -> c_int {
    // SAFETY: `plan` is the one that `spawn` made, still alive.
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
        plan.ignored.end();
        for (wanted, &fd) in (0..).zip(&plan.stdio) {
            if libc::dup2(fd, wanted) < 0 {
                return Step::Descriptors;
            }
        }
        // Better without its limit than not there.
        for place in 0..plan.entrance_count {
            if libc::write(*plan.entrances.add(place), c"0".as_ptr().cast(), 1) < 0 {
                plan.outside.set(Some(*libc::__errno_location()));
            }
        }
        // Ours are all close-on-exec; this is for what we inherited. Old kernels lack it.
        libc::syscall(libc::SYS_close_range, 3 as c_long, c_long::from(u32::MAX), 0 as c_long);
        for place in 0..plan.limit_count {
            let Limit { resource, value, .. } = &*plan.limits.add(place);
            let (value, none) = (ptr::from_ref(value), ptr::null_mut::<rlimit64>());
            if libc::syscall(libc::SYS_prlimit64, 0 as c_long, c_long::from(*resource), value, none) != 0 {
                return Step::Limit(place);
            }
        }
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

fn step_name(step: Step, launch: &Launch, limits: &[Limit]) -> String {
    match step {
        Step::Limit(place) => format!("{}: setrlimit", limits[place].name),
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
