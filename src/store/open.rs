//! Opening the database, whatever state its file is in.

use super::place::{self, with_suffix};
use super::{Store, rescue, text};
use log::{error, warn};
use nix::poll::poll;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Each brings the database from the version of its place to the next.
///
/// They only ever add tables, plain indexes and columns, and each column that they add may be NULL or
/// has a default: a newer agent that does not prove itself is rolled back, and the older one must be
/// able to go on with what it has made of the database.
const MIGRATIONS: [&str; 3] = [
    include_str!("migrations/0001_first.sql"),
    include_str!("migrations/0002_daemons.sql"),
    include_str!("migrations/0003_boot.sql"),
];
/// Says in the file's head whose it is: "Aspr".
const APPLICATION: i64 = 0x4173_7072;
/// How long the loop may be held up by another program that has the file locked.
const BUSY: Duration = Duration::from_millis(250);
/// So often one that is locked is tried again, and after so long: some 10 s in all, with [`BUSY`].
const LOOKS: u32 = 10;
const LOOK_AGAIN_MS: u16 = 750;
/// A change is written in whole pages, and most of ours are small.
pub(super) const PAGE_BYTES: u32 = 1024;
/// What the log beside the database may grow to before it is put into it, which takes the disk
/// some 30 ms.
const CHECKPOINT_PAGES: u32 = 4096;
/// Memory for pages, in KiB.
const CACHE_KIB: i64 = 512;

/// The database cannot be used as it is, and is left as it is.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Sqlite(#[from] rusqlite::Error),
    #[error("its folder: {0}")]
    Folder(io::Error),
    #[error("the log beside it: {0}")]
    Log(io::Error),
    #[error("it is no regular file")]
    NoFile,
    #[error(
        "it is of version {found}, made by a newer agent, and lacks what this one, which knows versions \
         up to {known}, needs of it"
    )]
    TooNew { found: usize, known: usize },
    #[error("it is another program's database")]
    Foreign,
    #[error("it is damaged: {0}")]
    Damaged(String),
    #[error("it is damaged, and what can be read of it cannot be written elsewhere: {0}")]
    NotRescued(String),
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

    /// SQLite's words do not say what was wrong with which file.
    fn of(error: OpenError, path: &Path) -> Self {
        let OpenError::Sqlite(sqlite) = &error else { return error };
        match sqlite.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => OpenError::Locked,
            Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly) => {
                let log = with_suffix(path, "-wal");
                let opened = OpenOptions::new().append(true).create(true).mode(place::FILE_MODE).open(log);
                opened.err().map_or(error, OpenError::Log)
            }
            _ => error,
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
        let path = &place::prepare(path)?;
        // Where the agent ended in the midst of it.
        if let Some(aside) = rescue::put_in_place(path, now)? {
            error!("store=damaged file={} kept_as={}", path.display(), aside.display());
        }
        if let Some(aside) = rescue::set_odd_log_aside(path, now)? {
            error!(
                "store=damaged file={}-wal reason=\"it is no log of SQLite's\" kept_as={}",
                path.display(),
                aside.display()
            );
        }
        match Store::open_as_it_is(path) {
            Err(damage) if damage.is_damage() => {
                let rescued = rescue::carry_over(path, now)?;
                let aside = rescue::put_in_place(path, now)?.unwrap_or_default();
                error!(
                    "store=damaged file={} reason={:?} kept_as={} rescued={rescued:?}",
                    path.display(),
                    damage.to_string(),
                    aside.display()
                );
                Store::open_as_it_is(path)
            }
            other => other,
        }
    }

    /// As [`Store::open`], for who cannot do without: one that another program has locked, such as an
    /// agent that is ending, is waited for, some 10 s.
    ///
    /// # Errors
    /// There is no way to a database at this path now.
    pub fn open_patiently(path: &Path, now: SystemTime) -> Result<Store, OpenError> {
        Store::open_after(path, now, || {
            let _ = poll(&mut [], LOOK_AGAIN_MS);
        })
    }

    fn open_after(path: &Path, now: SystemTime, mut wait: impl FnMut()) -> Result<Store, OpenError> {
        for _ in 0..LOOKS {
            match Store::open(path, now) {
                Err(OpenError::Locked) => wait(),
                other => return other,
            }
        }
        Store::open(path, now)
    }

    /// One that lives in memory, for tests.
    ///
    /// # Errors
    /// There is no memory.
    pub fn in_memory() -> Result<Store, OpenError> {
        Store::prepare(Connection::open_in_memory()?)
    }

    fn open_as_it_is(path: &Path) -> Result<Store, OpenError> {
        // SQLite would delete the log.
        if place::length(path) == 0 && place::length(&with_suffix(path, "-wal")) > 0 {
            return Err(OpenError::Damaged("it is empty, and the log beside it is not".into()));
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let opened = Connection::open_with_flags(path, flags).map_err(OpenError::from);
        let store = opened.and_then(Store::prepare).map_err(|error| OpenError::of(error, path))?;
        place::close_to_others(path);
        Ok(store)
    }

    fn prepare(mut db: Connection) -> Result<Store, OpenError> {
        db.busy_timeout(BUSY)?;
        // Nobody else has any business here, and it saves the locks of each transaction.
        db.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
        db.pragma_update(None, "page_size", PAGE_BYTES)?;
        let version = version(&db)?;
        db.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
        db.pragma_update(None, "synchronous", "NORMAL")?;
        db.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
        db.pragma_update(None, "cache_size", -CACHE_KIB)?;
        db.pragma_update(None, "journal_size_limit", CHECKPOINT_PAGES * PAGE_BYTES)?;
        // A quick one would not see an index that hides rows.
        let verdict = db.query_row("PRAGMA integrity_check(1)", [], |row| Ok(text(row, 0)))?;
        if verdict != "ok" {
            return Err(OpenError::Damaged(verdict));
        }
        let known = MIGRATIONS.len();
        if version > known {
            warn!("store=newer version={version} known={known} reason=\"a newer agent has made it\"");
        }
        migrate(&mut db, version)?;
        Ok(Store { db })
    }
}

