//! Table `request`: what was begun, so that it is not run twice.

use super::{Store, StoreError, milliseconds};
use rusqlite::{OptionalExtension as _, params};
use std::time::{Duration, SystemTime};

impl Store {
    /// The ids, the oldest first, and whether there is a reply to each.
    pub fn requests(&self) -> Result<Vec<(String, bool)>, StoreError> {
        let mut rows = self.db.prepare("SELECT id, reply IS NOT NULL FROM request ORDER BY place")?;
        let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The request has been begun.
    pub fn request_begun(&mut self, id: &str, now: SystemTime) -> Result<(), StoreError> {
        let mut insert = self.db.prepare_cached("INSERT OR IGNORE INTO request (id, seen) VALUES (?, ?)")?;
        insert.execute(params![id, milliseconds(now)])?;
        Ok(())
    }

    /// The frame that answered it, if it is still there.
    pub fn reply(&self, id: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let mut select = self.db.prepare_cached("SELECT reply FROM request WHERE id = ?")?;
        Ok(select.query_row([id], |row| row.get(0)).optional()?.flatten())
    }

    /// Adds replies to requests that were begun, and forgets the requests named and those older
    /// than `age`.
    pub fn keep_replies<'a>(
        &mut self,
        now: SystemTime,
        replies: impl Iterator<Item = (&'a str, &'a [u8])>,
        forget: &[String],
        age: Duration,
    ) -> Result<(), StoreError> {
        self.together(|db| {
            let mut update = db.prepare_cached("UPDATE request SET reply = ? WHERE id = ?")?;
            for (id, frame) in replies {
                update.execute(params![frame, id])?;
            }
            let mut delete = db.prepare_cached("DELETE FROM request WHERE id = ?")?;
            for id in forget {
                delete.execute([id])?;
            }
            let oldest = milliseconds(now.checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH));
            // They are in order of time, more or less: only the beginning is looked at.
            db.prepare_cached(
                "DELETE FROM request WHERE seen < ?1 AND place <= \
                 (SELECT place FROM request WHERE seen < ?1 ORDER BY place DESC LIMIT 1)",
            )?
            .execute([oldest])?;
            Ok(())
        })
    }
}
