//! The child processes and their pipes.

use super::cgroup::{Cgroup, Cgroups};
use super::family::{self, Family};
use super::lasting::Families;
use super::process::Stat;
use super::{spawn, sys, task};
use crate::machine::{ChildId, Exit, Kin, Lasting, Launch, Process, Program, StartError, Stream, Survey};
use mio::unix::pipe::Receiver;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, kill, killpg};
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
    /// Processes that somebody else has started, whom we may have been handed as orphans.
    adopted: HashMap<ChildId, Adopted>,
    dev_null: File,
    inherited: spawn::Inherited,
    cgroups: Cgroups,
    pub families: Families,
}

#[derive(Debug)]
struct Child {
    id: ChildId,
    /// It runs a task, which leaves nothing behind.
    is_task: bool,
    /// Whose first process it is.
    family: Option<String>,
    legacy: Legacy,
}

#[derive(Debug)]
struct Adopted {
    process: Process,
    legacy: Legacy,
}

/// What is to become of those that came from a process.
#[derive(Debug)]
struct Legacy {
    /// They are killed when it ends.
    doomed: bool,
    descendants: Descendants,
}

/// How those are found that came from a child.
#[derive(Debug)]
enum Descendants {
    In(Cgroup),
    Of(Family),
    /// They are not looked for: they outlive it, and us.
    Spared,
}

/// What is heard of a child that was started: nothing but its end where it has no pipes.
pub(super) struct Begun {
    pub pipes: Option<Pipes>,
    pub process: Option<Process>,
}

/// How the end of a process is learnt that we have not started.
pub(super) enum Watch {
    /// This becomes readable.
    By(OwnedFd),
    /// By looking again and again: there is no descriptor for it, or the kernel knows none of the kind.
    NotNow,
    /// It has ended already.
    Gone,
}

