//! Whether a job that was begun has come to its end: pure, from what there was before it, and from
//! how far the agent has come since.

use crate::daemon::Seen;
use crate::machine::limits::TRIES_OF_A_CHANGE;
use crate::wire::boot::Action;
use crate::wire::daemon::Wanted;
use crate::wire::{DaemonInit, DaemonStatus, Outcome, Retcode};
use serde::{Deserialize, Serialize};

/// What a job found when it was begun, and what it is to bring about: kept, so that a later boot
/// goes on by it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Before {
    /// The agent, where it was there.
    pub agent: Option<Former>,
    /// What it is to be, where that is to change.
    pub target: Option<DaemonInit>,
    /// What the job ends with as soon as all is as it was: errcode and message.
    pub failure: Option<(u32, String)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Former {
    pub definition: DaemonInit,
    pub wanted: Wanted,
    /// Of its processes.
    pub family: Option<String>,
}

impl From<&Seen> for Former {
    fn from(seen: &Seen) -> Former {
        Former {
            definition: (*seen.definition).clone(),
            wanted: seen.told.wanted,
            family: seen.family.clone(),
        }
    }
}

/// How a job has fared since this boot took it up.
#[derive(Debug, Default)]
pub struct Course {
    /// Failures that count towards giving up.
    pub failures: u32,
    pub last: Option<Outcome>,
    /// Its time is over: that many seconds.
    pub late: Option<u64>,
}

#[derive(Debug)]
pub enum Verdict {
    NotYet,
    Done,
    /// For good.
    Failed(Outcome),
}

impl Course {
    /// Takes in a failure of the agent.
    pub fn failed(&mut self, outcome: &Outcome, seen: Option<&Seen>) {
        // Of a definition that is tried in the place of a good one the supervisor counts itself.
        let is_on_trial =
            seen.is_some_and(|seen| seen.good.as_ref().is_some_and(|good| *good != seen.definition));
        if !is_on_trial && outcome.retcode != Retcode::DownloadFailed.code() {
            self.failures += 1;
        }
        self.last = Some(outcome.clone());
    }

    fn is_spent(&self) -> bool {
        self.failures >= TRIES_OF_A_CHANGE
    }

    /// The last failure, or else this.
    fn because(&self, seen: Option<&Seen>, otherwise: Retcode) -> Outcome {
        let reason = seen.and_then(|seen| seen.reason.clone());
        match (&self.last, self.late) {
            (last, Some(seconds)) => {
                let retcode = last.as_ref().map_or(Retcode::TimedOut.code(), |last| last.retcode);
                let last = last.as_ref().map(|last| last.detail.clone().unwrap_or(last.message.clone()));
                let why = last.or(reason).map(|why| format!(": {why}")).unwrap_or_default();
                let detail = format!("it has not come to its end within {seconds} s{why}");
                Outcome::with_detail(known(retcode), detail)
            }
            (Some(last), None) => last.clone(),
            (None, None) => {
                Outcome::with_detail(otherwise, reason.unwrap_or_else(|| "nobody knows why".into()))
            }
        }
    }
}

fn known(code: u16) -> Retcode {
    Retcode::ALL.iter().copied().find(|known| known.code() == code).unwrap_or(Retcode::TimedOut)
}

/// Of a job that was begun.
pub fn judge(action: &Action, before: &Before, seen: Option<&Seen>, course: &Course) -> Verdict {
    let is_over = course.late.is_some() || seen.is_some_and(|seen| seen.told.status == DaemonStatus::Fatal);
    let Some(seen) = seen else {
        return match action {
            Action::Uninstall(_) => Verdict::Done,
            _ => Verdict::Failed(Outcome::with_detail(Retcode::NotFound, "name: the agent has gone")),
        };
    };
    let is_done = match action {
        Action::Install(_) | Action::Upgrade(_) => return judge_change(before, seen, course, is_over),
        Action::Uninstall(_) | Action::Config(_) | Action::UpgradeBoot(_) => false,
        Action::Start(_) => seen.running.is_some(),
        Action::Stop(_) => seen.is_down && seen.told.wanted == Wanted::Stoped,
        Action::Restart(_) => {
            let family = before.agent.as_ref().and_then(|former| former.family.as_ref());
            seen.running.is_some() && !seen.renew && seen.family.as_ref() != family
        }
    };
    // One that cannot be ended, or taken away, is tried on until its time is over.
    let counts = matches!(action, Action::Start(_) | Action::Restart(_));
    if is_done {
        Verdict::Done
    } else if is_over || counts && course.is_spent() {
        Verdict::Failed(course.because(Some(seen), Retcode::CouldNotStart))
    } else {
        Verdict::NotYet
    }
}

fn judge_change(before: &Before, seen: &Seen, course: &Course, is_over: bool) -> Verdict {
    let is_target = |init: &DaemonInit| Some(init) == before.target.as_ref();
    if let Some(why) = &seen.wrong_file {
        return Verdict::Failed(Outcome::with_detail(Retcode::ChecksumMismatch, why.clone()));
    }
    let is_wrong_file =
        course.last.as_ref().is_some_and(|last| last.retcode == Retcode::ChecksumMismatch.code());
    if !is_target(&seen.definition) || is_wrong_file {
        // The supervisor has brought back the one before.
        return Verdict::Failed(course.because(Some(seen), Retcode::InstallationFailed));
    }
    if is_as_wanted(&seen.definition, seen.told.wanted, seen) {
        Verdict::Done
    } else if is_over || course.is_spent() {
        Verdict::Failed(course.because(Some(seen), Retcode::InstallationFailed))
    } else {
        Verdict::NotYet
    }
}

/// Whether it is by this definition, and runs or not.
fn is_as_wanted(init: &DaemonInit, wanted: Wanted, seen: &Seen) -> bool {
    *seen.definition == *init
        && match wanted {
            Wanted::Running => seen.running.as_deref() == Some(init),
            Wanted::Stoped => seen.is_down && seen.has_package,
            Wanted::Removed => false,
        }
}

/// Of a job that has failed: `Some` as soon as the host is as it was, or will not be. How it is, in
/// words that follow those of the failure.
pub fn judge_undo(before: &Before, seen: Option<&Seen>, course: &Course) -> Option<String> {
    let is_over = course.late.is_some() || seen.is_some_and(|seen| seen.told.status == DaemonStatus::Fatal);
    let why = || {
        let outcome = course.because(seen, Retcode::TimedOut);
        outcome.detail.unwrap_or(outcome.message)
    };
    match (&before.agent, seen) {
        (None, None) => Some("nothing of it is left".into()),
        (None, Some(_)) => is_over.then(|| format!("it could not be taken away again: {}", why())),
        (Some(former), Some(seen)) => {
            let version = &former.definition.version;
            if is_as_wanted(&former.definition, former.wanted, seen) {
                Some(format!("version {version} is as it was"))
            } else {
                let is_over = is_over || course.is_spent();
                is_over.then(|| format!("version {version} is brought back, and is not up: {}", why()))
            }
        }
        (Some(_), None) => Some("the agent has gone".into()),
    }
}
