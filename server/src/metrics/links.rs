//! The agents' port: handshakes, links, enrolments.

use super::{Last, counter, counters};
use crate::agents::LinkEnd;
use prometheus::{IntCounter, IntCounterVec, Registry};

/// The TLS handshakes of one listener.
#[derive(Debug, Clone)]
pub struct Handshakes {
    pub ok: IntCounter,
    pub failed: IntCounter,
}

impl Handshakes {
    pub(super) fn of(counters: &IntCounterVec, listener: &str) -> Handshakes {
        let result = |result: &str| counters.with_label_values(&[listener, result]);
        Handshakes { ok: result("ok"), failed: result("failed") }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Links {
    accepted: IntCounter,
    last_accepted: Last,
    /// In the order of [`LinkEnd::KINDS`].
    ended: [IntCounter; LinkEnd::KINDS.len()],
    enrolled: IntCounter,
    refused: IntCounter,
    last_enrolled: Last,
}

impl Links {
    pub(super) fn new(registry: &Registry) -> Links {
        let ended = counters(
            registry,
            "polaris_links_ended_total",
            "Connections of agents that ended, those included that were never accepted, by reason",
            &["reason"],
        );
        let enrolments = counters(
            registry,
            "polaris_enrolments_total",
            "Enrolments that were asked for, by result",
            &["result"],
        );
        Links {
            accepted: counter(
                registry,
                "polaris_links_accepted_total",
                "Links of agents that were told that they are ready",
            ),
            last_accepted: Last::new(
                registry,
                "polaris_last_link_accepted_timestamp_seconds",
                "When a link was accepted last; 0 if none was since the start",
            ),
            ended: LinkEnd::KINDS.map(|kind| ended.with_label_values(&[kind])),
            enrolled: enrolments.with_label_values(&["ok"]),
            refused: enrolments.with_label_values(&["refused"]),
            last_enrolled: Last::new(
                registry,
                "polaris_last_enrolment_timestamp_seconds",
                "When a host was enrolled last; 0 if none was since the start",
            ),
        }
    }

    pub fn accepted(&self) {
        self.accepted.inc();
        self.last_accepted.now();
    }

    pub fn ended(&self, end: &LinkEnd) {
        self.ended[end.kind()].inc();
    }

    /// Somebody asked to be enrolled, and was or was not.
    pub fn enrolment(&self, enrolled: bool) {
        if enrolled {
            self.enrolled.inc();
            self.last_enrolled.now();
        } else {
            self.refused.inc();
        }
    }
}
