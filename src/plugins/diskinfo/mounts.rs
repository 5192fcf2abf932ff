//! What is mounted, and how full it is.

use crate::mountinfo::{self, Line};
use aspire_plugin::args::Part;
use aspire_plugin::{Root, Text};
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::sys::statvfs::{Statvfs, fstatvfs};
use serde::Serialize;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;

/// The thread's, not the process's: the same but in tests, which see other
/// machines' mounts in a thread.
const TABLE: &str = "proc/thread-self/mountinfo";

/// A mount.
#[derive(Debug, Serialize)]
pub struct Mount {
    /// What is mounted: a device, a server's folder, or any word.
    pub source: Text,
    /// Where.
    pub target: Text,
    /// Which folder of the file system is to be seen there: `/`, or another one
    /// for a bind mount or a subvolume.
    pub root: Text,
    /// The file system's type: `ext4`.
    #[serde(rename = "type")]
    pub kind: Text,
    /// Its device's number, as devices have it; `0:…` where it has no device.
    pub maj_min: Text,
    /// Of this mount: `rw`, `noexec`, ….
    pub options: Vec<Text>,
    /// Of the file system, for all its mounts.
    pub filesystem_options: Vec<Text>,
    /// Whether it, or one that it lies on, is served over a network or by a program.
    /// A server that does not answer would stop the whole query, so how full it is
    /// is asked with `-r` only.
    pub remote: bool,
    /// Whether another mount lies over it, so that its target leads elsewhere. Null
    /// where that was not looked at or could not be.
    pub covered: Option<bool>,
    #[serde(flatten)]
    pub usage: Usage,
}

/// How full a file system is, counted as df does it. Null where nobody asked, or
/// the file system cannot be reached; all zero where it stores nothing, as proc.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// In bytes.
    pub size: Option<u64>,
    /// In bytes.
    pub used: Option<u64>,
    /// In bytes, to those who are not root: some may be kept for root.
    pub available: Option<u64>,
    /// How many files there can be; 0 where no number is set.
    pub inodes: Option<u64>,
    pub inodes_used: Option<u64>,
    pub inodes_available: Option<u64>,
}

/// What the kernel's table says.
#[derive(Debug, Default)]
pub struct Mounts {
    pub table: Option<Vec<Line>>,
    pub unreadable: Vec<Text>,
}

/// `None` where there is no table.
pub fn all(root: &Root) -> Option<Mounts> {
    let text = root.read(TABLE).ok()?;
    let (mut table, mut unreadable) = (Vec::new(), Vec::new());
    for line in text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
        match mountinfo::line(line) {
            Some(read) => table.push(read),
            None => unreadable.push(line.into()),
        }
    }
    Some(Mounts { table: Some(table), unreadable })
}

/// Part of the table, and how full those are.
pub fn with_usage(root: &Root, table: Vec<Line>, part: Part, ask_remote: bool) -> Vec<Mount> {
    let remote = Remote::of(&table);
    let mount = |line: Line| {
        let remote = remote.reaches(&line);
        // The host itself runs from its root, wherever that is stored.
        let ask = !remote || ask_remote || line.target.as_bytes() == b"/";
        let (covered, usage) = if ask { usage(root, &line) } else { (None, Usage::default()) };
        Mount {
            source: line.source,
            target: line.target,
            root: line.root,
            kind: line.kind,
            maj_min: line.maj_min,
            options: line.options,
            filesystem_options: line.filesystem_options,
            remote,
            covered,
            usage,
        }
    };
    part.take(table).into_iter().map(mount).collect()
}

/// Opening a mount's target as a mere place neither reads from it nor mounts
/// anything, and shows which mount the target leads to.
fn usage(root: &Root, line: &Line) -> (Option<bool>, Usage) {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let place = root.path(OsStr::from_bytes(line.target.as_bytes()));
    let Ok(place) = open(&place, flags, Mode::empty()) else { return (None, Usage::default()) };
    let Some(id) = mount_id(root, &place) else { return (None, Usage::default()) };
    if id != line.id {
        return (Some(true), Usage::default());
    }
    (Some(false), fstatvfs(&place).map_or_else(|_| Usage::default(), |told| Usage::of(&told)))
}

/// Of the mount that an open file lies on.
fn mount_id(root: &Root, file: &OwnedFd) -> Option<u64> {
    let told = root.read(format!("proc/thread-self/fdinfo/{}", file.as_raw_fd())).ok()?;
    let told = String::from_utf8(told).ok()?;
    told.lines().find_map(|line| line.strip_prefix("mnt_id:"))?.trim().parse().ok()
}

