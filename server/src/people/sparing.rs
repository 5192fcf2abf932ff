//! What anybody can cause as often as he likes is told so often and no more, and then how often it
//! was not.

use super::limiter::{Key, Limiter};
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

/// See the module.
#[derive(Debug)]
pub struct Sparing {
    limiter: Limiter,
    passed_over: AtomicI64,
}

impl Sparing {
    /// So many times at once, and then one more each time so long has passed.
    pub fn new(at_once: u32, every: Duration) -> Sparing {
        Sparing { limiter: Limiter::new(at_once, every, 1), passed_over: AtomicI64::new(0) }
    }

    /// Whether it is told this time; then with how many before it were not.
    pub fn take(&self) -> Option<i64> {
        let taken = self.limiter.take(Key::All, Instant::now()).is_ok();
        if !taken {
            self.passed_over.fetch_add(1, Ordering::Relaxed);
        }
        taken.then(|| self.passed_over.swap(0, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_passed_over_is_counted() {
        let mut sparing = Sparing::new(100, Duration::from_hours(1));
        for _ in 0..100 {
            assert_eq!(sparing.take(), Some(0));
        }
        for _ in 0..3 {
            assert_eq!(sparing.take(), None);
        }
        sparing.limiter = Limiter::new(1, Duration::from_hours(1), 1);
        assert_eq!(sparing.take(), Some(3));
    }
}
