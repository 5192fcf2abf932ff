//! What is in a `.tar.gz`, unpacked into a new folder and nowhere else.
//!
//! Refused, with the entry's name: absolute paths, `..`, a path through a link,
//! links that leave the folder, devices, pipes, and whatever is no file, folder
//! or link. Not taken over: owners (all is ours), set-user-id and its like,
//! permission to write for anybody but the owner, dates.

use flate2::read::MultiGzDecoder;
use std::collections::HashSet;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use tar::{Archive, Entry, EntryType};

/// A daemon's package: more than that is a mistake, or malice.
const MOST_BYTES: u64 = 4 << 30;
const MOST_ENTRIES: usize = 100_000;
/// Of an entry's description (names, extensions), which is read into memory.
const MOST_HEADER_BYTES: u64 = 256 * 1024;

/// Unpacks a file into a folder that is made for it.
pub(crate) fn unpack(file: &Path, folder: &Path) -> Result<(), String> {
    let opened = File::open(file).map_err(|error| format!("{}: {error}", file.display()))?;
    DirBuilder::new().mode(0o755).create(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut tree = Tree::new(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let allowance = AtomicU64::new(MOST_HEADER_BYTES);
    let reader = Bounded { reader: MultiGzDecoder::new(io::BufReader::new(opened)), allowance: &allowance };
    let wrong = |reason: String| format!("{}: {reason}", file.display());
    let mut archive = Archive::new(reader);
    let entries = archive.entries().map_err(|error| wrong(error.to_string()))?;
    let broken = |error: io::Error| wrong(format!("is no whole .tar.gz: {error}"));
    let (mut left, mut count) = (MOST_BYTES, 0);
    for entry in entries {
        let mut entry = entry.map_err(broken)?;
        count += 1;
        if count > MOST_ENTRIES {
            return Err(wrong(format!("has more than {MOST_ENTRIES} entries")));
        }
        left = left
            .checked_sub(entry.size())
            .ok_or_else(|| wrong(format!("has more than {MOST_BYTES} bytes unpacked")))?;
        allowance.store(entry.size().saturating_add(MOST_HEADER_BYTES), Ordering::Relaxed);
        tree.add(&mut entry).map_err(|reason| {
            wrong(format!("the entry {:?}: {reason}", String::from_utf8_lossy(&entry.path_bytes())))
        })?;
        allowance.store(MOST_HEADER_BYTES, Ordering::Relaxed);
    }
    if count == 0 {
        return Err(wrong("is empty".into()));
    }
    // What fills the last block, and the checksum of gzip behind it.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(broken)?;
    Ok(())
}

/// Ends with an error when more is read than the next step may need, so that a
/// small file cannot claim much memory.
struct Bounded<'a, R> {
    reader: R,
    allowance: &'a AtomicU64,
}

impl<R: Read> Read for Bounded<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let allowed = self.allowance.load(Ordering::Relaxed);
        let most = buffer.len().min(usize::try_from(allowed).unwrap_or(usize::MAX));
        if most == 0 && !buffer.is_empty() {
            return Err(io::Error::other("an entry's description is too long"));
        }
        let bytes = self.reader.read(&mut buffer[..most])?;
        self.allowance.store(allowed - bytes as u64, Ordering::Relaxed);
        Ok(bytes)
    }
}

/// The folder that is filled.
struct Tree<'a> {
    root: &'a Path,
    /// Real folders that we made: an entry is put into nothing else.
    folders: HashSet<PathBuf>,
}

impl<'a> Tree<'a> {
    fn new(root: &'a Path) -> io::Result<Self> {
        fs::set_permissions(root, Permissions::from_mode(0o755))?;
        Ok(Tree { root, folders: HashSet::from([PathBuf::new()]) })
    }

