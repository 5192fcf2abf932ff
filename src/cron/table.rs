//! The entries: when each is due, and what becomes of runs that overlap or
//! were missed. What a run does is not known here.
//!
//! The table is handed the time with every call and compares its two clocks,
//! so that it sees for itself when the wall clock was set or the machine slept
//! ([`Fact::ClockStepped`]). Until somebody calls, it cannot: a poll waits by
//! the monotonic clock. Whoever wants to react at once arms a timerfd with
//! `TFD_TIMER_CANCEL_ON_SET`, and calls [`Table::tick`] when it fires.
//!
//! What must survive a restart is, for each entry, the latest scheduled time
//! that came as [`Fact::Run`] or [`Fact::Skipped`]; [`Table::restore`] takes
//! it. What waits for its predecessor's end has not come yet.

use super::CronError;
use super::entry::{CORRECTION, Entry, Fact, Slot, ahead, delay};
use super::zone::unix_seconds;
use crate::machine::limits::CRON_ENTRIES;
use crate::machine::{Instant, Now};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

/// A difference of the clocks up to here is how they are read, not a step.
const STEP: Duration = Duration::from_secs(1);
/// An entry and what became of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed<'a> {
    pub entry: &'a Entry,
    /// This host's part of the splay.
    pub delay: Duration,
    /// The last scheduled time that was run or skipped.
    pub last: Option<SystemTime>,
    /// When runs will start on this host, the delay included.
    pub next: Vec<SystemTime>,
    pub running: u32,
    /// The scheduled time of the run that waits for the previous one's end.
    pub queued: Option<SystemTime>,
    /// Runs that were not started because of another, since the agent started.
    pub skipped: u64,
}

#[derive(Debug)]
pub struct Table {
    host_id: String,
    slots: BTreeMap<String, Slot>,
    /// Every slot's next start by the wall clock, the first one first.
    starts: BTreeSet<(SystemTime, String)>,
    /// Living runs, also of entries that were removed meanwhile.
    runs: BTreeMap<String, u32>,
    /// Both clocks as they were last seen.
    seen: Option<Now>,
}

impl Table {
    /// `host_id` decides the host's place in every splay.
    pub fn new(host_id: String) -> Self {
        Table { host_id, slots: BTreeMap::new(), starts: BTreeSet::new(), runs: BTreeMap::new(), seen: None }
    }

    pub fn len(&self) -> usize {
        self.slots.len()
    }

    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Makes an entry, or replaces the one of this name; what has fired does
    /// not fire again. False where nothing changes.
    ///
    /// # Errors
    /// [`CronError::Full`]
    pub fn set(&mut self, now: Now, entry: Entry) -> Result<bool, CronError> {
        let Some(mut slot) = self.take(&entry.name) else {
            let mut slot = Slot::new(&self.host_id, entry, None);
            slot.next = slot.scheduled_after(now.wall);
            return self.add(now, slot).map(|()| true);
        };
        let changed = slot.entry != entry;
        let same_times = (&slot.entry.schedule, &slot.entry.zone) == (&entry.schedule, &entry.zone);
        if changed {
            slot.delay = delay(&self.host_id, &entry);
            slot.entry = entry;
        }
        if !same_times {
            slot.next = slot.first_after(now.wall);
        }
        self.add(now, slot).map(|()| changed)
    }

    /// An entry of the agent's life before, and the last scheduled time that
    /// was run or skipped in it. What was missed since then runs once, if the
    /// entry catches up.
    ///
    /// # Errors
    /// [`CronError::Full`]
    pub fn restore(&mut self, now: Now, entry: Entry, last: Option<SystemTime>) -> Result<(), CronError> {
        let mut slot = Slot::new(&self.host_id, entry, last);
        let since = match last {
            Some(last) if slot.entry.catchup => last.min(now.wall),
            // One whose start is still to come is not missed.
            Some(_) => slot.since(now.wall),
            None => now.wall,
        };
        slot.next = slot.first_after(since);
        self.take(&slot.entry.name);
        self.add(now, slot)
    }

    /// False where there is none of this name. What runs goes on.
    pub fn remove(&mut self, name: &str) -> bool {
        self.take(name).is_some()
    }

    /// When to call [`Table::tick`] if nothing else happens before.
    pub fn deadline(&self) -> Option<Instant> {
        let (seen, (start, _)) = (self.seen?, self.starts.first()?);
        Some(seen.mono + ahead(*start, seen.wall))
    }

