//! What hosts' boots tell, and what they are to do.

use super::{counters, gauge, register};
use prometheus::{IntCounter, IntGauge, IntGaugeVec, Opts, Registry};

/// See the module.
#[derive(Debug)]
pub struct Boot {
    reports: [IntCounter; 2],
    results: [IntCounter; 2],
    reporting: IntGauge,
    silent: IntGauge,
    jobs_open: IntGauge,
}

impl Boot {
    pub(super) fn new(registry: &Registry) -> Boot {
        let reports = counters(
            registry,
            "polaris_boot_reports_total",
            "Reports of hosts' boots, by whether they were taken in",
            &["result"],
        );
        let results = counters(
            registry,
            "polaris_boot_results_total",
            "Jobs that hosts' boots came to the end of, by what became of them",
            &["result"],
        );
        let hosts =
            Opts::new("polaris_boot_hosts", "Hosts whose boot has ever reported, by whether it still does");
        let hosts = register(registry, IntGaugeVec::new(hosts, &["state"]).expect(super::OURS));
        Boot {
            reports: ["ok", "refused"].map(|result| reports.with_label_values(&[result])),
            results: ["ok", "failed"].map(|result| results.with_label_values(&[result])),
            reporting: hosts.with_label_values(&["reporting"]),
            silent: hosts.with_label_values(&["silent"]),
            jobs_open: gauge(registry, "polaris_boot_jobs_open", "Jobs of boot that have not ended"),
        }
    }

    /// A report has come.
    pub fn reported(&self, taken: bool) {
        self.reports[usize::from(!taken)].inc();
    }

    /// A job has ended on a host.
    pub fn ended(&self, succeeded: bool) {
        self.results[usize::from(!succeeded)].inc();
    }

    /// What there is at the moment.
    pub fn now(&self, reporting: i64, silent: i64, jobs_open: i64) {
        self.reporting.set(reporting);
        self.silent.set(silent);
        self.jobs_open.set(jobs_open);
    }
}
