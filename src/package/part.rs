//! The part of a file that is here already: `NAME.part`, and beside it
//! `NAME.part.origin`, which says what it is a part of.

use crate::Checksum;
use nix::libc;
use serde::{Deserialize, Serialize};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// An origin is a URL and a validator: more is not ours.
const MOST_ORIGIN_BYTES: u64 = 64 * 1024;

pub(crate) struct Part {
    file: File,
    path: PathBuf,
    origin_path: PathBuf,
    len: u64,
    most_bytes: u64,
}

/// What a part is a part of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Origin {
    /// Without the password.
    pub url: String,
    /// What changes when the file does: an ETag, a date, a size.
    pub validator: String,
    /// The kernel's boot: what was written before it may not all have reached the disk.
    boot: String,
}

impl Origin {
    pub fn new(url: String, validator: String) -> Self {
        Origin { url, validator, boot: boot() }
    }
}

fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

impl Part {
    /// Opens or makes the part of a file, for us alone.
    pub fn open(to: &Path, most_bytes: u64) -> Result<Part, String> {
        let folder = to.parent().ok_or("to: must lie in a folder")?;
        // The folders above it are not ours alone.
        let mut above = DirBuilder::new();
        above.recursive(true).mode(0o755);
        folder
            .parent()
            .map_or(Ok(()), |parent| above.create(parent))
            .and_then(|()| DirBuilder::new().recursive(true).mode(0o700).create(folder))
            .map_err(|error| format!("could not make the folder {}: {error}", folder.display()))?;
        let path = with_ending(to, ".part");
        let trouble = |error: io::Error| format!("could not open {}: {error}", path.display());
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(&path)
            .map_err(trouble)?;
        let metadata = file.metadata().map_err(trouble)?;
        if !metadata.is_file() {
            return Err(format!("{}: is no regular file: remove it", path.display()));
        }
        if file.try_lock().is_err() {
            return Err(format!("{}: another download of it is under way", path.display()));
        }
        let origin_path = with_ending(to, ".part.origin");
        Ok(Part { file, path, origin_path, len: metadata.len(), most_bytes })
    }

    pub fn len(&self) -> u64 {
        self.len
    }

    /// What this is a part of, where that is known and there is something of it.
    /// Without a checksum to find out, a part from before a reboot is not trusted.
    pub fn origin(&self, url: &str, checked: bool) -> Option<Origin> {
        if self.len == 0 || self.len > self.most_bytes {
            return None;
        }
        let mut text = Vec::new();
        File::open(&self.origin_path).ok()?.take(MOST_ORIGIN_BYTES).read_to_end(&mut text).ok()?;
        let origin: Origin = serde_json::from_slice(&text).ok()?;
        (origin.url == url && (checked || origin.boot == boot())).then_some(origin)
    }

    /// Begins anew. Of what has no origin nothing can be taken up later.
    pub fn begin(&mut self, origin: Option<&Origin>) -> Result<(), String> {
        self.cut().map_err(|error| self.trouble(&error))?;
        match origin {
            Some(origin) => write_whole(&self.origin_path, &serde_json::to_vec(origin).expect("texts alone")),
            None => remove(&self.origin_path),
        }
        .map_err(|error| format!("could not write {}: {error}", self.origin_path.display()))
    }

    /// Takes in what a server sends, to its end. `expected` is how much it said it would send.
    pub fn fill(&mut self, mut reader: impl Read, expected: Option<u64>) -> Result<(), String> {
        if let Some(bytes) = expected {
            self.check_size(self.len.saturating_add(bytes))?;
        }
        self.file.seek(SeekFrom::Start(self.len)).map_err(|error| self.trouble(&error))?;
        let begun = self.len;
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let bytes = match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(bytes) => bytes,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(format!("after {} bytes: {error}", self.len)),
            };
            let len = self.len.saturating_add(bytes as u64);
            if let Err(error) = self.check_size(len) {
                self.discard();
                return Err(error);
            }
            self.file.write_all(&buffer[..bytes]).map_err(|error| self.trouble(&error))?;
            self.len = len;
        }
        let total = expected.map(|expected| begun.saturating_add(expected));
        match total.filter(|total| *total != self.len) {
            Some(total) => {
                let got = self.len;
                // More than there should be is no part of anything.
                if got > total {
                    self.discard();
                }
                Err(format!("ended after {got} of {total} bytes"))
            }
            None => Ok(()),
        }
    }

    pub fn check_size(&self, bytes: u64) -> Result<(), String> {
        if bytes <= self.most_bytes {
            return Ok(());
        }
        Err(format!("has {bytes} bytes or more, at most {} are allowed", self.most_bytes))
    }

    pub fn checksum(&mut self) -> Result<Checksum, String> {
        self.file.rewind().map_err(|error| self.trouble(&error))?;
        Checksum::of(&self.file).map_err(|error| self.trouble(&error))
    }

    /// Gives the file its name, once it is on the disk.
    pub fn complete(self, to: &Path) -> Result<u64, String> {
        let trouble = |error: io::Error| format!("could not write {}: {error}", to.display());
        self.file.sync_all().map_err(trouble)?;
        fs::rename(&self.path, to).map_err(trouble)?;
        remove(&self.origin_path).map_err(trouble)?;
        sync_folder_of(to).map_err(trouble)?;
        Ok(self.len)
    }

    /// Takes it away, so that the next try begins anew.
    pub fn discard(&mut self) {
        // Cut first: should it not be possible to remove it, nothing of it counts any more.
        let gone = self.cut().and_then(|()| remove(&self.path)).and_then(|()| remove(&self.origin_path));
        drop(gone);
    }

    fn cut(&mut self) -> io::Result<()> {
        self.len = 0;
        self.file.set_len(0)
    }

    fn trouble(&self, error: &io::Error) -> String {
        format!("could not write {}: {error}", self.path.display())
    }
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// Not synced: an origin that is lost costs a download, not more.
fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    remove(path)?;
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(bytes)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Brings a rename in a folder to the disk.
pub(crate) fn sync_folder_of(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}
