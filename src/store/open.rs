//! Opening the database, whatever state its file is in.

use super::{Store, rescue};
use log::error;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Each brings the database from the version of its place to the next.
const MIGRATIONS: [&str; 1] = [include_str!("migrations/0001_first.sql")];
/// How long the loop may be held up by another program that has the file locked.
const BUSY: Duration = Duration::from_millis(250);
/// A change is written in whole pages, and most of ours are small.
const PAGE_BYTES: u32 = 1024;
/// What the log beside the database may grow to before it is put into it, which takes the disk
/// some 30 ms.
const CHECKPOINT_PAGES: u32 = 4096;
/// Memory for pages, in KiB.
const CACHE_KIB: i64 = 512;

/// The database cannot be used as it is, and is left as it is.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Sqlite(#[from] rusqlite::Error),
    #[error("it is of version {found}, made by a newer agent; this one knows versions up to {known}")]
    TooNew { found: usize, known: usize },
    #[error("it is damaged: {0}")]
    Damaged(String),
    #[error("another program has it locked")]
    Locked,
}

impl OpenError {
    /// The file itself is no database of ours any more: another may take its place.
    fn is_damage(&self) -> bool {
        match self {
            OpenError::Damaged(_) => true,
            OpenError::Sqlite(error) => {
                matches!(
                    error.sqlite_error_code(),
                    Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt)
                )
            }
            _ => false,
        }
    }
}

impl Store {
    /// Opens the file, or makes it. A damaged one is set aside under another name, and what can
    /// still be read of it is carried over.
    ///
    /// # Errors
    /// There is no way to a database at this path now.
    pub fn open(path: &Path, now: SystemTime) -> Result<Store, OpenError> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        match Store::open_as_it_is(path) {
            Err(damage) if damage.is_damage() => {
                let aside = rescue::set_aside(path, now)?;
                let mut store = Store::open_as_it_is(path)?;
                let rescued = rescue::carry_over(&aside, &mut store);
                error!(
                    "store=damaged file={} reason={:?} kept_as={} rescued={rescued:?}",
                    path.display(),
                    damage.to_string(),
                    aside.display()
                );
                Ok(store)
            }
            other => other,
        }
    }

    /// One that lives in memory, for tests.
    ///
    /// # Errors
    /// There is no memory.
    pub fn in_memory() -> Result<Store, OpenError> {
        Store::prepare(Connection::open_in_memory()?)
    }

    fn open_as_it_is(path: &Path) -> Result<Store, OpenError> {
        // SQLite would fall back to reading alone, and say so only at the first change.
        match fs::OpenOptions::new().append(true).open(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        Store::prepare(Connection::open_with_flags(path, flags)?).map_err(|error| match error {
            OpenError::Sqlite(error)
                if matches!(
                    error.sqlite_error_code(),
                    Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
                ) =>
            {
                OpenError::Locked
            }
            other => other,
        })
    }

    fn prepare(mut db: Connection) -> Result<Store, OpenError> {
        db.busy_timeout(BUSY)?;
        // Nobody else has any business here, and it saves the locks of each transaction.
        db.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
        db.pragma_update(None, "page_size", PAGE_BYTES)?;
        db.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
        db.pragma_update(None, "synchronous", "NORMAL")?;
        db.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
        db.pragma_update(None, "cache_size", -CACHE_KIB)?;
        db.pragma_update(None, "journal_size_limit", CHECKPOINT_PAGES * PAGE_BYTES)?;
        let verdict: String = db.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        if verdict != "ok" {
            return Err(OpenError::Damaged(verdict));
        }
        migrate(&mut db)?;
        Ok(Store { db })
    }
}

fn migrate(db: &mut Connection) -> Result<(), OpenError> {
    let found: usize = db.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if found > MIGRATIONS.len() {
        return Err(OpenError::TooNew { found, known: MIGRATIONS.len() });
    }
    for (version, migration) in (found + 1..).zip(&MIGRATIONS[found..]) {
        let transaction = db.transaction()?;
        transaction.execute_batch(migration)?;
        transaction.pragma_update(None, "user_version", version)?;
        transaction.commit()?;
    }
    Ok(())
}
