//! Table `job`: jobs under way, and the latest that are not.

use super::{Store, StoreError, bytes, cron, definition, milliseconds, outbox, text, time};
use crate::machine::Process;
use crate::wire::job::{JobState, Run, Terms};
use crate::wire::{Job, JobResult, Outcome};
use rusqlite::types::FromSql;
use rusqlite::{OptionalExtension as _, Row, params};
use std::time::SystemTime;

/// The cron entry that a job is a run of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    pub entry: String,
    pub scheduled: SystemTime,
    /// Earlier times that this run stands for, too.
    pub missed: u64,
}

/// A job that is taken on.
#[derive(Debug)]
pub struct NewJob<'a> {
    pub id: &'a str,
    pub job: &'a Job,
    pub accepted: SystemTime,
    pub origin: Option<&'a Origin>,
}

/// A job that had not ended when the agent did.
#[derive(Debug)]
pub struct Unfinished {
    pub id: String,
    pub state: JobState,
    pub accepted: SystemTime,
    /// When its next attempt may begin.
    pub due: SystemTime,
    pub terms: Terms,
    /// Seconds, where the request named them.
    pub timeout: Option<u64>,
    /// What its definition takes.
    pub bytes: usize,
    pub attempts: u32,
    pub started: Option<SystemTime>,
    pub cron: Option<String>,
    /// That of its last attempt, if it got so far.
    pub process: Option<Process>,
    /// The kernel's boot id at that time.
    pub boot: Option<String>,
}

/// What is known of a job, for people.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct KnownJob {
    pub job: String,
    pub state: JobState,
    pub cmd: String,
    pub attempts: u32,
    /// These are milliseconds since 1970.
    pub accepted: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retcode: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cron: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<i32>,
}

/// The columns of a [`KnownJob`]. A command may be long; its beginning says enough.
const KNOWN: &str = "id, state, \
     CASE WHEN json_valid(definition) THEN substr(definition ->> '$.command.cmd', 1, 200) END, \
     attempts, accepted, due, started, ended, retcode, cron, pid";

impl Store {
    /// Takes a job on, and with a run of an entry the time that it stands for. Survives a loss of
    /// power. Returns the bytes of its definition; `None` where there is a job of this id.
    pub fn accept(&mut self, new: &NewJob<'_>) -> Result<Option<usize>, StoreError> {
        let definition = definition(new.job);
        self.promise(|db| {
            let accepted = milliseconds(new.accepted);
            let added = db
                .prepare_cached(
                    "INSERT OR IGNORE INTO job \
                     (id, definition, state, accepted, due, cron, scheduled, missed) \
                     VALUES (?, ?, 'queued', ?, ?, ?, ?, ?)",
                )?
                .execute(params![
                    new.id,
                    definition,
                    accepted,
                    accepted,
                    new.origin.map(|origin| &origin.entry),
                    new.origin.map(|origin| milliseconds(origin.scheduled)),
                    new.origin.map_or(0, |origin| origin.missed),
                ])?;
            if let Some(origin) = new.origin {
                cron::see_to(db, &origin.entry, origin.scheduled)?;
            }
            Ok((added > 0).then_some(definition.len()))
        })
    }

    /// An attempt is about to begin. From now on it is not begun again, whatever happens.
    pub fn attempt(&mut self, id: &str, now: SystemTime) -> Result<Job, StoreError> {
        let definition = self.promise(|db| {
            Ok(db
                .prepare_cached(
                    "UPDATE job SET state = 'running', attempts = attempts + 1, started = ?, \
                     pid = NULL, pid_start = NULL, boot = NULL WHERE id = ? RETURNING definition",
                )?
                .query_row(params![milliseconds(now), id], |row| Ok(bytes(row, 0)))?)
        })?;
        serde_json::from_slice(&definition)
            .map_err(|e| StoreError::Unreadable { what: format!("a job {id:?}"), reason: e.to_string() })
    }

    /// The attempt has this process.
    pub fn attempt_runs(&mut self, id: &str, process: Process, boot: &str) -> Result<(), StoreError> {
        self.db
            .prepare_cached("UPDATE job SET pid = ?, pid_start = ?, boot = ? WHERE id = ?")?
            .execute(params![process.pid, process.start, boot, id])?;
        Ok(())
    }

    /// The attempt failed; there is another at `due`.
    pub fn retry(&mut self, id: &str, due: SystemTime) -> Result<(), StoreError> {
        self.promise(|db| {
            db.prepare_cached("UPDATE job SET state = 'queued', due = ?, pid = NULL WHERE id = ?")?
                .execute(params![milliseconds(due), id])?;
            Ok(())
        })
    }

    /// The job has come to its end: its state is final, and its result is in the outbox.
    /// Survives a loss of power. Returns the bytes of the result's frame. There is one result of a
    /// job: of one that has ended already, as of one that is not there, this fails.
    pub fn end_job(
        &mut self,
        id: &str,
        now: SystemTime,
        outcome: &Outcome,
        frame: impl FnOnce(&JobResult) -> Vec<u8>,
    ) -> Result<usize, StoreError> {
        let state = JobState::of_result(outcome.retcode);
        self.promise(|db| {
            let run = db
                .prepare_cached(
                    "UPDATE job SET state = ?, ended = ?, retcode = ?, pid = NULL, definition = \
                     CASE WHEN json_valid(definition) THEN json_object('command', json_object('cmd', \
                     substr(definition ->> '$.command.cmd', 1, 200))) ELSE '{}' END \
                     WHERE id = ? AND ended IS NULL \
                     RETURNING attempts, accepted, started, ended, cron, scheduled, missed",
                )?
                .query_row(params![state.name(), milliseconds(now), outcome.retcode, id], run)?;
            outbox::add(db, outcome.data.is_some() || outcome.stderr.is_some(), |seq| {
                frame(&JobResult { seq, id: id.to_owned(), run, outcome: outcome.clone() })
            })
        })
    }

