//! The processes that came from a command, those included that left its process
//! group (setsid) and so hear none of its signals. Found through /proc.

use super::process::{Stat, everybody};
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
    members: Vec<Stat>,
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
        let mut members: Vec<Stat> = all.iter().filter(|process| self.knows(process)).copied().collect();
        let mut next = 0;
        while let Some(parent) = members.get(next).map(|member| member.pid) {
            let of_it = |child: &&Stat| child.parent == parent && members.iter().all(|m| m.pid != child.pid);
            let children: Vec<Stat> = all.iter().filter(of_it).copied().collect();
            members.extend(children);
            next += 1;
        }
        self.members = members;
    }

    fn knows(&self, process: &Stat) -> bool {
        process.group == self.leader
            || self.members.iter().any(|m| (m.pid, m.started) == (process.pid, process.started))
            || (process.parent == Pid::this() && writes_to(process.pid, &self.pipes))
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

/// Whether one of these pipes is its standard output, its standard error, or what tasks answer by.
fn writes_to(pid: Pid, pipes: &[u64; 2]) -> bool {
    let holds = |fd: i32| {
        let target = fs::read_link(format!("/proc/{pid}/fd/{fd}")).ok()?;
        let inode: u64 = target.to_str()?.strip_prefix("pipe:[")?.strip_suffix(']')?.parse().ok()?;
        Some(pipes.contains(&inode))
    };
    [1, 2, 3].into_iter().any(|fd| holds(fd) == Some(true))
}

/// Whether we have children that are not known; so, too, where the kernel does not tell
/// (`CONFIG_PROC_CHILDREN`).
pub(super) fn orphans(known: impl Fn(Pid) -> bool) -> bool {
    let children = fs::read_to_string(format!("/proc/self/task/{}/children", Pid::this()));
    let Ok(children) = children else { return true };
    !children.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).all(|pid| known(Pid::from_raw(pid)))
}
