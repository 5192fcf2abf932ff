//! Cron entries, over the store: what is set, and the runs that come of it.

use super::kept::Kept;
use crate::cron::{Due, Entry, Fact, Line, Listed, Schedule, Table, Zone, Zones};
use crate::exec::Exec;
use crate::job::{Jobs, Taken};
use crate::machine::limits::{CRON_ENTRIES, CRON_ENTRIES_BYTES, CRON_SHOWN_BYTES, CRON_SHOWN_TIMES};
use crate::machine::{Instant, Now};
use crate::store::{Origin, Store, StoreError};
use crate::wire::{Account, CronSet, Outcome, Overlap, Retcode};
use log::{info, warn};
use serde::Serialize;
use serde_json::json;
use std::time::SystemTime;

/// How often one time may come where the clock is set far back again and again.
const MOST_TIMES_AGAIN: u32 = 9;
/// Characters of a command that a list shows.
const SHOWN_CHARS: usize = 200;

#[derive(Debug)]
pub struct Cron {
    table: Table,
    zones: Zones,
}

/// An entry, for people.
#[derive(Serialize)]
struct Shown<'a> {
    name: &'a str,
    schedule: String,
    timezone: &'a str,
    cmd: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<Account>,
    overlap: Overlap,
    catchup: bool,
    splay: u64,
    next: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<String>,
    running: u32,
    /// Since the agent's start.
    skipped: u64,
}

impl Cron {
    /// Takes up what an earlier agent left; runs under way go on.
    pub fn restore(now: Now, host_id: &str, store: &Store, jobs: &Jobs) -> Result<Self, StoreError> {
        let mut cron = Cron { table: Table::new(host_id.to_owned()), zones: Zones::default() };
        let (entries, unreadable) = store.entries()?;
        for name in unreadable {
            warn!("cron=left_out name={name:?} reason=\"its definition cannot be read; set it anew\"");
        }
        for (set, last) in entries {
            let name = set.timing.name.clone();
            let restored = cron.entry(&set).and_then(|entry| {
                cron.table.restore(now, entry, Some(last)).map_err(|error| error.to_string())
            });
            if let Err(reason) = restored {
                warn!("cron=left_out name={name:?} reason={reason:?}");
            }
        }
        for entry in jobs.entries() {
            cron.table.lives(entry);
        }
        Ok(cron)
    }

    pub fn len(&self) -> usize {
        self.table.len()
    }

    pub fn deadline(&self) -> Option<Instant> {
        self.table.deadline()
    }

    /// The zone of entries that name none.
    pub fn local_zone(&mut self) -> String {
        self.zones.local().map_or_else(|error| error.to_string(), |zone| zone.name().to_owned())
    }

    /// `cron.set`: when the answer is Accepted, the entry is on disk.
    pub fn set(&mut self, now: Now, set: CronSet, exec: &Exec, store: &mut Store) -> Outcome {
        let refused = |reason: String| Outcome::with_detail(Retcode::InvalidParams, reason);
        let set = match split(set) {
            Ok(set) => set,
            Err(reason) => return refused(reason),
        };
        if let Some(refusal) = exec.refusal(&set.job.command) {
            return refusal;
        }
        let entry = match self.entry(&set) {
            Ok(entry) => entry,
            Err(reason) => return refused(reason),
        };
        let name = entry.name.clone();
        if self.table.len() >= CRON_ENTRIES && self.table.get(&name, 0).is_none() {
            let detail = format!("there are {CRON_ENTRIES} entries already; remove some");
            return Outcome::with_detail(Retcode::Busy, detail);
        }
        let kept = store.entries_bytes(&name).and_then(|others| {
            let fits = others < CRON_ENTRIES_BYTES;
            if fits { store.set_entry(&set, now.wall).map(|()| true) } else { Ok(false) }
        });
        match kept {
            Err(error) => return Outcome::with_detail(Retcode::StorageFailure, error.to_string()),
            Ok(false) => {
                let detail = format!("the entries' commands take {CRON_ENTRIES_BYTES} bytes; remove some");
                return Outcome::with_detail(Retcode::Busy, detail);
            }
            Ok(true) => {}
        }
        let zone = entry.zone.clone();
        if let Err(error) = self.table.set(now, entry) {
            return refused(error.to_string());
        }
        let listed = self.table.get(&name, CRON_SHOWN_TIMES);
        let next = listed.map(|listed| times(&zone, &listed)).unwrap_or_default();
        info!("cron=set name={name:?} schedule={:?} zone={:?}", set.timing.schedule, zone.name());
        let data = json!({
            "name": name,
            "schedule": set.timing.schedule,
            "timezone": zone.name(),
            "next": next,
        });
        Outcome::new(Retcode::Accepted).with_data(&data)
    }

