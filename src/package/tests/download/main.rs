//! Downloads from servers that do as a test says, good and bad ones.

#![allow(clippy::disallowed_methods, reason = "a server of the test's own is a thread")]
#![allow(clippy::unwrap_used, reason = "what goes wrong in a test ends it")]

mod file;
mod ftp;
mod http;
mod https;
mod server;

use aspire_package::{Checksum, Error, Fetch, Fetched, fetch_within};
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;

/// Long enough for a loaded machine, except where silence is what is tested.
const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(200);

/// A folder to download to.
struct Here {
    folder: TempDir,
}

impl Here {
    fn new() -> Here {
        Here { folder: tempfile::tempdir().unwrap() }
    }

    fn to(&self) -> PathBuf {
        self.folder.path().join("downloads/file.deb")
    }

    fn fetch(&self, url: &str, body: &[u8]) -> Fetch {
        Fetch {
            url: url.to_owned(),
            to: self.to(),
            checksum: Some(Checksum::of(body).unwrap()),
            most_bytes: 1 << 20,
            identity: None,
        }
    }

    /// The file, if it is there.
    fn file(&self) -> Option<Vec<u8>> {
        std::fs::read(self.to()).ok()
    }

    /// What is in the folder besides.
    fn beside(&self) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.folder.path().join("downloads"))
            .map(|entries| entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect())
            .unwrap_or_default();
        names.retain(|name| name != "file.deb");
        names.sort();
        names
    }
}

fn fetched(fetch: &Fetch) -> Result<(u64, u64), Error> {
    fetch_within(fetch, LONG).map(|Fetched { bytes, resumed_at }| (bytes, resumed_at))
}

/// Why the download fails; it must be the download.
fn reason(fetch: &Fetch) -> String {
    reason_within(fetch, LONG)
}

fn reason_within(fetch: &Fetch, silence: Duration) -> String {
    match fetch_within(fetch, silence) {
        Err(Error::Download(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

fn body(len: usize) -> Vec<u8> {
    (0..len).map(|index| u8::try_from(index * 7 % 251).unwrap()).collect()
}
