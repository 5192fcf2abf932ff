//! What the log says of a store that fails: one line a second at most, however
//! much there is to be stored.

use crate::machine::limits::STORE_RETRY;
use crate::machine::{Instant, Now};
use log::warn;
use std::fmt::Display;

#[derive(Debug, Default)]
pub struct Trouble {
    quiet_until: Option<Instant>,
    /// Failures since the last line.
    unsaid: u64,
}

impl Trouble {
    pub fn say(&mut self, now: Now, what: &str, reason: &dyn Display) {
        if self.quiet_until.is_some_and(|until| now.mono < until) {
            self.unsaid += 1;
            return;
        }
        let unsaid = std::mem::take(&mut self.unsaid);
        self.quiet_until = Some(now.mono + STORE_RETRY);
        warn!("store=failed for={what} reason={:?} unsaid={unsaid} next_try=1s", reason.to_string());
    }
}
