//! One file from a server, or from this host, to its place.

use crate::part::Part;
use crate::url::{Place, Protocol, without_login};
use crate::{Checksum, Error, Kind, ftp, http, names};
use nix::libc;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a server may say nothing.
pub const SILENCE: Duration = Duration::from_secs(30);

/// What to bring where.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetch {
    /// http, https, ftp (a path is relative to the login's folder; `%2F` begins
    /// an absolute one) or file.
    pub url: String,
    /// The file's own name, made when it is complete. Its folder is made, too.
    pub to: PathBuf,
    /// Mandatory unless `identity` is given.
    pub checksum: Option<Checksum>,
    pub most_bytes: u64,
    /// For https from the link's own server: a folder with `ca.pem`, `cert.pem`
    /// and `key.pem`. The server is verified by that CA alone, whatever its name
    /// is, and shown that certificate. Without it the system's CAs are trusted.
    pub identity: Option<PathBuf>,
}

/// What was brought.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetched {
    /// The file's size.
    pub bytes: u64,
    /// How many of them were here already.
    pub resumed_at: u64,
}

/// Brings a file to its place. What an earlier call began is taken up; a file
/// that is there already, with the right checksum, is not brought again.
///
/// # Errors
/// It is not there. Only a file of the right checksum ever gets the name.
pub fn fetch(fetch: &Fetch) -> Result<Fetched, Error> {
    fetch_within(fetch, SILENCE)
}

/// As [`fetch`], with another limit for a server's silence.
pub fn fetch_within(fetch: &Fetch, silence: Duration) -> Result<Fetched, Error> {
    let place = Place::parse(&fetch.url).map_err(Error::Download)?;
    let failed = |reason: String| Error::Download(format!("{place}: {reason}"));
    check(fetch, &place).map_err(failed)?;
    if let Some(bytes) = there_already(fetch) {
        return Ok(Fetched { bytes, resumed_at: bytes });
    }
    let mut part = Part::open(&fetch.to, fetch.most_bytes).map_err(failed)?;
    let here = part.len();
    if here > 0 && fetch.checksum.is_some() && part.checksum().ok() == fetch.checksum {
        part.check_size(here).map_err(failed)?;
        let bytes = part.complete(&fetch.to).map_err(failed)?;
        return Ok(Fetched { bytes, resumed_at: bytes });
    }
    let resumed_at = bring(fetch, &place, silence, &mut part).map_err(failed)?;
    if let Some(expected) = fetch.checksum {
        let got = part.checksum().map_err(failed)?;
        if got != expected {
            part.discard();
            return Err(Error::Checksum { url: place.to_string(), expected, got });
        }
    }
    let bytes = part.complete(&fetch.to).map_err(failed)?;
    Ok(Fetched { bytes, resumed_at })
}

/// Whether a URL can be that of a package, as far as it says itself: [`fetch`] takes it, and its
/// file's name tells the kind. Nobody is asked.
///
/// # Errors
/// What is wrong with it, after `url: `, without what is secret in it.
pub fn check_url(url: &str) -> Result<(), String> {
    let place = Place::parse(url)?;
    let named = match &place {
        Place::File(_) => Kind::of(url),
        Place::Remote(remote) => {
            if remote.protocol == Protocol::Ftp {
                ftp::path(remote).map_err(|reason| format!("{reason}, got {}", without_login(url)))?;
            }
            // Not of the whole: without a path, the host's name would be taken for the file's.
            Kind::of(remote.uri.path())
        }
    };
    let endings = ".deb, .rpm, .tar.gz or .tgz";
    named
        .map(drop)
        .ok_or_else(|| format!("url: must name a file that ends with {endings}, got {}", without_login(url)))
}

