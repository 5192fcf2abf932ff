//! Tables `request` and `reply`: what was begun, so that it is not run twice, and what was answered.

use super::{Store, StoreError, milliseconds};
use rusqlite::{OptionalExtension as _, params};
use std::time::{Duration, SystemTime};

/// A request's place on disk, which grows with time.
pub type Place = i64;

impl Store {
    /// All of them, the oldest first, and whether there is a reply to each.
    pub fn requests(&self) -> Result<Vec<(Place, String, bool)>, StoreError> {
        let mut rows = self.db.prepare(
            "SELECT place, id, EXISTS (SELECT 1 FROM reply WHERE reply.place = request.place) \
             FROM request ORDER BY place",
        )?;
        let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The request has been begun.
    pub fn request_begun(&mut self, id: &str, now: SystemTime) -> Result<Place, StoreError> {
        let mut insert = self.db.prepare_cached("INSERT INTO request (id, seen) VALUES (?, ?)")?;
        Ok(insert.insert(params![id, milliseconds(now)])?)
    }

    /// The frame that answered it, if it is still there.
    pub fn reply(&self, place: Place) -> Result<Option<Vec<u8>>, StoreError> {
        let mut select = self.db.prepare_cached("SELECT frame FROM reply WHERE place = ?")?;
        Ok(select.query_row([place], |row| row.get(0)).optional()?)
    }

    /// Adds replies to requests that were begun.
    pub fn keep_replies<'a>(
        &mut self,
        replies: impl Iterator<Item = (Place, &'a [u8])>,
    ) -> Result<(), StoreError> {
        self.together(|db| {
            let mut insert =
                db.prepare_cached("INSERT OR REPLACE INTO reply (place, frame) VALUES (?, ?)")?;
            for (place, frame) in replies {
                insert.execute(params![place, frame])?;
            }
            Ok(())
        })
    }

    /// Forgets these requests, and those that are older than `age`.
    pub fn forget_requests(
        &mut self,
        now: SystemTime,
        places: &[Place],
        age: Duration,
    ) -> Result<(), StoreError> {
        let oldest = milliseconds(now.checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH));
        self.together(|db| {
            let mut delete = db.prepare_cached("DELETE FROM request WHERE place = ?")?;
            for place in places {
                delete.execute([place])?;
            }
            db.prepare_cached("DELETE FROM request WHERE seen < ?")?.execute([oldest])?;
            db.prepare_cached("DELETE FROM reply WHERE place NOT IN (SELECT place FROM request)")?
                .execute([])?;
            Ok(())
        })
    }
}
