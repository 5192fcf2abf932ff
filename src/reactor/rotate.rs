//! Makes room in a file that others write to and hold open: its content is copied and then cut off.
//! Runs as a task, for a large file takes its time.
//!
//! What ends it in between loses nothing: the older files move before the youngest is there, into the
//! first gap, and what is copied is on the disk before the file is cut.

use crate::machine::Rotation;
use std::fs::{self, File, FileTimes, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};

/// # Errors
/// The file that is not as it must be, or the system's reason. Nothing is lost.
pub(super) fn rotate(rotation: &Rotation) -> Result<(), String> {
    let path = &rotation.path;
    let named = |error| format!("{}: {error}", path.display());
    let Some((mut file, about)) = open(path).map_err(named)? else { return Ok(()) };
    if about.len() == 0 {
        return Ok(());
    }
    if rotation.files > 0 {
        let under_way = numbered(path, "new");
        keep(&mut file, &about, rotation, &under_way).inspect_err(|_| {
            // What fills a disk must not be left there.
            let _ = fs::remove_file(&under_way);
        })?;
    }
    file.set_len(0).map_err(named)
}

/// Copies everything to `FILE.1`.
fn keep(file: &mut File, about: &Metadata, rotation: &Rotation, under_way: &Path) -> Result<(), String> {
    let named = |path: &Path, error: io::Error| format!("{}: {error}", path.display());
    let mut copy = begin_copy(file, about, under_way).map_err(|error| named(under_way, error))?;
    make_gap(&rotation.path, rotation.files)?;
    let youngest = numbered(&rotation.path, 1);
    let mut settle = || {
        fs::rename(under_way, &youngest)?;
        // What came meanwhile.
        io::copy(file, &mut copy)?;
        copy.set_times(FileTimes::new().set_modified(about.modified()?))?;
        copy.sync_data()
    };
    settle().map_err(|error| named(&youngest, error))
}

/// `None` where there is no such file.
fn open(path: &Path) -> io::Result<Option<(File, Metadata)>> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = match File::options().read(true).write(true).custom_flags(flags).open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) if error.raw_os_error() == Some(libc::ELOOP) => {
            return Err(io::Error::other("a symbolic link, which is not followed here"));
        }
        other => other?,
    };
    let about = file.metadata()?;
    if about.is_file() { Ok(Some((file, about))) } else { Err(io::Error::other("not a regular file")) }
}

/// Copies what there is by now. Nobody may read the copy who may not read the file.
fn begin_copy(file: &mut File, about: &Metadata, to: &Path) -> io::Result<File> {
    match fs::remove_file(to) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut copy = File::options().write(true).create_new(true).mode(0o600).open(to)?;
    io::copy(&mut io::Read::take(file, about.len()), &mut copy)?;
    fchown(&copy, Some(about.uid()), Some(about.gid()))?;
    copy.set_permissions(about.permissions())?;
    Ok(copy)
}

/// Moves `FILE.1` and those after it on by one, as far as there is no gap; the last may go.
fn make_gap(path: &Path, files: usize) -> Result<(), String> {
    let mut last = 0;
    while last < files && is_there(&numbered(path, last + 1))? {
        last += 1;
    }
    for number in (1..=last.min(files - 1)).rev() {
        let (from, to) = (numbered(path, number), numbered(path, number + 1));
        fs::rename(&from, &to).map_err(|error| format!("{} to {}: {error}", from.display(), to.display()))?;
    }
    Ok(())
}

