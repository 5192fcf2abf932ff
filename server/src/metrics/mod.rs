//! What an operator's monitoring is told, in the text format of Prometheus.
//!
//! What happens is counted where it happens, by atomics that are looked up
//! beforehand: no frame and no result waits for a lock on its account. What is
//! there at the moment is read when somebody asks ([`scrape`]). Labels have
//! values out of our own lists only: routes as they are written in the router,
//! never a path, a name or anything else that a caller or a host chose.

mod boot;
pub mod http;
mod links;
mod requests;
pub mod scrape;
mod store;

pub use boot::Boot;
pub use http::Http;
pub use links::{Handshakes, Links};
pub use requests::Requests;
pub use store::Database;

use crate::clock;
use prometheus::core::Collector;
use prometheus::{Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};
use std::sync::Arc;

/// All that is counted; one a server.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    pub http: Http,
    /// TLS handshakes of the web listener.
    pub web_handshakes: Handshakes,
    /// The same of the agents' port.
    pub agent_handshakes: Handshakes,
    pub links: Links,
    pub boot: Boot,
    pub requests: Arc<Requests>,
    pub database: Arc<Database>,
    now: scrape::Now,
}

impl Default for Metrics {
    fn default() -> Metrics {
        let registry = Registry::new();
        let process = prometheus::process_collector::ProcessCollector::for_self();
        registry.register(Box::new(process)).expect(OURS);
        let handshakes = counters(
            &registry,
            "polaris_tls_handshakes_total",
            "TLS handshakes that ended, by listener and result",
            &["listener", "result"],
        );
        Metrics {
            http: Http::new(&registry),
            web_handshakes: Handshakes::of(&handshakes, "web"),
            agent_handshakes: Handshakes::of(&handshakes, "agents"),
            links: Links::new(&registry),
            boot: Boot::new(&registry),
            requests: Requests::new(&registry).into(),
            database: Database::new(&registry).into(),
            now: scrape::Now::new(&registry),
            registry,
        }
    }
}

/// Names and help are ours: they are right, and no two are the same.
const OURS: &str = "a sound name that is used once";

fn register<C: Collector + Clone + 'static>(registry: &Registry, collector: C) -> C {
    registry.register(Box::new(collector.clone())).expect(OURS);
    collector
}

fn counter(registry: &Registry, name: &str, help: &str) -> IntCounter {
    register(registry, IntCounter::new(name, help).expect(OURS))
}

fn counters(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    register(registry, IntCounterVec::new(Opts::new(name, help), labels).expect(OURS))
}

fn gauge(registry: &Registry, name: &str, help: &str) -> IntGauge {
    register(registry, IntGauge::new(name, help).expect(OURS))
}

fn histogram(registry: &Registry, name: &str, help: &str, seconds: &[f64]) -> Histogram {
    let options = HistogramOpts::new(name, help).buckets(seconds.to_vec());
    register(registry, Histogram::with_opts(options).expect(OURS))
}

/// When something happened last; 0 before it first did.
#[derive(Debug, Clone)]
pub struct Last(Gauge);

impl Last {
    fn new(registry: &Registry, name: &str, help: &str) -> Last {
        Last(register(registry, Gauge::new(name, help).expect(OURS)))
    }

    /// It has happened.
    pub fn now(&self) {
        self.at(clock::now());
    }

    #[allow(clippy::cast_precision_loss, reason = "milliseconds are exact for 200,000 years")]
    fn at(&self, at: clock::EpochMs) {
        self.0.set(at as f64 / 1000.0);
    }
}
