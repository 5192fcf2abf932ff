//! A daemon's package: fetched while what runs goes on, installed when nothing does, and the one
//! before it brought back where it does not come up.

use super::one::{Daemon, Turn};
use super::table::{Event as Cause, State};
use super::work::Work;
use crate::machine::limits::{
    FETCH_TIMEOUT, INSTALL_TIMEOUT, PACKAGE_BYTES, RESTART_DELAY_MAX, RESTART_DELAY_MIN, TRIES_OF_A_CHANGE,
};
use crate::machine::{ChildId, Event, Instant, Task};
use crate::task::PendingTask;
use crate::wire::daemon::Wanted;
use crate::wire::{DaemonInit, Outcome, Retcode};
use aspire_package::{Fetch, Fetched, Install, Installed, Kind, Uninstall};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where the package that is needed next is.
#[derive(Debug, Default)]
pub enum Supply {
    #[default]
    Idle,
    Fetching(Box<Fetching>),
    /// On this host.
    Here(Arc<DaemonInit>),
    /// It is tried again then. Whether it is another file than it should be.
    Failed(Instant, bool),
}

#[derive(Debug)]
pub struct Fetching {
    task: PendingTask<Result<Fetched, aspire_package::Error>>,
    wanted: Arc<DaemonInit>,
}

/// What is installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    pub init: Arc<DaemonInit>,
    /// The system's own name of it.
    pub name: Option<String>,
    /// [`DaemonSettings::dir`](super::DaemonSettings) at that time.
    #[serde(default)]
    pub dir: PathBuf,
    /// What was installed before it, is another package to the system, and has not been taken away.
    #[serde(default)]
    pub others: Vec<(Kind, String)>,
    /// An installation that was begun may not have come to its end.
    pub is_whole: bool,
}

impl Package {
    fn kind(&self) -> Kind {
        Kind::of(&self.init.url).unwrap_or(Kind::TarGz)
    }

    /// This one and those before it, as the system knows them.
    fn all(self) -> Vec<(Kind, String)> {
        let kind = self.kind();
        self.others.into_iter().chain(self.name.map(|name| (kind, name))).collect()
    }

    /// Whether it is where its daemon looks for it.
    pub fn is_in(&self, dir: &Path) -> bool {
        Kind::of(&self.init.url) != Some(Kind::TarGz) || self.dir == dir
    }
}

impl Supply {
    pub fn child(&self) -> Option<ChildId> {
        match self {
            Supply::Fetching(fetching) => Some(fetching.task.child()),
            _ => None,
        }
    }

    pub fn deadline(&self) -> Option<Instant> {
        match self {
            Supply::Fetching(fetching) => Some(fetching.task.deadline()),
            Supply::Failed(until, _) => Some(*until),
            _ => None,
        }
    }

    /// Whether the package of this definition is on the host.
    pub fn has(&self, init: &DaemonInit) -> bool {
        matches!(self, Supply::Here(here) if here.has_package_of(init))
    }
}

impl Daemon {
    pub(super) fn needs_package(&self) -> bool {
        self.installed
            .as_ref()
            .is_none_or(|package| !(package.is_whole && package.init.has_package_of(&self.init)))
    }

    /// Whether it is being brought to this host.
    pub(super) fn is_fetching(&self) -> bool {
        matches!(self.supply, Supply::Fetching(_))
    }

    /// When it is tried again to bring it here, where it could not be had.
    pub(super) fn next_fetch(&self) -> Option<Instant> {
        match self.supply {
            Supply::Failed(until, _) => Some(until),
            _ => None,
        }
    }

    /// Why the file that was published is not the one that it should be.
    pub(super) fn wrong_file(&self) -> Option<String> {
        matches!(self.supply, Supply::Failed(_, true)).then(|| self.reason.clone().unwrap_or_default())
    }

    /// Begins to fetch the package, or leaves off where another is needed, or none.
    pub(super) fn fetch_what_is_needed(&mut self, turn: &mut Turn<'_>) {
        let is_needed = self.wanted != Wanted::Removed && self.needs_package() && self.state != State::Gone;
        match &self.supply {
            Supply::Fetching(fetching) if !is_needed || !fetching.wanted.has_package_of(&self.init) => {
                fetching.task.cancel(turn.fx);
                self.supply = Supply::Idle;
            }
            Supply::Here(here) if !is_needed || !here.has_package_of(&self.init) => {
                self.supply = Supply::Idle;
            }
            Supply::Failed(..) if !is_needed => self.supply = Supply::Idle,
            _ => {}
        }
        let may_begin =
            matches!(self.state, State::Stopped | State::Checking | State::Starting | State::Running);
        if is_needed && may_begin && matches!(self.supply, Supply::Idle) {
            self.fetch(turn);
        }
    }

    fn fetch(&mut self, turn: &mut Turn<'_>) {
        let settings = &turn.place.settings;
        let is_own = settings.is_own_server(&self.init.url);
        let checksum = self.init.checksum.as_ref().and_then(|checksum| checksum.parse().ok());
        let task = Task::Fetch(Fetch {
            url: self.init.url.clone(),
            to: settings.package(&self.init),
            checksum,
            most_bytes: PACKAGE_BYTES,
            identity: is_own.then(|| settings.tls.clone()),
        });
        let task = PendingTask::start_within(turn.now, task, FETCH_TIMEOUT, turn.fx);
        self.supply = Supply::Fetching(Box::new(Fetching { task, wanted: self.init.clone() }));
        self.is_changed = true;
    }

