//! `polarisctl packages`: the files of the document server.

use super::args::Output;
use super::client::{self, Client};
use super::error::Error;
use super::output::{self, List, printable};
use super::transfer::{self, bar};
use crate::packages::{PackagePath, Sum};
use clap::Subcommand;
use serde::Deserialize;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use ureq::SendBody;

#[derive(Debug, clap::Args)]
pub struct Packages {
    #[command(subcommand)]
    pub verb: PackagesVerb,
}

#[derive(Debug, Subcommand)]
pub enum PackagesVerb {
    /// List a folder, or the outermost one
    List { path: Option<String> },
    /// Store a file; its folders are made where they are missing
    ///
    /// Prints the checksum as definitions of daemons have it.
    Put(Put),
    /// Fetch a file, and go on where an earlier try broke off
    Fetch(Fetch),
    /// Remove a file, or a folder that is empty
    Remove { path: String },
}

#[derive(Debug, clap::Args)]
pub struct Put {
    /// The file on this machine
    pub file: PathBuf,
    /// Where it is to be; with a slash at its end, the folder to put it into [default: the outermost one]
    pub path: Option<String>,
    /// Replace what is there
    #[arg(long)]
    pub force: bool,
}

#[derive(Debug, clap::Args)]
pub struct Fetch {
    pub path: String,
    /// The file on this machine to be made [default: of the same name, in this folder]
    pub file: Option<PathBuf>,
}

/// What the server says of a file.
#[derive(Deserialize)]
pub struct Told {
    /// Bytes.
    pub size: u64,
    /// Hexadecimal.
    pub sha256: String,
}

pub fn packages(client: &Client, packages: &Packages, output: Output) -> Result<(), Error> {
    match &packages.verb {
        PackagesVerb::List { path } => list(client, path.as_deref().unwrap_or_default(), output),
        PackagesVerb::Put(options) => put(client, options, output),
        PackagesVerb::Fetch(options) => fetch(client, options, output),
        PackagesVerb::Remove { path } => {
            client.file("DELETE", &checked(path)?.url(), &[], SendBody::none(), client::LIMIT)?;
            writeln!(io::stderr(), "{} is removed", printable(path))?;
            Ok(())
        }
    }
}

fn list(client: &Client, path: &str, output: Output) -> Result<(), Error> {
    let folder = if path.is_empty() { String::new() } else { format!("{}/", path.trim_end_matches('/')) };
    let headers = [("accept", "application/json".to_owned())];
    let url = checked(&folder)?.url();
    let response = client.file("GET", &url, &headers, SendBody::none(), client::LIMIT)?;
    let list = List::parse(&client.read(response)?, "entries");
    let list = list.map_err(|reason| client.not_polaris(&reason))?;
    list.print(output, &["NAME", "SIZE", "MODIFIED", "SHA256"], |entry| {
        let slash = if entry["kind"] == "folder" { "/" } else { "" };
        let name = format!("{}{slash}", output::cell(&entry["name"]));
        [&[name][..], &["size", "modified", "sha256"].map(|field| output::cell(&entry[field]))].concat()
    })
}

fn put(client: &Client, options: &Put, output: Output) -> Result<(), Error> {
    let path = target(options)?;
    let Some((sum, body)) = store(client, &options.file, &path, options.force, output)? else {
        return Err(Error::Local(format!("{path} is there already: --force replaces it")));
    };
    let mut out = io::stdout().lock();
    if output == Output::Table {
        let told: Told = serde_json::from_slice(&body).map_err(|error| client.not_polaris(&error))?;
        writeln!(out, "SHA256:{sum}")?;
        out.flush()?;
        writeln!(io::stderr(), "{} is stored: {} bytes", printable(&path.to_string()), told.size)?;
    } else {
        output::json(&mut out, &body)?;
    }
    Ok(())
}

/// Stores a file: its checksum, and what the server says of it. `None` where something of this name is
/// there, which is replaced if `replacing`.
pub fn store(
    client: &Client,
    source: &Path,
    path: &PackagePath,
    replacing: bool,
    output: Output,
) -> Result<Option<(Sum, Vec<u8>)>, Error> {
    let wrong = |error: io::Error| Error::File { path: source.to_owned(), source: error };
    let file = File::open(source).map_err(wrong)?;
    let metadata = file.metadata().map_err(wrong)?;
    if !metadata.is_file() {
        return Err(wrong(io::Error::other("it is no file")));
    }
    let sum = transfer::sum(source)?;
    let mut headers = vec![
        ("content-length", metadata.len().to_string()),
        ("content-digest", sum.digest_field()),
        // Whether it is wanted is known before it is sent.
        ("expect", "100-continue".to_owned()),
    ];
    if !replacing {
        headers.push(("if-none-match", "*".to_owned()));
    }
    let bar = bar(output, metadata.len());
    let mut reader = bar.wrap_read(file);
    let response = client.raw("PUT", &path.url(), &headers, SendBody::from_reader(&mut reader), None)?;
    bar.finish_and_clear();
    if !replacing && response.status().as_u16() == 412 {
        return Ok(None);
    }
    let body = client.read(client.accepted(response)?)?;
    let told: Told = serde_json::from_slice(&body).map_err(|error| client.not_polaris(&error))?;
    if told.sha256 != sum.to_string() {
        return Err(client.not_polaris(&"it stored another file"));
    }
    Ok(Some((sum, body)))
}

/// What the server says of a file that it has.
pub fn told(client: &Client, path: &PackagePath) -> Result<Told, Error> {
    let url = format!("{}?checksum", path.url());
    // Polaris may have to read all of it.
    let response = client.file("GET", &url, &[], SendBody::none(), None)?;
    serde_json::from_slice(&client.read(response)?).map_err(|error| client.not_polaris(&error))
}

/// Where a file is to be.
fn target(options: &Put) -> Result<PackagePath, Error> {
    let own = options.file.file_name().and_then(|name| name.to_str());
    let own =
        own.ok_or_else(|| Error::Usage("the file's name is not UTF-8: say where it is to be".into()))?;
    match options.path.as_deref() {
        None | Some("") => checked(own),
        Some(folder) if folder.ends_with('/') => checked(&format!("{folder}{own}")),
        Some(path) => checked(path),
    }
}

fn fetch(client: &Client, options: &Fetch, output: Output) -> Result<(), Error> {
    let path = checked(&options.path)?;
    let name = path.name().ok_or_else(|| Error::Usage("a folder cannot be fetched: name a file".into()))?;
    let file = options.file.clone().unwrap_or_else(|| Path::new(name).to_owned());
    let told = told(client, &path)?;
    let resumed = transfer::fetch(client, &path, &told, &file, output)?;
    let from = if resumed > 0 { format!(", {resumed} of them from an earlier try") } else { String::new() };
    let shown = printable(&file.display().to_string());
    writeln!(io::stderr(), "{shown} is here: {} bytes{from}, SHA256:{}", told.size, printable(&told.sha256))?;
    Ok(())
}

/// A path that the server would refuse is not sent.
pub fn checked(path: &str) -> Result<PackagePath, Error> {
    PackagePath::of_text(path).map_err(|error| Error::Usage(error.to_string()))
}
