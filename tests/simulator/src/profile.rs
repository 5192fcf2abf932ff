//! How the hosts of a fleet behave. What a share of them does is drawn by the
//! seed: the same profile makes the same fleet, and exactly so many of each kind.

use std::ops::RangeInclusive;
use std::time::Duration;

/// A fleet's manners.
#[derive(Debug, Clone)]
pub struct Profile {
    pub seed: u64,
    pub latency: Latency,
    /// Bytes that a command writes, evenly spread.
    pub output_bytes: RangeInclusive<usize>,
    /// Of a thousand hosts, those that take a request and never answer.
    pub silent: u32,
    /// Of a thousand hosts, those where every command exits with 1.
    pub failing: u32,
    /// Of a thousand hosts, those with this fault. No host has two, and none that is silent has one.
    pub faults: Vec<(Fault, u32)>,
}

/// From a request to its reply: `least` and more, which is exponentially distributed around `mean`
/// and ends at `most`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Latency {
    pub least: Duration,
    pub mean: Duration,
    pub most: Duration,
}

/// What is wrong with a host's link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// It closes the connection where it should answer, and comes back.
    Drops,
    /// From a command on nothing is heard of it, and nothing tells that it is gone.
    HalfOpen,
    /// It resets the connection in the middle of its reply, and comes back.
    Resets,
    /// It reads a few bytes at a time, with breaks.
    SlowReader,
    /// It writes each byte of a reply by itself, with breaks.
    Dribbles,
    /// Its certificate is of a CA that nobody knows.
    WrongCa,
    /// Another machine has the same certificate and key.
    Duplicate,
}

/// What was drawn for one host.
#[derive(Debug, Clone, Default)]
pub struct Traits {
    /// For whatever the host draws itself.
    pub seed: u64,
    pub latency: Latency,
    pub output_bytes: Option<RangeInclusive<usize>>,
    pub silent: bool,
    pub failing: bool,
    pub fault: Option<Fault>,
}

impl Default for Profile {
    /// Healthy hosts that answer at once and write nothing.
    fn default() -> Profile {
        Profile {
            seed: 0,
            latency: Latency::default(),
            output_bytes: 0..=0,
            silent: 0,
            failing: 0,
            faults: Vec::new(),
        }
    }
}

impl Profile {
    /// What each of so many hosts is like.
    pub fn draw(&self, hosts: usize) -> Vec<Traits> {
        let mut random = fastrand::Rng::with_seed(self.seed);
        let mut traits: Vec<_> = (0..hosts)
            .map(|_| Traits {
                seed: random.u64(..),
                latency: self.latency,
                output_bytes: Some(self.output_bytes.clone()),
                ..Traits::default()
            })
            .collect();
        let mut order: Vec<_> = (0..hosts).collect();
        random.shuffle(&mut order);
        let mut order = order.into_iter();
        for (fault, share) in &self.faults {
            order.by_ref().take(count(hosts, *share)).for_each(|n| traits[n].fault = Some(*fault));
        }
        order.by_ref().take(count(hosts, self.silent)).for_each(|n| traits[n].silent = true);
        order.take(count(hosts, self.failing)).for_each(|n| traits[n].failing = true);
        traits
    }
}

/// So many of a thousand.
fn count(hosts: usize, share: u32) -> usize {
    hosts * share as usize / 1000
}

impl Latency {
    pub fn draw(&self, random: &mut fastrand::Rng) -> Duration {
        let more = -(1.0 - random.f64()).ln();
        (self.least + self.mean.mul_f64(more)).min(self.most.max(self.least))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_of_a_kind_as_were_asked_for_and_no_host_is_of_two() {
        let faults = vec![(Fault::Drops, 100), (Fault::SlowReader, 200)];
        let profile = Profile { seed: 7, silent: 10, failing: 50, faults, ..Profile::default() };
        let traits = profile.draw(1000);
        let of = |test: &dyn Fn(&Traits) -> bool| traits.iter().filter(|traits| test(traits)).count();
        assert_eq!(of(&|t| t.silent), 10);
        assert_eq!(of(&|t| t.failing), 50);
        assert_eq!(of(&|t| t.fault == Some(Fault::Drops)), 100);
        assert_eq!(of(&|t| t.fault == Some(Fault::SlowReader)), 200);
        assert_eq!(of(&|t| t.silent || t.failing || t.fault.is_some()), 360);
    }

    #[test]
    fn a_seed_makes_the_same_fleet_and_another_one_another() {
        let drawn = |seed| {
            let profile = Profile { seed, silent: 100, ..Profile::default() };
            profile.draw(100).iter().map(|traits| (traits.seed, traits.silent)).collect::<Vec<_>>()
        };
        assert_eq!(drawn(1), drawn(1));
        assert_ne!(drawn(1), drawn(2));
    }

    #[test]
    fn latencies_are_within_their_bounds_and_around_their_mean() {
        let ms = Duration::from_millis;
        let latency = Latency { least: ms(5), mean: ms(20), most: ms(100) };
        let mut random = fastrand::Rng::with_seed(1);
        let drawn: Vec<_> = (0..10_000).map(|_| latency.draw(&mut random)).collect();
        assert!(drawn.iter().all(|latency| (ms(5)..=ms(100)).contains(latency)));
        let mean = drawn.iter().sum::<Duration>() / 10_000;
        assert!((ms(23)..ms(27)).contains(&mean), "{mean:?}");
        assert_eq!(Latency::default().draw(&mut random), Duration::ZERO);
    }
}
