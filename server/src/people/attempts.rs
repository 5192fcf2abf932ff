//! Passwords that are tried: how often they may be wrong, and that those of one name from one address
//! are looked at one after the other. Only what was wrong counts: those that are right at once wait for
//! the first of them, and are known by then.

use super::passwords::Busy;
use super::{Key, Limiter};
use crate::limits::{
    LOGIN_FAILURES_FROM_EVERYWHERE, LOGIN_FAILURES_PER_ADDRESS, LOGIN_FAILURES_PER_NAME,
    LOGIN_FORGIVEN_FROM_EVERYWHERE, LOGIN_FORGIVEN_OF_ADDRESS, LOGIN_FORGIVEN_OF_NAME, LOGIN_TURNS,
    MAX_LIMITED, MAX_LOGINS_WAITING,
};
use sha2::{Digest as _, Sha256};
use std::net::IpAddr;
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, MutexGuard, Semaphore};

/// What one that is tried is counted by.
#[derive(Debug, Clone, Copy)]
pub struct Attempt {
    /// The name from this address.
    here: [u8; 32],
    /// The name from everywhere.
    name: [u8; 32],
    /// Where it comes from.
    address: Key,
}

impl Attempt {
    pub fn of(name: &str, from: IpAddr) -> Attempt {
        let address = Key::address(from);
        let here = Sha256::new_with_prefix(address.octets()).chain_update(name).finalize().into();
        Attempt { here, name: Sha256::digest(name).into(), address }
    }

    /// The name from this address, in a few bytes.
    pub fn here(&self) -> &[u8; 32] {
        &self.here
    }
}

/// See the module.
#[derive(Debug)]
pub struct Attempts {
    by_name_here: Limiter,
    by_name: Limiter,
    by_address: Limiter,
    /// Names from addresses share them, or each would leave one behind.
    turns: Vec<Mutex<()>>,
    waiting: Semaphore,
    /// Of this process alone, so that nobody can choose whose turns he shares.
    secret: [u8; 32],
}

impl Attempts {
    pub fn new(secret: [u8; 32]) -> Attempts {
        let limiter = |at_once, every| Limiter::new(at_once, every, MAX_LIMITED);
        Attempts {
            by_name_here: limiter(LOGIN_FAILURES_PER_NAME, LOGIN_FORGIVEN_OF_NAME),
            by_name: limiter(LOGIN_FAILURES_FROM_EVERYWHERE, LOGIN_FORGIVEN_FROM_EVERYWHERE),
            by_address: limiter(LOGIN_FAILURES_PER_ADDRESS, LOGIN_FORGIVEN_OF_ADDRESS),
            turns: (0..LOGIN_TURNS).map(|_| Mutex::new(())).collect(),
            waiting: Semaphore::new(MAX_LOGINS_WAITING),
            secret,
        }
    }

    /// Whether whoever is there may try this name, or not before so long.
    pub fn may_try(&self, attempt: &Attempt, now: Instant) -> Result<(), Duration> {
        self.by_address.check(attempt.address, now)?;
        self.by_name_here.check(Key::Name(attempt.here), now)
    }

    /// As [`Attempts::may_try`], of the name alone, wherever it is tried: not asked of those who were let
    /// in a moment ago, or anybody could keep its owner out.
    pub fn may_be_tried(&self, attempt: &Attempt, now: Instant) -> Result<(), Duration> {
        self.by_name.check(Key::Name(attempt.name), now)
    }

    /// It was wrong.
    pub fn failed(&self, attempt: &Attempt, now: Instant) {
        self.by_address.add(attempt.address, now);
        self.by_name_here.add(Key::Name(attempt.here), now);
        self.by_name.add(Key::Name(attempt.name), now);
    }

