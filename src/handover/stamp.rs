//! A file, told from whatever takes its place.

use serde::{Deserialize, Serialize};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// What another file of the same name would have otherwise, though it had the same bytes. The device
/// is no part of it: that may have another number when the host has started again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    pub inode: u64,
    /// In bytes.
    pub length: u64,
    /// Seconds of the time of its last change, and nanoseconds.
    pub modified: [i64; 2],
    /// The same of its inode.
    pub changed: [i64; 2],
}

impl Stamp {
    /// Of this file, or what a link of this name leads to; `None` where there is none.
    #[must_use]
    pub fn of(path: &Path) -> Option<Stamp> {
        let file = fs::metadata(path).ok()?;
        Some(Stamp {
            inode: file.ino(),
            length: file.len(),
            modified: [file.mtime(), file.mtime_nsec()],
            changed: [file.ctime(), file.ctime_nsec()],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_with_the_same_bytes_is_another_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("boot");
        assert_eq!(Stamp::of(&path), None);
        fs::write(&path, "x").unwrap();
        let before = Stamp::of(&path).unwrap();
        assert_eq!(Stamp::of(&path), Some(before.clone()));
        fs::write(folder.path().join("new"), "x").unwrap();
        fs::rename(folder.path().join("new"), &path).unwrap();
        assert_ne!(Stamp::of(&path), Some(before));
    }
}