    fn add(&mut self, entry: &mut Entry<'_, impl Read>) -> Result<(), String> {
        let kind = entry.header().entry_type();
        if kind == EntryType::XGlobalHeader {
            return Ok(());
        }
        let path = plain(&entry.path().map_err(words)?)?;
        let mode = entry.header().mode().map_err(words)? & 0o755;
        if kind == EntryType::Directory {
            self.folder(&path)?;
            let own = mode | 0o700;
            return fs::set_permissions(self.root.join(&path), Permissions::from_mode(own)).map_err(words);
        }
        let name = path.file_name().ok_or("has no name")?;
        let parent = path.parent().expect("what has a name has a parent");
        self.folder(parent)?;
        let place = self.root.join(parent).join(name);
        let target = entry.link_name().map_err(words)?;
        match (kind, target) {
            (EntryType::Regular | EntryType::Continuous, _) => write(entry, &place, mode),
            (EntryType::Symlink, Some(target)) => {
                stays_inside(parent, &target)?;
                symlink(&target, &place).map_err(words)
            }
            (EntryType::Link, Some(target)) => self.hard_link(&target, &place),
            (EntryType::Symlink | EntryType::Link, None) => Err("a link that leads nowhere".into()),
            (kind, _) => Err(format!("is neither file, folder nor link ({kind:?})")),
        }
    }

    /// Makes a folder and those above it; none of them may be a link.
    fn folder(&mut self, path: &Path) -> Result<(), String> {
        if self.folders.contains(path) {
            return Ok(());
        }
        if let Some(parent) = path.parent() {
            self.folder(parent)?;
        }
        let place = self.root.join(path);
        DirBuilder::new().mode(0o755).create(&place).map_err(words)?;
        fs::set_permissions(&place, Permissions::from_mode(0o755)).map_err(words)?;
        self.folders.insert(path.to_owned());
        Ok(())
    }

    fn hard_link(&self, target: &Path, place: &Path) -> Result<(), String> {
        let target = plain(target)?;
        if !target.parent().is_some_and(|parent| self.folders.contains(parent)) {
            return Err(format!("links to {}, which is not in the archive before it", target.display()));
        }
        let origin = self.root.join(&target);
        // A link to a symbolic link would be that link at another place, whose `..` lead elsewhere.
        if !origin.symlink_metadata().map_err(words)?.is_file() {
            return Err(format!("links to {}, which is no regular file", target.display()));
        }
        fs::hard_link(origin, place).map_err(words)
    }
}

fn write(entry: &mut Entry<'_, impl Read>, place: &Path, mode: u32) -> Result<(), String> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(place).map_err(words)?;
    let expected = entry.size();
    let written = io::copy(entry, &mut file).map_err(words)?;
    if written != expected {
        return Err(format!("ends after {written} of {expected} bytes"));
    }
    file.set_permissions(Permissions::from_mode(mode)).map_err(words)
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn words(error: io::Error) -> String {
    error.to_string()
}

/// The path without `.`: nothing in it may climb or begin at the root.
fn plain(path: &Path) -> Result<PathBuf, String> {
    let parts = path.components().filter(|part| *part != Component::CurDir);
    let parts = parts.map(|part| match part {
        Component::Normal(name) => Ok(name),
        Component::ParentDir => Err("climbs with .."),
        _ => Err("is an absolute path"),
    });
    Ok(parts.collect::<Result<PathBuf, _>>()?)
}

/// A link's target may climb at its beginning, as far as the folder's root. A
/// `..` after a name is refused: the name may be a link itself, and climbing
/// begin anywhere.
fn stays_inside(parent: &Path, target: &Path) -> Result<(), String> {
    let leaves = || Err(format!("links out of the folder, to {}", target.display()));
    let mut depth = parent.components().count();
    let mut named = false;
    for part in target.components() {
        match part {
            Component::CurDir => {}
            Component::Normal(_) => named = true,
            Component::ParentDir if !named && depth > 0 => depth -= 1,
            _ => return leaves(),
        }
    }
    Ok(())
}
