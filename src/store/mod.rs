//! What outlives a request: for now in memory, later in gearman.db.

mod answered;

pub use answered::{Answered, Seen};
