//! Table `outbox`: results that the server has not acknowledged.

use super::{Store, StoreError};
use rusqlite::{OptionalExtension as _, Transaction, params};

/// A frame that waits for its acknowledgement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    pub seq: u64,
    pub frame: Vec<u8>,
}

/// What the outbox holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Weight {
    pub results: usize,
    pub bytes: usize,
}

impl Store {
    pub fn outbox_weight(&self) -> Result<Weight, StoreError> {
        let mut select = self.db.prepare_cached("SELECT count(*), total(bytes) FROM outbox")?;
        Ok(select.query_row([], |row| {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a sum of lengths")]
            Ok(Weight { results: row.get(0)?, bytes: row.get::<_, f64>(1)? as usize })
        })?)
    }

    /// Results after this number, in order: as many as `bytes` hold, and at least one.
    pub fn results_after(&self, seq: u64, most: usize, bytes: usize) -> Result<Vec<Kept>, StoreError> {
        let mut select =
            self.db.prepare_cached("SELECT seq, frame FROM outbox WHERE seq > ? ORDER BY seq LIMIT ?")?;
        let mut rows = select.query(params![seq, most])?;
        let (mut kept, mut held) = (Vec::new(), 0);
        while held < bytes
            && let Some(row) = rows.next()?
        {
            let result = Kept { seq: row.get(0)?, frame: row.get(1)? };
            held += result.frame.len();
            kept.push(result);
        }
        Ok(kept)
    }

    /// The server has it. Returns the bytes that this set free; `None` where it was not there.
    pub fn acknowledged(&mut self, seq: u64) -> Result<Option<usize>, StoreError> {
        let mut delete = self.db.prepare_cached("DELETE FROM outbox WHERE seq = ? RETURNING bytes")?;
        let mut rows = delete.query([seq])?;
        Ok(rows.next()?.map(|row| row.get(0)).transpose()?)
    }

    /// The oldest result that still has its output.
    pub fn oldest_with_output(&self) -> Result<Option<Kept>, StoreError> {
        let mut select =
            self.db.prepare_cached("SELECT seq, frame FROM outbox WHERE bare = 0 ORDER BY seq LIMIT 1")?;
        let mut rows = select.query([])?;
        Ok(match rows.next()? {
            Some(row) => Some(Kept { seq: row.get(0)?, frame: row.get(1)? }),
            None => None,
        })
    }

    /// Puts a frame without its output in the place of the one with it.
    pub fn drop_output(&mut self, bare: &Kept) -> Result<(), StoreError> {
        let mut update =
            self.db.prepare_cached("UPDATE outbox SET frame = ?, bytes = ?, bare = 1 WHERE seq = ?")?;
        update.execute(params![bare.frame, bare.frame.len(), bare.seq])?;
        Ok(())
    }
}

/// Adds what `frame` makes of its number. Returns the bytes that it takes.
pub(super) fn add(
    db: &Transaction<'_>,
    has_output: bool,
    frame: impl FnOnce(u64) -> Vec<u8>,
) -> Result<usize, StoreError> {
    let last: Option<u64> = db
        .prepare_cached("SELECT seq FROM sqlite_sequence WHERE name = 'outbox'")?
        .query_row([], |row| row.get(0))
        .optional()?;
    let seq = last.unwrap_or(0) + 1;
    let frame = frame(seq);
    db.prepare_cached("INSERT INTO outbox (seq, frame, bytes, bare) VALUES (?, ?, ?, ?)")?
        .execute(params![seq, frame, frame.len(), !has_output])?;
    Ok(frame.len())
}