/// A child of ours that has ended.
pub(super) struct Reaped {
    pub child: Option<ChildId>,
    /// Whoever else asked for news of it.
    pub adopted: Vec<ChildId>,
    pub exit: Exit,
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
        Ok(Children {
            by_pid: HashMap::new(),
            adopted: HashMap::new(),
            dev_null,
            inherited,
            cgroups: Cgroups::new(),
            families: Families::new(),
        })
    }

    /// Whether nobody runs but those that go on without us.
    pub fn are_quiet(&self) -> bool {
        let mut all = self.by_pid.values().map(|c| &c.legacy).chain(self.adopted.values().map(|a| &a.legacy));
        all.all(|legacy| matches!(legacy.descendants, Descendants::Spared))
    }

    pub fn start(&mut self, id: ChildId, program: &Program) -> Result<Begun, StartError> {
        if let Program::Exec(launch) = program
            && let Some(lasting) = &launch.lasting
        {
            return self.start_lasting(id, launch, lasting);
        }
        let (out, out_end) = read_pipe().map_err(failed("pipe"))?;
        let (err, err_end) = read_pipe().map_err(failed("pipe"))?;
        let (pid, descendants) = self.start_contained(program, &out_end, &err_end)?;
        let remembered = matches!(program, Program::Exec(launch) if launch.remembered);
        // Not reaped yet, so it is there however short its life was.
        let process = if remembered { Stat::read(pid.as_raw()).map(|stat| stat.process()) } else { None };
        let is_task = matches!(program, Program::Task(_));
        self.by_pid
            .insert(pid, Child { id, is_task, family: None, legacy: Legacy { doomed: false, descendants } });
        Ok(Begun { pipes: Some([(Stream::Out, out), (Stream::Err, err)]), process })
    }

    /// The first of a family.
    fn start_lasting(
        &mut self,
        id: ChildId,
        launch: &Launch,
        lasting: &Lasting,
    ) -> Result<Begun, StartError> {
        let cradle = self.families.prepare(lasting)?;
        let stdio = [self.dev_null.as_fd(), cradle.output.as_fd(), cradle.output.as_fd()];
        let unified = cradle.cgroup.as_ref().map(File::as_fd);
        let cgroups = spawn::Cgroups { unified, entrances: &cradle.entrances };
        let marked = Families::marked(launch, &lasting.family);
        let started = spawn::spawn(&marked, stdio, &self.inherited, cgroups)
            .inspect_err(|_| self.families.abandon(&lasting.family))?;
        // With it go descriptors, one of which is needed to look at the process.
        drop(cradle);
        self.families.begun(&lasting.family);
        if let Some(errno) = started.unlimited {
            Families::warn_unlimited(&lasting.family, errno.desc());
        }
        // Of no such device (ENODEV) is a folder that somebody has removed meanwhile: this one alone.
        if let Some(errno) = started.uncontained.filter(|errno| *errno != Errno::ENODEV) {
            self.families.do_without(errno.desc());
        }
        let process = Stat::read(started.pid).map(|stat| stat.process());
        let legacy = Legacy { doomed: false, descendants: Descendants::Spared };
        self.by_pid.insert(
            Pid::from_raw(started.pid),
            Child { id, is_task: false, family: Some(lasting.family.clone()), legacy },
        );
        Ok(Begun { pipes: None, process })
    }

    /// Watches over a process that an earlier agent started, or one of ours that was handed to us.
    pub fn adopt(&mut self, id: ChildId, process: Process, lasting: bool) -> Watch {
        let watch = watch(process);
        if let Watch::Gone = watch {
            return watch;
        }
        let pid = Pid::from_raw(process.pid);
        let descendants = match Cgroups::of_earlier_agent(pid) {
            _ if lasting => Descendants::Spared,
            Some(cgroup) => Descendants::In(cgroup),
            None => Descendants::Of(Family::new(pid, [0, 0])),
        };
        self.adopted.insert(id, Adopted { process, legacy: Legacy { doomed: false, descendants } });
        watch
    }

    /// Who is left of a family.
    pub fn survey(&mut self, kin: &Kin) -> Option<Survey> {
        let by_pid = &self.by_pid;
        let is_another = |child: &Child| child.family.as_ref() != Some(&kin.family);
        let of_others = |pid: Pid| by_pid.get(&pid).is_some_and(is_another);
        self.families.survey(kin, || family::orphans(of_others))
    }

    /// Of one that could not be watched. `None` where its end was told already.
    pub fn watch_again(&self, id: ChildId) -> Option<Watch> {
        self.adopted.get(&id).map(|adopted| watch(adopted.process))
    }

    /// An adopted process has ended that is not our child.
    pub fn adopted_ended(&mut self, id: ChildId) {
        if let Some(adopted) = self.adopted.remove(&id) {
            self.bury(adopted.legacy, false);
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
            Program::Exec(launch) => {
                let cgroups = spawn::Cgroups { unified: folder, entrances: &[] };
                spawn::spawn(launch, stdio, &self.inherited, cgroups)
            }
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

    /// Signals the child's process group, or of a lasting one itself alone. The child is not reaped
    /// yet, so the number is still its own. One that has ended already is passed over.
    pub fn signal(&mut self, id: ChildId, signal: i32) {
        if let Some((pid, child)) = self.by_pid.iter_mut().find(|(_, child)| child.id == id) {
            child.legacy.signal(*pid, signal);
        } else if let Some(Adopted { process, legacy }) = self.adopted.get_mut(&id) {
            if let Descendants::Spared = legacy.descendants {
                sys::signal_process(*process, signal);
            } else if Stat::read(process.pid).is_some_and(|now| now.started == process.start) {
                legacy.signal(Pid::from_raw(process.pid), signal);
            }
        }
    }

    /// Reaps one child that has ended, be it an orphan that nobody asked for. `None` where none has.
    pub fn reap(&mut self) -> Option<Reaped> {
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
            self.bury(child.legacy, child.is_task);
        }
        let adopted = self.bury_adopted(pid);
        let _ = waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG);
        Some(Reaped { child: id, adopted, exit })
    }

    /// As many ids as this child, not reaped yet, was adopted by.
    fn bury_adopted(&mut self, pid: Pid) -> Vec<ChildId> {
        let same_number = self.adopted.iter().filter(|(_, adopted)| adopted.process.pid == pid.as_raw());
        let mut ids: Vec<ChildId> = same_number.map(|(id, _)| *id).collect();
        let start = if ids.is_empty() { None } else { Stat::read(pid.as_raw()).map(|stat| stat.started) };
        ids.retain(|id| self.adopted.get(id).is_some_and(|adopted| Some(adopted.process.start) == start));
        for id in &ids {
            self.adopted_ended(*id);
        }
        ids
    }

    fn bury(&mut self, legacy: Legacy, is_task: bool) {
        match legacy.descendants {
            Descendants::In(mut cgroup) => {
                // A cgroup that was killed is of no more use.
                if legacy.doomed || is_task && !cgroup.is_empty().is_ok_and(|empty| empty) {
                    cgroup.kill();
                }
                self.cgroups.give_back(cgroup);
            }
            Descendants::Of(mut family) if legacy.doomed => family.end(),
            Descendants::Of(mut family) if is_task => {
                family.kill_group();
                // Whatever left the group was handed to us when its parent ended.
                if family::orphans(|pid| self.by_pid.contains_key(&pid) || pid == family.leader()) {
                    family.end();
                }
            }
            Descendants::Of(_) | Descendants::Spared => {}
        }
    }
}

impl Legacy {
    /// The leader's number must be its own.
    fn signal(&mut self, leader: Pid, signal: i32) {
        let name = Signal::try_from(signal);
        match &mut self.descendants {
            // The one failure is a process, or a group, that has ended: its exit is on its way.
            Descendants::Spared => sys::signal_child(leader, signal),
            descendants => {
                self.doomed = true;
                match descendants {
                    Descendants::In(cgroup) if signal == libc::SIGKILL => cgroup.kill(),
                    Descendants::Of(family) => family.look(),
                    _ => {}
                }
                let _ = name.and_then(|name| killpg(leader, name));
            }
        }
    }
}

fn watch(process: Process) -> Watch {
    let pid = Pid::from_raw(process.pid);
    let is_meant = || Stat::read(process.pid).is_some_and(|now| now.started == process.start);
    let is_another = || Stat::read(process.pid).is_some_and(|now| now.started != process.start || now.ended);
    match sys::watch_process(process.pid) {
        // Looked at afterwards: what is watched cannot become another any more.
        Ok(watch) if is_meant() => Watch::By(watch),
        // This takes no descriptor.
        _ if process.pid < 1 || kill(pid, None) == Err(Errno::ESRCH) || is_another() => Watch::Gone,
        _ => Watch::NotNow,
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
