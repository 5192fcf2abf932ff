//! Agents whose installation has failed: for a while no server is asked for them.

use crate::machine::Instant;
use crate::machine::limits::ASK_AGAIN_MAX;
use crate::wire::boot::{KnownAgent, MAX_AGENTS};
use std::collections::BTreeMap;
use std::time::Duration;

/// Forgotten when boot ends: the next one asks at once.
#[derive(Debug, Default)]
pub struct Held {
    /// Until when, and for how long that is.
    by_name: BTreeMap<String, (Instant, Duration)>,
}

impl Held {
    /// It is held back for a step, given in seconds, and for twice as long each time that it fails again.
    pub fn fails(&mut self, now: Instant, name: &str, step: u64) {
        let step = Duration::from_secs(step);
        let name = known_as(name);
        let wait = self.by_name.get(name).map_or(step, |(_, last)| step.max(*last * 2).min(ASK_AGAIN_MAX));
        if self.by_name.len() >= MAX_AGENTS {
            self.by_name.retain(|_, (until, _)| now < *until);
        }
        // Servers may name whatever they like.
        if self.by_name.len() < MAX_AGENTS || self.by_name.contains_key(name) {
            self.by_name.insert(name.to_owned(), (now + wait, wait));
        }
    }

    pub fn forget(&mut self, name: &str) {
        self.by_name.remove(known_as(name));
    }

    pub fn is_held(&self, now: Instant, name: &str) -> bool {
        self.by_name.get(known_as(name)).is_some_and(|(until, _)| now < *until)
    }
}

/// An agent of two names is one.
fn known_as(name: &str) -> &str {
    KnownAgent::named(name).map_or(name, |known| known.program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_held_back_longer_each_time_up_to_a_day_and_anew_after_it_was_there() {
        let (mut held, mut now) = (Held::default(), Instant(Duration::from_secs(1000)));
        let mut waits = Vec::new();
        for _ in 0..10 {
            held.fails(now, "gearman", 600);
            let begun = now;
            while held.is_held(now, "BasicAgent") {
                now = now + Duration::from_secs(60);
            }
            waits.push(now.since(begun).as_secs());
        }
        assert_eq!(waits, [600, 1200, 2400, 4800, 9600, 19_200, 38_400, 76_800, 86_400, 86_400]);
        held.forget("BasicAgent");
        held.fails(now, "gearman", 600);
        assert!(!held.is_held(now + Duration::from_secs(600), "gearman"));
        for n in 0..1000 {
            held.fails(now, &n.to_string(), 600);
        }
        assert_eq!(held.by_name.len(), MAX_AGENTS);
    }
}
