//! A file of the plugin folder: what it is, read out of it without running any
//! of its code, and whether it may be loaded.

use super::Refusal;
use crate::machine::limits::PLUGIN_SYMBOLS;
use crate::wire::Retcode;
use aspire_plugin::abi::{ABI, DESCRIPTOR, Descriptor};
use nix::unistd::geteuid;
use object::read::elf::ElfFile64;
use object::{Object as _, ObjectSegment as _, ObjectSymbol as _, ReadCache, ReadRef as _};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata};
use std::io;
use std::mem::offset_of;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

/// See the module.
#[derive(Debug)]
pub(super) struct Candidate {
    pub name: OsString,
    /// What was read and will be loaded, whatever the name leads to by then.
    pub file: File,
    abi: u32,
    /// A line each.
    queries: String,
    /// Why it is not loaded.
    distrusted: Option<String>,
}

impl Candidate {
    /// Reads what it says of itself.
    ///
    /// # Errors
    /// It is no plugin, and why.
    pub fn read(dir: &Path, name: &OsStr) -> Result<Self, String> {
        let told = |error: io::Error| error.to_string();
        let path = dir.join(name);
        let is_link = fs::symlink_metadata(&path).map_err(told)?.is_symlink();
        let open = File::options().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(&path);
        let file = open.map_err(told)?;
        let metadata = file.metadata().map_err(told)?;
        if !metadata.is_file() {
            return Err("not a regular file".into());
        }
        let (abi, queries) = describe(&file)?;
        let distrusted = if is_link {
            Some("it is a symbolic link".to_owned())
        } else {
            writable_by_others(&metadata).map(|why| format!("it {why}"))
        };
        Ok(Candidate { name: name.to_owned(), file, abi, queries, distrusted })
    }

    pub fn has(&self, query: &str) -> bool {
        self.queries().any(|known| known == query)
    }

    pub fn queries(&self) -> impl Iterator<Item = &str> {
        self.queries.lines().filter_map(|line| line.split(' ').next())
    }

    /// Itself, where it may be loaded.
    pub fn permitted(self) -> Result<Self, Refusal> {
        let name = self.name.display();
        if let Some(why) = &self.distrusted {
            return Err(Refusal::new(Retcode::NotPermitted, format!("{name}: {why}: it is not loaded")));
        }
        if self.abi != ABI {
            let reason =
                format!("{name}: made for version {} of cargo-plugin.h, this host has {ABI}", self.abi);
            return Err(Refusal::new(Retcode::CouldNotStart, reason));
        }
        Ok(self)
    }
}

/// Whoever may write to the folder may put anything there.
pub(super) fn check_folder(dir: &Path) -> Result<(), String> {
    let metadata = fs::metadata(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    match writable_by_others(&metadata) {
        None => Ok(()),
        Some(why) => Err(format!("{} {why}: no plugin of it is loaded", dir.display())),
    }
}

fn writable_by_others(metadata: &Metadata) -> Option<String> {
    let mode = metadata.mode() & 0o7777;
    if mode & 0o022 != 0 {
        return Some(format!("may be written by others (mode {mode:04o})"));
    }
    let owner = metadata.uid();
    (owner != 0 && owner != geteuid().as_raw()).then(|| format!("belongs to the user {owner}"))
}

/// The version and the queries of its descriptor.
fn describe(file: &File) -> Result<(u32, String), String> {
    let cache = ReadCache::new(file);
    let no_library = |error: object::Error| format!("no shared library for this machine: {error}");
    let elf = ElfFile64::<object::Endianness, _>::parse(&cache).map_err(no_library)?;
    let symbol = elf
        .dynamic_symbols()
        .take(PLUGIN_SYMBOLS)
        .find(|symbol| symbol.is_definition() && symbol.name() == Ok(DESCRIPTOR))
        .ok_or_else(|| format!("a library without the symbol {DESCRIPTOR}"))?;
    let descriptor = elf
        .segments()
        .find_map(|segment| {
            let ((place, length), skipped) =
                (segment.file_range(), symbol.address().checked_sub(segment.address())?);
            // What of it is in the file.
            let held = length.checked_sub(skipped)?.min(symbol.size());
            (&cache).read_bytes_at(place.checked_add(skipped)?, held.min(size_of::<Descriptor>() as u64)).ok()
        })
        .ok_or_else(|| format!("its {DESCRIPTOR} is not in the file"))?;
    let abi = descriptor.get(offset_of!(Descriptor, abi)..).and_then(|from| from.first_chunk());
    let abi = u32::from_ne_bytes(*abi.ok_or_else(|| format!("its {DESCRIPTOR} is cut short"))?);
    // What is behind the version of another's is not known.
    if descriptor.len() < size_of::<Descriptor>() {
        return Err(format!("its {DESCRIPTOR} is of version {abi} and not of {ABI}"));
    }
    let queries = &descriptor[offset_of!(Descriptor, queries)..];
    let queries = queries.split(|byte| *byte == 0).next().unwrap_or_default();
    Ok((abi, String::from_utf8_lossy(queries).into_owned()))
}
