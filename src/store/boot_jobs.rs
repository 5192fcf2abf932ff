//! Table `boot_job`: what servers have asked boot to do, and what became of it.

use super::{Store, StoreError, milliseconds, text};
use crate::machine::limits::{BOOT_MESSAGE_CHARS, DONE_BOOT_JOBS};
use rusqlite::{OptionalExtension as _, Row, params};
use std::time::SystemTime;

/// What tells one job from another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootJobKey {
    pub id: String,
    pub action: String,
    /// Empty where it is about no agent.
    pub name: String,
}

/// A job that has come.
#[derive(Debug)]
pub struct NewBootJob<'a> {
    pub key: &'a BootJobKey,
    /// As it came.
    pub job: &'a str,
    /// HOST:PORT
    pub server: &'a str,
    /// Its end, where it has come to that already: errcode and message.
    pub end: Option<(u32, &'a str)>,
}

/// A job that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootJobRow {
    pub place: i64,
    pub key: BootJobKey,
    pub job: String,
    pub server: String,
    /// Its keeper's own word.
    pub state: String,
    /// What was there when it was begun, in its keeper's own words.
    pub before: Option<String>,
}

/// A result that no server has taken yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptResult {
    pub place: i64,
    pub id: String,
    pub errcode: u32,
    pub message: String,
}

const ENDED: &str = "ended";