fn check(fetch: &Fetch, place: &Place) -> Result<(), String> {
    names::check_path("to", &fetch.to)?;
    if fetch.to.file_name().is_none() || fetch.to.is_dir() {
        return Err(format!("to: must be a file's path, got {}", fetch.to.display()));
    }
    let https = matches!(place, Place::Remote(remote) if remote.protocol == Protocol::Https);
    match &fetch.identity {
        Some(_) if !https => Err("identity: the link's own server is asked by https alone".into()),
        None if fetch.checksum.is_none() => {
            Err("checksum: must be given for what does not come from the link's own server".into())
        }
        _ => Ok(()),
    }
}

/// The size of the complete file, if it is there and the right one.
fn there_already(fetch: &Fetch) -> Option<u64> {
    let file =
        OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(&fetch.to);
    let (file, expected) = (file.ok()?, fetch.checksum?);
    let metadata = file.metadata().ok()?;
    let right = metadata.is_file()
        && metadata.len() <= fetch.most_bytes
        && Checksum::of(file).is_ok_and(|checksum| checksum == expected);
    right.then_some(metadata.len())
}

/// Fills the part; says where it went on.
fn bring(fetch: &Fetch, place: &Place, silence: Duration, part: &mut Part) -> Result<u64, String> {
    let remote = match place {
        Place::File(path) => return copy(path, part).map(|()| 0),
        Place::Remote(remote) => remote,
    };
    let known = part.origin(&remote.id(), fetch.checksum.is_some());
    match remote.protocol {
        Protocol::Ftp => ftp::download(remote, silence, known, part),
        Protocol::Http | Protocol::Https => {
            http::download(remote, fetch.identity.as_deref(), silence, known, part)
        }
    }
}

/// A copy begins anew each time: it is quick, and nothing says whether the file changed.
fn copy(path: &Path, part: &mut Part) -> Result<(), String> {
    // Not blocking: it may be a pipe that nobody writes to.
    let file: File = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
        .map_err(|error| format!("could not open it: {error}"))?;
    let metadata = file.metadata().map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        return Err("is no regular file".into());
    }
    part.check_size(metadata.len())?;
    part.begin(None)?;
    part.fill(file, Some(metadata.len()))
}

impl std::fmt::Debug for Fetch {
    /// Without the password that may be in the URL.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let url = Place::parse(&self.url).map_or_else(|error| error, |place| place.to_string());
        f.debug_struct("Fetch")
            .field("url", &url)
            .field("to", &self.to)
            .field("checksum", &self.checksum)
            .field("most_bytes", &self.most_bytes)
            .field("identity", &self.identity)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::check_url;

    #[test]
    fn a_package_s_url_is_taken() {
        for url in [
            "http://h/monitor.deb",
            "https://user:pass@h:8443/a/monitor-1.rpm?token=x#y",
            "ftp://h/pub/monitor.tar.gz",
            "file:///srv/a%20b.TGZ",
        ] {
            assert_eq!(check_url(url), Ok(()));
        }
    }

    #[test]
    fn what_is_no_package_s_url_is_refused_and_no_password_is_shown() {
        for (url, reason) in [
            ("", "must begin with a scheme"),
            ("monitor.deb", "must begin with a scheme"),
            ("https:///a.deb", ""),
            ("http://x/.deb", "must name a file that ends with"),
            ("http://u@:99999/x.deb", ""),
            ("http://u:secret@x:99999/x.deb", "port"),
            ("ftp:///%00.deb", ""),
            ("ftp://u:secret@x/%00.deb", "must have no control characters, got ftp://x/%00.deb"),
            ("ftp://x/%ff.deb", "not UTF-8"),
            ("http://x.deb", "must name a file that ends with"),
            ("http://x?secret=/a.deb", "must name a file that ends with"),
            ("http://u:secret@x/a.zip?secret", "got http://x/a.zip?…"),
            ("http://x/a.deb/", "must name a file that ends with"),
            ("file:///a.zip", "got file:///a.zip"),
            ("file://x/a.deb", "must be file:///path"),
        ] {
            let error = check_url(url).expect_err(url);
            assert!(error.starts_with("url: ") && error.contains(reason), "{url}: {error}");
            assert!(!error.contains("secret") && error.matches("url:").count() == 1, "{url}: {error}");
        }
    }
}
