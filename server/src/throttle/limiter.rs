//! One row's callers: how many calls each has under way, and when it may make
//! the next (a token bucket, kept as the time at which it is full again).

use crate::limits::{LIMITER_CALLERS, LOOPBACK_IN_FLIGHT};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Caller {
    Address(IpAddr),
    Name(Arc<str>),
}

impl Caller {
    /// Who calls from here: of IPv6 a machine has a /64 at least, and could change within it.
    pub fn at(peer: IpAddr) -> Caller {
        Caller::Address(match peer.to_canonical() {
            IpAddr::V6(v6) => {
                let [a, b, c, d, ..] = v6.segments();
                let loopback = v6.is_loopback();
                IpAddr::V6(if loopback { v6 } else { Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0) })
            }
            v4 @ IpAddr::V4(_) => v4,
        })
    }

    fn is_loopback(&self) -> bool {
        matches!(self, Caller::Address(address) if address.is_loopback())
    }
}

/// See the module.
#[derive(Debug)]
pub struct Limiter {
    /// From one call to the next, in the long run.
    interval: Duration,
    /// What may be taken beforehand.
    tolerance: Duration,
    in_flight: u32,
    /// The same for a loopback address: behind it there may be a proxy, and everybody behind that.
    in_flight_of_loopback: u32,
    callers: Mutex<Callers>,
}

#[derive(Debug, Default)]
struct Callers {
    states: HashMap<Caller, State>,
    swept: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct State {
    in_flight: u32,
    /// When the caller has its whole burst again.
    full: Instant,
}

/// Why a call is not let in, and when the next may be.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused {
    pub reason: String,
    pub retry_after: Duration,
}

/// The call is under way until this is dropped.
#[derive(Debug)]
pub struct Permit {
    limiter: Arc<Limiter>,
    caller: Caller,
}

/// When to try again where nobody can say when another call ends.
const SOON: Duration = Duration::from_secs(1);

impl Limiter {
    /// `per_second` calls, of which those of `seconds` may come at once; `in_flight` at a time.
    pub fn new(per_second: u32, seconds: u32, in_flight: u32) -> Limiter {
        let interval = Duration::from_secs(1) / per_second.max(1);
        let tolerance = Duration::from_secs(seconds.into());
        let in_flight_of_loopback = in_flight.saturating_mul(LOOPBACK_IN_FLIGHT);
        Limiter { interval, tolerance, in_flight, in_flight_of_loopback, callers: Mutex::default() }
    }

    /// One that only counts what is under way, however often it comes, and knows no proxy.
    pub fn counting(in_flight: u32) -> Limiter {
        Limiter {
            interval: Duration::ZERO,
            // Whoever read the clock first may come in second: no time may be too early.
            tolerance: Duration::MAX,
            in_flight,
            in_flight_of_loopback: in_flight,
            callers: Mutex::default(),
        }
    }

    pub fn enter(self: &Arc<Self>, caller: Caller, now: Instant) -> Result<Permit, Refused> {
        let mut callers = self.callers();
        if !callers.states.contains_key(&caller) && !callers.has_room(now) {
            let reason = format!("more than {LIMITER_CALLERS} callers at once");
            return Err(Refused { reason, retry_after: SOON });
        }
        let state = callers.states.entry(caller.clone()).or_insert(State { in_flight: 0, full: now });
        let most = if caller.is_loopback() { self.in_flight_of_loopback } else { self.in_flight };
        if state.in_flight >= most {
            return Err(Refused { reason: format!("{most} are under way"), retry_after: SOON });
        }
        let full = state.full.max(now) + self.interval;
        let beyond = (full - now).saturating_sub(self.tolerance.max(self.interval));
        if !beyond.is_zero() {
            let (millis, seconds) = (self.interval.as_millis(), self.tolerance.as_secs());
            let reason = format!("one in {millis} ms, {seconds} seconds' worth at once");
            return Err(Refused { reason, retry_after: beyond });
        }
        *state = State { in_flight: state.in_flight + 1, full };
        drop(callers);
        Ok(Permit { limiter: self.clone(), caller })
    }

    fn callers(&self) -> MutexGuard<'_, Callers> {
        self.callers.lock().expect("nothing panics while it holds the callers")
    }
}