    /// Jobs that have not ended, in the order of their acceptance.
    pub fn unfinished(&self) -> Result<Vec<Unfinished>, StoreError> {
        let mut rows = self.db.prepare(
            "SELECT id, state, accepted, due, \
             CASE WHEN json_valid(definition) THEN definition -> '$.terms' END, \
             CASE WHEN json_valid(definition) THEN definition ->> '$.command.timeout' END, \
             length(definition), attempts, started, cron, pid, pid_start, boot \
             FROM job WHERE ended IS NULL ORDER BY place",
        )?;
        let rows = rows.query_map([], |row| {
            Ok(Unfinished {
                id: text(row, 0),
                // What is not known to wait may have been begun.
                state: state(row, 1).unwrap_or(JobState::Running),
                accepted: time(number(row, 2)),
                due: time(number(row, 3)),
                terms: serde_json::from_slice(&bytes(row, 4)).unwrap_or_default(),
                timeout: row.get(5).unwrap_or_default(),
                bytes: number(row, 6),
                attempts: number(row, 7),
                started: row.get::<_, Option<i64>>(8).unwrap_or_default().map(time),
                cron: row.get(9).unwrap_or_default(),
                process: process(row, 10),
                boot: row.get(12).unwrap_or_default(),
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The latest jobs, the newest first, and how many there are.
    pub fn jobs(&self, state: Option<JobState>, most: usize) -> Result<(Vec<KnownJob>, usize), StoreError> {
        let which = if state.is_some() { "WHERE state = ?1" } else { "WHERE ?1 IS NULL" };
        let count = self
            .db
            .prepare_cached(&format!("SELECT count(*) FROM job {which}"))?
            .query_row([state.map(JobState::name)], |row| row.get(0))?;
        let mut rows = self
            .db
            .prepare_cached(&format!("SELECT {KNOWN} FROM job {which} ORDER BY place DESC LIMIT ?2"))?;
        let rows = rows.query_map(params![state.map(JobState::name), most], known)?;
        Ok((rows.collect::<Result<_, _>>()?, count))
    }

    pub fn job(&self, id: &str) -> Result<Option<KnownJob>, StoreError> {
        let mut row = self.db.prepare_cached(&format!("SELECT {KNOWN} FROM job WHERE id = ?"))?;
        Ok(row.query_row([id], known).optional()?)
    }

    /// Forgets jobs that ended before `oldest`, and of the others all but the `most` that ended
    /// last. Runs of cron entries are counted apart: however many there are, none takes the place
    /// of a job that the server may ask for again.
    pub fn forget_jobs(&mut self, most: usize, oldest: SystemTime) -> Result<(), StoreError> {
        self.together(|db| {
            db.prepare_cached("DELETE FROM job WHERE ended < ?")?.execute([milliseconds(oldest)])?;
            for which in ["cron IS NULL", "cron IS NOT NULL"] {
                db.prepare_cached(&format!(
                    "DELETE FROM job WHERE ended IS NOT NULL AND {which} AND place NOT IN \
                     (SELECT place FROM job WHERE ended IS NOT NULL AND {which} \
                     ORDER BY ended DESC, place DESC LIMIT ?)"
                ))?
                .execute([most])?;
            }
            Ok(())
        })
    }
}

/// What cannot be read of a row is as if it were not there: the rest of it still says something.
#[allow(clippy::unnecessary_wraps, reason = "what rusqlite asks for")]
pub(super) fn run(row: &Row<'_>) -> rusqlite::Result<Run> {
    Ok(Run {
        attempts: number(row, 0),
        accepted: number(row, 1),
        started: row.get(2).unwrap_or_default(),
        ended: number(row, 3),
        cron: row.get(4).unwrap_or_default(),
        scheduled: row.get(5).unwrap_or_default(),
        missed: number(row, 6),
    })
}

pub(super) fn process(row: &Row<'_>, first: usize) -> Option<Process> {
    let (pid, start): (Option<i32>, Option<u64>) =
        (row.get(first).unwrap_or_default(), row.get(first + 1).unwrap_or_default());
    pid.zip(start).map(|(pid, start)| Process { pid, start })
}

#[allow(clippy::unnecessary_wraps, reason = "what rusqlite asks for")]
fn known(row: &Row<'_>) -> rusqlite::Result<KnownJob> {
    let state = state(row, 1).unwrap_or(JobState::Lost);
    Ok(KnownJob {
        job: text(row, 0),
        state,
        cmd: text(row, 2),
        attempts: number(row, 3),
        accepted: number(row, 4),
        due: (state == JobState::Queued).then(|| number(row, 5)),
        started: row.get(6).unwrap_or_default(),
        ended: row.get(7).unwrap_or_default(),
        retcode: row.get(8).unwrap_or_default(),
        cron: row.get(9).unwrap_or_default(),
        pid: row.get(10).unwrap_or_default(),
    })
}

fn state(row: &Row<'_>, column: usize) -> Option<JobState> {
    JobState::named(&text(row, column))
}

fn number<T: FromSql + Default>(row: &Row<'_>, column: usize) -> T {
    row.get(column).unwrap_or_default()
}
