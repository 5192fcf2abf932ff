//! Why a package is not where it should be.

use crate::Checksum;
use aspire_wire::Retcode;
use serde::{Deserialize, Serialize};

/// Each says what was tried, why it failed, and what to do where that is not plain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Error {
    /// The server, the network, the URL, or no room for the file.
    #[error("{0}")]
    Download(String),
    /// The file is another one than its publisher meant.
    #[error(
        "{url}: the file's checksum is {got}, expected {expected}: \
         publish the right file, or give the checksum of this one"
    )]
    Checksum { url: String, expected: Checksum, got: Checksum },
    /// The package itself, or the host that does not take it.
    #[error("{0}")]
    Install(String),
}

impl Error {
    /// What the operator's request ends with.
    #[must_use]
    pub fn retcode(&self) -> Retcode {
        match self {
            Error::Download(_) => Retcode::DownloadFailed,
            Error::Checksum { .. } => Retcode::ChecksumMismatch,
            Error::Install(_) => Retcode::InstallationFailed,
        }
    }
}

/// What others wrote, as one line that a terminal can show.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>().trim().to_owned()
}