impl Callers {
    /// Whether one more may be remembered; forgets those of whom there is nothing to remember, no
    /// more often than that costs little.
    fn has_room(&mut self, now: Instant) -> bool {
        let due = self.swept.is_none_or(|swept| now.saturating_duration_since(swept) >= SOON);
        if due {
            self.swept = Some(now);
            self.states.retain(|_, state| state.in_flight > 0 || state.full > now);
            self.states.shrink_to(64);
        }
        self.states.len() < LIMITER_CALLERS
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut callers = self.limiter.callers();
        let Some(state) = callers.states.get_mut(&self.caller) else { return };
        state.in_flight -= 1;
        // Else it is remembered until it has its whole burst again.
        if state.in_flight == 0 && self.limiter.interval.is_zero() {
            callers.states.remove(&self.caller);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Caller {
        Caller::at(text.parse().unwrap())
    }

    #[test]
    fn a_burst_passes_and_then_so_many_a_second() {
        let (limiter, begin) = (Arc::new(Limiter::new(2, 3, 100)), Instant::now());
        let caller = address("192.0.2.1");
        let let_in = |at: Instant| (0..100).take_while(|_| limiter.enter(caller.clone(), at).is_ok()).count();
        assert_eq!(let_in(begin), 6);
        let refused = limiter.enter(caller.clone(), begin).unwrap_err();
        assert_eq!(refused.retry_after, Duration::from_millis(500));
        assert_eq!(let_in(begin + refused.retry_after), 1);
        assert_eq!(let_in(begin + Duration::from_secs(2)), 3);
        assert_eq!(let_in(begin + Duration::from_hours(1)), 6, "no more than a burst is saved up");
        assert!(limiter.enter(address("192.0.2.2"), begin).is_ok(), "others are not held to it");
    }

    #[test]
    fn only_so_many_are_under_way_at_once_and_more_behind_a_proxy() {
        let (limiter, now) = (Arc::new(Limiter::new(1_000_000, 10, 2)), Instant::now());
        let one = limiter.enter(address("192.0.2.1"), now).unwrap();
        let _two = limiter.enter(address("192.0.2.1"), now).unwrap();
        assert_eq!(limiter.enter(address("192.0.2.1"), now).unwrap_err().reason, "2 are under way");
        drop(one);
        let _three = limiter.enter(address("192.0.2.1"), now).unwrap();
        let local: Vec<_> =
            (0..100).map_while(|_| limiter.enter(address("::ffff:127.0.0.1"), now).ok()).collect();
        assert_eq!(local.len(), 2 * LOOPBACK_IN_FLIGHT as usize);
    }

    #[test]
    fn one_that_counts_alone_remembers_nobody_who_has_gone() {
        let (limiter, now) = (Arc::new(Limiter::counting(2)), Instant::now());
        let here = address("127.0.0.1");
        for n in 0..=LIMITER_CALLERS {
            limiter.enter(Caller::Name(n.to_string().into()), now).unwrap();
            let _both = [0; 2].map(|_| limiter.enter(here.clone(), now).unwrap());
            assert_eq!(limiter.enter(here.clone(), now).unwrap_err().reason, "2 are under way");
        }
        assert!(limiter.callers().states.is_empty());
    }

    #[test]
    fn one_that_counts_alone_lets_in_who_read_the_clock_before_the_last() {
        let (limiter, now) = (Arc::new(Limiter::counting(2)), Instant::now());
        let _later = limiter.enter(address("127.0.0.1"), now + Duration::from_micros(1)).unwrap();
        let _earlier = limiter.enter(address("127.0.0.1"), now).unwrap();
    }

    #[test]
    fn a_whole_network_of_ipv6_is_one_caller() {
        assert_eq!(address("2001:db8:1:2::1"), address("2001:db8:1:2:ffff::9"));
        assert_ne!(address("2001:db8:1:2::1"), address("2001:db8:1:3::1"));
    }

    #[test]
    fn callers_are_remembered_for_as_long_as_they_matter_and_only_so_many() {
        let (limiter, begin) = (Arc::new(Limiter::new(1, 5, 9)), Instant::now());
        let caller = |n: usize| Caller::Name(n.to_string().into());
        let held = limiter.enter(caller(0), begin).unwrap();
        for n in 1..LIMITER_CALLERS {
            limiter.enter(caller(n), begin).unwrap();
        }
        let full = limiter.enter(caller(LIMITER_CALLERS), begin).unwrap_err();
        assert!(full.reason.contains("callers at once"), "{full:?}");
        assert!(limiter.enter(caller(1), begin).is_ok(), "who is known is let in");
        limiter.enter(caller(LIMITER_CALLERS), begin + Duration::from_secs(3)).unwrap();
        assert_eq!(limiter.callers().states.len(), 2, "those that are idle are forgotten");
        drop(held);
    }
}
