//! What is there at the moment, read when somebody asks.

use super::{Last, Metrics, gauge, register};
use crate::app::App;
use crate::hosts::Status;
use prometheus::{GaugeVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder};
use std::time::Instant;

/// The content type of [`text`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// See the module.
#[derive(Debug)]
pub struct Now {
    begun: Instant,
    uptime: IntGauge,
    links: IntGauge,
    hosts: IntGaugeVec,
    last_heard: Last,
    live_requests: IntGauge,
    results_bytes: IntGauge,
    queued: IntGauge,
    unstored_answers_bytes: IntGauge,
    inbox_bytes: IntGauge,
}

impl Now {
    pub(super) fn new(registry: &Registry) -> Now {
        let gauge = |name: &str, help: &str| gauge(registry, name, help);
        let build = Opts::new("polaris_build_info", "Which version runs; always 1");
        let build = GaugeVec::new(build, &["version"]).expect(super::OURS);
        register(registry, build).with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1.0);
        let hosts = Opts::new("polaris_hosts", "Hosts that are enrolled, by status");
        Now {
            begun: Instant::now(),
            uptime: gauge("polaris_uptime_seconds", "How long the server has run"),
            links: gauge("polaris_links", "Links of agents"),
            hosts: register(registry, IntGaugeVec::new(hosts, &["status"]).expect(super::OURS)),
            last_heard: Last::new(
                registry,
                "polaris_last_host_heard_timestamp_seconds",
                "When any host that is enrolled was heard last; 0 if none ever was",
            ),
            live_requests: gauge("polaris_requests_live", "Requests that run or are not in the database yet"),
            results_bytes: gauge(
                "polaris_results_memory_bytes",
                "Results and live output in memory: they wait to be recorded or read",
            ),
            queued: gauge("polaris_queue_length", "Requests that wait for hosts which are offline, by host"),
            unstored_answers_bytes: gauge(
                "polaris_queue_unstored_bytes",
                "Answers of hosts that were waited for, which are not in the database yet",
            ),
            inbox_bytes: gauge(
                "polaris_jobs_inbox_bytes",
                "News of jobs and daemons that is not in the database yet",
            ),
        }
    }

    fn read(&self, app: &App) {
        self.uptime.set(i64::try_from(self.begun.elapsed().as_secs()).unwrap_or(i64::MAX));
        set(&self.links, app.hub.len());
        let (mut counts, mut heard) = ([0usize; 3], 0);
        let statuses = [Status::Unknown, Status::Online, Status::Offline];
        app.directory.each(|host| {
            let status = host.state().status;
            let place = statuses.iter().position(|one| *one == status);
            counts[place.expect("a status is one of the three")] += 1;
            heard = heard.max(host.last_seen().unwrap_or(0));
        });
        for (status, count) in statuses.iter().zip(counts) {
            set(&self.hosts.with_label_values(&[status.as_str()]), count);
        }
        self.last_heard.at(heard);
        set(&self.live_requests, app.requests.len());
        set(&self.results_bytes, app.requests.held_bytes());
        set(&self.queued, app.queue.len());
        set(&self.unstored_answers_bytes, app.queue.unstored_bytes());
        set(&self.inbox_bytes, app.jobs.inbox.unstored_bytes());
    }
}

fn set(gauge: &IntGauge, value: usize) {
    gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
}

/// All of it, in the text format of Prometheus.
pub fn text(app: &App) -> String {
    let Metrics { registry, now, .. } = &*app.metrics;
    now.read(app);
    TextEncoder::new().encode_to_string(&registry.gather()).expect("a String takes everything")
}