    /// Takes in the time, at any event: what is due now, and what the clocks did.
    pub fn tick(&mut self, now: Now, facts: &mut Vec<Fact>) {
        let step = self.look_at_clocks(now, facts);
        while let Some(name) = self.next_due(now.wall) {
            let Some(slot) = self.slots.get_mut(&name) else { continue };
            let running = self.runs.get(&name).copied().unwrap_or_default();
            let fact = slot.come_due(now.wall, step, running);
            if let Some(Fact::Run(_)) = fact {
                self.runs.insert(name.clone(), running + 1);
            }
            facts.extend(fact);
            slot.next = slot.first_after(slot.since(now.wall));
            self.starts.extend(slot.start().map(|start| (start, name)));
        }
    }

    /// A run that an earlier agent began still lives.
    pub fn lives(&mut self, name: &str) {
        *self.runs.entry(name.to_owned()).or_default() += 1;
    }

    /// A run of this entry has ended, or could not start.
    pub fn ended(&mut self, name: &str, facts: &mut Vec<Fact>) {
        let Some(running) = self.runs.get_mut(name) else { return };
        *running -= 1;
        if *running > 0 {
            return;
        }
        self.runs.remove(name);
        if let Some(due) = self.slots.get_mut(name).and_then(|slot| slot.queued.take()) {
            self.runs.insert(name.to_owned(), 1);
            facts.push(Fact::Run(due));
        }
    }

    /// All entries by name, each with up to `count` times to come.
    pub fn list(&self, count: usize) -> impl Iterator<Item = Listed<'_>> {
        self.slots.values().map(move |slot| self.listed(slot, count))
    }

    /// One entry with its next `count` times.
    pub fn get(&self, name: &str, count: usize) -> Option<Listed<'_>> {
        self.slots.get(name).map(|slot| self.listed(slot, count))
    }

    fn listed<'a>(&self, slot: &'a Slot, count: usize) -> Listed<'a> {
        let times = std::iter::successors(slot.next, |time| slot.scheduled_after(*time));
        Listed {
            entry: &slot.entry,
            delay: slot.delay,
            last: slot.last,
            next: times.take(count).map(|time| time + slot.delay).collect(),
            running: self.runs.get(&slot.entry.name).copied().unwrap_or_default(),
            queued: slot.queued.as_ref().map(|due| due.scheduled),
            skipped: slot.skipped,
        }
    }

    /// Takes the first start off, if it is due.
    fn next_due(&mut self, now: SystemTime) -> Option<String> {
        self.starts.first().filter(|(start, _)| *start <= now)?;
        self.starts.pop_first().map(|(_, name)| name)
    }

    fn take(&mut self, name: &str) -> Option<Slot> {
        let slot = self.slots.remove(name)?;
        if let Some(start) = slot.start() {
            self.starts.remove(&(start, slot.entry.name.clone()));
        }
        Some(slot)
    }

    fn add(&mut self, now: Now, slot: Slot) -> Result<(), CronError> {
        if self.slots.len() >= CRON_ENTRIES {
            return Err(CronError::Full);
        }
        self.seen.get_or_insert(now);
        let name = slot.entry.name.clone();
        self.starts.extend(slot.start().map(|start| (start, name.clone())));
        self.slots.insert(name, slot);
        Ok(())
    }

    /// How far the wall clock was set forward since the last look.
    fn look_at_clocks(&mut self, now: Now, facts: &mut Vec<Fact>) -> Duration {
        let Some(seen) = self.seen.replace(now) else { return Duration::ZERO };
        let expected = seen.wall + now.mono.since(seen.mono);
        let (forward, back) = (ahead(now.wall, expected), ahead(expected, now.wall));
        if forward.max(back) < STEP {
            return Duration::ZERO;
        }
        let seconds = unix_seconds(now.wall) - unix_seconds(expected);
        facts.push(Fact::ClockStepped { seconds });
        if back > Duration::ZERO {
            self.arm_anew(now, back > CORRECTION);
        }
        forward
    }

    /// After the clock was set back: what has not fired at the new time's
    /// times to come may do so now.
    fn arm_anew(&mut self, now: Now, forget: bool) {
        self.starts.clear();
        for (name, slot) in &mut self.slots {
            slot.last = slot.last.filter(|last| !forget || *last <= now.wall);
            slot.next = slot.first_after(slot.since(now.wall));
            self.starts.extend(slot.start().map(|start| (start, name.clone())));
        }
    }
}
