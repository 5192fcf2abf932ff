//! The folder of a daemon that comes as an archive: a folder for each version,
//! and the links `current` and `previous`.

use crate::archive;
use crate::names;
use crate::part::sync_folder_of;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, symlink};
use std::path::Path;

const CURRENT: &str = "current";
const PREVIOUS: &str = "previous";
/// What is not complete yet, and what is not needed any more.
const NEW: &str = ".new";
const OLD: &str = ".old";

/// Unpacks a version and makes it the current one. The one before is kept to go
/// back to, the one before that is removed.
pub(crate) fn install(file: &Path, folder: &Path, version: &str) -> Result<(), String> {
    names::check_version(version)?;
    let trouble = |error: io::Error| format!("folder: {}: {error}", folder.display());
    DirBuilder::new().recursive(true).mode(0o755).create(folder).map_err(trouble)?;
    if !folder.symlink_metadata().map_err(trouble)?.is_dir() {
        return Err(format!("folder: must be a folder, not a link: {}", folder.display()));
    }
    // Whoever made it, and whatever our umask is: the daemon may run as another user.
    fs::set_permissions(folder, Permissions::from_mode(0o755)).map_err(trouble)?;
    // What an interrupted call left.
    clear(&folder.join(NEW)).and_then(|()| clear(&folder.join(OLD))).map_err(trouble)?;
    let new = folder.join(NEW);
    archive::unpack(file, &new)?;
    sync_all_of(&new).and_then(|()| place(folder, version)).map_err(trouble)?;
    switch(folder, version).map_err(trouble)
}

/// The whole folder goes. A link is removed, what it leads to is not.
pub(crate) fn uninstall(folder: &Path) -> Result<(), String> {
    clear(folder)
        .and_then(
            |()| if folder.parent().is_some_and(Path::is_dir) { sync_folder_of(folder) } else { Ok(()) },
        )
        .map_err(|error| format!("folder: {} could not be removed: {error}", folder.display()))
}

/// The new files get the version's name; what had it before goes.
fn place(folder: &Path, version: &str) -> io::Result<()> {
    let (new, old, place) = (folder.join(NEW), folder.join(OLD), folder.join(version));
    if renameat2(AT_FDCWD, &new, AT_FDCWD, &place, RenameFlags::RENAME_EXCHANGE).is_ok() {
        clear(&new)?;
        return sync_folder_of(&place);
    }
    // Nothing had it, or this file system cannot exchange two names at once.
    match fs::rename(&place, &old) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => fs::rename(&new, &place)?,
    }
    clear(&old)?;
    sync_folder_of(&place)
}

/// Each step leaves a state from which the next call goes on: at any moment
/// `current` leads to a whole version.
fn switch(folder: &Path, version: &str) -> io::Result<()> {
    let current = target(&folder.join(CURRENT));
    if let Some(current) = current.filter(|current| current != version) {
        let older = target(&folder.join(PREVIOUS));
        if let Some(older) = older.filter(|older| *older != current && older != version) {
            let old = folder.join(OLD);
            match fs::rename(folder.join(older), &old) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => clear(&old)?,
            }
        }
        link(folder, PREVIOUS, &current)?;
    }
    link(folder, CURRENT, version)
}

/// Where one of our links leads; `None` where it is none of ours.
fn target(link: &Path) -> Option<String> {
    let target = fs::read_link(link).ok()?.into_os_string().into_string().ok()?;
    names::check_version(&target).is_ok().then_some(target)
}

fn link(folder: &Path, name: &str, version: &str) -> io::Result<()> {
    let (new, place) = (folder.join(NEW), folder.join(name));
    clear(&new)?;
    symlink(version, &new)?;
    fs::rename(&new, &place)?;
    sync_folder_of(&place)
}

/// Brings all of a file system's changes to the disk: quicker than file by file.
fn sync_all_of(folder: &Path) -> io::Result<()> {
    nix::unistd::syncfs(File::open(folder)?).map_err(io::Error::from)
}

/// Removes whatever has that name, and follows no link.
fn clear(path: &Path) -> io::Result<()> {
    let removed = match path.symlink_metadata() {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
