//! The one place where clocks are read.

use crate::machine::{Instant, Now};
use std::time::SystemTime;

/// Both clocks; the monotonic one counts from the clock's making.
#[derive(Debug)]
pub struct Clock {
    start: std::time::Instant,
}

impl Clock {
    #[expect(clippy::new_without_default, reason = "a default that reads the clock would surprise")]
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    pub fn new() -> Self {
        Clock { start: std::time::Instant::now() }
    }

    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    pub fn now(&self) -> Now {
        Now { mono: Instant(self.start.elapsed()), wall: wall_clock() }
    }
}

/// The time of day, for log lines.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn wall_clock() -> SystemTime {
    SystemTime::now()
}
