//! Tables `request` and `reply`: what was begun, so that it is not run twice, and what was answered.

use super::{Store, StoreError, bytes, milliseconds, text};
use rusqlite::{CachedStatement, OptionalExtension as _, params};
use std::time::{Duration, SystemTime};

/// A request's place on disk, which grows with time.
pub type Place = i64;

/// Where they are added.
pub struct Rows<'db> {
    request: CachedStatement<'db>,
    reply: CachedStatement<'db>,
}

impl Rows<'_> {
    /// The request was begun.
    pub fn begun(&mut self, id: &str, seen: SystemTime) -> Result<Place, StoreError> {
        Ok(self.request.insert(params![id, milliseconds(seen)])?)
    }

    /// The request at this place was answered by this frame.
    pub fn answered(&mut self, place: Place, frame: &[u8]) -> Result<(), StoreError> {
        self.reply.execute(params![place, frame])?;
        Ok(())
    }
}

impl Store {
    /// All of them, the oldest first, and whether there is a reply to each.
    pub fn requests(&self) -> Result<Vec<(Place, String, bool)>, StoreError> {
        let mut rows = self.db.prepare(
            "SELECT place, id, EXISTS (SELECT 1 FROM reply WHERE reply.place = request.place) \
             FROM request ORDER BY place",
        )?;
        let rows = rows.query_map([], |row| Ok((row.get(0)?, text(row, 1), row.get(2)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The frame that answered it, if it is still there, as the disk has it.
    pub fn reply(&self, place: Place) -> Result<Option<Vec<u8>>, StoreError> {
        let mut select = self.db.prepare_cached("SELECT frame FROM reply WHERE place = ?")?;
        Ok(select.query_row([place], |row| Ok(bytes(row, 0))).optional()?)
    }

    /// Adds to both tables, all or nothing.
    pub fn keep_requests(
        &mut self,
        add: impl FnOnce(&mut Rows<'_>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.together(|db| {
            let request = db.prepare_cached("INSERT INTO request (id, seen) VALUES (?, ?)")?;
            let reply = db.prepare_cached("INSERT OR REPLACE INTO reply (place, frame) VALUES (?, ?)")?;
            add(&mut Rows { request, reply })
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
