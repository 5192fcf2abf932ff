//! Archives, good and hostile, in a daemon's own folder.

#![allow(clippy::unwrap_used, reason = "what goes wrong in a test ends it")]

use aspire_package::{Error, Install, Installed, Kind, Uninstall, install, uninstall};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use tar::{Builder, EntryType, Header};
use tempfile::TempDir;

/// A folder with archives, and a daemon's folder.
struct Host {
    folder: TempDir,
}

/// One entry: kind, path, mode, content or where a link leads.
type Item<'a> = (EntryType, &'a str, u32, &'a str);

const FILE: EntryType = EntryType::Regular;
const DIR: EntryType = EntryType::Directory;
const LINK: EntryType = EntryType::Symlink;
const HARD: EntryType = EntryType::Link;

impl Host {
    fn new() -> Host {
        Host { folder: tempfile::tempdir().unwrap() }
    }

    fn daemon(&self) -> PathBuf {
        self.folder.path().join("daemons/monitor")
    }

    fn archive(&self, items: &[Item]) -> PathBuf {
        let mut builder = Builder::new(Vec::new());
        for (kind, path, mode, content) in items {
            add(&mut builder, *kind, path, *mode, content);
        }
        self.file(&builder.into_inner().unwrap())
    }

    fn file(&self, tar: &[u8]) -> PathBuf {
        let path = self.folder.path().join("package.tar.gz");
        let mut encoder = GzEncoder::new(fs::File::create(&path).unwrap(), Compression::fast());
        encoder.write_all(tar).unwrap();
        encoder.finish().unwrap();
        path
    }

    fn install(&self, file: &Path, version: &str) -> Result<Installed, Error> {
        let (file, folder, version) = (file.to_owned(), self.daemon(), version.to_owned());
        install(&Install { kind: Kind::TarGz, file, folder, version, spare: None })
    }

    fn version(&self, version: &str) {
        let file = self.archive(&[(FILE, "bin/run", 0o755, version)]);
        assert_eq!(self.install(&file, version), Ok(Installed { package: None }));
    }

    /// Why an archive is refused; nothing of it may be left.
    fn refused(&self, items: &[Item]) -> String {
        let file = self.archive(items);
        let error = self.install(&file, "9").unwrap_err();
        assert_eq!(error.retcode().code(), 3303);
        assert!(!self.daemon().join("9").exists() && !self.daemon().join("current").exists());
        error.to_string()
    }

