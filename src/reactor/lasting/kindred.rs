//! Who is of a family, as /proc shows it where no cgroup does: by the mark in the environment, by
//! descent, and by the session of whoever is known to be of it.

use crate::machine::limits::ENVIRONMENT_BYTES;
use crate::machine::{FAMILY_VARIABLE, Kin, Process};
use crate::reactor::process::{Stat, everybody};
use nix::unistd::Pid;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::Read as _;

/// All processes of the host at one moment.
#[derive(Debug)]
pub(super) struct Census {
    living: Vec<Stat>,
    /// The family that their environments name.
    marks: HashMap<Pid, String>,
}

impl Census {
    pub fn take() -> Self {
        let living: Vec<Stat> = everybody().into_iter().filter(|stat| !stat.ended).collect();
        let mut environment = Vec::new();
        let marked = |stat: &Stat| Some((stat.pid, mark_of(stat.pid, &mut environment)?));
        let marks = living.iter().filter_map(marked).collect();
        Census { living, marks }
    }

    /// Whoever is of this family. Never we ourselves: that an orphan was handed to us shows nothing.
    pub fn kindred(&self, kin: &Kin) -> Vec<Stat> {
        let main = kin.main.and_then(|main| self.living.iter().find(|stat| stat.process() == main));
        let marked = |stat: &&Stat| self.marks.get(&stat.pid).is_some_and(|mark| *mark == kin.family);
        let of_itself = self.living.iter().filter(marked).chain(main);
        let mut members: HashSet<Pid> = of_itself.map(|stat| stat.pid).filter(|pid| may_be(*pid)).collect();
        loop {
            let before = members.len();
            for stat in &self.living {
                let descends = members.contains(&stat.parent);
                let shares = main.is_some_and(|main| main.session == stat.session);
                let fits = descends || shares && self.session_is_of(&members, stat.session);
                if fits && may_be(stat.pid) {
                    members.insert(stat.pid);
                }
            }
            if members.len() == before {
                break;
            }
        }
        self.living.iter().filter(|stat| members.contains(&stat.pid)).copied().collect()
    }

    /// Not so that of a login shell, from which somebody once started the daemon.
    fn session_is_of(&self, members: &HashSet<Pid>, session: Pid) -> bool {
        let mut all = self.living.iter().filter(|stat| stat.session == session);
        session.as_raw() > 0
            && all.all(|stat| may_be(stat.pid) && (stat.pid != session || members.contains(&stat.pid)))
    }
}

fn may_be(pid: Pid) -> bool {
    pid != Pid::this() && pid.as_raw() > 1
}

/// The family that a process's environment names, as it was when it executed.
fn mark_of(pid: Pid, environment: &mut Vec<u8>) -> Option<String> {
    environment.clear();
    let file = File::open(format!("/proc/{pid}/environ")).ok()?;
    file.take(ENVIRONMENT_BYTES).read_to_end(environment).ok()?;
    let mut variables = environment.split(|byte| *byte == 0);
    let family = variables
        .find_map(|variable| variable.strip_prefix(FAMILY_VARIABLE.as_bytes())?.strip_prefix(b"="))?;
    String::from_utf8(family.into()).ok()
}

/// Whether it is still this process and lives.
pub(super) fn living(process: Process) -> Option<Stat> {
    Stat::read(process.pid).filter(|stat| stat.started == process.start && !stat.ended)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Processes as `(pid, parent, session)`, and who is marked as of the family `a`.
    fn census(processes: &[(i32, i32, i32)], marked: &[i32]) -> Census {
        let pid = Pid::from_raw;
        let stat = |&(number, parent, session): &(i32, i32, i32)| Stat {
            pid: pid(number),
            parent: pid(parent),
            group: pid(session),
            session: pid(session),
            started: 1000,
            ended: false,
            ticks: 0,
            resident_pages: 0,
        };
        let marks = marked.iter().map(|number| (pid(*number), "a".to_owned())).collect();
        Census { living: processes.iter().map(stat).collect(), marks }
    }

    fn kindred(census: &Census, main: Option<(i32, u64)>) -> Vec<i32> {
        let main = main.map(|(pid, start)| Process { pid, start });
        let kin = Kin { family: "a".into(), main, output: "/o".into() };
        census.kindred(&kin).iter().map(|stat| stat.pid.as_raw()).collect()
    }

    #[test]
    fn the_marked_and_their_descendants_are_of_it_whatever_those_have_made_of_their_environment() {
        let census = census(&[(50, 40, 50), (40, 30, 40), (30, 1, 30), (60, 1, 60), (70, 60, 60)], &[30]);
        assert_eq!(kindred(&census, None), [50, 40, 30]);
        assert_eq!(kindred(&census, Some((60, 1000))), [50, 40, 30, 60, 70]);
    }

    #[test]
    fn a_number_that_is_anothers_now_shows_nobody() {
        let census = census(&[(30, 1, 30), (31, 30, 30)], &[]);
        assert_eq!(kindred(&census, Some((30, 999))), Vec::<i32>::new());
        assert_eq!(kindred(&census, Some((30, 1000))), [30, 31]);
    }

    #[test]
    fn the_session_counts_where_its_leader_is_of_the_family_or_gone() {
        let left_by_its_leader = census(&[(31, 1, 30), (32, 1, 30), (33, 1, 33)], &[]);
        assert_eq!(kindred(&left_by_its_leader, Some((31, 1000))), [31, 32]);
        let of_a_shell = census(&[(30, 1, 30), (31, 30, 30), (32, 30, 30)], &[]);
        assert_eq!(kindred(&of_a_shell, Some((31, 1000))), [31]);
    }

    #[test]
    fn neither_we_nor_the_first_process_are_ever_of_it() {
        let own = Pid::this().as_raw();
        let census = census(&[(1, 0, 1), (own, 1, 90), (31, own, 90), (32, 31, 90)], &[1, own, 31]);
        assert_eq!(kindred(&census, Some((1, 1000))), [31, 32]);
        assert_eq!(kindred(&census, Some((own, 1000))), [31, 32]);
    }
}
