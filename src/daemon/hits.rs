//! What a daemon uses, from one sample to the next, and how often in a row that was too much.

use crate::machine::{Instant, Survey};
use crate::wire::daemon::DaemonLimits;
use std::fmt;
use std::time::Duration;

/// The samples of one start.
#[derive(Debug, Default)]
pub struct Hits {
    last: Option<(Instant, Duration)>,
    cpu: u32,
    memory: u32,
    /// What the latest sample had.
    pub usage: Usage,
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Usage {
    /// Percent of one processor since the sample before; `None` where there was none.
    pub cpu: Option<f64>,
    /// Bytes in memory.
    pub memory: Option<u64>,
}

/// Which limit, and by how much.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Excess {
    Cpu { percent: f64, limit: u32, hits: u32 },
    Memory { bytes: u64, limit: u64, hits: u32 },
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Excess::Cpu { percent, limit, hits } => {
                write!(f, "limits.cpu: {percent:.1}% in the last of {hits} samples beyond {limit}%")
            }
            Excess::Memory { bytes, limit, hits } => {
                write!(f, "limits.memory: {bytes} bytes in the last of {hits} samples beyond {limit}")
            }
        }
    }
}

impl Hits {
    /// Takes in a sample. While `counts` is not set, as nobody of it may be expected to keep limits
    /// yet, it is the one that the next is compared with. One of nobody is none.
    pub fn sample(
        &mut self,
        now: Instant,
        survey: &Survey,
        limits: &DaemonLimits,
        counts: bool,
    ) -> Option<Excess> {
        if survey.processes.is_empty() {
            return None;
        }
        let since = self.last.replace((now, survey.cpu));
        let percent = since.and_then(|(at, cpu)| {
            let (took, used) = (now.since(at).as_secs_f64(), survey.cpu.saturating_sub(cpu).as_secs_f64());
            (took > 0.0).then(|| used / took * 100.0)
        });
        self.usage = Usage { cpu: percent.or(self.usage.cpu), memory: Some(survey.memory) };
        if !counts {
            return None;
        }
        if let (Some(percent), Some(limit)) = (percent, limits.cpu) {
            self.cpu = if percent > f64::from(limit) { self.cpu + 1 } else { 0 };
            if self.cpu >= limits.hits {
                (self.cpu, self.memory) = (0, 0);
                return Some(Excess::Cpu { percent, limit, hits: limits.hits });
            }
        }
        if let Some(limit) = limits.memory {
            self.memory = if survey.memory > limit { self.memory + 1 } else { 0 };
            if self.memory >= limits.hits {
                (self.cpu, self.memory) = (0, 0);
                return Some(Excess::Memory { bytes: survey.memory, limit, hits: limits.hits });
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Process;

    const LIMITS: DaemonLimits =
        DaemonLimits { hits: 3, cpu: Some(5), memory: Some(100), cpu_max: None, memory_max: None };

    /// A daemon that is sampled every 10 seconds.
    #[derive(Default)]
    struct Sampled {
        hits: Hits,
        seconds: u64,
        cpu: Duration,
    }

    impl Sampled {
        fn next(&mut self, cpu_percent: u32, memory: u64, counts: bool) -> Option<Excess> {
            self.seconds += 10;
            self.cpu += Duration::from_millis(u64::from(cpu_percent) * 100);
            let survey =
                Survey { processes: vec![Process { pid: 1, start: 1 }], cpu: self.cpu, memory, written: 0 };
            self.hits.sample(Instant(Duration::from_secs(self.seconds)), &survey, &LIMITS, counts)
        }
    }

    #[test]
    fn the_last_of_so_many_in_a_row_trips() {
        let mut sampled = Sampled::default();
        sampled.next(0, 0, true);
        assert_eq!(sampled.next(6, 0, true), None);
        assert_eq!(sampled.next(600, 0, true), None);
        let Some(excess) = sampled.next(7, 0, true) else { panic!("not tripped") };
        assert_eq!(excess.to_string(), "limits.cpu: 7.0% in the last of 3 samples beyond 5%");
        assert_eq!(sampled.next(7, 0, true), None, "it is counted anew");
    }

    #[test]
    fn what_alternates_or_is_just_at_the_limit_never_does() {
        let mut sampled = Sampled::default();
        for _ in 0..1000 {
            for (cpu, memory) in [(90, 1000), (90, 1000), (5, 100)] {
                assert_eq!(sampled.next(cpu, memory, true), None);
            }
        }
    }

    #[test]
    fn each_limit_has_a_count_of_its_own() {
        let mut sampled = Sampled::default();
        sampled.next(0, 0, true);
        for (cpu, memory) in [(9, 101), (9, 99), (1, 101), (9, 101)] {
            assert_eq!(sampled.next(cpu, memory, true), None);
        }
        assert_eq!(sampled.next(9, 101, true), Some(Excess::Memory { bytes: 101, limit: 100, hits: 3 }));
    }

    #[test]
    fn before_the_grace_is_over_nothing_counts_and_the_first_has_nothing_to_compare_with() {
        let mut sampled = Sampled::default();
        for _ in 0..9 {
            assert_eq!(sampled.next(90, 1000, false), None);
        }
        assert_eq!(sampled.hits.usage, Usage { cpu: Some(90.0), memory: Some(1000) });
        let mut first = Sampled::default();
        first.next(90, 0, true);
        assert_eq!((first.hits.cpu, first.hits.usage.cpu), (0, None));
    }

    #[test]
    fn nobody_is_neither_a_hit_nor_a_pass() {
        let mut sampled = Sampled::default();
        sampled.next(0, 0, true);
        sampled.next(9, 0, true);
        sampled.next(9, 0, true);
        assert_eq!(sampled.hits.sample(Instant::default(), &Survey::default(), &LIMITS, true), None);
        assert!(sampled.next(9, 0, true).is_some());
    }
}
