//! How often something may happen: so many times at once, and then one more each time so long
//! has passed. Of whoever has not been heard of that long nothing is kept.

use crate::limits::LOOPBACK_IN_FLIGHT;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// What is counted by; of a name its digest, so that each costs the same few bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Key {
    Name([u8; 32]),
    Address(IpAddr),
    All,
}

impl Key {
    /// An IPv6 address stands for its /64, which one machine has to itself.
    pub fn address(peer: IpAddr) -> Key {
        Key::Address(match peer.to_canonical() {
            IpAddr::V6(address) if !address.is_loopback() => {
                IpAddr::V6((address.to_bits() >> 64 << 64).into())
            }
            address => address,
        })
    }

    /// What it is in bytes, as many for each.
    pub fn octets(&self) -> [u8; 32] {
        let mut octets = [0; 32];
        match self {
            Key::Name(digest) => octets = *digest,
            Key::Address(IpAddr::V4(address)) => {
                octets[..16].copy_from_slice(&address.to_ipv6_mapped().octets());
            }
            Key::Address(IpAddr::V6(address)) => octets[..16].copy_from_slice(&address.octets()),
            Key::All => {}
        }
        octets
    }

    /// Behind loopback there may be a proxy, and everybody behind that.
    fn share(&self) -> u32 {
        match self {
            Key::Address(address) if address.is_loopback() => LOOPBACK_IN_FLIGHT,
            _ => 1,
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Limiter {
    at_once: u32,
    every: Duration,
    /// Keys that are kept at most.
    most: usize,
    /// When each will be as if it had never happened.
    clear: Mutex<HashMap<Key, Instant>>,
}

impl Limiter {
    pub fn new(at_once: u32, every: Duration, most: usize) -> Limiter {
        Limiter { at_once, every, most, clear: Mutex::default() }
    }

    /// It happens once more, or not before so long.
    pub fn take(&self, key: Key, now: Instant) -> Result<(), Duration> {
        let mut clear = self.clear();
        self.room(&clear, key, now)?;
        self.put(&mut clear, key, now);
        Ok(())
    }

    /// Whether it may happen once more, or not before so long.
    pub fn check(&self, key: Key, now: Instant) -> Result<(), Duration> {
        self.room(&self.clear(), key, now)
    }

    /// It has happened, even where it was one too many: then it is so much longer until the next.
    pub fn add(&self, key: Key, now: Instant) {
        self.put(&mut self.clear(), key, now);
    }

    fn room(&self, clear: &HashMap<Key, Instant>, key: Key, now: Instant) -> Result<(), Duration> {
        let (next, room) = (self.next(clear, key, now), now + self.every * self.at_once);
        if next > room { Err(next - room) } else { Ok(()) }
    }

    fn put(&self, clear: &mut HashMap<Key, Instant>, key: Key, now: Instant) {
        let next = self.next(clear, key, now);
        if clear.len() >= self.most && !clear.contains_key(&key) {
            make_room(clear, now, self.most);
        }
        clear.insert(key, next);
    }

    /// When it will be as if it had not happened once more.
    fn next(&self, clear: &HashMap<Key, Instant>, key: Key, now: Instant) -> Instant {
        clear.get(&key).copied().unwrap_or(now).max(now) + self.every / key.share()
    }

    fn clear(&self) -> MutexGuard<'_, HashMap<Key, Instant>> {
        self.clear.lock().expect("nothing panics while it holds the times")
    }
}

/// Forgets those of whom nothing is to be remembered, or else whoever is nearest to that.
fn make_room(clear: &mut HashMap<Key, Instant>, now: Instant, most: usize) {
    clear.retain(|_, at| *at > now);
    if clear.len() >= most
        && let Some(key) = clear.iter().min_by_key(|(_, at)| **at).map(|(key, _)| *key)
    {
        clear.remove(&key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_secs(10);

    #[test]
    fn so_many_at_once_and_then_one_each_time() {
        let (limiter, now) = (Limiter::new(3, EVERY, 10), Instant::now());
        for _ in 0..3 {
            assert_eq!(limiter.take(Key::All, now), Ok(()));
        }
        assert_eq!(limiter.take(Key::All, now), Err(EVERY));
        let later = now + Duration::from_secs(4);
        assert_eq!(limiter.take(Key::All, later), Err(Duration::from_secs(6)));
        assert_eq!(limiter.take(Key::All, now + EVERY), Ok(()));
        assert!(limiter.take(Key::All, now + EVERY).is_err());
        limiter.add(Key::All, now + EVERY);
        assert_eq!(limiter.check(Key::All, now + EVERY), Err(EVERY * 2), "one too many is one longer");
        assert_eq!(limiter.take(Key::Name([0; 32]), now), Ok(()), "each for itself");
    }

    #[test]
    fn no_more_is_kept_than_may_be_and_the_worst_is_kept_longest() {
        let (limiter, now) = (Limiter::new(3, EVERY, 100), Instant::now());
        let worst = Key::Name([255; 32]);
        for _ in 0..3 {
            limiter.take(worst, now).unwrap();
        }
        for n in 0..1000u32 {
            limiter.take(Key::Address(IpAddr::V4(n.into())), now).unwrap();
        }
        assert_eq!(limiter.clear().len(), 100);
        assert!(limiter.take(worst, now).is_err());
    }

    #[test]
    fn a_network_of_one_machine_is_one_address() {
        let key = |text: &str| Key::address(text.parse().unwrap());
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:1:2:3"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_eq!(key("::ffff:10.0.0.1"), key("10.0.0.1"));
        assert_ne!(key("10.0.0.1"), key("10.0.0.2"));
    }
}
