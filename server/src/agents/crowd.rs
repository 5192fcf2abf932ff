//! Those of the agents' port who have not shown yet who they are: of one address
//! so many at once that there is always room for others.

use crate::limits;
use crate::throttle::limiter::{Caller, Limiter, Permit};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// See the module.
#[derive(Debug)]
pub struct Crowd {
    addresses: Arc<Limiter>,
    refused: Mutex<Refused>,
}

/// Those that were too many.
#[derive(Debug, Default)]
struct Refused {
    /// Since the log was told.
    count: u64,
    told: Option<Instant>,
}

impl Crowd {
    pub fn new(per_address: u32) -> Crowd {
        Crowd { addresses: Arc::new(Limiter::counting(per_address)), refused: Mutex::default() }
    }

    /// Lets one more in until the permit is dropped. Where there are too many from its address, the
    /// log has it, now and then.
    pub fn enter(&self, peer: SocketAddr, what: &str) -> Option<Permit> {
        let now = Instant::now();
        let refused = match self.addresses.enter(Caller::at(peer.ip()), now) {
            Ok(permit) => return Some(permit),
            Err(refused) => refused,
        };
        if let Some(count) = self.refused.lock().expect("nothing panics while it counts").one_more(now) {
            let reason = refused.reason;
            tracing::warn!(%peer, what, count, reason, "too many from one address, refused");
        }
        None
    }
}

impl Refused {
    /// How many there are to tell of, where it is time to.
    fn one_more(&mut self, now: Instant) -> Option<u64> {
        self.count += 1;
        if self.told.is_some_and(|told| now.saturating_duration_since(told) < limits::CROWD_TOLD) {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_told_now_and_then_of_all_there_were() {
        let (mut refused, begin) = (Refused::default(), Instant::now());
        assert_eq!(refused.one_more(begin), Some(1));
        assert_eq!((0..9).find_map(|_| refused.one_more(begin)), None);
        assert_eq!(refused.one_more(begin + limits::CROWD_TOLD), Some(10));
    }
}
