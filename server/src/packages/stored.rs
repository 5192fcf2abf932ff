//! One file that is there, open.

use super::{PackageError, Sum};
use crate::clock::{self, EpochMs};
use crate::limits::PACKAGE_CHUNK_BYTES;
use rustix::fs::{XattrFlags, fgetxattr, fsetxattr};
use sha2::{Digest as _, Sha256};
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};

/// Where a file's sum is kept: with the file itself, whatever becomes of its name. It counts as
/// long as the file is as it was when the sum was made. A file system without such attributes
/// keeps none, and the sum is made again when somebody asks.
const SUM_ATTRIBUTE: &str = "user.polaris.sha256";

/// See the module.
#[derive(Debug)]
pub struct Stored {
    file: File,
    metadata: Metadata,
}

impl Stored {
    /// `file` is a regular one.
    pub(super) fn new(file: File, metadata: Metadata) -> Stored {
        Stored { file, metadata }
    }

    /// Bytes.
    pub fn size(&self) -> u64 {
        self.metadata.len()
    }

    pub fn modified(&self) -> EpochMs {
        self.metadata.modified().map_or(0, clock::of_system)
    }

    /// A strong one, with its quotes.
    pub fn etag(&self) -> String {
        let state = &self.metadata;
        format!("\"{:x}-{:x}.{:x}-{:x}\"", state.len(), state.mtime(), state.mtime_nsec(), state.ino())
    }

    /// The bytes from here on, at most so many; fewer only where the file is shorter.
    pub fn read(&self, at: u64, most: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; most];
        let mut filled = 0;
        while filled < most {
            match self.file.read_at(&mut bytes[filled..], at + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }

    /// The file's sum where it is known without reading it.
    pub fn known_sum(&self) -> Option<Sum> {
        let mut value = [0; 256];
        let length = fgetxattr(&self.file, SUM_ATTRIBUTE, &mut value[..]).ok()?;
        let (state, sum) = std::str::from_utf8(&value[..length]).ok()?.split_once(' ')?;
        if state == self.state() { sum.parse().ok() } else { None }
    }

    /// The file's sum, for which all of it is read where it is not known. That it is known from
    /// then on is worth a try.
    pub fn sum(&self) -> Result<Sum, PackageError> {
        if let Some(sum) = self.known_sum() {
            return Ok(sum);
        }
        let (mut hash, mut at) = (Sha256::new(), 0);
        loop {
            let bytes = self.read(at, PACKAGE_CHUNK_BYTES)?;
            if bytes.is_empty() {
                break;
            }
            hash.update(&bytes);
            at += bytes.len() as u64;
        }
        let sum = Sum::of(hash);
        if at == self.size() {
            self.keep_sum(&sum);
        }
        Ok(sum)
    }

    pub(super) fn keep_sum(&self, sum: &Sum) {
        let value = format!("{} {sum}", self.state());
        if let Err(error) = fsetxattr(&self.file, SUM_ATTRIBUTE, value.as_bytes(), XattrFlags::empty()) {
            tracing::debug!(%error, "a checksum is not kept with its file");
        }
    }

    /// What changes when somebody writes to the file.
    fn state(&self) -> String {
        format!("{}:{}.{}", self.metadata.len(), self.metadata.mtime(), self.metadata.mtime_nsec())
    }
}
