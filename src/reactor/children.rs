//! The child processes and their pipes.

use super::cgroup::{Cgroup, Cgroups};
use super::family::{self, Family};
use super::{spawn, sys, task};
use crate::machine::{ChildId, Exit, Process, Program, StartError, Stream};
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
    inherited: spawn::Inherited,
    cgroups: Cgroups,
}

#[derive(Debug)]
struct Child {
    id: ChildId,
    /// What is left of it is killed when it ends.
    doomed: bool,
    /// It runs a task, which leaves nothing behind.
    is_task: bool,
    descendants: Descendants,
    /// An earlier agent started it, at this tick: somebody else reaps it.
    adopted: Option<u64>,
}

/// How those are found that came from a child.
#[derive(Debug)]
enum Descendants {
    In(Cgroup),
    Of(Family),
}

impl Children {
    /// Makes this process the one that orphaned descendants are handed to, so
    /// that none is left a zombie.
    pub fn new() -> io::Result<Self> {
        sys::learn_of_children()?;
        nix::sys::prctl::set_child_subreaper(true)?;
        let dev_null = File::options().read(true).write(true).open("/dev/null")?;
        let (ignored, open_files) = (spawn::Ignored::look(), spawn::OpenFiles::raise());
        let inherited = spawn::Inherited { ignored, open_files };
        Ok(Children { by_pid: HashMap::new(), dev_null, inherited, cgroups: Cgroups::new() })
    }

    pub fn is_empty(&self) -> bool {
        self.by_pid.is_empty()
    }

    pub fn start(&mut self, id: ChildId, program: &Program) -> Result<(Pipes, Option<Process>), StartError> {
        let (out, out_end) = read_pipe().map_err(failed("pipe"))?;
        let (err, err_end) = read_pipe().map_err(failed("pipe"))?;
        let (pid, descendants) = self.start_contained(program, &out_end, &err_end)?;
        let remembered = matches!(program, Program::Exec(launch) if launch.remembered);
        // Not reaped yet, so it is there however short its life was.
        let start = if remembered { family::Process::read(pid.as_raw()) } else { None };
        let process = start.map(|read| Process { pid: pid.as_raw(), start: read.started });
        let is_task = matches!(program, Program::Task(_));
        self.by_pid.insert(pid, Child { id, doomed: false, is_task, descendants, adopted: None });
        Ok(([(Stream::Out, out), (Stream::Err, err)], process))
    }

    /// Watches over a process that an earlier agent started. Returns what becomes readable when it
    /// ends; `None` where it has ended already.
    pub fn adopt(&mut self, id: ChildId, process: Process) -> Option<OwnedFd> {
        let watch = sys::watch_process(process.pid).ok()?;
        // Looked at afterwards: what is watched cannot become another any more.
        if family::Process::read(process.pid).is_none_or(|now| now.started != process.start) {
            return None;
        }
        let pid = Pid::from_raw(process.pid);
        let descendants = match Cgroups::of_earlier_agent(pid) {
            Some(cgroup) => Descendants::In(cgroup),
            None => Descendants::Of(Family::new(pid, [0, 0])),
        };
        let adopted = Some(process.start);
        self.by_pid.insert(pid, Child { id, doomed: false, is_task: false, descendants, adopted });
        Some(watch)
    }

    /// An adopted process has ended.
    pub fn adopted_ended(&mut self, id: ChildId) {
        let Some(pid) = self.by_pid.iter().find_map(|(pid, child)| (child.id == id).then_some(*pid)) else {
            return;
        };
        if let Some(child) = self.by_pid.remove(&pid) {
            self.bury(child);
        }
    }

