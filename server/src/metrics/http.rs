//! Calls by HTTP, on either listener.

use super::{OURS, counters, gauge, register};
use crate::throttle::table::TABLE;
use axum::http::{Method, StatusCode};
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Registry};
use std::time::Duration;

/// From what memory answers to what waits for hosts, in seconds.
const BUCKETS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 300.0];

/// The route of a call that no route takes.
pub const NO_ROUTE: &str = "none";

/// What connections are limited by, beside the rows of the table.
pub const CONNECTIONS: &str = "connections";

/// See the module.
#[derive(Debug)]
pub struct Http {
    calls: IntCounterVec,
    seconds: HistogramVec,
    limited: IntCounterVec,
    /// Answers that are on their way line by line.
    pub streams: IntGauge,
    /// Open connections of the web listener.
    pub connections: IntGauge,
}

impl Http {
    pub(super) fn new(registry: &Registry) -> Http {
        let options = HistogramOpts::new(
            "polaris_http_request_duration_seconds",
            "From the head of a call to the head of its answer; a call for hosts may wait for them",
        );
        let limited = counters(
            registry,
            "polaris_rate_limited_total",
            "Calls and connections that were refused because one caller made too many, by row of limits",
            &["limit"],
        );
        for name in TABLE.iter().map(|row| row.name).chain([CONNECTIONS]) {
            // From now on it is told, and that it is 0.
            limited.with_label_values(&[name]);
        }
        let seconds = HistogramVec::new(options.buckets(BUCKETS.to_vec()), &["route", "method"]);
        Http {
            calls: counters(
                registry,
                "polaris_http_requests_total",
                "HTTP calls by route, method and status; status none where the caller left before the answer",
                &["route", "method", "status"],
            ),
            seconds: register(registry, seconds.expect(OURS)),
            limited,
            streams: gauge(
                registry,
                "polaris_http_streams",
                "Answers that are on their way line by line (application/x-ndjson)",
            ),
            connections: gauge(registry, "polaris_web_connections", "Open connections of the web listener"),
        }
    }

    /// The head of the answer is there.
    pub fn answered(&self, route: &str, method: &Method, status: StatusCode, after: Duration) {
        let method = method_name(method);
        self.calls.with_label_values(&[route, method, status.as_str()]).inc();
        self.seconds.with_label_values(&[route, method]).observe(after.as_secs_f64());
    }

    /// The caller left before.
    pub fn abandoned(&self, route: &str, method: &Method) {
        self.calls.with_label_values(&[route, method_name(method), "none"]).inc();
    }

    /// One caller made too many calls of this row of the table, or has too many [`CONNECTIONS`].
    pub fn limited(&self, row: &'static str) {
        self.limited.with_label_values(&[row]).inc();
    }
}

/// Callers may invent methods; labels do not follow them.
fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
