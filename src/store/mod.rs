//! gearman.db and boot.db: what survives the agent. SQLite, called directly: its rows are
//! small and its log (WAL) is written in one place, so a call is a matter of
//! microseconds, or of one sync of the disk where that was promised.

mod boot_jobs;
mod boot_settings;
mod cron;
mod daemons;
mod jobs;
mod open;
mod outbox;
mod place;
mod requests;
mod rescue;

pub use boot_jobs::{BootJobKey, BootJobRow, KeptResult, NewBootJob};
pub use daemons::{DaemonRow, UnreadableDaemon};
pub use jobs::{KnownJob, NewJob, Origin, Unfinished};
pub use open::OpenError;
pub use outbox::{Kept, Weight};
pub use requests::Place;

use rusqlite::{Connection, Row, Transaction};
use serde::Serialize;
use std::time::{Duration, SystemTime};

/// The open database.
#[derive(Debug)]
pub struct Store {
    db: Connection,
}

/// The database did not do what it was asked for; nothing of it was done.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the agent's database: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// A row of ours that nothing of ours could have written.
    #[error("the agent's database holds {what} that cannot be read: {reason}")]
    Unreadable { what: String, reason: String },
}

impl StoreError {
    /// It is the row that is at fault, or there is none: to try again is of no use.
    pub fn is_of_the_row(&self) -> bool {
        matches!(
            self,
            StoreError::Unreadable { .. } | StoreError::Sqlite(rusqlite::Error::QueryReturnedNoRows)
        )
    }
}

impl Store {
    /// Asks before each change whether it may be: where not, it fails and nothing of it is done.
    /// For tests that let the disk fail.
    pub fn before_each_change(
        &mut self,
        mut may_be: impl FnMut() -> bool + Send + 'static,
    ) -> Result<(), StoreError> {
        Ok(self.db.commit_hook(Some(move || !may_be()))?)
    }

    /// Does it all or nothing, and returns once it would survive a loss of power.
    fn promise<T>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.db.pragma_update(None, "synchronous", "FULL")?;
        let done = self.together(work);
        self.db.pragma_update(None, "synchronous", "NORMAL")?;
        done
    }

    /// Does it all or nothing; it survives the end of the agent, however that comes.
    fn together<T>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let transaction = self.db.transaction()?;
        let done = work(&transaction)?;
        transaction.commit()?;
        Ok(done)
    }
}

/// What is kept of one of the wire's types.
fn definition(of: &impl Serialize) -> String {
    serde_json::to_string(of).expect("the wire's types always serialise")
}

/// Milliseconds since 1970.
fn milliseconds(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// A text or a blob. Another disk's bits may make one of the other, or of what is neither: nothing.
fn bytes(row: &Row<'_>, column: usize) -> Vec<u8> {
    row.get_ref(column)
        .ok()
        .and_then(|value| value.as_bytes_or_null().ok().flatten())
        .unwrap_or_default()
        .to_vec()
}

fn text(row: &Row<'_>, column: usize) -> String {
    String::from_utf8_lossy(&bytes(row, column)).into_owned()
}

fn time(milliseconds: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(milliseconds.try_into().unwrap_or(0))
}
