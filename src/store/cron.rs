//! Table `cron`: entries, and how far each was seen to.

use super::{Store, StoreError, bytes, definition, milliseconds, text, time};
use crate::wire::CronSet;
use rusqlite::{OptionalExtension as _, Row, Transaction, params};
use std::time::SystemTime;

impl Store {
    /// Every entry, and the latest time of it that was seen to: when it was first set, where there
    /// was none. What cannot be read is left out, and its name returned.
    #[allow(clippy::type_complexity, reason = "two lists of what one table holds")]
    pub fn entries(&self) -> Result<(Vec<(CronSet, SystemTime)>, Vec<String>), StoreError> {
        let mut rows = self.db.prepare("SELECT name, definition, since, last FROM cron ORDER BY name")?;
        let mut rows = rows.query([])?;
        let (mut entries, mut unreadable) = (Vec::new(), Vec::new());
        while let Some(row) = rows.next()? {
            let (since, last): (i64, Option<i64>) =
                (row.get(2).unwrap_or_default(), row.get(3).unwrap_or_default());
            match serde_json::from_slice(&bytes(row, 1)) {
                Ok(entry) => entries.push((entry, time(last.unwrap_or(since)))),
                Err(_) => unreadable.push(text(row, 0)),
            }
        }
        Ok((entries, unreadable))
    }

    /// What an entry runs, and the latest time that was seen to. `None` where there is none of this
    /// name.
    pub fn entry(&self, name: &str) -> Result<Option<(CronSet, Option<SystemTime>)>, StoreError> {
        let mut select = self.db.prepare_cached("SELECT definition, last FROM cron WHERE name = ?")?;
        let row = |row: &Row<'_>| Ok((bytes(row, 0), row.get::<_, Option<i64>>(1).unwrap_or_default()));
        let Some((definition, last)) = select.query_row([name], row).optional()? else { return Ok(None) };
        let set = serde_json::from_slice(&definition).map_err(|e| StoreError::Unreadable {
            what: format!("a cron entry {name:?}"),
            reason: e.to_string(),
        })?;
        Ok(Some((set, last.map(time))))
    }

    /// What the definitions of all entries but this one take, in bytes.
    pub fn entries_bytes(&self, but: &str) -> Result<usize, StoreError> {
        let mut select = self
            .db
            .prepare_cached("SELECT coalesce(sum(length(definition)), 0) FROM cron WHERE name <> ?")?;
        Ok(select.query_row([but], |row| row.get(0))?)
    }

    /// Makes or changes an entry; how far it was seen to stays.
    pub fn set_entry(&mut self, entry: &CronSet, now: SystemTime) -> Result<(), StoreError> {
        let definition = definition(entry);
        self.promise(|db| {
            db.execute(
                "INSERT INTO cron (name, definition, since) VALUES (?1, ?2, ?3) \
                 ON CONFLICT (name) DO UPDATE SET definition = ?2",
                params![entry.timing.name, definition, milliseconds(now)],
            )?;
            Ok(())
        })
    }

    /// Whether it was there.
    pub fn remove_entry(&mut self, name: &str) -> Result<bool, StoreError> {
        self.promise(|db| Ok(db.execute("DELETE FROM cron WHERE name = ?", [name])? > 0))
    }

    /// This time of the entry was seen to, without a run.
    pub fn seen_to(&mut self, name: &str, scheduled: SystemTime) -> Result<(), StoreError> {
        self.together(|db| see_to(db, name, scheduled))
    }
}

pub(super) fn see_to(db: &Transaction<'_>, name: &str, scheduled: SystemTime) -> Result<(), StoreError> {
    db.prepare_cached("UPDATE cron SET last = ? WHERE name = ?")?
        .execute(params![milliseconds(scheduled), name])?;
    Ok(())
}