    /// Waits until no other one of this name from this address is looked at.
    pub async fn turn(&self, attempt: &Attempt) -> Result<MutexGuard<'_, ()>, Busy> {
        let _waiting = self.waiting.try_acquire().map_err(|_| Busy)?;
        let digest = Sha256::new_with_prefix(self.secret).chain_update(attempt.here).finalize();
        let number = usize::from(u16::from_be_bytes([digest[0], digest[1]]));
        Ok(self.turns[number % self.turns.len()].lock().await)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::LOOPBACK_IN_FLIGHT;
    use futures_util::FutureExt as _;

    /// How many of these may be wrong now until one has to wait.
    fn wrong(attempts: &Attempts, now: Instant, tried: impl Iterator<Item = Attempt>) -> usize {
        let may = |attempt: &Attempt| attempts.may_try(attempt, now).is_ok();
        tried.take_while(may).inspect(|attempt| attempts.failed(attempt, now)).count()
    }

    fn at(address: u32) -> IpAddr {
        IpAddr::V4((0x0a00_0000 + address).into())
    }

    #[test]
    fn an_address_keeps_nobody_out_elsewhere() {
        let (attempts, now) = (Attempts::new([0; 32]), Instant::now());
        let (mallory, ann) = (Attempt::of("ann", at(1)), Attempt::of("ann", at(2)));
        let many = std::iter::repeat_n(mallory, 1000);
        assert_eq!(wrong(&attempts, now, many), LOGIN_FAILURES_PER_NAME as usize);
        assert_eq!(attempts.may_try(&ann, now), Ok(()));
        assert_eq!(attempts.may_be_tried(&ann, now), Ok(()));
        // Whoever may not try this name may try another: nothing was counted of what was refused.
        assert_eq!(attempts.may_try(&Attempt::of("bob", at(1)), now), Ok(()));
        // For as long as he goes on.
        let later = now + LOGIN_FORGIVEN_OF_NAME;
        assert_eq!(wrong(&attempts, later, std::iter::repeat_n(mallory, 10)), 1);
        assert_eq!(attempts.may_be_tried(&ann, later), Ok(()));
    }

    #[test]
    fn a_name_that_is_tried_from_everywhere_has_to_wait() {
        let (attempts, now) = (Attempts::new([0; 32]), Instant::now());
        for n in 0..LOGIN_FAILURES_FROM_EVERYWHERE {
            let attempt = Attempt::of("ann", at(n));
            assert_eq!(attempts.may_be_tried(&attempt, now), Ok(()), "{n}");
            attempts.failed(&attempt, now);
        }
        assert!(attempts.may_be_tried(&Attempt::of("ann", at(1000)), now).is_err());
        assert_eq!(attempts.may_be_tried(&Attempt::of("bob", at(1000)), now), Ok(()));
    }

    #[test]
    fn behind_loopback_there_may_be_everybody() {
        let names = |address: &str| {
            let address: IpAddr = address.parse().unwrap();
            (0..10_000).map(move |n| Attempt::of(&format!("user-{n}"), address))
        };
        let (attempts, now) = (Attempts::new([0; 32]), Instant::now());
        let one = LOGIN_FAILURES_PER_ADDRESS as usize;
        assert_eq!(wrong(&attempts, now, names("192.0.2.1")), one);
        assert_eq!(wrong(&attempts, now, names("2001:db8::1")), one);
        for loopback in ["127.0.0.1", "::1", "::ffff:127.0.0.2"] {
            let several = one * LOOPBACK_IN_FLIGHT as usize;
            assert_eq!(wrong(&attempts, now, names(loopback)), several, "{loopback}");
        }
    }

    #[tokio::test]
    async fn of_one_name_from_one_address_one_is_looked_at() {
        let attempts = Attempts::new([0; 32]);
        let attempt = Attempt::of("ann", at(1));
        let turn = attempts.turn(&attempt).await.unwrap();
        let mut next = std::pin::pin!(attempts.turn(&attempt));
        assert!(next.as_mut().now_or_never().is_none());
        drop(turn);
        assert!(next.as_mut().now_or_never().is_some());
    }
}
