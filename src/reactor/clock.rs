//! The one place where clocks are read.

use crate::machine::{Instant, Now};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use std::io;
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

/// In the year 2255: as far as the kernel's nanoseconds reach, or nearly so.
const NEVER: i64 = 9_000_000_000;

/// What becomes readable when the wall clock is set, or the machine wakes up: timerfd_create(2).
///
/// # Errors
/// The system's reason.
pub(super) fn when_set() -> io::Result<TimerFd> {
    let timer = TimerFd::new(ClockId::CLOCK_REALTIME, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
    let flags = TimerSetTimeFlags::TFD_TIMER_ABSTIME | TimerSetTimeFlags::TFD_TIMER_CANCEL_ON_SET;
    timer.set(Expiration::OneShot(TimeSpec::new(NEVER, 0)), flags)?;
    Ok(timer)
}
