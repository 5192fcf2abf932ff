//! The processes that came from a command, those included that left its process
//! group (setsid) and so hear none of its signals. Found through /proc.

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use std::fs;

/// A member that forks while it is looked for is found at the next look.
const LOOKS: usize = 8;

/// What belongs to one command.
#[derive(Debug)]
pub(super) struct Family {
    /// The command's own process, and the number of its group.
    leader: Pid,
    /// The inodes of its streams' pipes, which show an orphan to be of this family.
    pipes: [u64; 2],
    members: Vec<Process>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Process {
    pid: Pid,
    parent: Pid,
    group: Pid,
    /// With the number it names a process for good.
    pub started: u64,
    ended: bool,
}

impl Family {
    pub fn new(leader: Pid, pipes: [u64; 2]) -> Self {
        Family { leader, pipes, members: Vec::new() }
    }

    pub fn leader(&self) -> Pid {
        self.leader
    }

    /// Kills whoever is in the leader's group, the leader having ended and not been reaped.
    pub fn kill_group(&self) {
        let _ = killpg(self.leader, Signal::SIGKILL);
    }

    /// Remembers who belongs to it now. The links that tell go with the
    /// processes that end.
    pub fn look(&mut self) {
        let all = everybody();
        let mut members: Vec<Process> = all.iter().filter(|process| self.knows(process)).copied().collect();
        let mut next = 0;
        while let Some(parent) = members.get(next).map(|member| member.pid) {
            let of_it =
                |child: &&Process| child.parent == parent && members.iter().all(|m| m.pid != child.pid);
            let children: Vec<Process> = all.iter().filter(of_it).copied().collect();
            members.extend(children);
            next += 1;
        }
        self.members = members;
    }

    fn knows(&self, process: &Process) -> bool {
        process.group == self.leader
            || self.members.iter().any(|m| (m.pid, m.started) == (process.pid, process.started))
            || (process.parent == Pid::this() && process.writes_to(&self.pipes))
    }

    /// Kills whoever is left, the leader having ended and not been reaped.
    pub fn end(&mut self) {
        for _ in 0..LOOKS {
            self.look();
            let mut left = self.members.iter().filter(|m| !m.ended && m.pid != self.leader).peekable();
            if left.peek().is_none() {
                return;
            }
            for member in left {
                let _ = kill(member.pid, Signal::SIGKILL);
            }
        }
    }
}

impl Process {
    pub fn read(pid: i32) -> Option<Process> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name before may hold spaces and brackets of its own. Fields as in proc_pid_stat(5).
        let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
        let number = |field: usize| fields.get(field - 3)?.parse().ok();
        Some(Process {
            pid: Pid::from_raw(pid),
            parent: Pid::from_raw(i32::try_from(number(4)?).ok()?),
            group: Pid::from_raw(i32::try_from(number(5)?).ok()?),
            started: number(22)?,
            ended: matches!(fields.first(), Some(&("Z" | "X"))),
        })
    }

    /// Whether one of these pipes is its standard output, its standard error, or what tasks answer by.
    fn writes_to(&self, pipes: &[u64; 2]) -> bool {
        let holds = |fd: i32| {
            let target = fs::read_link(format!("/proc/{}/fd/{fd}", self.pid)).ok()?;
            let inode: u64 = target.to_str()?.strip_prefix("pipe:[")?.strip_suffix(']')?.parse().ok()?;
            Some(pipes.contains(&inode))
        };
        [1, 2, 3].into_iter().any(|fd| holds(fd) == Some(true))
    }
}

/// Whether we have children that are not known; so, too, where the kernel does not tell
/// (`CONFIG_PROC_CHILDREN`).
pub(super) fn orphans(known: impl Fn(Pid) -> bool) -> bool {
    let children = fs::read_to_string(format!("/proc/self/task/{}/children", Pid::this()));
    let Ok(children) = children else { return true };
    !children.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).all(|pid| known(Pid::from_raw(pid)))
}

fn everybody() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.filter_map(|entry| Process::read(entry.ok()?.file_name().to_str()?.parse().ok()?)).collect()
}
