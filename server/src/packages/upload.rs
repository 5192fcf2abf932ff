//! A file on its way to its place, which it gets whole or not at all.

use super::tree::UPLOAD;
use super::{Found, PackageError, PackagePath, Packages, Stored, Sum};
use headers::{ETag, IfMatch, IfNoneMatch};
use rustix::fs::{AtFlags, Mode, OFlags, fchmod, fsync, openat, renameat, unlinkat};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::Write as _;
use std::sync::Arc;
use uuid::Uuid;

/// Under which terms a name may change.
#[derive(Debug, Clone, Default)]
pub struct Terms {
    pub if_match: Option<IfMatch>,
    pub if_none_match: Option<IfNoneMatch>,
    /// What the file's sum has to be.
    pub sums: Vec<Sum>,
}

/// What is in its place now.
#[derive(Debug)]
pub struct Uploaded {
    pub file: Stored,
    pub sum: Sum,
    /// Whether there was a file of this name.
    pub replaced: bool,
}

/// A file that is not complete. When it is dropped, nothing of it is left.
#[derive(Debug)]
pub struct Upload {
    packages: Arc<Packages>,
    name: String,
    file: Option<File>,
    hash: Sha256,
    bytes: u64,
    moved: bool,
}

impl Terms {
    /// Whether what is there, if anything, may be changed.
    pub(super) fn hold(&self, there: Option<&Found>, path: &PackagePath) -> Result<(), PackageError> {
        let tag: Option<ETag> = match there {
            Some(Found::File(file)) => file.etag().parse().ok(),
            _ => None,
        };
        let matches = match (&self.if_match, &tag) {
            (None, _) => true,
            (Some(wanted), Some(tag)) => wanted.precondition_passes(tag),
            (Some(_), None) => false,
        };
        let is_new = match (&self.if_none_match, &tag) {
            (Some(unwanted), Some(tag)) => unwanted.precondition_passes(tag),
            _ => true,
        };
        if matches && is_new { Ok(()) } else { Err(PackageError::Condition(path.to_string())) }
    }
}

impl Upload {
    /// Begins one, unless it is plain already that it cannot get this place.
    pub fn begin(packages: Arc<Packages>, path: &PackagePath, terms: &Terms) -> Result<Upload, PackageError> {
        packages.folder(path, false)?;
        packages.place(path, terms)?;
        let name = format!("{UPLOAD}{}", Uuid::new_v4().simple());
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&packages.root, name.as_str(), flags, Mode::from_raw_mode(0o600))
            .map_err(|error| PackageError::of(error, path))?;
        let file = Some(File::from(file));
        Ok(Upload { packages, name, file, hash: Sha256::new(), bytes: 0, moved: false })
    }

    /// Adds what comes next.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), PackageError> {
        self.bytes += bytes.len() as u64;
        if self.bytes > self.packages.max_size {
            return Err(PackageError::TooLarge { most: self.packages.max_size });
        }
        self.hash.update(bytes);
        self.file().write_all(bytes).map_err(|error| PackageError::of(error, &self.name))
    }

    /// Has what came so far on disk, which may take its time.
    pub fn sync(&mut self) -> Result<(), PackageError> {
        self.file().sync_all().map_err(|error| PackageError::of(error, &self.name))
    }

    /// The sum of what came so far.
    pub fn sum(&self) -> Sum {
        Sum::of(self.hash.clone())
    }

    /// Puts it into its place, durably. It is complete, and its sum the announced one.
    pub fn finish(mut self, path: &PackagePath, terms: &Terms) -> Result<Uploaded, PackageError> {
        let sum = self.sum();
        if let Some(expected) = terms.sums.iter().find(|expected| **expected != sum) {
            return Err(PackageError::Mismatch { expected: *expected, got: sum });
        }
        let wrong = |error: std::io::Error| PackageError::of(error, path);
        let file = self.file.take().expect("it is open until it is complete");
        // Other servers of the same folder are other users.
        fchmod(&file, Mode::from_raw_mode(0o644)).map_err(|error| wrong(error.into()))?;
        let metadata = file.metadata().map_err(wrong)?;
        let stored = Stored::new(file.try_clone().map_err(wrong)?, metadata);
        stored.keep_sum(&sum);
        file.sync_all().map_err(wrong)?;

        let packages = self.packages.clone();
        let _alone = packages.changes.lock().expect("nothing panics while it changes names");
        let replaced = packages.place(path, terms)?;
        let folder = packages.folder(path, true)?.expect("it was made");
        let name = path.name().expect("a file has a name");
        renameat(&packages.root, self.name.as_str(), &folder, name).map_err(|error| match error {
            Errno::XDEV => {
                wrong(std::io::Error::other("the folder is on another file system than its parent"))
            }
            error => wrong(error.into()),
        })?;
        self.moved = true;
        fsync(&folder).map_err(|error| wrong(error.into()))?;
        Ok(Uploaded { file: stored, sum, replaced })
    }

    fn file(&mut self) -> &mut File {
        self.file.as_mut().expect("it is open until it is complete")
    }
}

impl Packages {
    /// Whether there is a file that a new one would replace, where the terms allow it.
    fn place(&self, path: &PackagePath, terms: &Terms) -> Result<bool, PackageError> {
        if path.is_folder() {
            return Err(PackageError::IsFolder(path.to_string()));
        }
        let there = match self.find(path) {
            Ok(Found::Folder(_)) => return Err(PackageError::IsFolder(path.to_string())),
            Ok(file) => Some(file),
            Err(PackageError::NotFound(_)) => None,
            Err(error) => return Err(error),
        };
        terms.hold(there.as_ref(), path)?;
        Ok(there.is_some())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if !self.moved
            && let Err(error) = unlinkat(&self.packages.root, self.name.as_str(), AtFlags::empty())
        {
            tracing::warn!(%error, name = self.name, "what is left of an upload is not removed");
        }
    }
}
