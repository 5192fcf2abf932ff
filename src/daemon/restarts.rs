//! How soon one that failed is tried again, and when no more.

use crate::machine::Instant;
use crate::machine::limits::{RESTART_DELAY_MAX, RESTART_DELAY_MIN};
use crate::wire::DaemonInit;
use std::collections::VecDeque;
use std::time::Duration;

/// The failures of one daemon since it was last wanted anew.
#[derive(Debug, Default)]
pub struct Restarts {
    /// Those within the window.
    recent: VecDeque<Instant>,
    /// Failures in a row of what had not run long.
    unstable: u32,
    total: u32,
}

/// What follows from a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is tried again after this.
    Again(Duration),
    /// It failed too often.
    Spent,
}

impl Restarts {
    /// One that fell after it had run long is caught at once; after that the wait doubles, and each
    /// is shortened by up to a half by chance, so that what fell together does not rise together.
    pub fn failed(
        &mut self,
        now: Instant,
        was_stable: bool,
        init: &DaemonInit,
        chance: &mut fastrand::Rng,
    ) -> Verdict {
        let window = Duration::from_secs(init.restart_window);
        while self.recent.pop_front_if(|failed| now.since(*failed) >= window).is_some() {}
        self.recent.push_back(now);
        if self.recent.len() > init.max_restarts as usize {
            return Verdict::Spent;
        }
        self.total = self.total.saturating_add(1);
        if was_stable {
            self.unstable = 0;
            return Verdict::Again(Duration::ZERO);
        }
        let delay = RESTART_DELAY_MIN.saturating_mul(1 << self.unstable.min(16)).min(RESTART_DELAY_MAX);
        self.unstable += 1;
        Verdict::Again(delay.mul_f64(1.0 - chance.f64() / 2.0))
    }

    /// How often it was tried again.
    pub fn total(&self) -> u32 {
        self.total
    }

    /// As an earlier agent counted.
    pub fn after(total: u32) -> Self {
        Restarts { total, ..Restarts::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn init(max_restarts: u32, window: u64) -> DaemonInit {
        serde_json::from_value(json!({
            "name": "a", "version": "1", "url": "file:///a.deb", "start": "a", "stop": "kill:TERM",
            "max_restarts": max_restarts, "restart_window": window
        }))
        .unwrap()
    }

    fn at(seconds: u64) -> Instant {
        Instant(Duration::from_secs(seconds))
    }

    #[test]
    fn the_wait_doubles_up_to_a_cap_with_some_chance_in_it() {
        let mut chance = fastrand::Rng::with_seed(1);
        let mut restarts = Restarts::default();
        let mut waits = Vec::new();
        for n in 0..9 {
            let Verdict::Again(wait) = restarts.failed(at(n), false, &init(100, 600), &mut chance) else {
                panic!("given up")
            };
            waits.push(wait);
        }
        for (wait, most) in waits.iter().zip([1, 2, 4, 8, 16, 32, 60, 60, 60]) {
            let most = Duration::from_secs(most);
            assert!(*wait <= most && *wait >= most / 2, "{waits:?}");
        }
        assert!(waits.windows(2).skip(6).all(|pair| pair[0] != pair[1]), "{waits:?}");
        assert_eq!(restarts.total(), 9);
    }

    #[test]
    fn one_that_was_stable_is_caught_at_once() {
        let mut chance = fastrand::Rng::with_seed(1);
        let mut restarts = Restarts::default();
        let init = init(100, 600);
        assert_ne!(restarts.failed(at(0), false, &init, &mut chance), Verdict::Again(Duration::ZERO));
        assert_eq!(restarts.failed(at(9), true, &init, &mut chance), Verdict::Again(Duration::ZERO));
        let Verdict::Again(wait) = restarts.failed(at(9), false, &init, &mut chance) else { panic!() };
        assert!(wait <= RESTART_DELAY_MIN, "the wait begins anew");
    }

    #[test]
    fn too_many_in_the_window_are_too_many_however_long_each_ran() {
        let mut chance = fastrand::Rng::with_seed(1);
        let mut restarts = Restarts::default();
        let init = init(2, 60);
        let mut fails = |second| restarts.failed(at(second), true, &init, &mut chance);
        assert_eq!(fails(0), Verdict::Again(Duration::ZERO));
        assert_eq!(fails(50), Verdict::Again(Duration::ZERO));
        assert_eq!(fails(60), Verdict::Again(Duration::ZERO), "the first is out of the window");
        assert_eq!(fails(61), Verdict::Spent);
    }

    #[test]
    fn where_none_is_allowed_the_first_failure_is_the_last() {
        let mut chance = fastrand::Rng::with_seed(1);
        assert_eq!(Restarts::default().failed(at(0), true, &init(0, 60), &mut chance), Verdict::Spent);
    }
}
