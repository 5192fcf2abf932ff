//! Polaris is its own certificate authority: it signs the certificate that its
//! agents' port shows and the ones that are the hosts' identities.

mod authority;
mod ca_key;
mod certificate;
pub mod files;
pub mod passphrase;
mod server_cert;
pub mod tls;

pub use authority::{Authority, Signed};
pub use certificate::{Certificate, Parsed};
pub use server_cert::{ServerCertificate, keep_fresh};

use std::path::{Path, PathBuf};

/// What is wrong with keys and certificates, and which file is to blame.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    #[error("{path}: {reason}")]
    File { path: PathBuf, reason: std::io::Error },
    #[error("{path}: {reason}")]
    Damaged { path: PathBuf, reason: String },
    #[error("a certificate could not be made: {0}")]
    Signing(#[from] rcgen::Error),
    #[error("TLS could not be set up: {0}")]
    Tls(String),
    /// Whoever sent the request is at fault.
    #[error("csr: {0}")]
    BadRequest(String),
}

impl PkiError {
    fn damaged(path: &Path, reason: impl Into<String>) -> Self {
        PkiError::Damaged { path: path.to_owned(), reason: reason.into() }
    }
}
