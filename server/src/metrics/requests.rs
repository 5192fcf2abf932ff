//! Requests for hosts and what became of them.

use super::{Last, counter, counters, histogram};
use prometheus::{Histogram, IntCounter, Registry};

/// From one host nearby to a rollout, in seconds.
const BUCKETS: &[f64] = &[
    0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0,
    3600.0,
];

/// What retcodes are told apart by, and which they are.
const CLASSES: [(&str, std::ops::RangeInclusive<u16>); 8] = [
    ("accepted", 1..=1),
    ("success", 2..=2),
    // The server's own: the host was not there, or did not answer in time.
    ("server", 200..=299),
    // The host did not take it.
    ("refused", 3000..=3099),
    ("failed", 3100..=3199),
    ("storage", 3200..=3299),
    ("package", 3300..=3399),
    ("other", 0..=u16::MAX),
];

/// See the module.
#[derive(Debug)]
pub struct Requests {
    begun: IntCounter,
    ended: IntCounter,
    seconds: Histogram,
    /// In the order of [`CLASSES`].
    results: [IntCounter; CLASSES.len()],
    last_begun: Last,
}

impl Default for Requests {
    /// What nobody reads.
    fn default() -> Requests {
        Requests::new(&Registry::new())
    }
}

impl Requests {
    pub(super) fn new(registry: &Registry) -> Requests {
        let results = counters(
            registry,
            "polaris_results_total",
            "Final states of hosts in requests, by class of their retcode",
            &["class"],
        );
        Requests {
            begun: counter(registry, "polaris_requests_begun_total", "Requests for hosts that were taken"),
            ended: counter(
                registry,
                "polaris_requests_ended_total",
                "Requests of which every host has a final state or is waited for in the queue",
            ),
            seconds: histogram(
                registry,
                "polaris_request_duration_seconds",
                "From taking a request to the answer of its last host",
                BUCKETS,
            ),
            results: CLASSES.map(|(class, _)| results.with_label_values(&[class])),
            last_begun: Last::new(
                registry,
                "polaris_last_request_begun_timestamp_seconds",
                "When a request was taken last; 0 if none was since the start",
            ),
        }
    }

    pub fn begun(&self) {
        self.begun.inc();
        self.last_begun.now();
    }

    /// The last host has its state, so many milliseconds after the request was taken.
    pub fn ended(&self, ms: i64) {
        self.ended.inc();
        let ms = u32::try_from(ms.max(0)).unwrap_or(u32::MAX);
        self.seconds.observe(f64::from(ms) / 1000.0);
    }

    /// One host has its final state.
    pub fn result(&self, retcode: u16) {
        let class = CLASSES.iter().position(|(_, range)| range.contains(&retcode));
        self.results[class.expect("the last class takes every number")].inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aspire_wire::Retcode;

    #[test]
    fn every_retcode_has_a_class_of_its_own_kind() {
        let requests = Requests::default();
        for retcode in Retcode::ALL {
            requests.result(retcode.code());
        }
        let counted: Vec<_> =
            CLASSES.iter().zip(&requests.results).map(|((class, _), n)| (*class, n.get())).collect();
        assert_eq!((counted[0], counted[1]), (("accepted", 1), ("success", 1)));
        assert!(counted[..7].iter().all(|(_, count)| *count > 0), "{counted:?}");
        assert_eq!(counted[7], ("other", 0), "a new kind of retcode wants a class");
    }
}
