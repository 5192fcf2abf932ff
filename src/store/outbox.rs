//! Table `outbox`: results that the server has not acknowledged.

use super::jobs::run;
use super::{Store, StoreError, bytes};
use crate::wire::{JobResult, Outcome};
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

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
        let mut select = self.db.prepare_cached("SELECT count(*), total(length(frame)) FROM outbox")?;
        Ok(select.query_row([], |row| {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a sum of lengths")]
            Ok(Weight { results: row.get(0)?, bytes: row.get::<_, f64>(1)? as usize })
        })?)
    }

    /// The number of the latest result, whether it is still there or not.
    pub fn last_result(&self) -> Result<u64, StoreError> {
        last_number(&self.db)
    }

    /// Results after this number, in order, as the disk has them: as many as `most_bytes` hold, and
    /// at least one.
    pub fn results_after(&self, seq: u64, most: usize, most_bytes: usize) -> Result<Vec<Kept>, StoreError> {
        let mut select =
            self.db.prepare_cached("SELECT seq, frame FROM outbox WHERE seq > ? ORDER BY seq LIMIT ?")?;
        let mut rows = select.query(params![seq, most])?;
        let (mut kept, mut held) = (Vec::new(), 0);
        while held < most_bytes
            && let Some(row) = rows.next()?
        {
            let result = Kept { seq: row.get(0)?, frame: bytes(row, 1) };
            held += result.frame.len();
            kept.push(result);
        }
        Ok(kept)
    }

    /// The server has these. Returns what this set free.
    pub fn acknowledged(&mut self, seqs: &[u64]) -> Result<Weight, StoreError> {
        self.together(|db| {
            let mut delete = db.prepare_cached("DELETE FROM outbox WHERE seq = ? RETURNING length(frame)")?;
            let mut freed = Weight::default();
            for seq in seqs {
                if let Some(bytes) = delete.query_row([seq], |row| row.get::<_, usize>(0)).optional()? {
                    freed.results += 1;
                    freed.bytes += bytes;
                }
            }
            Ok(freed)
        })
    }

    /// Puts a result that says this of its job in the place of one that cannot be read any more.
    /// Returns its frame; `None` where there is no such job either, and the result is gone.
    pub fn say_instead(
        &mut self,
        seq: u64,
        job: &str,
        outcome: &Outcome,
        frame: impl FnOnce(&JobResult) -> Vec<u8>,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        self.together(|db| {
            let run = db
                .prepare_cached(
                    "SELECT attempts, accepted, started, ended, cron, scheduled, missed FROM job \
                     WHERE id = ? AND ended IS NOT NULL",
                )?
                .query_row([job], run)
                .optional()?;
            let Some(run) = run else {
                db.execute("DELETE FROM outbox WHERE seq = ?", [seq])?;
                return Ok(None);
            };
            let frame = frame(&JobResult { seq, id: job.to_owned(), run, outcome: outcome.clone() });
            db.execute(
                "UPDATE outbox SET frame = ?, bytes = ?, bare = 1 WHERE seq = ?",
                params![frame, frame.len(), seq],
            )?;
            Ok(Some(frame))
        })
    }

    /// The oldest result that still has its output.
    pub fn oldest_with_output(&self) -> Result<Option<Kept>, StoreError> {
        let mut select =
            self.db.prepare_cached("SELECT seq, frame FROM outbox WHERE bare = 0 ORDER BY seq LIMIT 1")?;
        let mut rows = select.query([])?;
        Ok(match rows.next()? {
            Some(row) => Some(Kept { seq: row.get(0)?, frame: bytes(row, 1) }),
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
    let seq = last_number(db)? + 1;
    let frame = frame(seq);
    db.prepare_cached("INSERT INTO outbox (seq, frame, bytes, bare) VALUES (?, ?, ?, ?)")?
        .execute(params![seq, frame, frame.len(), !has_output])?;
    Ok(frame.len())
}

/// The latest number that a result has had.
fn last_number(db: &Connection) -> Result<u64, StoreError> {
    // The larger of the two: a flaw in the first must not stop all that follows.
    Ok(db
        .prepare_cached(
            "SELECT max(coalesce((SELECT max(seq) FROM sqlite_sequence WHERE name = 'outbox'), 0), \
             coalesce((SELECT max(seq) FROM outbox), 0))",
        )?
        .query_row([], |row| row.get(0))?)
}
