//! The files of the document server: a folder of this machine that people put
//! packages into and hosts fetch them from.
//!
//! A path from the network becomes a [`PackagePath`] of checked names. Whatever
//! is opened is opened beneath the folder by the kernel's own rule (openat2 with
//! RESOLVE_BENEATH, no symbolic links), so that no race and no link leads out of
//! it ([`tree`]). A file that comes is written beside the others under a name of
//! ours and takes its place whole, with its checksum known ([`upload`]). No HTTP
//! here but the reading of `Range` ([`range`]); everything here blocks, on the
//! disk, and is called where that is allowed.

mod error;
mod path;
pub mod range;
mod stored;
mod sum;
mod tree;
mod turns;
mod upload;

pub use error::PackageError;
pub use path::PackagePath;
pub use stored::Stored;
pub use sum::Sum;
pub use tree::{Entry, Found, Kind, Listing, Packages};
pub use turns::{Downloads, Room, Sums};
pub use upload::{Terms, Upload, Uploaded};