    /// `cron.remove`.
    pub fn remove(&mut self, name: &str, store: &mut Store) -> Outcome {
        match store.remove_entry(name) {
            Err(error) => Outcome::with_detail(Retcode::StorageFailure, error.to_string()),
            Ok(was_there) => {
                let was_known = self.table.remove(name);
                if !was_there && !was_known {
                    return no_entry();
                }
                info!("cron=removed name={name:?}");
                Outcome::new(Retcode::NormalTermination)
            }
        }
    }

    /// `cron.list`.
    pub fn list(&self, name: Option<&str>, store: &Store) -> Outcome {
        let (mut entries, mut count, mut bytes) = (Vec::new(), 0, 0);
        for listed in self.table.list(CRON_SHOWN_TIMES) {
            if name.is_some_and(|name| name != listed.entry.name) {
                continue;
            }
            count += 1;
            if bytes > CRON_SHOWN_BYTES {
                continue;
            }
            match store.entry(&listed.entry.name) {
                Ok(Some((set, last))) => {
                    let shown = serde_json::to_value(shown(&listed, set, last)).unwrap_or_default();
                    bytes += shown.to_string().len();
                    entries.push(shown);
                }
                Ok(None) => {}
                Err(error) => return Outcome::with_detail(Retcode::StorageFailure, error.to_string()),
            }
        }
        if name.is_some() && count == 0 {
            return no_entry();
        }
        Outcome::new(Retcode::NormalTermination).with_data(&json!({"entries": entries, "count": count}))
    }

    fn entry(&mut self, set: &CronSet) -> Result<Entry, String> {
        let timing = &set.timing;
        let text = timing.schedule.as_deref().unwrap_or_default();
        let schedule = Schedule::parse(text).map_err(|error| format!("schedule: {error}"))?;
        let zone = match &timing.timezone {
            Some(name) => self.zones.named(name),
            None => self.zones.local(),
        };
        Ok(Entry {
            name: timing.name.clone(),
            schedule,
            zone: zone.map_err(|error| error.to_string())?,
            overlap: timing.overlap,
            catchup: timing.catchup,
            splay: timing.splay,
        })
    }
}

impl Kept {
    /// Begins the runs that are due.
    pub fn cron_tick(&mut self, now: Now) {
        let mut facts = Vec::new();
        self.cron.table.tick(now, &mut facts);
        self.cron_facts(now, facts);
    }

    /// A run of this entry has come to its end.
    pub fn run_ended(&mut self, now: Now, entry: &str) {
        let mut facts = Vec::new();
        self.cron.table.ended(entry, &mut facts);
        self.cron_facts(now, facts);
    }

