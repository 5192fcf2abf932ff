//! Work that may block, done by a function of ours in a child process, and
//! the types of its answers.

use crate::wire::Account;
use crate::wire::server_list::Server;
use aspire_package::{Fetch, Install, Uninstall};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::path::PathBuf;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// All addresses of a server, in the name service's order. Answered by a
    /// list of [`std::net::SocketAddr`].
    Resolve(Server),
    /// The user database's entry, as the system's name service has it; a group
    /// replaces the user's own primary group. Answered by [`super::Identity`], or by
    /// `null` where there is no such user or group.
    Identify { user: Account, group: Option<Account> },
    /// Looks at a path, be it there or not: on a dead mount nobody comes back
    /// from that. Answered by `null`.
    Reach(String),
    /// Asks a plugin. Answered by a [`PluginAnswer`] and [`END_OF_ANSWER`]. The first line of
    /// its words is the name of the plugin's file, as soon as that is known.
    Ask(Question),
    /// Brings a package to this host. Answered by `Result<Fetched, Error>`, both of the package crate,
    /// as what follows.
    Fetch(Fetch),
    /// Answered by `Result<Installed, Error>`.
    Install(Install),
    /// Answered by `Result<(), Error>`.
    Uninstall(Uninstall),
    /// Tries whether something takes connections or answers. Answered by `null`.
    Probe(Probe),
    /// Answered by `null`.
    Rotate(Rotation),
    /// Makes a key, beside the one in this folder that is in use. Answered by its signing request, PEM.
    NewKey(PathBuf),
    /// Puts that key and its certificate into the place of those in use. Answered by the certificate's
    /// end, RFC 3339.
    TakeCertificate(NewCertificate),
    /// Puts files to their places, one after another. Answered by `null`.
    Place(Vec<Placed>),
}

/// A file that comes to its place whole or not at all, and is on the disk then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Its folder is made where it is not there, for us alone.
    pub to: PathBuf,
    pub content: Content,
    /// Permission bits.
    pub mode: u32,
}

/// What is in such a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    Text(String),
    /// What this file has, which may be one that has no name any more.
    CopyOf(PathBuf),
    /// There is to be no such file.
    Nothing,
}

/// What the server has signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCertificate {
    /// The folder of ca.pem, cert.pem and key.pem.
    pub dir: PathBuf,
    /// PEM.
    pub cert: String,
    /// The host's id, which must be the certificate's common name.
    pub host: String,
}

/// What is to be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// A stream socket at this path.
    Unix(PathBuf),
    Tcp(Server),
    /// An answer with a status of 200 to 399.
    Http(String),
}

/// A file that others write to gets room: what is in it goes to `FILE.1`, what was there to
/// `FILE.2`, and so on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotation {
    pub path: PathBuf,
    /// Older ones that are kept.
    pub files: usize,
}

/// What a plugin is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The plugin folder.
    pub dir: PathBuf,
    pub query: String,
    pub args: String,
    /// The largest document that it may answer with, in bytes.
    pub most_bytes: usize,
}

/// Behind it nothing follows that would be waited for. No JSON contains it.
pub const END_OF_ANSWER: u8 = 0;

/// What a plugin said, or why it was not asked.
#[derive(Debug, Serialize, Deserialize)]
pub struct PluginAnswer {
    pub retcode: u16,
    /// The document, where the retcode says that there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Box<RawValue>>,
    /// Else the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}
