//! The folder, and what is found in it.

use super::{Downloads, PackageError, PackagePath, Stored, Sum, Sums};
use crate::clock::{self, EpochMs};
use crate::limits::{self, MAX_DOWNLOADS, MAX_FOLDER_ENTRIES, MAX_UPLOADS};
use anyhow::Context as _;
use rustix::fs::{AtFlags, Dir, Mode, OFlags, ResolveFlags, fchmod, fsync, mkdirat, openat2, unlinkat};
use rustix::io::Errno;
use serde::Serialize;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex};
use tokio::sync::{Mutex as AsyncMutex, Semaphore};

/// How names of files begin that are not complete.
pub(super) const UPLOAD: &str = ".upload-";

/// The folder of packages, open as long as the server runs.
#[derive(Debug)]
pub struct Packages {
    pub(super) root: OwnedFd,
    /// Bytes of one file.
    pub max_size: u64,
    /// Held while names change, so that what was checked before still holds.
    pub(super) changes: Mutex<()>,
    /// Held while a file and the catalogue of plugins are compared and one of them changes, so
    /// that they stay of one mind.
    pub catalogue: Arc<AsyncMutex<()>>,
    /// Who brings something, who fetches by the agents' port, and who has a checksum made.
    pub uploads: Arc<Semaphore>,
    pub downloads: Downloads,
    pub sums: Sums,
}

/// What is at a path.
#[derive(Debug)]
pub enum Found {
    File(Stored),
    Folder(OwnedFd),
}

/// What a folder holds, folders first, each by name.
#[derive(Debug)]
pub struct Listing(pub Vec<Entry>);

/// One file or folder of a listing.
#[derive(Debug)]
pub struct Entry {
    pub name: String,
    pub kind: Kind,
    /// Bytes of a file.
    pub size: Option<u64>,
    pub modified: EpochMs,
    /// A file's, where it is known.
    pub sum: Option<Sum>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Folder,
    File,
}

impl Packages {
    /// Opens the folder, makes it where it is missing, and takes away what earlier uploads left.
    pub fn open(dir: &Path, max_size: u64) -> anyhow::Result<Packages> {
        let trouble = || format!("opening the folder of packages {} ([packages] dir)", dir.display());
        std::fs::create_dir_all(dir).with_context(trouble)?;
        // The folder itself may be behind a link: whoever configures it knows where it is.
        let root = OwnedFd::from(File::open(dir).with_context(trouble)?);
        openat2(&root, ".", reading(), Mode::empty(), beneath())
            .context("this kernel does not open files beneath a folder (openat2): Linux 5.6 or newer does")?;
        for entry in Dir::read_from(&root).with_context(trouble)? {
            let entry = entry.with_context(trouble)?;
            let name = entry.file_name();
            if name.to_bytes().starts_with(UPLOAD.as_bytes()) {
                // A folder of such a name is somebody else's, and in nobody's way.
                if let Err(error) = unlinkat(&root, name, AtFlags::empty()) {
                    tracing::warn!(%error, ?name, "what looks like the rest of an upload stays");
                }
            }
        }
        Ok(Packages {
            root,
            max_size,
            changes: Mutex::default(),
            catalogue: Arc::default(),
            uploads: Arc::new(Semaphore::new(MAX_UPLOADS)),
            downloads: Downloads::default(),
            sums: Sums::default(),
        })
    }

    /// Opens what is at this path.
    pub fn find(&self, path: &PackagePath) -> Result<Found, PackageError> {
        match open(&self.root, &path.relative()).map_err(|error| PackageError::of(error, path))? {
            None => Err(PackageError::Special(path.to_string())),
            // A slash at the end asks for a folder.
            Some(Found::File(_)) if path.is_folder() => Err(PackageError::NotFound(path.to_string())),
            Some(found) => Ok(found),
        }
    }

    /// The file at this path.
    pub fn file(&self, path: &PackagePath) -> Result<Stored, PackageError> {
        match self.find(path)? {
            Found::File(file) => Ok(file),
            Found::Folder(_) => Err(PackageError::IsFolder(path.to_string())),
        }
    }