    fn cron_facts(&mut self, now: Now, mut facts: Vec<Fact>) {
        while !facts.is_empty() {
            for fact in std::mem::take(&mut facts) {
                match fact {
                    Fact::Run(due) => {
                        let name = due.name.clone();
                        if let Some(refusal) = self.begin_run(now, due) {
                            let Outcome { retcode, message, detail, .. } = refusal;
                            let reason = detail.unwrap_or(message);
                            if retcode == Retcode::StorageFailure.code() {
                                self.trouble.say(now, "cron", &format!("{name:?} is not run: {reason}"));
                            } else {
                                warn!("cron=not_run name={name:?} reason={reason:?}");
                            }
                            self.cron.table.ended(&name, &mut facts);
                        }
                    }
                    Fact::Skipped { name, scheduled } => {
                        info!(
                            "cron=skipped name={name:?} scheduled={} reason=\"the run before has not ended\"",
                            utc(scheduled)
                        );
                        if let Err(error) = self.store.seen_to(&name, scheduled) {
                            self.trouble.say(now, "cron", &error);
                        }
                    }
                    Fact::Missed { name, scheduled } => {
                        warn!("cron=missed name={name:?} scheduled={}", utc(scheduled));
                    }
                    Fact::ClockStepped { seconds } => warn!("clock=stepped seconds={seconds}"),
                }
            }
        }
    }

    /// Or why there is no run.
    fn begin_run(&mut self, now: Now, due: Due) -> Option<Outcome> {
        if !self.outbox.has_room() {
            return Some(Outcome::with_detail(Retcode::Busy, "too many results wait for the server"));
        }
        let job = match self.store.entry(&due.name) {
            Ok(Some((set, _))) => set.job,
            Ok(None) => return Some(Outcome::with_detail(Retcode::NotFound, "its definition is gone")),
            Err(error) => return Some(Outcome::with_detail(Retcode::StorageFailure, error.to_string())),
        };
        let id = format!("{}@{}", due.name, utc(due.scheduled));
        let origin = Origin { entry: due.name, scheduled: due.scheduled, missed: due.missed };
        // Where the clock was set far back the same time comes again, and is run again.
        let again = (2..=MOST_TIMES_AGAIN).map(|n| format!("{id}+{n}"));
        for id in std::iter::once(id.clone()).chain(again) {
            match self.jobs.accept(now, &id, &job, Some(&origin), &mut self.store) {
                Taken::On => return None,
                Taken::Before => {}
                Taken::Refused(refusal) => return Some(refusal),
            }
        }
        Some(Outcome::with_detail(Retcode::Busy, "this time came too often"))
    }
}

/// Puts what a crontab line says into the fields that say the same.
fn split(mut set: CronSet) -> Result<CronSet, String> {
    if set.timing.schedule.is_none() {
        let Line { schedule, user, command } =
            Line::parse(&set.job.command.cmd).map_err(|error| format!("line: {error}"))?;
        let id = user.parse().ok().filter(|_| user.bytes().all(|b| b.is_ascii_digit()));
        let user = id.map_or_else(|| Account::Name(user.to_owned()), Account::Id);
        let (schedule, command) = (schedule.to_string(), command.to_owned());
        set.timing.schedule = Some(schedule);
        set.job.command.user = Some(user);
        set.job.command.cmd = command;
    }
    Ok(set)
}

fn shown<'a>(listed: &Listed<'a>, set: CronSet, last: Option<SystemTime>) -> Shown<'a> {
    let entry = listed.entry;
    Shown {
        name: &entry.name,
        schedule: entry.schedule.to_string(),
        timezone: entry.zone.name(),
        cmd: set.job.command.cmd.chars().take(SHOWN_CHARS).collect(),
        user: set.job.command.user,
        overlap: entry.overlap,
        catchup: entry.catchup,
        splay: entry.splay,
        next: times(&entry.zone, listed),
        last: last.map(|last| entry.zone.rfc3339(last)),
        running: listed.running,
        skipped: listed.skipped,
    }
}

fn times(zone: &Zone, listed: &Listed<'_>) -> Vec<String> {
    listed.next.iter().map(|time| zone.rfc3339(*time)).collect()
}

fn utc(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}

fn no_entry() -> Outcome {
    Outcome::with_detail(Retcode::NotFound, "name: there is no entry of this name")
}
