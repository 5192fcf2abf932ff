//! What can go wrong with a package.

use super::sum::Sum;
use rustix::io::Errno;
use std::io;

/// Whoever called is at fault, except for the last four, which are this machine's.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// A path that cannot be one, and why.
    #[error("{0}")]
    Path(String),
    #[error("there is nothing at {0}")]
    NotFound(String),
    #[error("{0} is a symbolic link or lies behind one: those are not followed")]
    Link(String),
    #[error("{0} is neither a file nor a folder")]
    Special(String),
    #[error("{0} is a folder")]
    IsFolder(String),
    #[error("a part of {0} is a file where a folder would have to be")]
    InTheWay(String),
    #[error("the folder {0} is not empty: remove what is in it first")]
    NotEmpty(String),
    #[error("the folder {folder} has more than {most} entries, which are not listed: ask for a file by name")]
    TooMany { folder: String, most: usize },
    #[error("{0} does not satisfy If-Match or If-None-Match: it is there already, was changed, or is gone")]
    Condition(String),
    #[error("the file is larger than {most} bytes, the most that is taken ([packages] max_size)")]
    TooLarge { most: u64 },
    #[error("what came has SHA-256 {got}, but {expected} was announced: nothing was kept, send it again")]
    Mismatch { expected: Sum, got: Sum },
    #[error("{0}")]
    Busy(String),
    #[error("the disk of polaris is full: nothing was kept")]
    NoSpace,
    #[error("polaris may not do that in its folder of packages ({0}): see who owns it there")]
    Denied(io::Error),
    #[error("the packages' folder failed: {0}")]
    Io(#[from] io::Error),
}

impl PackageError {
    /// What the kernel says of this path.
    pub fn of(error: impl Into<io::Error>, path: &impl ToString) -> PackageError {
        let error: io::Error = error.into();
        match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::NOENT | Errno::NOTDIR | Errno::XDEV) => PackageError::NotFound(path.to_string()),
            Some(Errno::LOOP) => PackageError::Link(path.to_string()),
            Some(Errno::NXIO | Errno::NODEV) => PackageError::Special(path.to_string()),
            Some(Errno::ISDIR) => PackageError::IsFolder(path.to_string()),
            Some(Errno::NOTEMPTY) => PackageError::NotEmpty(path.to_string()),
            Some(Errno::NOSPC | Errno::DQUOT) => PackageError::NoSpace,
            Some(Errno::ACCESS | Errno::PERM | Errno::ROFS) => PackageError::Denied(error),
            _ => PackageError::Io(error),
        }
    }
}
