//! What /proc tells of a process: `stat`, as in proc_pid_stat(5).

use crate::machine::Process;
use nix::unistd::Pid;
use std::fs::{self, File};
use std::io::Read as _;

/// Longer than any: a name, and some fifty numbers.
const STAT_BYTES: usize = 2048;

#[derive(Debug, Clone, Copy)]
pub(super) struct Stat {
    pub pid: Pid,
    pub parent: Pid,
    pub group: Pid,
    pub session: Pid,
    /// With the number it names a process for good.
    pub started: u64,
    pub ended: bool,
    /// Processor time of its own and of those children that it has waited for.
    pub ticks: u64,
    pub resident_pages: u64,
}

impl Stat {
    /// `None` where there is no such process.
    pub fn read(pid: i32) -> Option<Stat> {
        let mut bytes = [0; STAT_BYTES];
        let length = File::open(format!("/proc/{pid}/stat")).ok()?.read(&mut bytes).ok()?;
        Self::parse(pid, &bytes[..length])
    }

    fn parse(pid: i32, stat: &[u8]) -> Option<Stat> {
        // The name before may hold whatever bytes it likes.
        let name_end = stat.iter().rposition(|byte| *byte == b')')?;
        let fields = std::str::from_utf8(stat.get(name_end + 2..)?).ok()?;
        let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
        let text = |field: usize| fields.get(field - 3).copied();
        let number = |field: usize| text(field)?.parse::<u64>().ok();
        let pid_of = |field: usize| text(field)?.parse().ok().map(Pid::from_raw);
        // A leader that has ended while other threads of it run looks like a zombie.
        let threads = number(20)?;
        Some(Stat {
            pid: Pid::from_raw(pid),
            parent: pid_of(4)?,
            group: pid_of(5)?,
            session: pid_of(6)?,
            started: number(22)?,
            ended: matches!(text(3), Some("Z" | "X")) && threads <= 1,
            ticks: (14..=17).filter_map(number).sum(),
            resident_pages: number(24).unwrap_or(0),
        })
    }

    pub fn process(&self) -> Process {
        Process { pid: self.pid.as_raw(), start: self.started }
    }
}

/// Everybody whom we may see.
pub(super) fn everybody() -> Vec<Stat> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.filter_map(|entry| Stat::read(entry.ok()?.file_name().to_str()?.parse().ok()?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One with this name and this state, and as many threads.
    fn stat(name: &[u8], state: &str, threads: u32) -> Stat {
        let rest = format!(
            ") {state} 7 8 9 0 -1 4194304 1 2 3 4 100 20 3 0 20 0 {threads} 0 12345 8192 77 18446744073709551615"
        );
        let line = [b"42 (", name, rest.as_bytes()].concat();
        Stat::parse(42, &line).expect("a stat")
    }

    #[test]
    fn a_name_may_hold_whatever_bytes_it_likes() {
        for name in [&b"bash"[..], b"a) Z 1 (b", b"\xff\xfe", b""] {
            let stat = stat(name, "S", 1);
            let ids = [stat.pid, stat.parent, stat.group, stat.session].map(Pid::as_raw);
            assert_eq!(ids, [42, 7, 8, 9]);
            assert_eq!((stat.started, stat.ticks, stat.resident_pages), (12345, 123, 77));
        }
    }

    #[test]
    fn a_leader_that_has_ended_lives_in_its_other_threads() {
        assert!(stat(b"x", "Z", 1).ended);
        assert!(!stat(b"x", "Z", 3).ended);
        assert!(!stat(b"x", "R", 1).ended);
    }

    #[test]
    fn we_are_there_and_a_number_that_cannot_be_is_not() {
        let own = Stat::read(Pid::this().as_raw()).expect("our own");
        assert_eq!((own.parent, own.ended), (Pid::parent(), false));
        assert!(own.resident_pages > 0);
        assert!(Stat::read(-1).is_none());
    }
}
