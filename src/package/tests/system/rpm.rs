use crate::{aloud, away, away_by_files, build, put, read, reason};
use aspire_package::Kind;
use nix::unistd::geteuid;
use std::path::PathBuf;
use std::process::Command;

/// Nothing of it stays in the system, however the test ends.
struct Gone<'a>(&'a str);

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        let _ = Command::new("rpm").args(["-e", "--allmatches", "--noscripts", self.0]).output();
    }
}

/// Installed into this very system, as root, and away again.
#[test]
fn a_package_is_installed_upgraded_rolled_back_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let name = format!("aspire-test-package-{}", std::process::id());
    let build = |version: &str, more: &str| build::rpm(folder.path(), &name, version, more);
    let (Some(first), true) = (build("1.0", ""), geteuid().is_root()) else {
        return aloud("that .rpm packages are installed, which takes root, rpm and rpmbuild");
    };
    let _gone = Gone(&name);
    let version = || read(&PathBuf::from(format!("/usr/share/{name}/version")));
    assert_eq!(put(Kind::Rpm, first.clone()), Ok(Some(name.clone())));
    assert_eq!(version().as_deref(), Some("1.0\n"));
    put(Kind::Rpm, build("2.0", "").unwrap()).unwrap();
    assert_eq!(version().as_deref(), Some("2.0\n"));
    put(Kind::Rpm, first.clone()).unwrap();
    put(Kind::Rpm, first).unwrap();
    assert_eq!(version().as_deref(), Some("1.0\n"), "an older one, and again");
    let listed = Command::new("rpm").args(["-q", &name]).output().unwrap();
    assert_eq!(String::from_utf8(listed.stdout).unwrap(), format!("{name}-1.0-1.noarch\n"));

    let failing = build("3.0", "%pre -p <lua>\nerror('no such database')\n").unwrap();
    let error = reason(&put(Kind::Rpm, failing).unwrap_err());
    assert!(error.contains("rpm failed") && error.contains("no such database"), "{error}");
    assert_eq!(version().as_deref(), Some("1.0\n"));

    assert_eq!(away(Kind::Rpm, &name), Ok(()));
    assert_eq!(version(), None);
    assert_eq!(away(Kind::Rpm, &name), Ok(()), "what is not installed is gone");
}

#[test]
fn of_a_package_that_nobody_knows_the_name_the_very_version_of_its_file_goes() {
    let folder = tempfile::tempdir().unwrap();
    let name = format!("aspire-test-package-{}-nameless", std::process::id());
    let build = |version: &str| build::rpm(folder.path(), &name, version, "");
    let (Some(first), true) = (build("1.0"), geteuid().is_root()) else {
        return aloud("that .rpm packages are taken away, which takes root, rpm and rpmbuild");
    };
    let _gone = Gone(&name);
    let version = || read(&PathBuf::from(format!("/usr/share/{name}/version")));
    let fetched = folder.path().join("fetched");
    let only = |file: &PathBuf| {
        std::fs::create_dir(&fetched).unwrap();
        std::fs::copy(file, fetched.join("monitor.rpm")).unwrap();
    };
    put(Kind::Rpm, first.clone()).unwrap();
    only(&build("2.0").unwrap());
    assert_eq!(away_by_files(Kind::Rpm, &fetched), Ok(()));
    assert_eq!(version().as_deref(), Some("1.0\n"), "it is the host's own");
    only(&first);
    assert_eq!(away_by_files(Kind::Rpm, &fetched), Ok(()));
    assert_eq!((version(), fetched.exists()), (None, false));
}

#[test]
fn what_is_no_package_or_no_plain_path_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let damaged = folder.path().join("damaged.rpm");
    std::fs::write(&damaged, "no package").unwrap();
    // Without rpm on this host, that is what is told.
    let error = reason(&put(Kind::Rpm, damaged).unwrap_err());
    assert!(error.starts_with("rpm "), "{error}");
    let pattern = folder.path().join("a*.rpm");
    std::fs::write(&pattern, "").unwrap();
    let error = reason(&put(Kind::Rpm, pattern).unwrap_err());
    assert!(error.starts_with("file: must be a plain path"), "{error}");
}
