//! What the agent is and does, as `agent.info` tells it and SIGUSR1 logs it.

use super::{Gearman, version};
use crate::exec::Done;
use crate::machine::{Effect, Effects, Now};
use crate::wire::{Outcome, Retcode};
use log::info;
use serde_json::{Value, json};
use std::path::Path;

/// Where the kernel tells how large we are: proc_pid_statm(5).
pub(super) const STATM: &str = "/proc/self/statm";

/// What happened since the agent's start.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub requests: u64,
    pub failed: u64,
    pub commands: u64,
    pub links: u64,
}

impl Gearman {
    /// `agent.info`: answered once its size is known.
    pub(super) fn info(&mut self, id: String, fx: &mut Effects) {
        self.infos.push(id);
        if self.infos.len() == 1 {
            fx.push(Effect::ReadFile { path: STATM.into() });
        }
    }

    /// Our size has been read.
    pub(super) fn has_size(&mut self, now: Now, statm: Option<&[u8]>, fx: &mut Effects) {
        let rss = statm.and_then(resident_bytes);
        for id in std::mem::take(&mut self.infos) {
            let outcome = Outcome::new(Retcode::NormalTermination).with_data(&self.status(now, rss));
            self.finish(now, Done { id, outcome }, fx);
        }
    }

    pub(super) fn log_status(&self, now: Now) {
        info!(
            "agent=status version={} uptime={}s link={} running={} waiting={} queries={} answered={}",
            version(),
            now.mono.since(self.started).as_secs(),
            self.link.state_name(),
            self.exec.running(),
            self.exec.waiting(),
            self.queries.running() + self.queries.waiting(),
            self.answered.len(),
        );
    }

    fn status(&self, now: Now, rss: Option<u64>) -> Value {
        let kept = self.kept.as_ref().ok();
        let ready = self.link.server(now);
        json!({
            "hostname": self.host.id,
            "version": version(),
            "uptime": now.mono.since(self.started).as_secs(),
            "boot": self.host.boot_id,
            "link": {
                "state": self.link.state_name(),
                "server": ready.map(|(server, _)| server.to_string()),
                "since": ready.map(|(_, since)| since.as_secs()),
            },
            "running": self.exec.running(),
            "waiting": self.exec.waiting(),
            "queries": {"running": self.queries.running(), "waiting": self.queries.waiting()},
            "jobs": kept.map(|kept| kept.jobs.unfinished()),
            "cron": kept.map(|kept| kept.cron.len()),
            "daemons": kept.map(|kept| kept.daemons.count()),
            "results": kept.map(|kept| kept.outbox.waiting()),
            "memory": rss,
            "counters": {
                "links": self.counters.links,
                "requests": self.counters.requests,
                "failed": self.counters.failed,
                "commands": self.counters.commands,
                "queries": self.queries.asked(),
            },
        })
    }
}

/// Whether this is the file that [`Gearman::info`] asked for.
pub(super) fn is_size(path: &Path) -> bool {
    path == Path::new(STATM)
}

fn resident_bytes(statm: &[u8]) -> Option<u64> {
    let pages: u64 = std::str::from_utf8(statm).ok()?.split(' ').nth(1)?.parse().ok()?;
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok()??;
    Some(pages * u64::try_from(page).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_number_counts_pages() {
        let page = resident_bytes(b"2000 1 600 300 0 250 0\n").unwrap();
        assert!(page.is_power_of_two(), "{page}");
        assert_eq!(resident_bytes(b"2000 1500 600 300 0 250 0\n"), Some(1500 * page));
        assert_eq!((resident_bytes(b""), resident_bytes(b"x y")), (None, None));
    }
}
