//! What the database takes and does not take.

use super::{Last, counter, histogram};
use prometheus::{Histogram, IntCounter, Registry};
use std::time::Duration;

const BUCKETS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// See the module.
#[derive(Debug)]
pub struct Database {
    queries: Histogram,
    transactions: Histogram,
    errors: IntCounter,
    last_success: Last,
}

impl Default for Database {
    /// What nobody reads.
    fn default() -> Database {
        Database::new(&Registry::new())
    }
}

impl Database {
    pub(super) fn new(registry: &Registry) -> Database {
        Database {
            queries: histogram(
                registry,
                "polaris_database_query_duration_seconds",
                "Single statements, from asking for a connection to the end",
                BUCKETS,
            ),
            transactions: histogram(
                registry,
                "polaris_database_transaction_duration_seconds",
                "Transactions, from asking for a connection to the end of the commit",
                BUCKETS,
            ),
            errors: counter(
                registry,
                "polaris_database_errors_total",
                "Statements that failed and transactions that were not committed",
            ),
            last_success: Last::new(
                registry,
                "polaris_last_database_success_timestamp_seconds",
                "When the database last did what it was asked for",
            ),
        }
    }

    /// A single statement has ended.
    pub fn query(&self, took: Duration, succeeded: bool) {
        self.queries.observe(took.as_secs_f64());
        self.outcome(succeeded);
    }

    /// A transaction has ended.
    pub fn transaction(&self, took: Duration, succeeded: bool) {
        self.transactions.observe(took.as_secs_f64());
        self.outcome(succeeded);
    }

    fn outcome(&self, succeeded: bool) {
        if succeeded {
            self.last_success.now();
        } else {
            self.errors.inc();
        }
    }
}
