//! How many handshakes may begin in a second, so that a herd of agents that
//! comes back is served steadily and whoever is there already is served too.

use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// This part of a second's handshakes may begin at once.
const BURST: u32 = 20;

/// Spreads turns evenly, and forgives whoever is late. No second, wherever it begins, has more
/// turns than were asked for.
#[derive(Debug)]
pub struct Pace {
    /// From one turn to the next, where turns are taken as soon as they come.
    interval: Duration,
    /// How much sooner than that one may be taken.
    early: Duration,
    /// When the next turn is, spread evenly.
    next: Instant,
}

impl Pace {
    /// At most `per_second`, 1 or more, in any second.
    pub fn new(per_second: u32) -> Pace {
        // Those that may come at once are taken off the rest, or a second could have both.
        let burst = per_second / BURST;
        let nanoseconds = 1_000_000_000_u32.div_ceil(per_second - burst);
        let interval = Duration::from_nanos(nanoseconds.into());
        Pace { interval, early: interval * burst, next: Instant::now() }
    }

    /// Waits for the next turn, and does not take it.
    pub async fn turn(&self) {
        if let Some(at) = self.next.checked_sub(self.early) {
            sleep_until(at).await;
        }
    }

    /// The turn has been taken.
    pub fn taken(&mut self) {
        self.next = self.next.max(Instant::now()) + self.interval;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::{advance, sleep};

    const SECOND: Duration = Duration::from_secs(1);

    /// When turns were taken by somebody who has breaks of these lengths after so many turns.
    async fn taken(per_second: u32, breaks: &[(usize, Duration)]) -> Vec<Instant> {
        let mut pace = Pace::new(per_second);
        let mut turns = Vec::new();
        for (count, pause) in breaks {
            for _ in 0..*count {
                pace.turn().await;
                pace.taken();
                turns.push(Instant::now());
            }
            advance(*pause).await;
        }
        turns
    }

    fn most_in_a_second(turns: &[Instant]) -> usize {
        let within =
            |begin: Instant| turns.iter().filter(|at| begin <= **at && **at < begin + SECOND).count();
        turns.iter().map(|begin| within(*begin)).max().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn no_second_has_more_turns_than_were_asked_for() {
        for per_second in [1, 2, 19, 20, 21, 100, 999, 2000] {
            let some = usize::try_from(per_second).unwrap();
            let pauses = [0, 10, 300, 990, 2000].map(Duration::from_millis);
            let breaks: Vec<_> =
                pauses.iter().flat_map(|pause| [(some, *pause), (some / 3, *pause)]).collect();
            let turns = taken(per_second, &breaks).await;
            assert!(most_in_a_second(&turns) <= some, "{per_second} a second");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_takes_each_turn_has_nearly_all_of_them() {
        for per_second in [1, 50, 2000, 100_000] {
            let begin = Instant::now();
            let count = usize::try_from(per_second).unwrap() * 3;
            let end = *taken(per_second, &[(count, Duration::ZERO)]).await.last().unwrap();
            let seconds = (end - begin).as_secs_f64();
            assert!(seconds < 3.2, "{per_second} a second: {count} in {seconds} s");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_that_is_only_waited_for_is_not_taken() {
        let mut pace = Pace::new(1);
        pace.taken();
        let begin = Instant::now();
        for _ in 0..3 {
            pace.turn().await;
        }
        assert_eq!(begin.elapsed().as_secs(), 1);
        sleep(SECOND * 10).await;
        pace.turn().await;
        assert_eq!(begin.elapsed().as_secs(), 11, "what was left out is not made up for");
    }
}
