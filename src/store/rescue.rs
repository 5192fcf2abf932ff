//! What becomes of a damaged database: it is kept under another name, and
//! what can still be read of it goes on.

use super::Store;
use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, params_from_iter};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// What is worth carrying over, the dearest first.
const TABLES: [&str; 5] = ["outbox", "job", "cron", "request", "reply"];

/// Moves the file and its log out of the way. Returns the file's new name.
pub(super) fn set_aside(path: &Path, now: SystemTime) -> io::Result<PathBuf> {
    let stamp = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
    let aside = with_suffix(path, &format!(".damaged-{stamp}"));
    fs::rename(path, &aside)?;
    for suffix in ["-wal", "-shm", "-journal"] {
        let beside = with_suffix(path, suffix);
        if beside.exists() {
            fs::rename(beside, with_suffix(&aside, suffix))?;
        }
    }
    Ok(aside)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Copies rows until they cannot be read any more. Returns how many of each table, in words.
pub(super) fn carry_over(aside: &Path, store: &mut Store) -> String {
    let Ok(from) = Connection::open_with_flags(aside, OpenFlags::SQLITE_OPEN_READ_WRITE) else {
        return "nothing".to_owned();
    };
    let counts = TABLES.map(|table| format!("{table} {}", copy(table, &from, store).unwrap_or(0)));
    counts.join(", ")
}

fn copy(table: &str, from: &Connection, store: &mut Store) -> rusqlite::Result<usize> {
    let mut rows = from.prepare(&format!("SELECT * FROM {table}"))?;
    let columns = rows.column_names().collect::<Vec<_>>().join(", ");
    let width = rows.column_count();
    let places = vec!["?"; width].join(", ");
    let insert = format!("INSERT OR IGNORE INTO {table} ({columns}) VALUES ({places})");
    let into = store.db.transaction()?;
    let mut copied = 0;
    let mut rows = rows.query([])?;
    while let Ok(Some(row)) = rows.next() {
        let values: Result<Vec<Value>, _> = (0..width).map(|column| row.get(column)).collect();
        let Ok(values) = values else { continue };
        copied += into.execute(&insert, params_from_iter(values)).unwrap_or(0);
    }
    into.commit()?;
    Ok(copied)
}
