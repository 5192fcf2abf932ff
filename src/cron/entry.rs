//! One entry of the table: when it is due next, and what becomes of it then.

use super::{Schedule, Zone};
use crate::machine::limits::CRON_MISSED_COUNT;
use crate::wire::Overlap;
use crate::wire::cron::SPLAY_SECONDS;
use ring::digest::{SHA256, digest};
use std::time::{Duration, SystemTime};

/// Set forward by less than this, the clock was late: whatever it left out runs.
const LATE: Duration = Duration::from_secs(5 * 60);
/// Set by less than this, it was corrected; by more, it tells a new time. Both
/// are cron(8)'s figures.
pub(super) const CORRECTION: Duration = Duration::from_secs(3 * 3600);

/// What is to run when.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub name: String,
    pub schedule: Schedule,
    pub zone: Zone,
    pub overlap: Overlap,
    /// Whether one run makes up for all that were missed while the agent or
    /// the machine was down.
    pub catchup: bool,
    /// In [`SPLAY_SECONDS`]: every run starts this many seconds late at most,
    /// always the same on this host.
    pub splay: u64,
}

/// A run that is to start now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    pub name: String,
    /// By the schedule, without the splay.
    pub scheduled: SystemTime,
    /// Earlier times without a run, for which this one stands, too; at most
    /// [`CRON_MISSED_COUNT`] are counted.
    pub missed: u64,
}

/// What the table tells its machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// To be started, and answered by [`super::Table::ended`] whatever comes of it.
    Run(Due),
    /// Not started, because the previous run lives and, with
    /// [`Overlap::Queue`], another one waits.
    Skipped { name: String, scheduled: SystemTime },
    /// The time went by while the agent could not run it, and nobody wants it any more.
    Missed { name: String, scheduled: SystemTime },
    /// The wall clock was set, or the machine slept, by this many seconds;
    /// below zero it was set back. By more than 3 h, it tells a new time, in
    /// which what fired may fire again.
    ClockStepped { seconds: i64 },
}

/// An entry in the table.
#[derive(Debug)]
pub(super) struct Slot {
    pub entry: Entry,
    pub delay: Duration,
    /// The scheduled time that is waited for; `None` where there is none any more.
    pub next: Option<SystemTime>,
    /// The last one that had its turn: run, queued or skipped.
    pub last: Option<SystemTime>,
    pub queued: Option<Due>,
    pub skipped: u64,
}

impl Slot {
    pub fn new(host_id: &str, entry: Entry, last: Option<SystemTime>) -> Self {
        let delay = delay(host_id, &entry);
        Slot { entry, delay, next: None, last, queued: None, skipped: 0 }
    }

    pub fn scheduled_after(&self, time: SystemTime) -> Option<SystemTime> {
        self.entry.schedule.next(&self.entry.zone, time)
    }

    pub fn start(&self) -> Option<SystemTime> {
        self.next?.checked_add(self.delay)
    }

    /// Scheduled times up to here start by `now`.
    pub fn since(&self, now: SystemTime) -> SystemTime {
        now.checked_sub(self.delay).unwrap_or(now)
    }

    /// The first scheduled time after `time`, which is now or [`Slot::since`]
    /// now, that has not had its turn. A last one far ahead is of a clock that
    /// was wrong.
    pub fn first_after(&self, time: SystemTime) -> Option<SystemTime> {
        let last = self.last.filter(|last| ahead(*last, time) <= CORRECTION + self.delay);
        self.scheduled_after(last.map_or(time, |last| last.max(time)))
    }

    /// What becomes of the scheduled times up to now. `step` is by how much the
    /// clock has just been set forward, `running` how many earlier runs live.
    pub fn come_due(&mut self, now: SystemTime, step: Duration, running: u32) -> Option<Fact> {
        let late = ahead(now, self.start()?);
        // Without the step it would not be due yet.
        let by_step = late < step;
        let first = match self.last {
            // It has fired before the clock was wrong, and is right again.
            Some(last) if by_step && Some(last) >= self.next => {
                self.scheduled_after(last).filter(|next| *next <= self.since(now))?
            }
            _ => self.next?,
        };
        let excused = if by_step {
            step < LATE || (step < CORRECTION && !self.entry.schedule.is_interval())
        } else {
            late.saturating_sub(step) < CORRECTION
        };
        let name = self.entry.name.clone();
        if !excused && !self.entry.catchup {
            return Some(Fact::Missed { name, scheduled: first });
        }
        let (scheduled, missed) = self.passed(first, now);
        self.last = Some(scheduled);
        let due = Due { name: name.clone(), scheduled, missed };
        match self.entry.overlap {
            Overlap::Queue if running > 0 && self.queued.is_none() => {
                self.queued = Some(due);
                None
            }
            Overlap::Skip | Overlap::Queue if running > 0 => {
                self.skipped += 1;
                Some(Fact::Skipped { name, scheduled })
            }
            _ => Some(Fact::Run(due)),
        }
    }

    /// The last scheduled time up to `now`, less the delay, and how many there
    /// are before it from `first` on.
    fn passed(&self, first: SystemTime, now: SystemTime) -> (SystemTime, u64) {
        let until = self.since(now);
        let mut latest = first;
        for missed in 0..CRON_MISSED_COUNT {
            match self.scheduled_after(latest).filter(|next| *next <= until) {
                Some(next) => latest = next,
                None => return (latest, missed),
            }
        }
        // Too many to count: the last one is found by halving.
        let (mut least, mut most) = (latest, until);
        while ahead(most, least) >= Duration::from_secs(1) {
            let middle = least + ahead(most, least) / 2;
            match self.scheduled_after(middle).filter(|next| *next <= until) {
                Some(next) => (latest, least) = (next, next),
                None => most = middle,
            }
        }
        (latest, CRON_MISSED_COUNT)
    }
}

/// This host's place in the entry's splay: the same as long as neither changes
/// its name, and evenly spread over hosts and entries.
pub(super) fn delay(host_id: &str, entry: &Entry) -> Duration {
    let hash = digest(&SHA256, format!("{host_id}\0{}", entry.name).as_bytes());
    let (begin, _) = hash.as_ref().split_first_chunk().expect("it has 32 bytes");
    Duration::from_secs(u64::from_be_bytes(*begin) % (entry.splay.min(*SPLAY_SECONDS.end()) + 1))
}

/// By how much `later` is later; zero where it is not.
pub(super) fn ahead(later: SystemTime, earlier: SystemTime) -> Duration {
    later.duration_since(earlier).unwrap_or_default()
}