impl Store {
    /// Those that have not ended, in the order in which they came.
    pub fn boot_jobs(&self) -> Result<Vec<BootJobRow>, StoreError> {
        let mut rows = self.db.prepare(
            "SELECT place, id, action, name, job, server, state, before FROM boot_job \
             WHERE state <> ? ORDER BY place",
        )?;
        let row = |row: &Row<'_>| {
            Ok(BootJobRow {
                place: row.get(0)?,
                key: BootJobKey { id: text(row, 1), action: text(row, 2), name: text(row, 3) },
                job: text(row, 4),
                server: text(row, 5),
                state: text(row, 6),
                before: row.get(7).unwrap_or_default(),
            })
        };
        Ok(rows.query_map([ENDED], row)?.collect::<Result<_, _>>()?)
    }

    /// The place of one that has come before, and whether its end has been told.
    pub fn boot_job(&self, key: &BootJobKey) -> Result<Option<(i64, bool)>, StoreError> {
        let mut select = self.db.prepare_cached(
            "SELECT place, told AND state = ? FROM boot_job WHERE id = ? AND action = ? AND name = ?",
        )?;
        let found = select
            .query_row(params![ENDED, key.id, key.action, key.name], |row| Ok((row.get(0)?, row.get(1)?)));
        Ok(found.optional()?)
    }

    /// Takes one in, or only its end. Returns its place.
    pub fn add_boot_job(&mut self, new: &NewBootJob<'_>, now: SystemTime) -> Result<i64, StoreError> {
        let at = milliseconds(now);
        let NewBootJob { key, job, server, end } = new;
        self.promise(|db| {
            let mut insert = db.prepare_cached(
                "INSERT INTO boot_job (id, action, name, job, server, state, errcode, message, came, ended) \
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )?;
            let state = if end.is_some() { ENDED } else { "waiting" };
            let (errcode, message) = (end.map(|end| end.0), end.map(|end| cut(end.1)));
            let ended = end.map(|_| at);
            let BootJobKey { id, action, name } = key;
            Ok(insert.insert(params![id, action, name, job, server, state, errcode, message, at, ended])?)
        })
    }

    /// It is at this now.
    pub fn boot_job_is(&mut self, place: i64, state: &str, before: &str) -> Result<(), StoreError> {
        self.promise(|db| {
            let mut update =
                db.prepare_cached("UPDATE boot_job SET state = ?, before = ? WHERE place = ?")?;
            update.execute(params![state, before, place])?;
            Ok(())
        })
    }

    /// What is, or was, to be told of it: the errcode, and whether that was told.
    pub fn boot_job_said(&self, place: i64) -> Result<Option<(u32, bool)>, StoreError> {
        let mut select = self
            .db
            .prepare_cached("SELECT errcode, told FROM boot_job WHERE place = ? AND errcode IS NOT NULL")?;
        Ok(select.query_row([place], |row| Ok((row.get(0)?, row.get(1)?))).optional()?)
    }

    /// It goes on, and this is to be told of it.
    pub fn boot_job_says(&mut self, place: i64, errcode: u32, message: &str) -> Result<(), StoreError> {
        self.promise(|db| {
            let mut update =
                db.prepare_cached("UPDATE boot_job SET errcode = ?, message = ?, told = 0 WHERE place = ?")?;
            update.execute(params![errcode, cut(message), place])?;
            Ok(())
        })
    }

    /// It has ended, and this is to be told of it.
    pub fn boot_job_ended(
        &mut self,
        place: i64,
        errcode: u32,
        message: &str,
        now: SystemTime,
    ) -> Result<(), StoreError> {
        self.promise(|db| {
            db.prepare_cached(
                "UPDATE boot_job SET state = ?, errcode = ?, message = ?, told = 0, ended = ? \
                 WHERE place = ?",
            )?
            .execute(params![ENDED, errcode, cut(message), milliseconds(now), place])?;
            Ok(())
        })
    }

    /// How many there are of which no end has been told.
    pub fn untold_boot_jobs(&self) -> Result<usize, StoreError> {
        let mut count =
            self.db.prepare_cached("SELECT count(*) FROM boot_job WHERE NOT (told AND state = ?)")?;
        Ok(count.query_row([ENDED], |row| row.get(0))?)
    }

    /// Results that are to be told, the oldest first.
    pub fn boot_results(&self, most: usize) -> Result<Vec<KeptResult>, StoreError> {
        let mut rows = self.db.prepare_cached(
            "SELECT place, id, errcode, message FROM boot_job WHERE errcode IS NOT NULL AND NOT told \
             ORDER BY place LIMIT ?",
        )?;
        let row = |row: &Row<'_>| {
            Ok(KeptResult {
                place: row.get(0)?,
                id: text(row, 1),
                errcode: row.get(2)?,
                message: text(row, 3),
            })
        };
        Ok(rows.query_map([most], row)?.collect::<Result<_, _>>()?)
    }

    /// A server has taken these. Of those whose end has been told the latest [`DONE_BOOT_JOBS`] are kept.
    pub fn boot_results_told(&mut self, results: &[KeptResult]) -> Result<(), StoreError> {
        self.promise(|db| {
            // Meanwhile there may be another result of the same job.
            let mut update =
                db.prepare_cached("UPDATE boot_job SET told = 1 WHERE place = ? AND errcode = ?")?;
            for result in results {
                update.execute(params![result.place, result.errcode])?;
            }
            db.prepare_cached(
                "DELETE FROM boot_job WHERE place IN (SELECT place FROM boot_job WHERE state = ? AND told \
                 ORDER BY place DESC LIMIT -1 OFFSET ?)",
            )?
            .execute(params![ENDED, DONE_BOOT_JOBS])?;
            Ok(())
        })
    }

    /// A server asks for the end of one that it was told.
    pub fn tell_boot_result_again(&mut self, place: i64) -> Result<(), StoreError> {
        self.together(|db| {
            db.prepare_cached("UPDATE boot_job SET told = 0 WHERE place = ?")?.execute([place])?;
            Ok(())
        })
    }
}

