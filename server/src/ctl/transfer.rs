//! Large files on their way from the document server: what came of an earlier
//! try is taken up, and only a file of the right checksum gets the name.

use super::args::Output;
use super::client::Client;
use super::error::Error;
use super::packages::Told;
use crate::limits::PACKAGE_CHUNK_BYTES;
use crate::packages::{PackagePath, Sum};
use indicatif::{ProgressBar, ProgressStyle};
use rustix::fs::OFlags;
use rustix::process::geteuid;
use sha2::{Digest as _, Sha256};
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use ureq::http::StatusCode;
use ureq::{Body, SendBody, http};

/// Of a checksum, in the name of a part: enough to tell which file it is a part of.
const MARK_CHARS: usize = 12;

/// Brings a file here. How many bytes an earlier try had brought.
pub fn fetch(
    client: &Client,
    path: &PackagePath,
    told: &Told,
    file: &Path,
    output: Output,
) -> Result<u64, Error> {
    let expected: Sum = told.sha256.parse().map_err(|reason: String| client.not_polaris(&reason))?;
    if file.try_exists().map_err(|error| wrong(file, error))? {
        if sum(file)? == expected {
            return Ok(told.size);
        }
        let reason = io::Error::other("it is there already, and another file: remove it or name another one");
        return Err(wrong(file, reason));
    }
    let part = part_of(file, &told.sha256);
    let begun = rest(client, path, told, &part, output)?;
    if sum(&part)? != expected {
        fs::remove_file(&part).map_err(|error| wrong(&part, error))?;
        return Err(Error::Local(format!("what came of {path} is not what polaris has: fetch it again")));
    }
    fs::rename(&part, file).map_err(|error| wrong(file, error))?;
    Ok(begun)
}

/// Fills the part. Says how much of it was there.
fn rest(client: &Client, path: &PackagePath, told: &Told, part: &Path, output: Output) -> Result<u64, Error> {
    let failed = |error| wrong(part, error);
    let mut to = open(part).map_err(failed)?;
    let begun = to.metadata().map_err(failed)?.len();
    let begun = if begun > told.size { 0 } else { begun };
    if begun == told.size && begun > 0 {
        return Ok(begun);
    }
    let range = [("range", format!("bytes={begun}-"))];
    let headers = if begun > 0 { &range[..] } else { &[] };
    let response = client.file("GET", &path.url(), headers, SendBody::none(), None)?;
    let begun = if goes_on(&response, begun) { begun } else { 0 };
    to.set_len(begun).map_err(failed)?;
    let bar = bar(output, told.size);
    bar.set_position(begun);
    let mut from = bar.wrap_read(response.into_body().into_reader()).take(told.size - begun);
    let mut bytes = vec![0; PACKAGE_CHUNK_BYTES];
    let broken = |reason: String| Error::BrokenOff { part: part.to_owned(), reason };
    let mut came = begun;
    loop {
        let count = from.read(&mut bytes).map_err(|error| broken(error.to_string()))?;
        if count == 0 {
            break;
        }
        to.write_all(&bytes[..count]).map_err(failed)?;
        came += count as u64;
    }
    bar.finish_and_clear();
    if came < told.size {
        return Err(broken("the connection ended".into()));
    }
    to.sync_all().map_err(failed)?;
    Ok(begun)
}

/// The part, for nobody else's eyes before it is known to be what it should: the folder may be one
/// that all write to, where others lay links and files of such a name.
fn open(part: &Path) -> io::Result<File> {
    let mut options = File::options();
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    options.append(true).create(true).mode(0o600).custom_flags(flags.bits().cast_signed());
    let file = options.open(part)?;
    let there = file.metadata()?;
    if !there.is_file() || there.uid() != geteuid().as_raw() {
        return Err(io::Error::other("it is no file, or somebody else's: remove it, or fetch elsewhere"));
    }
    Ok(file)
}

/// Whether the answer begins where the part ends.
fn goes_on(response: &http::Response<Body>, begun: u64) -> bool {
    let range = response.headers().get("content-range").and_then(|range| range.to_str().ok());
    response.status() == StatusCode::PARTIAL_CONTENT
        && range.is_some_and(|range| range.starts_with(&format!("bytes {begun}-")))
}

/// The checksum of a file on this machine.
pub fn sum(path: &Path) -> Result<Sum, Error> {
    let failed = |error| wrong(path, error);
    let mut file = File::open(path).map_err(failed)?;
    let (mut hash, mut bytes) = (Sha256::new(), vec![0; PACKAGE_CHUNK_BYTES]);
    loop {
        match file.read(&mut bytes).map_err(failed)? {
            0 => return Ok(Sum::of(hash)),
            count => hash.update(&bytes[..count]),
        }
    }
}

/// How far a file has come; hidden where standard error is no terminal.
pub fn bar(output: Output, bytes: u64) -> ProgressBar {
    if output != Output::Table {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{wide_bar} {bytes}/{total_bytes}  {bytes_per_sec}  {eta}");
    ProgressBar::new(bytes).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// Where a file is as long as it is not complete: beside its place, and of this checksum alone.
fn part_of(file: &Path, sum: &str) -> PathBuf {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.part", &sum[..MARK_CHARS]));
    file.with_file_name(name)
}

fn wrong(path: &Path, source: io::Error) -> Error {
    Error::File { path: path.to_owned(), source }
}
