//! What becomes of a damaged database: what can still be read of it is copied
//! into a new one, which takes its place; it is kept under another name.
//!
//! Until the new one is whole the damaged one stays where it is, and a whole
//! one has a name of its own until it is in place: an agent that is killed at
//! any moment of this leaves the next one something to go on with.

use super::place::{self, BESIDE, FILE_MODE, remove_if_there, rename_if_there, with_suffix};
use super::{OpenError, milliseconds, open};
use rusqlite::config::DbConfig;
use rusqlite::types::Value;
use rusqlite::{Connection, ErrorCode, OpenFlags, params_from_iter};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// What is worth carrying over, the dearest first, and by what it is in order.
const TABLES: [(&str, &str); 8] = [
    ("outbox", "seq"),
    ("daemon", "name"),
    ("boot_setting", "name"),
    ("boot_job", "place"),
    ("job", "place"),
    ("cron", "name"),
    ("request", "place"),
    ("reply", "place"),
];
/// A new one that is not whole yet.
const DRAFT: &str = ".rescue";
/// One that is, and waits to be put in place.
const WHOLE: &str = ".rescued";
/// What a log of SQLite's begins with; the last bit says how its sums are taken.
const LOG_MAGIC: u32 = 0x377f_0682;
/// How often a table is entered anew, behind what cannot be read of it.
const PROBES: usize = 1000;
/// How far behind it is looked for more, in places.
const REACH: i64 = 1 << 20;

/// Copies what can be read. Returns how many rows of each table, in words.
pub(super) fn carry_over(path: &Path, now: SystemTime) -> Result<String, OpenError> {
    let draft = with_suffix(path, DRAFT);
    let copied = copy_to(&draft, path, now).map_err(|reason| OpenError::NotRescued(reason.to_string()))?;
    fs::rename(&draft, with_suffix(path, WHOLE))?;
    Ok(copied)
}

/// Puts a whole one in place, if there is one. Returns what the damaged one is called now.
pub(super) fn put_in_place(path: &Path, now: SystemTime) -> io::Result<Option<PathBuf>> {
    let whole = with_suffix(path, WHOLE);
    if !whole.exists() {
        return Ok(None);
    }
    let aside = free_name(path, now);
    // A log that stayed would be taken for the new one's.
    for suffix in BESIDE {
        let beside = with_suffix(path, suffix);
        if place::length(&beside) > 0 {
            rename_if_there(&beside, &with_suffix(&aside, suffix))?;
        } else {
            // It came of reading the damaged one.
            remove_if_there(&beside)?;
        }
    }
    rename_if_there(path, &aside)?;
    place::close_to_others(&aside);
    fs::rename(whole, path)?;
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok(Some(aside))
}

/// SQLite takes no notice of a log that it does not know, and writes over it.
pub(super) fn set_odd_log_aside(path: &Path, now: SystemTime) -> io::Result<Option<PathBuf>> {
    let log = with_suffix(path, "-wal");
    let mut magic = [0; 4];
    match File::open(&log).and_then(|mut log| log.read_exact(&mut magic)) {
        Ok(()) if u32::from_be_bytes(magic) & !1 != LOG_MAGIC => {
            let aside = with_suffix(&free_name(path, now), "-wal");
            fs::rename(log, &aside)?;
            Ok(Some(aside))
        }
        _ => Ok(None),
    }
}

/// What was set aside earlier is not written over.
fn free_name(path: &Path, now: SystemTime) -> PathBuf {
    let mut stamp = milliseconds(now);
    loop {
        let name = with_suffix(path, &format!(".damaged-{stamp}"));
        if !name.exists() && !with_suffix(&name, "-wal").exists() {
            return name;
        }
        stamp += 1;
    }
}

fn copy_to(draft: &Path, path: &Path, now: SystemTime) -> Result<String, Box<dyn std::error::Error>> {
    for suffix in ["", "-journal"] {
        remove_if_there(&with_suffix(draft, suffix))?;
    }
    OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(draft)?;
    let mut db = Connection::open(draft)?;
    // Half of it is of no use to anybody, but the whole must be on disk.
    db.pragma_update(None, "page_size", open::PAGE_BYTES)?;
    db.query_row("PRAGMA journal_mode = MEMORY", [], |_| Ok(()))?;
    db.pragma_update(None, "synchronous", "FULL")?;
    open::migrate(&mut db, 0)?;
    let into = db.transaction()?;
    let mut words = Vec::new();
    if let Some(from) = damaged(path) {
        for (table, key) in TABLES {
            words.push(format!("{table} {}", copy(table, key, &from, &into)?));
        }
        continue_numbers(&from, &into, now)?;
    } else {
        continue_numbers(&Connection::open_in_memory()?, &into, now)?;
    }
    into.commit()?;
    db.close().map_err(|(_, error)| error)?;
    Ok(if words.is_empty() { "nothing".to_owned() } else { words.join(", ") })
}