fn is_there(path: &Path) -> Result<bool, String> {
    match fs::symlink_metadata(path) {
        Ok(there) if there.is_file() => Ok(true),
        Ok(_) => Err(format!("{}: not a regular file, which is in the way", path.display())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

fn numbered(path: &Path, suffix: impl std::fmt::Display) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{suffix}"));
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;
    use std::fs::Permissions;
    use std::io::Write as _;
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use tempfile::TempDir;

    struct Logs(TempDir);

    impl Logs {
        fn new() -> Self {
            Logs(tempfile::tempdir().unwrap())
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn rotate(&self, files: usize) -> Result<(), String> {
            rotate(&Rotation { path: self.path("log"), files })
        }

        /// The files with their contents, by name.
        fn all(&self) -> Vec<(String, String)> {
            let entries = fs::read_dir(self.0.path()).unwrap().map(|entry| entry.unwrap());
            let read = |path: PathBuf| fs::read_to_string(path).unwrap();
            let mut all: Vec<_> =
                entries.map(|e| (e.file_name().into_string().unwrap(), read(e.path()))).collect();
            all.sort();
            all
        }

        fn assert(&self, wanted: &[(&str, &str)]) {
            let wanted: Vec<_> = wanted.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
            assert_eq!(self.all(), wanted);
        }
    }

    #[test]
    fn each_time_the_files_move_on_by_one_and_the_last_goes() {
        let logs = Logs::new();
        logs.rotate(2).unwrap();
        logs.assert(&[]);
        let mut writer = File::options().append(true).create(true).open(logs.path("log")).unwrap();
        for line in ["one", "two", "three"] {
            writer.write_all(line.as_bytes()).unwrap();
            logs.rotate(2).unwrap();
        }
        logs.assert(&[("log", ""), ("log.1", "three"), ("log.2", "two")]);
        logs.rotate(2).unwrap();
        logs.assert(&[("log", ""), ("log.1", "three"), ("log.2", "two")]);
        writer.write_all(b"four").unwrap();
        logs.assert(&[("log", "four"), ("log.1", "three"), ("log.2", "two")]);
        logs.rotate(0).unwrap();
        logs.assert(&[("log", ""), ("log.1", "three"), ("log.2", "two")]);
    }

    #[test]
    fn what_was_interrupted_anywhere_is_made_good_without_losing_an_older_file() {
        // In between the moves, and before the youngest had its name.
        for gap in [1, 2, 3] {
            let logs = Logs::new();
            fs::write(logs.path("log"), "now").unwrap();
            fs::write(logs.path("log.new"), "a part of no").unwrap();
            for number in (1..=3).filter(|number| *number != gap) {
                fs::write(logs.path(&format!("log.{number}")), format!("old {number}")).unwrap();
            }
            logs.rotate(3).unwrap();
            let contents: Vec<String> = logs.all().into_iter().map(|(_, content)| content).collect();
            let mut wanted = vec![String::new(), "now".to_owned()];
            wanted.extend((1..=3).filter(|n| *n != gap).map(|n| format!("old {n}")));
            assert_eq!(contents, wanted, "a gap at {gap}");
        }
    }

    #[test]
    fn a_copy_has_the_mode_of_its_file() {
        let logs = Logs::new();
        for mode in [0o640, 0o600, 0o604] {
            fs::write(logs.path("log"), "x").unwrap();
            fs::set_permissions(logs.path("log"), Permissions::from_mode(mode)).unwrap();
            logs.rotate(1).unwrap();
            assert_eq!(fs::metadata(logs.path("log.1")).unwrap().mode() & 0o7777, mode);
        }
    }

    #[test]
    fn what_is_no_regular_file_is_named_and_nothing_is_moved() {
        let logs = Logs::new();
        mkfifo(&logs.path("log"), Mode::S_IRWXU).unwrap();
        let error = logs.rotate(2).unwrap_err();
        assert!(error.ends_with("log: not a regular file"), "{error}");
        fs::remove_file(logs.path("log")).unwrap();
        fs::write(logs.path("secret"), "s").unwrap();
        symlink(logs.path("secret"), logs.path("log")).unwrap();
        let error = logs.rotate(2).unwrap_err();
        assert!(error.ends_with("log: a symbolic link, which is not followed here"), "{error}");
        fs::remove_file(logs.path("log")).unwrap();
        fs::write(logs.path("log"), "now").unwrap();
        symlink(logs.path("secret"), logs.path("log.1")).unwrap();
        let error = logs.rotate(2).unwrap_err();
        assert!(error.ends_with("log.1: not a regular file, which is in the way"), "{error}");
        assert_eq!(fs::read_to_string(logs.path("log")).unwrap(), "now");
        assert_eq!(fs::read_to_string(logs.path("secret")).unwrap(), "s");
    }
}