    pub(super) fn step_supply(&mut self, turn: &mut Turn<'_>, event: &Event<'_>) {
        let Supply::Fetching(fetching) = &mut self.supply else {
            self.supply = Supply::Idle;
            return;
        };
        let failure = match fetching.task.handle(turn.now, event, turn.fx) {
            None => return,
            Some(Ok(Ok(_))) => {
                self.supply = Supply::Here(fetching.wanted.clone());
                (self.failed_fetches, self.is_changed) = (0, true);
                return;
            }
            Some(Ok(Err(error))) => outcome(&error),
            Some(Err(reason)) => {
                let detail = format!("{}: {reason}", aspire_package::without_login(&self.init.url));
                Outcome::with_detail(Retcode::DownloadFailed, detail)
            }
        };
        let is_wrong_file = failure.retcode == Retcode::ChecksumMismatch.code();
        if is_wrong_file && self.state == State::Stopped {
            self.supply = Supply::Idle;
            return self.failed(turn, failure);
        }
        // What runs goes on meanwhile. A server that is away comes back; a file that is another one
        // than it should be was published so.
        let doubled = RESTART_DELAY_MIN.saturating_mul(1 << self.failed_fetches.min(16));
        self.failed_fetches += 1;
        self.supply = Supply::Failed(turn.now.mono + doubled.min(RESTART_DELAY_MAX), is_wrong_file);
        self.is_changed = true;
        if self.reason != failure.detail {
            self.reason.clone_from(&failure.detail);
            self.outcomes.push(failure);
        }
        if is_wrong_file && self.is_on_trial() {
            self.tries += 1;
            if self.tries >= TRIES_OF_A_CHANGE {
                self.roll_back();
            }
        }
    }

    pub(super) fn install(&mut self, turn: &mut Turn<'_>) {
        let settings = &turn.place.settings;
        let Some(kind) = Kind::of(&self.init.url) else {
            let detail = "url: it names no package that can be installed";
            return self.failed(turn, Outcome::with_detail(Retcode::InstallationFailed, detail));
        };
        let task = Task::Install(Install {
            kind,
            file: settings.package(&self.init),
            folder: settings.folder(&self.init.name),
            version: self.init.version.clone(),
            spare: self.good.as_ref().map(|good| settings.package(good)),
        });
        let task = PendingTask::start_within(turn.now, task, INSTALL_TIMEOUT, turn.fx);
        self.work = Some(Work::Install(task));
        // Whatever becomes of it, the one before is not there any more as it was.
        let others = self.installed.take().map(Package::all).unwrap_or_default();
        let dir = settings.dir.clone();
        self.installed = Some(Package { init: self.init.clone(), name: None, dir, others, is_whole: false });
    }

    pub(super) fn is_installed(&mut self, turn: &mut Turn<'_>, installed: Installed) {
        if let Some(package) = &mut self.installed {
            let kind = package.kind();
            package.others.retain(|(other, name)| *other != kind || Some(name) != installed.package.as_ref());
            (package.name, package.is_whole) = (installed.package, true);
        }
        (self.supply, self.reason, self.is_changed) = (Supply::Idle, None, true);
        self.take_away_others(turn);
    }

    /// What was installed before, then what is under way is done.
    fn take_away_others(&mut self, turn: &mut Turn<'_>) {
        let other = self.installed.as_ref().and_then(|package| package.others.first().cloned());
        match other {
            None if self.state == State::Removing => self.take_away_itself(turn),
            None => self.feed(turn, Cause::Passed),
            Some((kind, name)) => {
                let other = Uninstall { kind, package: Some(name), folder: None, packages: None };
                self.take_away(turn, other);
            }
        }
    }

    /// What was fetched may be at fault, and is looked at again.
    pub(super) fn is_not_installed(&mut self, turn: &mut Turn<'_>, outcome: Outcome) {
        self.supply = Supply::Idle;
        self.failed(turn, outcome);
    }

    pub(super) fn uninstall(&mut self, turn: &mut Turn<'_>) {
        if let Some(package) = &mut self.installed {
            // Whatever becomes of it: who is wanted again after all needs it anew.
            package.is_whole = false;
        }
        self.take_away_others(turn);
    }

    fn take_away_itself(&mut self, turn: &mut Turn<'_>) {
        let settings = &turn.place.settings;
        // Of what was never installed there are files that were fetched.
        let package = self.installed.as_ref();
        let itself = Uninstall {
            kind: package.map_or(Kind::TarGz, Package::kind),
            package: package.and_then(|package| package.name.clone()),
            folder: Some(settings.folder(&self.init.name)),
            packages: Some(settings.packages(&self.init.name)),
        };
        self.take_away(turn, itself);
    }

    fn take_away(&mut self, turn: &mut Turn<'_>, what: Uninstall) {
        let task = PendingTask::start_within(turn.now, Task::Uninstall(what), INSTALL_TIMEOUT, turn.fx);
        self.work = Some(Work::Uninstall(task));
    }

    pub(super) fn is_uninstalled(&mut self, turn: &mut Turn<'_>) {
        if let Some(package) = self.installed.as_mut().filter(|package| !package.others.is_empty()) {
            package.others.remove(0);
            self.is_changed = true;
            return self.take_away_others(turn);
        }
        self.installed = None;
        self.feed(turn, Cause::Passed);
    }

    /// The definition that came up last is the one again.
    pub(super) fn roll_back(&mut self) {
        let Some(good) = self.good.clone() else { return };
        let why = self.reason.take().unwrap_or_default();
        let detail = format!(
            "version {} did not come up, and version {} is brought back: {why}",
            self.init.version, good.version
        );
        self.outcomes.push(Outcome::with_detail(Retcode::InstallationFailed, detail.clone()));
        (self.init, self.tries, self.reason) = (good, 0, Some(detail));
        self.restarts = super::restarts::Restarts::default();
        self.is_changed = true;
    }
}

pub fn outcome(error: &aspire_package::Error) -> Outcome {
    Outcome::with_detail(error.retcode(), error.to_string())
}
