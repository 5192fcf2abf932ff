//! Packages built here, installed by the system's own dpkg and rpm: dpkg into
//! this very system, under names of this test's own, which takes root on Debian,
//! and so with rpm, which Debian has beside it.

#![allow(clippy::unwrap_used, reason = "what goes wrong in a test ends it")]
#![allow(clippy::disallowed_methods, reason = "real programs take real time")]

mod build;
mod deb;
mod rpm;

use aspire_package::{Error, Install, Installed, Kind, Uninstall, install, uninstall};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long anything may take on a loaded machine before a test gives it up.
const PATIENCE: Duration = Duration::from_secs(30);

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "waited {} s in vain for {what}", PATIENCE.as_secs());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Says what was not seen, past the capture of what tests print.
fn aloud(text: &str) {
    let _ = writeln!(std::io::stderr(), "NOT SEEN: {text}");
}

/// From a folder of its own, as files beside it go.
fn put(kind: Kind, file: PathBuf) -> Result<Option<String>, Error> {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path().join(file.file_name().unwrap());
    let file = if std::fs::copy(&file, &here).is_ok() { here } else { file };
    let installed = install(&Install {
        kind,
        file,
        folder: "/nonexistent/folder".into(),
        version: "1".into(),
        spare: None,
    });
    installed.map(|Installed { package }| package)
}

fn away(kind: Kind, package: &str) -> Result<(), Error> {
    uninstall(&Uninstall { kind, package: Some(package.into()), folder: None, packages: None })
}

/// As of a package whose name is not known: what is in the folder of fetched files tells it.
fn away_by_files(kind: Kind, packages: &Path) -> Result<(), Error> {
    uninstall(&Uninstall { kind, package: None, folder: None, packages: Some(packages.into()) })
}

fn reason(error: &Error) -> String {
    assert_eq!(error.retcode().code(), 3303, "{error}");
    error.to_string()
}

fn read(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok()
}
