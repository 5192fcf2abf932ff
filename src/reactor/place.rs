//! Files that are put to their places: beside it first, then by renaming, so that whatever ends us
//! in between, there is the old one or the new one, and of the new one everything is on the disk.

use crate::machine::{Content, Placed};
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// Of a folder that is made for them.
const FOLDER_MODE: u32 = 0o700;

/// Puts a file to its place. May block.
///
/// # Errors
/// The file, and the system's reason. What was there still is.
pub fn place(file: &Placed) -> Result<(), String> {
    let to = &file.to;
    let named = |error: io::Error| format!("{}: {error}", to.display());
    let (Some(folder), Some(name)) = (to.parent(), to.file_name()) else {
        return Err(format!("{}: no path of a file", to.display()));
    };
    match &file.content {
        Content::Nothing => remove(to).map_err(named),
        Content::Text(text) => put(folder, name, file, |new| new.write_all(text.as_bytes())).map_err(named),
        Content::CopyOf(from) => {
            let mut from = File::open(from).map_err(|error| format!("{}: {error}", from.display()))?;
            put(folder, name, file, |new| io::copy(&mut from, new).map(drop)).map_err(named)
        }
    }
}

fn put(
    folder: &Path,
    name: &std::ffi::OsStr,
    file: &Placed,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder)?;
    let mut beside = std::ffi::OsString::from(".");
    beside.push(name);
    beside.push(".new");
    let beside = folder.join(beside);
    // What an interrupted call left. Never written to: it may be a link, or run.
    remove(&beside)?;
    let written = (|| {
        let mut new = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        write(&mut new)?;
        // Whatever our umask is.
        new.set_permissions(Permissions::from_mode(file.mode))?;
        new.sync_all()
    })();
    // What fills a disk must not be left there.
    written.inspect_err(|_| drop(fs::remove_file(&beside)))?;
    fs::rename(&beside, &file.to)?;
    File::open(folder)?.sync_all()
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt as _, symlink};
    use std::path::PathBuf;

    fn placed(to: PathBuf, content: Content, mode: u32) -> Placed {
        Placed { to, content, mode }
    }

    #[test]
    fn a_file_takes_the_place_of_another_and_has_its_mode() {
        let place_of_all = tempfile::tempdir().unwrap();
        let path = |name: &str| place_of_all.path().join(name);
        place(&placed(path("own/a"), Content::Text("one".into()), 0o600)).unwrap();
        assert_eq!(fs::metadata(path("own")).unwrap().mode() & 0o777, 0o700);
        place(&placed(path("own/b"), Content::CopyOf(path("own/a")), 0o755)).unwrap();
        assert_eq!(fs::read_to_string(path("own/b")).unwrap(), "one");
        assert_eq!(fs::metadata(path("own/b")).unwrap().mode() & 0o7777, 0o755);
        let before = fs::metadata(path("own/b")).unwrap().ino();
        place(&placed(path("own/b"), Content::Text("two".into()), 0o600)).unwrap();
        assert_ne!(fs::metadata(path("own/b")).unwrap().ino(), before, "whoever runs it keeps the old one");
        for _ in 0..2 {
            place(&placed(path("own/b"), Content::Nothing, 0)).unwrap();
            assert!(!path("own/b").exists());
        }
    }

    #[test]
    fn what_was_left_beside_it_is_in_nobody_s_way_and_no_link_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("victim"), "kept").unwrap();
        symlink(path("victim"), path(".a.new")).unwrap();
        symlink(path("victim"), path("a")).unwrap();
        place(&placed(path("a"), Content::Text("new".into()), 0o600)).unwrap();
        assert_eq!(fs::read_to_string(path("victim")).unwrap(), "kept");
        assert_eq!(fs::read_to_string(path("a")).unwrap(), "new");
        assert!(!path(".a.new").exists());
    }

    #[test]
    fn what_cannot_be_is_said_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let error = place(&placed(path("a"), Content::CopyOf(path("none")), 0o600)).unwrap_err();
        assert!(error.ends_with("none: No such file or directory (os error 2)"), "{error}");
        // A folder can be opened, and not read as a file.
        let error = place(&placed(path("a"), Content::CopyOf(path(".")), 0o600)).unwrap_err();
        assert!(error.contains("Is a directory"), "{error}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