    fn running(&self) -> String {
        fs::read_to_string(self.daemon().join("current/bin/run")).unwrap()
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.daemon()).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

/// The header's fields are written as they are, where the crate would refuse them.
fn add(builder: &mut Builder<Vec<u8>>, kind: EntryType, path: &str, mode: u32, content: &str) {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(12345);
    header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
    let content = if [LINK, HARD].contains(&kind) {
        header.as_old_mut().linkname[..content.len()].copy_from_slice(content.as_bytes());
        ""
    } else {
        content
    };
    header.set_size(content.len() as u64);
    header.set_cksum();
    builder.append(&header, content.as_bytes()).unwrap();
}

#[test]
fn an_archive_becomes_the_current_version() {
    let host = Host::new();
    let items = [
        (DIR, "./", 0o700, ""),
        (DIR, "./bin/", 0o2777, ""),
        (FILE, "./bin/run", 0o6777, "#!/bin/sh\n"),
        (FILE, "etc/secret", 0o600, "x"),
        (LINK, "bin/start", 0o777, "../bin/run"),
        (HARD, "bin/again", 0o777, "bin/run"),
    ];
    assert_eq!(host.install(&host.archive(&items), "1.0.1"), Ok(Installed { package: None }));
    assert_eq!(host.names(), ["1.0.1", "current"]);
    let current = host.daemon().join("current");
    let mode = |name: &str| fs::metadata(current.join(name)).unwrap().permissions().mode() & 0o7777;
    assert_eq!(
        (mode(""), mode("bin"), mode("bin/run"), mode("etc"), mode("etc/secret")),
        (0o700, 0o755, 0o755, 0o755, 0o600)
    );
    assert_eq!(fs::metadata(current.join("bin/run")).unwrap().uid(), nix::unistd::geteuid().as_raw());
    assert_eq!(fs::read_to_string(current.join("bin/start")).unwrap(), "#!/bin/sh\n");
    assert_eq!(fs::metadata(current.join("bin/again")).unwrap().nlink(), 2);
}

#[test]
fn the_version_before_is_kept_to_go_back_to() {
    let host = Host::new();
    host.version("1");
    host.version("2");
    assert_eq!(host.names(), ["1", "2", "current", "previous"]);
    host.version("3");
    assert_eq!(host.names(), ["2", "3", "current", "previous"]);
    host.version("2");
    assert_eq!(host.running(), "2");
    assert_eq!(host.names(), ["2", "3", "current", "previous"]);
    assert_eq!(fs::read_link(host.daemon().join("previous")).unwrap(), Path::new("3"));
}

#[test]
fn the_same_version_again_is_unpacked_again() {
    let host = Host::new();
    host.version("1");
    host.version("2");
    let file = host.archive(&[(FILE, "bin/run", 0o755, "two again")]);
    host.install(&file, "2").unwrap();
    assert_eq!(host.running(), "two again");
    assert_eq!(host.names(), ["1", "2", "current", "previous"]);
}

#[test]
fn what_the_daemon_put_there_is_left_alone() {
    let host = Host::new();
    host.version("1");
    fs::create_dir(host.daemon().join("data")).unwrap();
    for version in ["2", "3", "4"] {
        host.version(version);
    }
    assert_eq!(host.names(), ["3", "4", "current", "data", "previous"]);
}

#[test]
fn what_an_interrupted_call_left_is_cleared_at_any_step() {
    let host = Host::new();
    host.version("1");
    host.version("2");
    let folder = host.daemon();
    // Killed while unpacking, while removing, and between the two links.
    fs::create_dir_all(folder.join(".new/half")).unwrap();
    fs::create_dir_all(folder.join(".old/half")).unwrap();
    fs::remove_file(folder.join("previous")).unwrap();
    symlink("2", folder.join("previous")).unwrap();
    host.version("3");
    assert_eq!(host.running(), "3");
    assert_eq!(fs::read_link(folder.join("previous")).unwrap(), Path::new("2"));
    assert!(!host.names().iter().any(|name| name.starts_with('.')), "{:?}", host.names());
    // Killed before the link was switched: the new version is there, the old one still current.
    fs::remove_file(folder.join("current")).unwrap();
    symlink("2", folder.join("current")).unwrap();
    host.version("3");
    assert_eq!(host.running(), "3");
    // A link of ours that somebody pointed elsewhere leads to nothing that would be removed.
    let precious = host.folder.path().join("precious");
    fs::create_dir(&precious).unwrap();
    fs::remove_file(folder.join("previous")).unwrap();
    symlink(&precious, folder.join("previous")).unwrap();
    host.version("4");
    assert!(precious.exists());
}

#[test]
fn what_would_leave_the_folder_is_refused() {
    let host = Host::new();
    let target = host.folder.path().join("escaped");
    let outside = target.to_str().unwrap();
    let climb = "a/../../escaped";
    let cases: [(&[Item], &str); 14] = [
        (&[(FILE, climb, 0o644, "x")], "climbs with .."),
        (&[(FILE, outside, 0o644, "x")], "absolute path"),
        (&[(DIR, "../x/", 0o755, "")], "climbs with .."),
        (&[(LINK, "a", 0o777, "/etc")], "links out of the folder, to /etc"),
        (&[(LINK, "d/a", 0o777, "../../x")], "links out of the folder"),
        (&[(LINK, "a", 0o777, "d/../../x")], "links out of the folder"),
        (&[(LINK, "d/e/up", 0o777, "../.."), (LINK, "d/l", 0o777, "e/up/../x")], "links out of the folder"),
        (&[(DIR, "d/", 0o755, ""), (LINK, "l", 0o777, "d"), (FILE, "l/x", 0o644, "x")], "exists"),
        (&[(HARD, "a", 0o777, "/etc/passwd")], "absolute path"),
        (&[(HARD, "a", 0o777, "../../escaped")], "climbs with .."),
        (&[(LINK, "l", 0o777, "d"), (HARD, "a", 0o777, "l/x")], "not in the archive before it"),
        (&[(LINK, "a/b/c/l", 0o777, "../../../x"), (HARD, "h", 0o777, "a/b/c/l")], "no regular file"),
        (&[(DIR, "d/", 0o755, ""), (HARD, "h", 0o777, "d")], "no regular file"),
        (&[(FILE, "a", 0o644, "x"), (LINK, "a", 0o777, "b")], "exists"),
    ];
    for (items, reason) in cases {
        let error = host.refused(items);
        assert!(error.contains(reason) && error.contains("the entry"), "{error}");
    }
    assert!(!target.exists());
}

#[test]
fn devices_and_pipes_are_refused() {
    let host = Host::new();
    for kind in [EntryType::Char, EntryType::Block, EntryType::Fifo] {
        let error = host.refused(&[(kind, "dev/x", 0o666, "")]);
        assert!(error.contains("neither file, folder nor link"), "{error}");
    }
}

#[test]
fn a_description_that_would_fill_the_memory_is_refused() {
    let host = Host::new();
    for kind in [EntryType::XHeader, EntryType::GNULongName] {
        let error = host.refused(&[(kind, "x", 0o644, &"a".repeat(1 << 20)), (FILE, "y", 0o644, "")]);
        assert!(error.contains("description is too long"), "{error}");
    }
}

#[test]
fn what_would_fill_the_disk_is_refused_before_it_is_written() {
    let host = Host::new();
    let mut header = Header::new_gnu();
    header.set_path("large").unwrap();
    header.set_mode(0o644);
    header.set_size(5 << 30);
    header.set_cksum();
    let error = host.install(&host.file(header.as_bytes()), "1").unwrap_err().to_string();
    assert!(error.contains("more than 4294967296 bytes unpacked"), "{error}");
}

#[test]
fn too_many_entries_are_refused() {
    let host = Host::new();
    let mut builder = Builder::new(Vec::new());
    add(&mut builder, DIR, "d/", 0o755, "");
    let one = builder.into_inner().unwrap()[..512].repeat(100_001);
    let error = host.install(&host.file(&one), "1").unwrap_err().to_string();
    assert!(error.contains("more than 100000 entries"), "{error}");
}

#[test]
fn what_is_no_archive_or_breaks_off_leaves_the_old_version() {
    let host = Host::new();
    host.version("1");
    let whole = host.archive(&[(FILE, "bin/run", 0o755, &"2".repeat(100_000))]);
    let mut bytes = Vec::new();
    fs::File::open(&whole).unwrap().read_to_end(&mut bytes).unwrap();
    for content in [&b""[..], b"no gzip", &bytes[..bytes.len() / 2], &bytes[..bytes.len() - 4]] {
        let path = host.folder.path().join("broken.tgz");
        fs::write(&path, content).unwrap();
        let error = host.install(&path, "2").unwrap_err().to_string();
        assert!(error.starts_with(path.to_str().unwrap()), "{error}");
        assert_eq!(host.running(), "1");
    }
    // Half a tar in a whole gzip is no better.
    let mut builder = Builder::new(Vec::new());
    add(&mut builder, FILE, "bin/run", 0o755, &"2".repeat(5000));
    let tar = builder.into_inner().unwrap();
    assert!(host.install(&host.file(&tar[..3000]), "2").is_err());
    assert_eq!(host.running(), "1");
}

#[test]
fn of_the_files_that_were_fetched_the_latest_and_the_spare_one_stay() {
    let host = Host::new();
    let fetched = host.folder.path().join("fetched");
    fs::create_dir_all(fetched.join("3.d")).unwrap();
    let archive = host.archive(&[(FILE, "x", 0o644, "")]);
    for name in ["1", "2", "3", "4.part"] {
        fs::copy(&archive, fetched.join(name)).unwrap();
    }
    let (file, folder) = (fetched.join("3"), host.daemon());
    let spare = Some(fetched.join("2"));
    install(&Install { kind: Kind::TarGz, file, folder, version: "3".into(), spare }).unwrap();
    let mut left: Vec<_> = fs::read_dir(&fetched).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["2", "3", "3.d"]);
}