    /// In a cgroup of its own where there can be one.
    fn start_contained(
        &mut self,
        program: &Program,
        out: &OwnedFd,
        err: &OwnedFd,
    ) -> Result<(Pid, Descendants), StartError> {
        let stdio = [self.dev_null.as_fd(), out.as_fd(), err.as_fd()];
        let taken = self.cgroups.take().map_err(failed("cgroup"))?;
        let folder = taken.as_ref().map(|(_, folder)| folder.as_fd());
        let started = match program {
            Program::Exec(launch) => spawn::spawn(launch, stdio, &self.inherited, folder),
            Program::Task(task) => task::spawn(task, stdio, self.inherited.ignored, folder),
        };
        let cgroup = taken.map(|(cgroup, _)| cgroup);
        match started {
            Ok(started) => {
                let pid = Pid::from_raw(started.pid);
                if let Some(errno) = started.uncontained {
                    self.cgroups.do_without(errno.desc());
                }
                let descendants = match cgroup.filter(|_| started.uncontained.is_none()) {
                    Some(cgroup) => Descendants::In(cgroup),
                    None => Descendants::Of(family(pid, out, err)),
                };
                Ok((pid, descendants))
            }
            Err(error) => {
                if let Some(cgroup) = cgroup {
                    self.cgroups.give_back(cgroup);
                }
                Err(error)
            }
        }
    }

    /// Signals the child's process group. The child is not reaped yet, so the
    /// number is still its own. One that has ended already is passed over.
    pub fn signal(&mut self, id: ChildId, signal: i32) {
        let Some((pid, child)) = self.by_pid.iter_mut().find(|(_, child)| child.id == id) else { return };
        let is_another = |start| family::Process::read(pid.as_raw()).is_none_or(|now| now.started != start);
        if child.adopted.is_some_and(is_another) {
            return;
        }
        child.doomed = true;
        match &mut child.descendants {
            Descendants::In(cgroup) if signal == libc::SIGKILL => cgroup.kill(),
            Descendants::In(_) => {}
            Descendants::Of(family) => family.look(),
        }
        // The one failure is a group that has ended: its exit is on its way.
        let _ = Signal::try_from(signal).and_then(|signal| killpg(*pid, signal));
    }

    /// Reaps one child that has ended, an adopted orphan without an id.
    /// `None` where none has.
    pub fn reap(&mut self) -> Option<(Option<ChildId>, Exit)> {
        let (pid, exit) = match sys::look_at_children() {
            sys::Children::Ended(pid, exit) => (pid, exit),
            sys::Children::Run => return None,
            sys::Children::Gone => {
                // Orphans are handed to us: whoever came from a command would be a child of ours.
                self.cgroups.are_empty();
                return None;
            }
        };
        let child = self.by_pid.remove(&pid);
        let id = child.as_ref().map(|child| child.id);
        if let Some(child) = child {
            // While its leader is a zombie the group's number cannot be another's.
            self.bury(child);
        }
        let _ = waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG);
        Some((id, exit))
    }

    fn bury(&mut self, child: Child) {
        match child.descendants {
            Descendants::In(mut cgroup) => {
                // A cgroup that was killed is of no more use.
                if child.doomed || child.is_task && !cgroup.is_empty().is_ok_and(|empty| empty) {
                    cgroup.kill();
                }
                self.cgroups.give_back(cgroup);
            }
            Descendants::Of(mut family) if child.doomed => family.end(),
            Descendants::Of(mut family) if child.is_task => {
                family.kill_group();
                // Whatever left the group was handed to us when its parent ended.
                if family::orphans(|pid| self.by_pid.contains_key(&pid) || pid == family.leader()) {
                    family.end();
                }
            }
            Descendants::Of(_) => {}
        }
    }
}

fn family(leader: Pid, out: &OwnedFd, err: &OwnedFd) -> Family {
    // Without its inode a pipe shows nobody to be of the family.
    let inode = |end: &OwnedFd| fstat(end).map_or(0, |stat| stat.st_ino);
    Family::new(leader, [inode(out), inode(err)])
}

fn failed(step: &str) -> impl Fn(io::Error) -> StartError {
    move |error| StartError { step: step.into(), reason: error.to_string() }
}

/// A pipe whose read end does not block; the child's end does, as programs expect.
fn read_pipe() -> io::Result<(Receiver, OwnedFd)> {
    let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
    fcntl(&read, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok((Receiver::from(read), write))
}
