//! Time as an argument.

use std::ops::Add;
use std::time::{Duration, SystemTime};

/// A moment on the monotonic clock, counted from an arbitrary start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(pub Duration);

impl Instant {
    /// How long ago `earlier` was; zero where it was not.
    #[must_use]
    pub fn since(self, earlier: Instant) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;

    fn add(self, duration: Duration) -> Instant {
        Instant(self.0.saturating_add(duration))
    }
}

/// Both clocks, read once a turn of the loop.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// For durations and deadlines.
    pub mono: Instant,
    /// For people and calendars.
    pub wall: SystemTime,
}

/// The first of several deadlines.
pub fn earliest(deadlines: impl IntoIterator<Item = Option<Instant>>) -> Option<Instant> {
    deadlines.into_iter().flatten().min()
}
