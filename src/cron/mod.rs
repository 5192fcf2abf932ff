//! What runs at its time: a [`Schedule`] says when, in a [`Zone`]; a crontab
//! [`Line`] says for whom and what; the [`Table`] knows which entries there
//! are, when the next one is due, and what becomes of runs that overlap or
//! were missed. What an entry does is its machine's business.
//!
//! Nothing here reads a clock or the environment. The rules of time zones are
//! read from the system's files, in `tzdata.rs` alone.

mod days;
mod entry;
mod field;
mod line;
mod schedule;
mod table;
mod tzdata;
mod zone;

pub use entry::{Due, Entry, Fact};
pub use field::Field;
pub use line::Line;
pub use schedule::Schedule;
pub use table::{Listed, Table};
pub use zone::{Zone, Zones};

use crate::machine::limits::CRON_ENTRIES;
use crate::wire::cron::MAX_SCHEDULE_BYTES;

/// Whoever wrote the schedule, the zone or the line made a mistake; or the
/// table is full. Columns count characters from 1 in the text as it was given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    #[error("{field}: {reason} (column {column})")]
    Field { field: Field, column: usize, reason: String },
    /// Not one field but the schedule or the line as a whole.
    #[error("{reason} (column {column})")]
    Text { column: usize, reason: String },
    #[error("a schedule has at most {MAX_SCHEDULE_BYTES} bytes, not {0}")]
    TooLong(usize),
    #[error("timezone: {0}")]
    Zone(String),
    #[error("there are {CRON_ENTRIES} entries already, and there can be no more")]
    Full,
}
