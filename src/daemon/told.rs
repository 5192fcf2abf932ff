//! A daemon as others see it: its row, what the server is told, and what a list shows.

use super::one::{Daemon, Left, Place};
use super::package::Package;
use super::restarts::Restarts;
use super::table::State;
use crate::machine::limits::REASON_CHARS;
use crate::machine::{Now, Process};
use crate::store::{DaemonRow, UnreadableDaemon};
use crate::wire::{DaemonInit, DaemonStatus, DaemonTold};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// How far a daemon has come.
#[derive(Debug, Clone)]
pub struct Seen {
    pub told: DaemonTold,
    /// What it is to be.
    pub definition: Arc<DaemonInit>,
    /// What it is, where it runs and has come up.
    pub running: Option<Arc<DaemonInit>>,
    /// The definition that came up last.
    pub good: Option<Arc<DaemonInit>>,
    /// Of its processes.
    pub family: Option<String>,
    /// Why it is not as it is wanted.
    pub reason: Option<String>,
    /// The file that was published is not the one that it should be: why.
    pub wrong_file: Option<String>,
    /// Nothing of it runs, and it is not about to.
    pub is_down: bool,
    /// The package of its definition is installed.
    pub has_package: bool,
    /// What runs is to be replaced.
    pub renew: bool,
}

impl Daemon {
    pub fn seen(&self) -> Seen {
        let is_up = self.state == State::Running && self.left.is_none();
        Seen {
            told: self.told(),
            definition: self.init.clone(),
            running: self.started.clone().filter(|_| is_up),
            good: self.good.clone(),
            family: self.family.clone(),
            reason: self.reason.as_deref().map(cut),
            wrong_file: self.wrong_file().as_deref().map(cut),
            is_down: matches!(self.state, State::Stopped | State::Installing),
            has_package: !self.needs_package(),
            renew: self.renew,
        }
    }

    /// As an earlier agent left it. Of another boot no process is left.
    pub fn restored(now: Now, row: DaemonRow, place: &Place) -> Self {
        let state = State::named(&row.state).unwrap_or(State::Stopped);
        let has_processes = state.has_processes() && row.family.is_some();
        let may_run = has_processes && row.boot.as_deref() == Some(place.boot.as_str());
        let init = row.init;
        // Most are the same, and kept once.
        let shared = |other: Arc<DaemonInit>| if other == init { init.clone() } else { other };
        let installed = |text: String| {
            let package: Package = serde_json::from_str(&text).ok()?;
            let is_whole = package.is_whole && package.is_in(&place.settings.dir);
            Some(Package { init: shared(package.init), is_whole, ..package })
        };
        Daemon {
            wanted: row.wanted,
            renew: row.renew && may_run,
            state: match state {
                // What was under way is begun again.
                State::Fatal => State::Fatal,
                state if may_run => state,
                _ => State::Stopped,
            },
            since: SystemTime::UNIX_EPOCH + Duration::from_millis(row.since),
            reason: row.reason,
            started: may_run
                .then(|| shared(row.started.or_else(|| row.good.clone()).unwrap_or_else(|| init.clone()))),
            good: row.good.map(shared),
            installed: row.installed.and_then(installed),
            family: row.family.filter(|_| may_run),
            restarts: Restarts::after(row.restarts),
            left: may_run.then_some(Left { main: row.main, is_asked: false }),
            ..Daemon::new(now, init.clone())
        }
    }

    /// What ran under its name is ended first.
    pub fn replaces(&mut self, other: UnreadableDaemon, boot: &str) {
        if other.boot.as_deref() == Some(boot) && other.family.is_some() {
            self.state = State::Halting;
            self.started = Some(self.init.clone());
            self.family = other.family;
            self.left = Some(Left { main: other.main, is_asked: false });
        }
    }

    pub fn row(&self, boot: &str) -> DaemonRow {
        DaemonRow {
            init: self.init.clone(),
            wanted: self.wanted,
            renew: self.renew,
            state: self.state.name().to_owned(),
            since: milliseconds(self.since),
            restarts: self.restarts.total(),
            reason: self.reason.clone(),
            family: self.family.clone(),
            main: self.process(),
            boot: self.family.is_some().then(|| boot.to_owned()),
            started: self.started.clone(),
            good: self.good.clone(),
            installed: self.installed.as_ref().map(|package: &Package| {
                serde_json::to_string(package).expect("a definition always serialises")
            }),
        }
    }

    pub fn told(&self) -> DaemonTold {
        DaemonTold {
            name: self.init.name.clone(),
            version: self.current().version.clone(),
            status: self.status(),
            wanted: self.wanted,
            pid: self.process().map(|process| process.pid),
            since: milliseconds(self.since),
            restarts: self.restarts.total(),
            removed: self.state == State::Gone,
        }
    }

    pub fn status(&self) -> DaemonStatus {
        match self.state {
            State::Stopped if self.is_fetching() => DaemonStatus::Installing,
            State::Stopped if self.next_fetch().is_some() => DaemonStatus::Backoff,
            state => state.status(),
        }
    }

    /// For people: what the server is told, and what helps to find out why.
    pub fn listed(&self, now: Now) -> Value {
        let mut shown = serde_json::to_value(self.told()).unwrap_or_default();
        let usage = self.hits.usage;
        let next = self.due.filter(|_| matches!(self.state, State::Backoff | State::Killed));
        let next = next.or(self.next_fetch());
        let installed = self.installed.as_ref().filter(|package| package.is_whole);
        let more = json!({
            "defined": self.init.version,
            "installed": installed.map(|package| &package.init.version),
            "reason": self.reason.as_deref().map(cut),
            "next_try": next.map(|next| next.since(now.mono).as_secs_f64()),
            "cpu": self.process().and(usage.cpu).map(|cpu| (cpu * 10.0).round() / 10.0),
            "memory": self.process().and(usage.memory),
        });
        if let (Value::Object(shown), Value::Object(more)) = (&mut shown, more) {
            shown.extend(more);
        }
        shown
    }

    fn process(&self) -> Option<Process> {
        self.main.and_then(|main| main.process)
    }
}

/// Words of a daemon's own may be in it, however many.
pub fn cut(reason: &str) -> String {
    let mut shown: String = reason.chars().take(REASON_CHARS).collect();
    if shown.len() < reason.len() {
        shown.push('…');
    }
    shown
}

fn milliseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
