//! What is mounted, and how full it is.

use crate::mountinfo::{self, Line};
use aspire_plugin::args::Part;
use aspire_plugin::{Root, Text};
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::sys::statvfs::{Statvfs, fstatvfs};
use serde::Serialize;
use std::ffi::OsStr;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// The thread's, not the process's: the same but in tests, which see other
/// machines' mounts in a thread. Kernels before 3.17 know only the process's.
const OWN: [&str; 2] = ["proc/thread-self", "proc/self"];

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
    /// Whether it, or another one at its target or above that, is served over a
    /// network or by a program. A server that does not answer would stop the whole
    /// query, so how full it is is asked with `-r` only.
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
    let text = own(root, "mountinfo")?;
    let (mut table, mut unreadable) = (Vec::new(), Vec::new());
    for line in text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
        match mountinfo::line(line) {
            Some(read) => table.push(read),
            None => unreadable.push(line.into()),
        }
    }
    Some(Mounts { table: Some(table), unreadable })
}

/// One of the kernel's files on whoever asks.
fn own(root: &Root, file: &str) -> Option<Vec<u8>> {
    OWN.iter().find_map(|folder| root.read(format!("{folder}/{file}")).ok())
}

/// Part of the table, and how full those are.
pub fn with_usage(root: &Root, table: Vec<Line>, part: Part, ask_remote: bool) -> Vec<Mount> {
    let remote = Remote::of(&table);
    let mount = |line: Line| {
        let remote = is_remote(line.kind.as_bytes()) || remote.lies_before(path(&line));
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
    let place = root.path(path(line));
    let Ok(place) = open(&place, flags, Mode::empty()) else { return (None, Usage::default()) };
    let Some(id) = mount_id(root, &place) else { return (None, Usage::default()) };
    if id != line.id {
        return (Some(true), Usage::default());
    }
    (Some(false), fstatvfs(&place).map_or_else(|_| Usage::default(), |told| Usage::of(&told)))
}

/// Of the mount that an open file lies on.
fn mount_id(root: &Root, file: &OwnedFd) -> Option<u64> {
    let told = own(root, &format!("fdinfo/{}", file.as_raw_fd()))?;
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

fn path(line: &Line) -> &Path {
    Path::new(OsStr::from_bytes(line.target.as_bytes()))
}

/// Where a server may not answer: the targets of remote mounts. The way to whatever
/// lies below one leads through it by name, also where it was mounted later, over
/// what the other one lies on.
struct Remote {
    /// In order, without those that lie below others.
    targets: Vec<PathBuf>,
}

impl Remote {
    fn of(table: &[Line]) -> Self {
        let remote = table.iter().filter(|line| is_remote(line.kind.as_bytes())).map(path);
        // Were the root's server gone, there would be no host to ask.
        let mut targets: Vec<_> =
            remote.filter(|target| *target != Path::new("/")).map(Path::to_owned).collect();
        // Paths are ordered name by name, so that what lies below one comes next.
        targets.sort_unstable();
        targets.dedup_by(|next, above| next.starts_with(above));
        Remote { targets }
    }

    fn lies_before(&self, target: &Path) -> bool {
        let after = self.targets.partition_point(|remote| remote <= target);
        self.targets[..after].last().is_some_and(|remote| target.starts_with(remote))
    }
}

/// Whether such file systems are served over a network, or by a program.
fn is_remote(kind: &[u8]) -> bool {
    const NAMES: [&[u8]; 24] = [
        b"9p",
        b"acfs",
        b"afs",
        b"auristorfs",
        b"beegfs",
        b"ceph",
        b"cifs",
        b"coda",
        b"davfs",
        b"fuse",
        b"fuseblk",
        b"gfs2",
        b"gpfs",
        b"lustre",
        b"ncpfs",
        b"nfs",
        b"nfs4",
        b"ocfs2",
        b"orangefs",
        b"pvfs2",
        b"smb3",
        b"smbfs",
        b"vboxsf",
        b"virtiofs",
    ];
    NAMES.contains(&kind) || kind.starts_with(b"fuse.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn machine(table: &[u8]) -> (tempfile::TempDir, Root) {
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join(OWN[0]);
        fs::create_dir_all(&own).unwrap();
        fs::write(own.join("mountinfo"), table).unwrap();
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
    fn what_a_remote_mount_lies_over_is_as_far_away() {
        let told = shown(
            "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n\
             2 1 0:5 / /m rw - tmpfs a rw\n\
             3 2 0:6 / /m/b rw - tmpfs b rw\n\
             4 1 0:7 / /m-b rw - tmpfs c rw\n\
             5 2 0:8 / /m rw - fuse.x x rw\n\
             6 3 0:9 / /m/b/c rw - virtiofs y rw\n\
             7 4 0:9 / /m-b/c rw - ocfs2 z rw\n\
             8 1 0:9 / /l rw - tmpfs z rw\n",
        );
        let far = told.iter().map(|(_, remote)| *remote);
        assert_eq!(far.collect::<Vec<_>>(), [false, true, true, false, true, true, true, false]);
    }

    #[test]
    fn ten_thousand_mounts_each_on_the_one_before_are_told_apart_at_once() {
        let lines = (1..=10_000).map(|id| {
            let (parent, kind) = (id - 1, if id % 2 == 0 { "nfs" } else { "tmpfs" });
            format!("{id} {parent} 0:5 / /m/{id}-{kind} rw - {kind} a rw\n")
        });
        let table = lines.collect::<String>();
        let began = aspire_plugin::clock::now();
        let told = shown(&table);
        assert!(told.iter().all(|(target, remote)| *remote == target.ends_with("-nfs")));
        let took = aspire_plugin::clock::now().duration_since(began).unwrap();
        assert!(took.as_secs() < 3, "{took:?}");
    }

    #[test]
    fn a_kernel_that_knows_no_threads_tells_of_the_process() {
        let (folder, root) = machine(b"1 0 0:5 / / rw - tmpfs a rw\n");
        fs::rename(folder.path().join(OWN[0]), folder.path().join(OWN[1])).unwrap();
        assert_eq!(all(&root).unwrap().table.unwrap().len(), 1);
    }

    #[test]
    fn a_host_whose_root_is_remote_has_local_mounts_all_the_same() {
        let told = shown("1 0 0:5 / / rw - nfs4 server:/ rw\n2 1 0:6 / /tmp rw - tmpfs tmpfs rw\n");
        assert_eq!(told, [("/".into(), true), ("/tmp".into(), false)]);
    }

    #[test]
    fn a_line_that_cannot_be_made_out_is_shown_as_it_is() {
        let (_folder, root) = machine(b"1 0 0:5 / / rw - tmpfs a rw\nJ\xf6rg\n\n");
        let mounts = all(&root).unwrap();
        assert_eq!(mounts.table.unwrap().len(), 1);
        assert_eq!(mounts.unreadable, [Text::from(b"J\xf6rg".as_slice())]);
    }
}
