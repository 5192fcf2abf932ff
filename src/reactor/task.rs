//! Tasks: functions of ours that may block, each in a forked child that
//! answers on its standard output. The agent has one thread, so the child may
//! go on without executing anything.

use super::spawn::Ignored;
use crate::machine::{Identity, StartError, Task};
use crate::wire::Account;
use crate::wire::server_list::Server;
use nix::unistd::{ForkResult, Gid, Group, Uid, User, fork, getgrouplist};
use std::ffi::CString;
use std::io::Write as _;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::os::fd::{AsRawFd as _, BorrowedFd};

/// Starts the task with these descriptors as 0, 1 and 2.
pub(super) fn spawn(
    task: &Task,
    stdio: [BorrowedFd<'_>; 3],
    ignored: Ignored,
) -> Result<libc::pid_t, StartError> {
    // SAFETY: there is no other thread whose locks the child could find taken.
    match unsafe { fork() } {
        Ok(ForkResult::Parent { child }) => Ok(child.as_raw()),
        Ok(ForkResult::Child) => become_task(task, stdio, ignored),
        Err(errno) => Err(StartError { step: "fork".into(), reason: errno.desc().into() }),
    }
}

fn become_task(task: &Task, stdio: [BorrowedFd<'_>; 3], ignored: Ignored) -> ! {
    // SAFETY: only system calls, on descriptors that are ours alone since the
    // fork; the agent's own connection must not be held open by its child.
    unsafe {
        libc::setsid();
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        ignored.end();
        for (wanted, fd) in (0..).zip(stdio) {
            libc::dup2(fd.as_raw_fd(), wanted);
        }
        libc::syscall(libc::SYS_close_range, 3 as libc::c_long, libc::c_long::from(u32::MAX), 0);
    }
    let (answer, code) = match run(task) {
        Ok(answer) => (answer, 0),
        Err(reason) => (reason.into_bytes(), 1),
    };
    let written = if code == 0 {
        std::io::stdout().write_all(&answer).and_then(|()| std::io::stdout().flush())
    } else {
        std::io::stderr().write_all(&answer)
    };
    // SAFETY: the parent's destructors and exit handlers are not the child's to run.
    unsafe { libc::_exit(if written.is_ok() { code } else { 1 }) }
}

fn run(task: &Task) -> Result<Vec<u8>, String> {
    let answer = match task {
        Task::Resolve(server) => serde_json::to_vec(&resolve(server)?),
        Task::Identify { user, group } => serde_json::to_vec(&identify(user, group.as_ref())?),
        Task::Reach(path) => {
            // Whoever goes there next will hear the reason, as the user that it is.
            let _ = std::fs::metadata(path);
            serde_json::to_vec(&())
        }
    };
    answer.map_err(|e| e.to_string())
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
pub fn identify(user: &Account, group: Option<&Account>) -> Result<Option<Identity>, String> {
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