/// The damaged one, to be read and not to be changed.
fn damaged(path: &Path) -> Option<Connection> {
    // SQLite would delete the log of an empty one.
    if place::length(path) == 0 {
        return None;
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags).ok()?;
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).ok()?;
    db.pragma_update(None, "locking_mode", "EXCLUSIVE").ok()?;
    // With this, what is wrong in the list of tables does not hide the rest of them.
    db.pragma_update(None, "writable_schema", true).ok()?;
    Some(db)
}

/// Numbers of results are never used twice: where the last one is not known any more, they go on
/// far behind all that there can have been.
fn continue_numbers(from: &Connection, into: &Connection, now: SystemTime) -> rusqlite::Result<()> {
    let copied: i64 = into.query_row("SELECT coalesce(max(seq), 0) FROM outbox", [], |row| row.get(0))?;
    let last = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'outbox'";
    let last: rusqlite::Result<i64> = from.query_row(last, [], |row| row.get(0));
    let far = milliseconds(now);
    let last = last.ok().filter(|last| *last <= far).unwrap_or(far).max(copied);
    into.execute("DELETE FROM sqlite_sequence WHERE name = 'outbox'", [])?;
    into.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('outbox', ?)", [last])?;
    Ok(())
}

/// Copies the rows of a table that can be read: from its beginning, from its end, and from the
/// middle of what neither reaches. Fails where they cannot be written.
fn copy(table: &str, key: &str, from: &Connection, into: &Connection) -> rusqlite::Result<usize> {
    let Ok(width) = from.prepare(&format!("SELECT * FROM {table}")).map(|rows| rows.column_count()) else {
        return Ok(0);
    };
    let columns = into.prepare(&format!("SELECT * FROM {table}"))?;
    let columns = columns.column_names().take(width);
    let columns = columns.map(|column| format!("`{column}`")).collect::<Vec<_>>();
    let places = vec!["?"; columns.len()].join(", ");
    let insert = format!("INSERT OR IGNORE INTO {table} ({}) VALUES ({places})", columns.join(", "));
    let rows = Rows { from, into, table, key, insert, width: columns.len() };
    let mut copied = 0;
    let mut gaps = vec![match key {
        "name" => (Value::Text(String::new()), Value::Text("\u{7f}".to_owned())),
        _ => (Value::Integer(0), Value::Integer(i64::MAX)),
    }];
    for _ in 0..PROBES {
        let Some((after, before)) = gaps.pop() else { break };
        let Some(first) = rows.copy(&after, &before, "ASC", &mut copied)? else { continue };
        let Some(last) = rows.copy(&first, &before, "DESC", &mut copied)? else { continue };
        if let (Value::Integer(first), Value::Integer(last)) = (first, last)
            && last - first > 2
        {
            let middle = first + (last - first).min(REACH) / 2;
            gaps.push((Value::Integer(first), Value::Integer(middle + 1)));
            gaps.push((Value::Integer(middle), Value::Integer(last)));
        }
    }
    Ok(copied)
}

struct Rows<'a> {
    from: &'a Connection,
    into: &'a Connection,
    table: &'a str,
    key: &'a str,
    insert: String,
    width: usize,
}

impl Rows<'_> {
    /// Copies rows between two keys until one cannot be read. Returns the last that could, or
    /// where it began; `None` where all could.
    fn copy(
        &self,
        after: &Value,
        before: &Value,
        order: &str,
        copied: &mut usize,
    ) -> rusqlite::Result<Option<Value>> {
        let (table, key) = (self.table, self.key);
        let mut last = if order == "ASC" { after.clone() } else { before.clone() };
        let select =
            format!("SELECT {key}, * FROM {table} WHERE {key} > ? AND {key} < ? ORDER BY {key} {order}");
        let Ok(mut rows) = self.from.prepare_cached(&select) else { return Ok(Some(last)) };
        let Ok(mut rows) = rows.query([after, before]) else { return Ok(Some(last)) };
        loop {
            match rows.next() {
                Ok(None) => return Ok(None),
                Err(_) => return Ok(Some(last)),
                Ok(Some(row)) => {
                    let values: Result<Vec<Value>, _> = (0..=self.width).map(|n| row.get(n)).collect();
                    let Ok(mut values) = values else { continue };
                    last = values.remove(0);
                    match self.into.prepare_cached(&self.insert)?.execute(params_from_iter(values)) {
                        Ok(rows) => *copied += rows,
                        Err(error) if is_the_rows_fault(&error) => {}
                        Err(error) => return Err(error),
                    }
                }
            }
        }
    }
}

/// Another row may fit.
fn is_the_rows_fault(error: &rusqlite::Error) -> bool {
    let faults = [ErrorCode::ConstraintViolation, ErrorCode::TypeMismatch, ErrorCode::TooBig];
    error.sqlite_error_code().is_some_and(|code| faults.contains(&code))
}