/// The version of a database that is ours, or a new one's. One of a newer agent is good as well, where
/// it has all that we know. Changes nothing.
fn version(db: &Connection) -> Result<usize, OpenError> {
    let number = |pragma: &str| db.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get::<_, i64>(0));
    let (found, application) = (number("user_version")?, number("application_id")?);
    let known = MIGRATIONS.len();
    let ours = application == APPLICATION;
    match usize::try_from(found) {
        Ok(found) if found > known && ours => {
            let there = shape(db)?;
            let has_all = shape_of(known)?.iter().all(|column| there.contains(column));
            if has_all { Ok(found) } else { Err(OpenError::TooNew { found, known }) }
        }
        Ok(found) if found <= known && shape(db)? == shape_of(found)? => Ok(found),
        _ if ours => Err(OpenError::Damaged("its tables are not as they were made".into())),
        _ => Err(OpenError::Foreign),
    }
}

/// Tables with their columns, the one among them by which SQLite numbers results.
fn shape(db: &Connection) -> rusqlite::Result<Vec<[String; 3]>> {
    let mut columns = db.prepare(
        "SELECT t.name, c.name, c.type FROM sqlite_schema t JOIN pragma_table_info(t.name) c \
         WHERE t.type = 'table' AND (t.name NOT LIKE 'sqlite_%' OR t.name = 'sqlite_sequence') \
         ORDER BY t.name, c.cid",
    )?;
    let columns = columns.query_map([], |row| Ok([0, 1, 2].map(|column| text(row, column))))?;
    columns.collect()
}

fn shape_of(version: usize) -> rusqlite::Result<Vec<[String; 3]>> {
    let db = Connection::open_in_memory()?;
    for migration in &MIGRATIONS[..version] {
        db.execute_batch(migration)?;
    }
    shape(&db)
}

/// Brings it from this version to the latest; one that is later yet stays as it is.
pub(super) fn migrate(db: &mut Connection, version: usize) -> rusqlite::Result<()> {
    for (version, migration) in (version + 1..).zip(MIGRATIONS.iter().skip(version)) {
        let transaction = db.transaction()?;
        transaction.execute_batch(migration)?;
        transaction.pragma_update(None, "application_id", APPLICATION)?;
        transaction.pragma_update(None, "user_version", version)?;
        transaction.commit()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// Statements without comments, in capitals, their words one blank apart.
    fn statements(sql: &str) -> Vec<String> {
        let code: Vec<&str> = sql.lines().map(|line| line.split("--").next().unwrap()).collect();
        let words = |one: &str| one.split_whitespace().collect::<Vec<_>>().join(" ").to_uppercase();
        code.join("\n").split(';').map(words).filter(|one| !one.is_empty()).collect()
    }

    fn only_adds(statement: &str) -> bool {
        let alters = statement.starts_with("ALTER TABLE ") && statement.contains(" ADD COLUMN ");
        let may_be_absent = !statement.contains("NOT NULL") || statement.contains("DEFAULT");
        let is_fit =
            may_be_absent && !["UNIQUE", "CHECK", "REFERENCES"].iter().any(|w| statement.contains(w));
        alters && is_fit || ["CREATE TABLE ", "CREATE INDEX "].iter().any(|w| statement.starts_with(w))
    }

    #[test]
    fn migrations_only_add_what_an_older_agent_need_not_know() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/migrations");
        let files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(files.len(), MIGRATIONS.len());
        for file in files {
            let sql = fs::read_to_string(&file).unwrap();
            assert!(MIGRATIONS.contains(&sql.as_str()), "{}", file.display());
            for statement in statements(&sql) {
                assert!(only_adds(&statement), "{}: {statement}", file.display());
            }
        }
        for bad in [
            "DROP TABLE job",
            "ALTER TABLE job RENAME TO task",
            "ALTER TABLE job ADD COLUMN colour TEXT NOT NULL",
            "UPDATE job SET state = 'x'",
            "CREATE UNIQUE INDEX one ON job (cron)",
        ] {
            assert!(!only_adds(bad), "{bad}");
        }
        assert!(only_adds("ALTER TABLE JOB ADD COLUMN COLOUR TEXT"));
    }

    #[test]
    fn one_that_is_locked_for_a_while_is_waited_for_by_who_cannot_do_without() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("boot.db");
        drop(Store::open(&path, SystemTime::UNIX_EPOCH).unwrap());
        let hold = || {
            let other = Connection::open(&path).unwrap();
            other.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE").unwrap();
            Some(other)
        };
        let (mut other, mut waits) = (hold(), 0);
        let opened = Store::open_after(&path, SystemTime::UNIX_EPOCH, || {
            waits += 1;
            if waits == 2 {
                other = None;
            }
        });
        drop(opened.unwrap());
        assert_eq!(waits, 2);
        let (_other, mut waits) = (hold(), 0);
        let refused = Store::open_after(&path, SystemTime::UNIX_EPOCH, || waits += 1);
        assert!(matches!(refused, Err(OpenError::Locked)));
        assert_eq!(waits, LOOKS);
    }
}
