//! The child processes and their pipes.

use super::family::Family;
use super::{spawn, sys, task};
use crate::machine::{ChildId, Exit, Program, StartError, Stream};
use mio::unix::pipe::Receiver;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, killpg};
use nix::sys::stat::fstat;
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::{Pid, pipe2};
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

/// The read ends of one child's two streams.
pub(super) type Pipes = [(Stream, Receiver); 2];

#[derive(Debug)]
pub(super) struct Children {
    by_pid: HashMap<Pid, Child>,
    dev_null: File,
}

#[derive(Debug)]
struct Child {
    id: ChildId,
    /// What is left of it is killed when it ends.
    doomed: bool,
    family: Family,
}

impl Children {
    /// Makes this process the one that orphaned descendants are handed to, so
    /// that none is left a zombie.
    pub fn new() -> io::Result<Self> {
        sys::learn_of_children()?;
        nix::sys::prctl::set_child_subreaper(true)?;
        let dev_null = File::options().read(true).write(true).open("/dev/null")?;
        Ok(Children { by_pid: HashMap::new(), dev_null })
    }

    pub fn is_empty(&self) -> bool {
        self.by_pid.is_empty()
    }

    pub fn start(&mut self, id: ChildId, program: &Program) -> Result<Pipes, StartError> {
        let failed = |step: &str, e: io::Error| StartError { step: step.into(), reason: e.to_string() };
        let (out, out_end) = read_pipe().map_err(|e| failed("pipe", e))?;
        let (err, err_end) = read_pipe().map_err(|e| failed("pipe", e))?;
        let inode = |end: &OwnedFd| fstat(end).map(|stat| stat.st_ino).map_err(|e| failed("fstat", e.into()));
        let pipes = [inode(&out_end)?, inode(&err_end)?];
        let stdio = [self.dev_null.as_fd(), out_end.as_fd(), err_end.as_fd()];
        let pid = match program {
            Program::Exec(launch) => spawn::spawn(launch, stdio)?,
            Program::Task(task) => task::spawn(task, stdio)?,
        };
        let pid = Pid::from_raw(pid);
        self.by_pid.insert(pid, Child { id, doomed: false, family: Family::new(pid, pipes) });
        Ok([(Stream::Out, out), (Stream::Err, err)])
    }

    /// Signals the child's process group. The child is not reaped yet, so the
    /// number is still its own. One that has ended already is passed over.
    pub fn signal(&mut self, id: ChildId, signal: i32) {
        if let Some((pid, child)) = self.by_pid.iter_mut().find(|(_, child)| child.id == id) {
            child.doomed = true;
            child.family.look();
            // The one failure is a group that has ended: its exit is on its way.
            let _ = Signal::try_from(signal).and_then(|signal| killpg(*pid, signal));
        }
    }

    /// Reaps one child that has ended, an adopted orphan without an id.
    /// `None` where none has.
    pub fn reap(&mut self) -> Option<(Option<ChildId>, Exit)> {
        let (pid, exit) = sys::ended_child()?;
        let mut child = self.by_pid.remove(&pid);
        if let Some(child) = child.as_mut().filter(|child| child.doomed) {
            // While its leader is a zombie the group's number cannot be another's.
            child.family.end();
        }
        let _ = waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG);
        Some((child.map(|child| child.id), exit))
    }
}

/// A pipe whose read end does not block; the child's end does, as programs expect.
fn read_pipe() -> io::Result<(Receiver, OwnedFd)> {
    let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
    fcntl(&read, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok((Receiver::from(read), write))
}
