//! The file that a family writes to.

use crate::machine::StartError;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use std::fs::{self, DirBuilder, File, FileType};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;

/// Opens it to write at its end, and makes it where it is not there. Whatever lies there in its
/// place is refused: a FIFO could hold us up, and where a link leads somebody else decides.
pub(super) fn open(path: &Path) -> Result<File, StartError> {
    try_open(path).map_err(|error| StartError {
        step: format!("output {}", path.display()),
        reason: match error.raw_os_error() {
            // Of O_NOFOLLOW, where it came between our looks.
            Some(libc::ELOOP) => not_regular("a symbolic link"),
            _ => error.to_string(),
        },
    })
}

fn try_open(path: &Path) -> io::Result<File> {
    let folder = path.parent().unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o755).create(folder).map_err(|error| {
        io::Error::new(error.kind(), format!("the folder {} cannot be made: {error}", folder.display()))
    })?;
    // To open some devices is to do something with them.
    match fs::symlink_metadata(path) {
        Ok(there) => only_regular(there.file_type())?,
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = File::options().append(true).create(true).mode(0o640).custom_flags(flags).open(path)?;
    only_regular(file.metadata()?.file_type())?;
    // It goes with the descriptor to a program that does not expect it.
    fcntl(&file, FcntlArg::F_SETFL(OFlag::O_APPEND))?;
    Ok(file)
}

fn only_regular(there: FileType) -> io::Result<()> {
    let what = match there {
        regular if regular.is_file() => return Ok(()),
        link if link.is_symlink() => "a symbolic link",
        folder if folder.is_dir() => "a folder",
        fifo if fifo.is_fifo() => "a FIFO",
        socket if socket.is_socket() => "a socket",
        _ => "a device",
    };
    Err(io::Error::other(not_regular(what)))
}

fn not_regular(what: &str) -> String {
    format!("{what} lies there, and output goes to a regular file only: remove it, or name another file")
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;
    use std::io::Write as _;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    #[test]
    fn it_is_made_with_its_folders_and_written_at_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log/web/output");
        for line in ["one\n", "two\n"] {
            open(&path).unwrap().write_all(line.as_bytes()).unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\ntwo\n");
    }

    #[test]
    fn what_a_program_writes_blocks_as_it_expects() {
        let folder = tempfile::tempdir().unwrap();
        let file = open(&folder.path().join("output")).unwrap();
        let flags = OFlag::from_bits_retain(fcntl(&file, FcntlArg::F_GETFL).unwrap());
        assert!(flags.contains(OFlag::O_APPEND) && !flags.contains(OFlag::O_NONBLOCK), "{flags:?}");
    }

    #[test]
    fn what_is_no_regular_file_is_named_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        mkfifo(&path("fifo"), Mode::S_IRWXU).unwrap();
        fs::write(path("file"), "").unwrap();
        symlink(path("file"), path("link")).unwrap();
        symlink(path("nowhere"), path("dangling")).unwrap();
        fs::create_dir(path("folder")).unwrap();
        let _socket = UnixListener::bind(path("socket")).unwrap();
        for (name, what) in [
            ("fifo", "a FIFO lies"),
            ("link", "a symbolic link lies"),
            ("dangling", "a symbolic link lies"),
            ("folder", "a folder lies"),
            ("socket", "a socket lies"),
        ] {
            let error = open(&path(name)).unwrap_err();
            assert!(error.reason.starts_with(what), "{name}: {error}");
            assert_eq!(error.step, format!("output {}", path(name).display()));
        }
        assert!(!path("nowhere").exists());
        let error = open(Path::new("/dev/null")).unwrap_err();
        assert!(error.reason.starts_with("a device lies"), "{error}");
        let error = open(&path("file/output")).unwrap_err();
        assert!(error.reason.contains("cannot be made"), "{error}");
    }
}
