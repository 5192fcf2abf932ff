//! rpm's database: in SQLite since rpm 4.16, one row a package.

use crate::header::{self, Header, Malformed};
use crate::package::{Manager, Package, Packages};
use aspire_plugin::{Root, Text};
use jiff::Timestamp;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Where distributions keep it; some of these are links to others of them.
const FOLDERS: [&str; 3] = ["usr/lib/sysimage/rpm", "usr/share/rpm", "var/lib/rpm"];
const DATABASE: &str = "rpmdb.sqlite";
/// What rpm keeps or kept elsewhere.
const OTHERS: [(&str, &str); 2] = [
    ("Packages.db", "a database in rpm's own format (ndb), which is not read here"),
    ("Packages", "a Berkeley DB of an older rpm, which is not read here"),
];

/// Longest record, in bytes: rpm itself takes 256 MiB, which a query has in all.
/// A kernel's or a large font package's is of some hundred KiB.
const RECORD: i64 = 32 << 20;
/// How often a database that is being written is read before that is given up.
const TRIES: usize = 5;

/// Adds what rpm has, as `rpm -qa` lists it: with the keys that it trusts, which it
/// keeps as packages.
pub fn read(root: &Root, found: &mut Packages) {
    let mut seen = Vec::new();
    for folder in FOLDERS {
        let Ok(folder) = fs::canonicalize(root.path(folder)) else { continue };
        if seen.contains(&folder) {
            continue;
        }
        let database = folder.join(DATABASE);
        let has = |file: &str| fs::symlink_metadata(folder.join(file)).is_ok();
        if has(DATABASE) {
            note(found);
            match steady(&database) {
                Ok(rows) => add(rows, &database, found),
                Err(error) => found.unreadable(&database, &error),
            }
        } else if let Some((file, reason)) = OTHERS.into_iter().find(|(file, _)| has(file)) {
            note(found);
            found.unreadable(&folder.join(file), &reason);
        }
        seen.push(folder);
    }
}

fn note(found: &mut Packages) {
    if !found.managers.contains(&Manager::Rpm) {
        found.managers.push(Manager::Rpm);
    }
}

/// A row: its number, and the package, or why that cannot be made out.
type Row = (i64, Result<Package, String>);

fn add(rows: Vec<Row>, path: &Path, found: &mut Packages) {
    for (number, package) in rows {
        match package {
            Ok(package) => found.packages.push(package),
            Err(reason) => found.unreadable(path, &format!("package {number}: {reason}")),
        }
    }
}

/// What tells whether somebody has written meanwhile.
#[derive(Debug, PartialEq, Eq)]
struct State {
    length: u64,
    written: Option<SystemTime>,
    /// Whether there is something in SQLite's write-ahead log.
    logged: bool,
}

impl State {
    fn of(database: &Path) -> std::io::Result<State> {
        let file = fs::metadata(database)?;
        let log = fs::metadata(beside(database, "-wal")).map_or(0, |log| log.len());
        Ok(State { length: file.len(), written: file.modified().ok(), logged: log > 0 })
    }
}

fn beside(database: &Path, suffix: &str) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

/// The rows, as they are at one time. While nobody writes, the file is read as one
/// that cannot change, so that SQLite neither locks it nor puts its own files beside
/// it. Where there is a log, its index is there, too, and SQLite sees to order.
fn steady(database: &Path) -> Result<Vec<Row>, Error> {
    let mut result = Err(Error::Written);
    for _ in 0..TRIES {
        let before = State::of(database)?;
        let kept = if before.logged { "readonly_shm=1" } else { "immutable=1" };
        result = rows(database, kept).map_err(Error::from);
        if before.logged || State::of(database)? == before {
            return result;
        }
    }
    result.and(Err(Error::Written))
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{0}")]
    File(#[from] std::io::Error),
    #[error("{0}")]
    Database(#[from] rusqlite::Error),
    #[error("it is being written all the time")]
    Written,
}

fn rows(database: &Path, kept: &str) -> rusqlite::Result<Vec<Row>> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(uri(database, kept), flags)?;
    // The length is known without the record's being read.
    let mut query = connection
        .prepare("SELECT hnum, CASE WHEN length(blob) <= ?1 THEN blob END FROM Packages ORDER BY hnum")?;
    let row = |row: &rusqlite::Row| {
        let (number, record) = (row.get(0)?, row.get_ref(1)?);
        let package = match record {
            ValueRef::Blob(record) => package(record),
            _ => Err("its record is too long, or none".to_owned()),
        };
        Ok((number, package))
    };
    query.query_map([RECORD], row)?.collect()
}

/// A path in which none of a URI's own characters stand for themselves.
fn uri(database: &Path, kept: &str) -> PathBuf {
    use std::ffi::OsString;
    use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
    let mut uri = b"file:".to_vec();
    for &byte in database.as_os_str().as_bytes() {
        match byte {
            b'%' | b'?' | b'#' => uri.extend(format!("%{byte:02x}").bytes()),
            _ => uri.push(byte),
        }
    }
    uri.extend(format!("?{kept}").bytes());
    OsString::from_vec(uri).into()
}

fn package(record: &[u8]) -> Result<Package, String> {
    let header = Header::parse(record).map_err(|malformed| malformed.to_string())?;
    described(&header).map_err(|malformed| malformed.to_string())?.ok_or_else(|| "it has no name".to_owned())
}

fn described(header: &Header) -> Result<Option<Package>, Malformed> {
    let Some(name) = header.text(header::NAME)? else { return Ok(None) };
    let size = match header.number(header::LONG_SIZE)? {
        None => header.number(header::SIZE)?,
        size => size,
    };
    let installed = header.number(header::INSTALL_TIME)?.and_then(|seconds| i64::try_from(seconds).ok());
    Ok(Some(Package {
        name,
        manager: Manager::Rpm,
        version: version(header)?,
        architecture: header.text(header::ARCH)?,
        status: "installed".into(),
        wanted: None,
        size,
        summary: header.text(header::SUMMARY)?,
        installed: installed.and_then(|seconds| Timestamp::from_second(seconds).ok()),
    }))
}

/// `epoch:version-release`, as far as there is one.
fn version(header: &Header) -> Result<Option<Text>, Malformed> {
    let Some(version) = header.text(header::VERSION)? else { return Ok(None) };
    let epoch = header.number(header::EPOCH)?.map(|epoch| format!("{epoch}:")).unwrap_or_default();
    let mut whole = [epoch.as_bytes(), version.as_bytes()].concat();
    if let Some(release) = header.text(header::RELEASE)? {
        whole.push(b'-');
        whole.extend(release.as_bytes());
    }
    Ok(Some(whole.as_slice().into()))
}
