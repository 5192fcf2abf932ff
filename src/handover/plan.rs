//! What is kept on disk of a handover.

use super::stamp::Stamp;
use crate::machine::Process;
use crate::machine::limits::PLAN_BYTES;
use aspire_package::Kind;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Everything that the helper goes by, and how far it has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    pub job: Job,
    pub stage: Stage,
    /// Why the version before is brought back, once it is.
    #[serde(default)]
    pub reason: Option<String>,
    /// What had failed.
    #[serde(default)]
    pub failed_at: Option<Stage>,
    pub wanted: Release,
    pub before: Release,
    /// The installed program: what a service manager starts.
    pub program: PathBuf,
    /// With which it is started.
    pub arguments: Vec<String>,
    /// With which it was started by others.
    pub given: Vec<String>,
    pub pid_file: PathBuf,
    /// Who ran when this was made.
    pub old: Life,
    /// The service of systemd by which it ran. Until the helper has asked, where it may have been.
    #[serde(default)]
    pub unit: Option<String>,
    /// That service begins with the host.
    #[serde(default)]
    pub is_enabled: bool,
    /// The installed program's file before anything was installed.
    #[serde(default)]
    pub found: Option<Stamp>,
    /// The same once it was over.
    #[serde(default)]
    pub left: Option<Stamp>,
    /// Seconds that the new one may take to prove itself.
    pub deadline: u64,
    /// What the helper writes.
    pub log: PathBuf,
}

/// Which job it is, so that its result can be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    pub id: String,
    /// As the job calls boot.
    pub name: String,
}

/// One version of boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    pub version: String,
    #[serde(default)]
    pub checksum: Option<String>,
    /// Its package, where it is on this host. The file's name ends as its kind has it.
    #[serde(default)]
    pub package: Option<PathBuf>,
}

/// A process, told from those of other boots of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Life {
    pub pid: i32,
    /// As in [`Process`].
    pub start: u64,
    /// The kernel's id of the host's boot.
    pub boot: String,
}

/// A boot whose report was answered says who it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmed {
    pub life: Life,
    /// What it runs.
    pub program: PathBuf,
    /// As it numbers itself; its package may be numbered otherwise.
    #[serde(default)]
    pub version: String,
}

/// How far it has come. Each is written down before it is begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Nothing was done yet.
    Prepared,
    Installing,
    /// The new version is installed, and the old one makes room.
    Replacing,
    /// The new version is to show that it works.
    Proving,
    Done,
    /// The version before is put back, and started where it does not run.
    RollingBack,
    RolledBack,
}

impl Stage {
    /// Nothing is left to do.
    #[must_use]
    pub fn is_end(self) -> bool {
        matches!(self, Stage::Done | Stage::RolledBack)
    }

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Stage::Prepared => "prepared",
            Stage::Installing => "installing",
            Stage::Replacing => "replacing",
            Stage::Proving => "proving",
            Stage::Done => "done",
            Stage::RollingBack => "rolling_back",
            Stage::RolledBack => "rolled_back",
        }
    }
}

impl Release {
    /// Whether a package of this version, with this checksum where both are known, is the same.
    #[must_use]
    pub fn is(&self, version: &str, checksum: Option<&str>) -> bool {
        let differs = |(ours, theirs): (&String, &str)| !ours.eq_ignore_ascii_case(theirs);
        self.version == version && !self.checksum.as_ref().zip(checksum).is_some_and(differs)
    }

    /// Of its package.
    #[must_use]
    pub fn kind(&self) -> Option<Kind> {
        Kind::of(self.package.as_ref()?.to_str()?)
    }
}

impl Life {
    #[must_use]
    pub fn new(process: Process, boot: &str) -> Life {
        Life { pid: process.pid, start: process.start, boot: boot.to_owned() }
    }

    /// The process, where that is of this boot of the host.
    #[must_use]
    pub fn process(&self, boot: &str) -> Option<Process> {
        (self.boot == boot).then_some(Process { pid: self.pid, start: self.start })
    }
}

impl Plan {
    /// # Errors
    /// The text is no plan of ours.
    pub fn parse(text: &[u8]) -> Result<Plan, String> {
        if text.len() as u64 > PLAN_BYTES {
            return Err(format!("larger than {PLAN_BYTES} bytes"));
        }
        serde_json::from_slice(text).map_err(|error| error.to_string())
    }

    /// As it is on disk.
    ///
    /// # Panics
    /// Never: texts and numbers always serialise.
    #[must_use]
    pub fn text(&self) -> String {
        let text = serde_json::to_string_pretty(self).expect("texts and numbers always serialise");
        format!("{text}\n")
    }

    /// What is installed, now that it is over.
    #[must_use]
    pub fn installed(&self) -> &Release {
        if self.stage == Stage::Done { &self.wanted } else { &self.before }
    }

    /// The fraction `1/part` of what the new one has to prove itself: what is waited for is short of
    /// it, however short that is.
    #[must_use]
    pub fn part(&self, part: u32) -> Duration {
        Duration::from_secs(self.deadline) / part
    }
}

/// Where all of it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    folder: PathBuf,
}

impl Paths {
    /// Below the folder of the agents; none of them has such a name.
    #[must_use]
    pub fn new(agents: &Path) -> Paths {
        Paths { folder: agents.join(".self") }
    }

    /// Those beside this plan.
    #[must_use]
    pub fn of_plan(plan: &Path) -> Paths {
        Paths { folder: plan.parent().unwrap_or(Path::new("/")).to_owned() }
    }

    /// The plan.
    #[must_use]
    pub fn plan(&self) -> PathBuf {
        self.folder.join("plan.json")
    }

    /// A copy of the program that ran when the plan was made: the helper, and what is put back.
    #[must_use]
    pub fn copy(&self) -> PathBuf {
        self.folder.join("boot")
    }

    /// A [`Confirmed`].
    #[must_use]
    pub fn confirmed(&self) -> PathBuf {
        self.folder.join("confirmed")
    }

    /// Held by the helper that is at work.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.folder.join("lock")
    }

    /// What an asked program said last.
    #[must_use]
    pub fn words(&self) -> PathBuf {
        self.folder.join("words")
    }

    /// Where an archive is unpacked.
    #[must_use]
    pub fn tree(&self) -> PathBuf {
        self.folder.join("tree")
    }

    /// The packages: of the version that runs, and of the one that is to come.
    #[must_use]
    pub fn packages(&self) -> PathBuf {
        self.folder.join("packages")
    }
}
