//! Tasks: functions of ours that may block, each in a forked child that
//! answers on its standard output. The agent has one thread, so the child may
//! go on without executing anything.

use super::place::place;
use super::plugin;
use super::probe::probe;
use super::renew;
use super::rotate::rotate;
use super::spawn::{self, Ignored, Started};
use crate::machine::{Identity, StartError, Task};
use crate::wire::Account;
use crate::wire::server_list::Server;
use nix::unistd::{Gid, Group, Pid, Uid, User, getgrouplist, getpid, getppid};
use std::ffi::CString;
use std::fs::File;
use std::io::{self, Write as _};
use std::mem::ManuallyDrop;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _};

/// Starts the task with these descriptors as 0, 1 and 2; in this cgroup, where there is one.
pub(super) fn spawn(
    task: &Task,
    stdio: [BorrowedFd<'_>; 3],
    ignored: Ignored,
    cgroup: Option<BorrowedFd<'_>>,
) -> Result<Started, StartError> {
    let agent = getpid();
    // SAFETY: there is no other thread whose locks the child could find taken.
    match unsafe { spawn::fork(cgroup) }? {
        Some(started) => Ok(started),
        None => become_task(agent, task, stdio, ignored),
    }
}

fn become_task(agent: Pid, task: &Task, stdio: [BorrowedFd<'_>; 3], ignored: Ignored) -> ! {
    // SAFETY: only system calls, on descriptors that are ours alone since the
    // fork; the agent's own connection must not be held open by its child.
    let answer_to = unsafe {
        libc::setsid();
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        if getppid() != agent {
            // It had ended before.
            libc::_exit(1);
        }
        ignored.end();
        for (wanted, fd) in (0..).zip(stdio) {
            libc::dup2(fd.as_raw_fd(), wanted);
        }
        libc::syscall(libc::SYS_close_range, 3 as libc::c_long, libc::c_long::from(u32::MAX), 0);
        // What else this process may load and print must not be taken for its answer.
        let answer_to = libc::fcntl(1, libc::F_DUPFD_CLOEXEC, 3);
        libc::dup2(0, 1);
        answer_to
    };
    // The agent's log is closed here, and its number may be that of another file soon.
    log::set_max_level(log::LevelFilter::Off);
    // SAFETY: it is open, and nobody else's; one that is not fails when it is written to.
    let mut answer_to = ManuallyDrop::new(unsafe { File::from_raw_fd(answer_to) });
    let done = run(task, &mut answer_to);
    if let Err(reason) = &done {
        let _ = io::stderr().write_all(reason.as_bytes());
    }
    // SAFETY: the parent's destructors and exit handlers are not the child's to run.
    unsafe { libc::_exit(i32::from(done.is_err())) }
}

fn run(task: &Task, answer_to: &mut File) -> Result<(), String> {
    let answer = match task {
        Task::Resolve(server) => serde_json::to_vec(&resolve(server)?),
        Task::Identify { user, group } => serde_json::to_vec(&identify(user, group.as_ref())?),
        Task::Reach(path) => {
            // Whoever goes there next will hear the reason, as the user that it is.
            let _ = std::fs::metadata(path);
            serde_json::to_vec(&())
        }
        Task::Fetch(fetch) => serde_json::to_vec(&aspire_package::fetch(fetch)),
        Task::Install(install) => serde_json::to_vec(&aspire_package::install(install)),
        Task::Uninstall(uninstall) => serde_json::to_vec(&aspire_package::uninstall(uninstall)),
        Task::Probe(what) => serde_json::to_vec(&probe(what)?),
        Task::Rotate(rotation) => serde_json::to_vec(&rotate(rotation)?),
        Task::NewKey(dir) => serde_json::to_vec(&renew::new_key(dir)?),
        Task::TakeCertificate(new) => serde_json::to_vec(&renew::take(new)?),
        Task::Place(files) => serde_json::to_vec(&files.iter().try_for_each(place)?),
        Task::Ask(question) => return plugin::ask(question, answer_to).map_err(|error| lost(&error)),
    };
    answer_to.write_all(&answer.map_err(|e| e.to_string())?).map_err(|error| lost(&error))
}

fn lost(error: &io::Error) -> String {
    format!("the way of the answer is closed: {error}")
}

fn resolve(server: &Server) -> Result<Vec<SocketAddr>, String> {
    let addresses = (server.host.as_str(), server.port).to_socket_addrs();
    addresses.map(Iterator::collect).map_err(|e| e.to_string())
}

/// The user database's entry, with the group in the place of the user's own;
/// `None` where there is no such user or group. May block.
///
/// # Errors
/// The user database cannot be read.
fn identify(user: &Account, group: Option<&Account>) -> Result<Option<Identity>, String> {
    let user = match user {
        Account::Name(name) => User::from_name(name),
        Account::Id(id) => User::from_uid(Uid::from_raw(*id)),
    };
    let Some(user) = user.map_err(|e| e.to_string())? else { return Ok(None) };
    let found = match group {
        None => Group::from_gid(user.gid),
        Some(Account::Name(name)) => Group::from_name(name),
        Some(Account::Id(id)) => Group::from_gid(Gid::from_raw(*id)),
    };
    let (gid, group_name) = match (found.map_err(|e| e.to_string())?, group) {
        (Some(found), _) => (found.gid, found.name),
        // A primary group may lack an entry of its own.
        (None, None) => (user.gid, user.gid.to_string()),
        (None, Some(_)) => return Ok(None),
    };
    let name = CString::new(user.name.clone()).map_err(|e| e.to_string())?;
    let groups = getgrouplist(&name, gid).map_err(|e| e.to_string())?;
    Ok(Some(Identity {
        uid: user.uid.as_raw(),
        gid: gid.as_raw(),
        groups: groups.into_iter().map(Gid::as_raw).collect(),
        name: user.name,
        group_name,
        home: user.dir.to_string_lossy().into_owned(),
    }))
}