impl Usage {
    fn of(told: &Statvfs) -> Self {
        let bytes = |blocks: u64| blocks.checked_mul(told.fragment_size());
        Usage {
            size: bytes(told.blocks()),
            used: told.blocks().checked_sub(told.blocks_free()).and_then(bytes),
            available: bytes(told.blocks_available()),
            inodes: Some(told.files()),
            inodes_used: told.files().checked_sub(told.files_free()),
            inodes_available: Some(told.files_free()),
        }
    }
}

/// The mounts whose server may not answer, and those that are reached through them.
struct Remote {
    /// By a mount's identity: what it lies on, and whether its own server may.
    mounts: HashMap<u64, (u64, bool)>,
}

impl Remote {
    fn of(table: &[Line]) -> Self {
        let entry = |line: &Line| {
            let own = is_remote(line.kind.as_bytes());
            // Were the root's server gone, there would be no host to ask.
            (line.id, (line.parent, own && line.target.as_bytes() != b"/"))
        };
        Remote { mounts: table.iter().map(entry).collect() }
    }

    fn reaches(&self, line: &Line) -> bool {
        let mut below = line.parent;
        // No way down is longer than there are mounts, whatever the table says.
        let steps = 0..self.mounts.len();
        let way = steps.map_while(|_| {
            let &(parent, own) = self.mounts.get(&below)?;
            below = parent;
            Some(own)
        });
        is_remote(line.kind.as_bytes()) || way.into_iter().any(|own| own)
    }
}

/// Whether such file systems are served over a network, or by a program.
fn is_remote(kind: &[u8]) -> bool {
    const NAMES: [&[u8]; 19] = [
        b"9p",
        b"acfs",
        b"afs",
        b"beegfs",
        b"ceph",
        b"cifs",
        b"coda",
        b"davfs",
        b"fuse",
        b"fuseblk",
        b"gpfs",
        b"lustre",
        b"ncpfs",
        b"nfs",
        b"nfs4",
        b"orangefs",
        b"pvfs2",
        b"smb3",
        b"smbfs",
    ];
    NAMES.contains(&kind) || kind.starts_with(b"fuse.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn machine(table: &[u8]) -> (tempfile::TempDir, Root) {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("proc/thread-self")).unwrap();
        fs::write(folder.path().join(TABLE), table).unwrap();
        let root = Root::at(folder.path());
        (folder, root)
    }

    fn shown(table: &str) -> Vec<(String, bool)> {
        let (_folder, root) = machine(table.as_bytes());
        let table = all(&root).unwrap().table.unwrap();
        let mounts = with_usage(&root, table, Part::default(), false);
        mounts.into_iter().map(|mount| (mount.target.as_str().unwrap().to_owned(), mount.remote)).collect()
    }

    #[test]
    fn what_lies_on_a_remote_mount_is_as_far_away() {
        let told = shown(
            "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n\
             2 1 0:5 / /nfs rw - nfs4 server:/ rw\n\
             3 2 8:2 / /nfs/disk rw - ext4 /dev/sda2 rw\n\
             4 3 0:6 / /nfs/disk/tmp rw - tmpfs tmpfs rw\n\
             5 1 0:7 / /local rw - fusectl fusectl rw\n",
        );
        let far = told.iter().map(|(_, remote)| *remote);
        assert_eq!(far.collect::<Vec<_>>(), [false, true, true, true, false]);
    }

    #[test]
    fn a_host_whose_root_is_remote_has_local_mounts_all_the_same() {
        let told = shown("1 0 0:5 / / rw - nfs4 server:/ rw\n2 1 0:6 / /tmp rw - tmpfs tmpfs rw\n");
        assert_eq!(told, [("/".into(), true), ("/tmp".into(), false)]);
    }

    #[test]
    fn a_table_that_goes_in_circles_ends() {
        let told =
            shown("1 2 0:5 / /a rw - tmpfs a rw\n2 1 0:6 / /b rw - tmpfs b rw\n3 3 0:7 / /c rw - a b c\n");
        assert_eq!(told.len(), 3);
    }

    #[test]
    fn a_line_that_cannot_be_made_out_is_shown_as_it_is() {
        let (_folder, root) = machine(b"1 0 0:5 / / rw - tmpfs a rw\nJ\xf6rg\n\n");
        let mounts = all(&root).unwrap();
        assert_eq!(mounts.table.unwrap().len(), 1);
        assert_eq!(mounts.unreadable, [Text::from(b"J\xf6rg".as_slice())]);
    }
}