    /// What of a folder can be asked for; what is hidden, or is no file and no folder, is left out.
    pub fn list(&self, folder: &OwnedFd, path: &PackagePath) -> Result<Listing, PackageError> {
        let mut entries = Vec::new();
        for entry in Dir::read_from(folder).map_err(|error| PackageError::of(error, path))? {
            let entry = entry.map_err(|error| PackageError::of(error, path))?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            if name.starts_with('.') || PackagePath::of_text(name).is_err() {
                continue;
            }
            // Nor what went away meanwhile, or may not be read.
            let Ok(Some(found)) = open(folder, name) else { continue };
            if entries.len() == MAX_FOLDER_ENTRIES {
                return Err(PackageError::TooMany { folder: path.to_string(), most: MAX_FOLDER_ENTRIES });
            }
            entries.push(Entry::new(name.to_owned(), found));
        }
        entries.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
        Ok(Listing(entries))
    }

    /// Takes away a file, or a folder that is empty.
    pub fn remove(&self, path: &PackagePath, terms: &super::Terms) -> Result<(), PackageError> {
        let _alone = self.changes.lock().expect("nothing panics while it changes names");
        let name = path.name().ok_or_else(|| PackageError::IsFolder("the packages' folder".into()))?;
        let found = self.find(path)?;
        terms.hold(Some(&found), path)?;
        let missing = || PackageError::NotFound(path.to_string());
        let parent = self.folder(path, false)?.ok_or_else(missing)?;
        let flags = if matches!(found, Found::Folder(_)) { AtFlags::REMOVEDIR } else { AtFlags::empty() };
        unlinkat(&parent, name, flags).map_err(|error| PackageError::of(error, path))?;
        fsync(&parent).map_err(|error| PackageError::of(error, path))
    }

    /// The folder that the path's last name is in; `None` where it is missing and not to be made.
    pub(super) fn folder(&self, path: &PackagePath, make: bool) -> Result<Option<OwnedFd>, PackageError> {
        let wrong = |error: Errno| match error {
            Errno::NOTDIR => PackageError::InTheWay(path.to_string()),
            error => PackageError::of(error, path),
        };
        let flags = reading() | OFlags::DIRECTORY;
        let step = |folder: &OwnedFd, name: &str| openat2(folder, name, flags, Mode::empty(), beneath());
        let mut folder = step(&self.root, ".").map_err(wrong)?;
        for name in path.parents() {
            folder = match step(&folder, name) {
                Err(Errno::NOENT) if make => {
                    let mode = Mode::from_raw_mode(0o755);
                    mkdirat(&folder, name.as_str(), mode).map_err(wrong)?;
                    fsync(&folder).map_err(wrong)?;
                    let inner = step(&folder, name).map_err(wrong)?;
                    // Other servers of the same folder are other users, whatever our umask is.
                    fchmod(&inner, mode).map_err(wrong)?;
                    inner
                }
                Err(Errno::NOENT) => return Ok(None),
                inner => inner.map_err(wrong)?,
            };
        }
        Ok(Some(folder))
    }
}

impl Entry {
    fn new(name: String, found: Found) -> Entry {
        match found {
            Found::File(file) => Entry {
                name,
                kind: Kind::File,
                size: Some(file.size()),
                modified: file.modified(),
                sum: file.known_sum(),
            },
            Found::Folder(folder) => {
                let state = File::from(folder).metadata();
                let modified = state.and_then(|state| state.modified()).map_or(0, clock::of_system);
                Entry { name, kind: Kind::Folder, size: None, modified, sum: None }
            }
        }
    }
}

/// Opens what is at a path of checked names; `None` where it is neither a file nor a folder.
fn open(folder: impl AsFd, path: &str) -> Result<Option<Found>, std::io::Error> {
    let file = File::from(openat2(folder, path, reading(), Mode::empty(), beneath())?);
    let metadata = file.metadata()?;
    Ok(match metadata.file_type() {
        kind if kind.is_file() => Some(Found::File(Stored::new(file, metadata))),
        kind if kind.is_dir() => Some(Found::Folder(file.into())),
        _ => None,
    })
}

/// Whoever opens a pipe without a writer does not wait for one.
fn reading() -> OFlags {
    OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC
}

/// The kernel's own rule for a path from somebody else.
fn beneath() -> ResolveFlags {
    ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS
}

const _: () = assert!(MAX_DOWNLOADS < limits::MAX_AGENT_EXCHANGES, "what is short finds room");
