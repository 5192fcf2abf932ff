//! Brings a daemon's package to the host: [`fetch`] downloads and verifies it,
//! [`install`] hands it to the system's own tool or unpacks it, [`uninstall`]
//! takes it away.
//!
//! These functions block, and call programs: they are for a child process with
//! a deadline, which may be killed at any moment. Whatever they leave then is
//! taken up or undone by the same call made again: files get their names when
//! they are complete and on the disk, links are switched by renaming.

mod archive;
mod checksum;
mod deb;
mod error;
mod fetch;
mod ftp;
mod heard;
mod http;
mod install;
mod kind;
mod lock;
mod names;
mod part;
mod rpm;
mod stream;
mod tls;
mod tool;
mod tree;
mod url;

pub use checksum::Checksum;
pub use error::Error;
pub use fetch::{Fetch, Fetched, SILENCE, check_url, fetch, fetch_within};
pub use http::answers;
pub use install::{Install, Installed, Uninstall, install, uninstall};
pub use kind::Kind;
pub use url::without_login;
