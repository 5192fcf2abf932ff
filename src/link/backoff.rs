//! How long to wait before the next try: exponential with full jitter, so that
//! a fleet which lost its server together does not come back together.

use std::time::Duration;

#[derive(Debug)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    failures: u32,
    random: fastrand::Rng,
}

impl Backoff {
    /// Every wait is between `min` and `max`.
    pub fn new(min: Duration, max: Duration, seed: u64) -> Self {
        Backoff { min, max, failures: 0, random: fastrand::Rng::with_seed(seed) }
    }

    pub fn configure(&mut self, min: Duration, max: Duration) {
        (self.min, self.max) = (min, max);
    }

    /// The wait after one more failure: evenly spread from `min` to a ceiling
    /// that starts at twice `min` and doubles each time.
    pub fn next_wait(&mut self) -> Duration {
        let doublings = self.failures.saturating_add(1).min(31);
        let ceiling = self.min.saturating_mul(1 << doublings).min(self.max);
        self.failures = self.failures.saturating_add(1);
        self.min + ceiling.saturating_sub(self.min).mul_f64(self.random.f64())
    }

    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_within_their_bounds_and_begin_anew() {
        let (min, max) = (Duration::from_secs(1), Duration::from_mins(5));
        for seed in 0..64 {
            let mut backoff = Backoff::new(min, max, seed);
            for failures in 0..40u32 {
                let wait = backoff.next_wait();
                let ceiling = max.min(min * 2u32.pow((failures + 1).min(20)));
                assert!(wait >= min && wait <= ceiling, "seed {seed}, failure {failures}: {wait:?}");
            }
            backoff.reset();
            assert!(backoff.next_wait() <= 2 * min);
        }
    }

    #[test]
    fn a_fleet_spreads() {
        let late = |seed: &u64| {
            let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_mins(5), *seed);
            for _ in 0..7 {
                backoff.next_wait();
            }
            backoff.next_wait() > Duration::from_secs(128)
        };
        let count = (0..1000).filter(late).count();
        assert!((400..600).contains(&count), "{count} of 1000 in the upper half");
    }
}
