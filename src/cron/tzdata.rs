//! The system's time zone data, the one place here that reads files: those of
//! tzdata, in the format of tzfile(5).

use crate::machine::limits::ZONE_FILE_BYTES;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;

const FOLDER: &str = "/usr/share/zoneinfo";
const LOCAL: &str = "/etc/localtime";

/// The rules of the zone of this name, which must have been checked: it is
/// part of a path.
///
/// # Errors
/// A sentence.
pub fn named(name: &str) -> Result<Vec<u8>, String> {
    let folder = Path::new(FOLDER);
    read(&folder.join(name)).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound if !folder.exists() => {
            format!("{name}: this machine has no time zones in {FOLDER}: install tzdata")
        }
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory => {
            format!("{FOLDER} has no zone {name}")
        }
        _ => format!("{FOLDER}/{name}: {error}"),
    })
}

/// The name of the machine's own zone, as far as its link tells, and its
/// rules. Where there is no such file the system's time is UTC, and it is `None`.
///
/// # Errors
/// A sentence.
pub fn local() -> Result<Option<(String, Vec<u8>)>, String> {
    match read(Path::new(LOCAL)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{LOCAL}: {error}")),
        Ok(rules) => {
            let link = fs::read_link(LOCAL).unwrap_or_default();
            let name = link.to_str().and_then(|link| link.split_once("zoneinfo/")).map(|(_, name)| name);
            Ok(Some((name.unwrap_or("localtime").to_owned(), rules)))
        }
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(ZONE_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > ZONE_FILE_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the file is too large for a time zone"));
    }
    Ok(bytes)
}
