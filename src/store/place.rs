//! Where the database is, and who may read it: the outputs of commands are in
//! it, which are nobody else's business.

use super::OpenError;
use log::warn;
use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

pub(super) const FILE_MODE: u32 = 0o600;
/// Others may pass through it, to what archives of daemons hold, and see nothing of it.
const FOLDER_MODE: u32 = 0o711;
/// What nobody else may do with a file.
const OWN: u32 = 0o700;
/// What SQLite puts beside a database.
pub(super) const BESIDE: [&str; 3] = ["-wal", "-shm", "-journal"];

/// Makes the file and its folder where there are none, closed to others. Returns where it is in
/// truth: what belongs beside it belongs there, and a link to it stays one.
pub(super) fn prepare(path: &Path) -> Result<PathBuf, OpenError> {
    if let Some(folder) = path.parent() {
        DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder).map_err(OpenError::Folder)?;
    }
    // To open a pipe would be to wait for its reader.
    if fs::metadata(path).is_ok_and(|there| !there.is_file() && !there.is_dir()) {
        return Err(OpenError::NoFile);
    }
    // SQLite would make one that all may read; and of one that may not be written it would say so
    // only at the first change.
    OpenOptions::new().append(true).create(true).mode(FILE_MODE).open(path)?;
    Ok(fs::canonicalize(path)?)
}

/// For one that is known to be ours, with what is beside it.
pub(super) fn close_to_others(path: &Path) {
    for suffix in [""].into_iter().chain(BESIDE) {
        close(&with_suffix(path, suffix));
    }
}

fn close(path: &Path) {
    let Ok(there) = fs::metadata(path) else { return };
    let mode = there.permissions().mode();
    if mode & 0o077 != 0
        && let Err(error) = fs::set_permissions(path, Permissions::from_mode(mode & OWN))
    {
        warn!("store=open_to_others file={} mode={mode:o} reason=\"{error}\"", path.display());
    }
}

/// 0 where there is no such file.
pub(super) fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |there| there.len())
}

pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Renames, and tells whether there was anything to rename.
pub(super) fn rename_if_there(from: &Path, to: &Path) -> io::Result<bool> {
    match fs::rename(from, to) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

pub(super) fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