#[test]
fn the_whole_folder_goes_and_nothing_outside() {
    let host = Host::new();
    host.version("1");
    let outside = host.folder.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), "x").unwrap();
    symlink(&outside, host.daemon().join("link")).unwrap();
    let gone = |folder: PathBuf| {
        let packages = folder.with_extension("packages");
        let (folder, packages) = (Some(folder), Some(packages));
        uninstall(&Uninstall { kind: Kind::TarGz, package: None, folder, packages })
    };
    assert_eq!(gone(host.daemon()), Ok(()));
    assert!(!host.daemon().exists() && outside.join("file").exists());
    assert_eq!(gone(host.daemon()), Ok(()), "what is not there is gone");
    assert_eq!(gone(host.folder.path().join("no/such/folder")), Ok(()));
    // The folder itself may have become a link.
    symlink(&outside, host.daemon()).unwrap();
    assert_eq!(gone(host.daemon()), Ok(()));
    assert!(!host.daemon().exists() && outside.join("file").exists());
}

#[test]
fn what_the_caller_gets_wrong_is_named() {
    let host = Host::new();
    let file = host.archive(&[(FILE, "x", 0o644, "")]);
    for version in ["", "..", "a/b", "current"] {
        assert!(host.install(&file, version).unwrap_err().to_string().starts_with("version: "));
    }
    let here = host.folder.path();
    for (file, folder, reason) in [
        (file.as_path(), Path::new("/"), "folder: must lie at least two folders deep"),
        (file.as_path(), Path::new("x/y"), "folder: must be an absolute path"),
        (Path::new("x"), here, "file: must be an absolute path"),
        (here, here, "file: must be a regular file"),
        (&here.join("missing"), here, "file: "),
    ] {
        let install_this = Install {
            kind: Kind::TarGz,
            file: file.into(),
            folder: folder.into(),
            version: "1".into(),
            spare: None,
        };
        let error = install(&install_this).unwrap_err().to_string();
        assert!(error.starts_with(reason), "{error}");
    }
    for kind in [Kind::Deb, Kind::Rpm] {
        let package = Some("--root=/".into());
        let error = uninstall(&Uninstall { kind, package, folder: Some(here.into()), packages: None })
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("package: must be a name"), "{error}");
        assert!(here.exists(), "nothing goes before all is understood");
    }
    for (folder, packages, reason) in [("/", "/a/b", "folder: "), ("/a/b", "/", "packages: ")] {
        let (folder, packages) = (Some(folder.into()), Some(packages.into()));
        let error = uninstall(&Uninstall { kind: Kind::TarGz, package: None, folder, packages }).unwrap_err();
        assert!(error.to_string().starts_with(reason), "{error}");
    }
}

#[test]
fn what_is_not_named_stays() {
    let host = Host::new();
    host.version("1");
    let fetched = host.folder.path().join("fetched");
    fs::create_dir(&fetched).unwrap();
    let gone = |folder: Option<PathBuf>, packages: Option<PathBuf>| {
        uninstall(&Uninstall { kind: Kind::TarGz, package: None, folder, packages })
    };
    assert_eq!(gone(None, None), Ok(()));
    assert!(fetched.exists() && host.daemon().exists());
    assert_eq!(gone(None, Some(fetched.clone())), Ok(()));
    assert!(!fetched.exists() && host.daemon().exists());
    assert_eq!(gone(Some(host.daemon()), None), Ok(()));
    assert!(!host.daemon().exists());
}
