//! Files that are read for a machine, which must not hold the loop up.

use crate::machine::limits::FILE_CAP_BYTES;
use std::fs::File;
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// The bytes of a file, `None` where there is no such file, or why they cannot be read.
type Content = Result<Option<Vec<u8>>, String>;

pub(super) fn read_whole(path: &Path) -> Content {
    read(path, 0, |file| {
        let mut content = Vec::new();
        file.take(FILE_CAP_BYTES + 1).read_to_end(&mut content)?;
        if content.len() as u64 > FILE_CAP_BYTES {
            return Err(io::Error::other(format!("larger than {FILE_CAP_BYTES} bytes")));
        }
        Ok(content)
    })
}

/// Its last bytes. It may be written to meanwhile, by others who choose what lies there.
pub(super) fn read_end(path: &Path, most_bytes: usize) -> Content {
    read(path, libc::O_NOFOLLOW, |mut file| {
        let most = (most_bytes as u64).min(FILE_CAP_BYTES);
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(most)))?;
        let mut content = Vec::new();
        file.take(most).read_to_end(&mut content)?;
        Ok(content)
    })
}

fn read(path: &Path, flags: i32, content: impl FnOnce(File) -> io::Result<Vec<u8>>) -> Content {
    let of_file = open(path, flags).and_then(|file| file.map(content).transpose());
    of_file.map_err(|error| match error.raw_os_error() {
        Some(libc::ELOOP) if flags & libc::O_NOFOLLOW != 0 => {
            format!("{}: a symbolic link, which is not followed here", path.display())
        }
        _ => format!("{}: {error}", path.display()),
    })
}

fn open(path: &Path, flags: i32) -> io::Result<Option<File>> {
    // What is no regular file, a FIFO above all, could hold the loop up.
    let file = match File::options().read(true).custom_flags(libc::O_NONBLOCK | flags).open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    Ok(Some(file))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn of_a_long_file_the_end_is_read_and_of_a_short_one_everything() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("output");
        assert_eq!(read_end(&path, 4), Ok(None));
        for (written, end) in [("", ""), ("abc", "abc"), ("abcd", "abcd"), ("abcdefgh", "efgh")] {
            fs::write(&path, written).unwrap();
            assert_eq!(read_end(&path, 4), Ok(Some(end.into())), "{written}");
        }
        assert_eq!(read_end(&path, 0), Ok(Some(Vec::new())));
        let large = File::create(&path).unwrap();
        large.set_len(1 << 40).unwrap();
        assert_eq!(read_end(&path, usize::MAX).unwrap().unwrap().len() as u64, FILE_CAP_BYTES);
        let error = read_whole(&path).unwrap_err();
        assert!(error.ends_with("larger than 1048576 bytes"), "{error}");
    }

    #[test]
    fn the_end_of_what_is_no_regular_file_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        mkfifo(&path("fifo"), Mode::S_IRWXU).unwrap();
        fs::write(path("file"), "secret").unwrap();
        symlink(path("file"), path("link")).unwrap();
        for (name, reason) in [
            ("fifo", "not a regular file"),
            ("link", "a symbolic link, which is not followed here"),
            (".", "not a regular file"),
            ("file/below", "Not a directory (os error 20)"),
        ] {
            let error = read_end(&path(name), 4).unwrap_err();
            assert!(error.ends_with(reason), "{name}: {error}");
        }
        assert_eq!(read_whole(&path("link")), Ok(Some("secret".into())));
    }
}
