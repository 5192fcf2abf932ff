//! What is measured, in the words of collectd, whose heir nodus is: a [`ValueList`] has an
//! [`Identifier`] and as many [`Value`]s as its type has data sources in the catalogue ([`Types`],
//! types.db(5)). Shared by nodus and Polaris, so that each format is read and written in one place.
//! No I/O.

mod identifier;
mod list;
mod types;
mod value;

pub use identifier::{Identifier, IdentifierError, MAX_PART_BYTES};
pub use list::{Mismatch, Notification, Severity, ValueList};
pub use types::{DataSet, DataSource, MAX_LINE_BYTES, MAX_SOURCES, Types, TypesError};
pub use value::{Kind, Value};