/// Words of a server's, of a package's or of an agent's own may be in it, however many.
fn cut(message: &str) -> String {
    let mut shown: String = message.chars().take(BOOT_MESSAGE_CHARS).collect();
    if shown.len() < message.len() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::boot::{BootResult, MAX_BOOT_BODY_BYTES, MAX_BOOT_JOBS};
    use crate::wire::request::MAX_ID_BYTES;

    fn key(id: &str, action: &str) -> BootJobKey {
        BootJobKey { id: id.into(), action: action.into(), name: "web".into() }
    }

    fn add(store: &mut Store, key: &BootJobKey, end: Option<(u32, &str)>) -> i64 {
        let new = NewBootJob { key, job: "{}", server: "h:1", end };
        store.add_boot_job(&new, SystemTime::UNIX_EPOCH).unwrap()
    }

    #[test]
    fn a_job_is_kept_from_its_coming_to_its_last_result() {
        let mut store = Store::in_memory().unwrap();
        let (install, stop) = (key("1", "install"), key("1", "stop"));
        let place = add(&mut store, &install, None);
        add(&mut store, &stop, None);
        assert_eq!(store.boot_jobs().unwrap().len(), 2, "two jobs of one id");
        let twice = NewBootJob { key: &install, job: "{}", server: "h:1", end: None };
        assert!(store.add_boot_job(&twice, SystemTime::UNIX_EPOCH).is_err());
        store.boot_job_is(place, "begun", "was so").unwrap();
        let row = store.boot_jobs().unwrap().remove(0);
        assert_eq!((row.state.as_str(), row.before.as_deref()), ("begun", Some("was so")));
        assert_eq!(store.boot_job_said(place).unwrap(), None);
        store.boot_job_says(place, 1, "goes on").unwrap();
        assert_eq!(store.boot_job_said(place).unwrap(), Some((1, false)));
        let said = store.boot_results(9).unwrap();
        store.boot_job_ended(place, 0, "success", SystemTime::UNIX_EPOCH).unwrap();
        store.boot_results_told(&said).unwrap();
        assert_eq!(store.boot_results(9).unwrap()[0].errcode, 0, "another result, which is not told yet");
        assert_eq!(store.boot_job(&install).unwrap(), Some((place, false)));
        let said = store.boot_results(9).unwrap();
        store.boot_results_told(&said).unwrap();
        assert_eq!(store.boot_job(&install).unwrap(), Some((place, true)));
        assert_eq!((store.boot_results(9).unwrap(), store.untold_boot_jobs().unwrap()), (vec![], 1));
        store.tell_boot_result_again(place).unwrap();
        assert_eq!(store.boot_results(9).unwrap(), said);
    }

    #[test]
    fn of_those_that_are_told_the_latest_are_kept_however_they_ended() {
        let mut store = Store::in_memory().unwrap();
        let waits = add(&mut store, &key("waits", "stop"), None);
        for n in 0..10_000 {
            add(&mut store, &key(&n.to_string(), "explode"), Some((3022, "refused")));
            if n % 64 == 63 {
                let results = store.boot_results(64).unwrap();
                store.boot_results_told(&results).unwrap();
            }
        }
        let rows: usize = store.db.query_row("SELECT count(*) FROM boot_job", [], |row| row.get(0)).unwrap();
        assert!(rows <= DONE_BOOT_JOBS + 65, "{rows}");
        let is_there = |id: &str, action| store.boot_job(&key(id, action)).unwrap().is_some();
        assert!(is_there("waits", "stop") && is_there("9999", "explode") && is_there("9500", "explode"));
        assert!(!is_there("0", "explode"));
        store.boot_job_ended(waits, 0, "success", SystemTime::UNIX_EPOCH).unwrap();
        let results = store.boot_results(99).unwrap();
        store.boot_results_told(&results).unwrap();
        assert_eq!(store.untold_boot_jobs().unwrap(), 0);
    }

    #[test]
    fn as_many_results_as_are_told_at_once_are_far_below_the_largest_body() {
        let mut store = Store::in_memory().unwrap();
        let endless = "\u{1}".repeat(100_000);
        for n in 0..MAX_BOOT_JOBS {
            let id = format!("{n}{}", "\u{1}".repeat(MAX_ID_BYTES - 4));
            let place = match n % 3 {
                0 => add(&mut store, &key(&id, "stop"), Some((3022, &endless))),
                _ => add(&mut store, &key(&id, "stop"), None),
            };
            match n % 3 {
                1 => store.boot_job_says(place, 1, &endless).unwrap(),
                2 => store.boot_job_ended(place, 3301, &endless, SystemTime::UNIX_EPOCH).unwrap(),
                _ => {}
            }
        }
        let results = store.boot_results(MAX_BOOT_JOBS).unwrap();
        assert_eq!(results.len(), MAX_BOOT_JOBS);
        let told = results.into_iter().map(|kept| BootResult {
            id: kept.id,
            errcode: kept.errcode,
            message: kept.message,
        });
        let body = serde_json::to_string(&told.collect::<Vec<_>>()).unwrap();
        assert!(body.len() < MAX_BOOT_BODY_BYTES / 2, "{}", body.len());
    }
}
