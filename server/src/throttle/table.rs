//! The one table of what may be called how often, by whom, with how much.

use crate::config::Limits;
use crate::limits::MAX_BODY_BYTES as BODY_BYTES;
use aspire_wire::enroll::{ENROLL_PATH, MAX_BODY_BYTES as ENROLL_BYTES};
use axum::http::Method;

use By::{Address, Principal};
use Rate::{Calls, Set};

/// Whose calls are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// An address, before anybody knows who calls; of IPv6 its first 64 bits.
    Address,
    /// A principal, by name.
    Principal,
}

/// Where the rate comes from.
#[derive(Debug, Clone, Copy)]
pub enum Rate {
    Calls(u32),
    /// A key of `[limits]`.
    Set(fn(&Limits) -> u32),
}

/// One row.
#[derive(Debug)]
pub struct Row {
    /// How metrics and refusals name it.
    pub name: &'static str,
    pub by: By,
    /// As the router has it; one that ends with `*` takes what begins so.
    pub route: &'static str,
    /// Whether it is for calls that change something alone.
    pub changes: bool,
    /// Calls a second in the long run; those of [`crate::limits::BURST_SECONDS`] may come at once.
    pub rate: Rate,
    /// Calls at once: until the last byte of the answer has left.
    pub in_flight: u32,
    /// The body of one call, in bytes, where the route itself does not say otherwise.
    pub body_bytes: usize,
}

/// A call belongs to the first row of either kind that takes it. The numbers are generous: they keep
/// one caller from taking the server from all others, and nobody from his work. A storm of hosts
/// that are enrolled from one address has thousands a minute.
#[rustfmt::skip]
pub const TABLE: &[Row] = &[
    line("enrol", Address, ENROLL_PATH, true, Set(|l| l.enrolments_per_second), 256, ENROLL_BYTES),
    line("metrics", Address, "/metrics", false, Calls(20), 16, 0),
    line("health", Address, "/healthz", false, Calls(500), 64, 0),
    line("health", Address, "/readyz", false, Calls(500), 64, 0),
    line("any", Address, "*", false, Calls(5000), 4096, BODY_BYTES),
    line("requests", Principal, "/api/v1/requests", true, Set(|l| l.requests_per_second), 2048, BODY_BYTES),
    line("changes", Principal, "*", true, Set(|l| l.changes_per_second), 1024, BODY_BYTES),
    line("reads", Principal, "*", false, Set(|l| l.reads_per_second), 1024, BODY_BYTES),
];

/// Reads as a line of the table.
const fn line(
    name: &'static str,
    by: By,
    route: &'static str,
    changes: bool,
    rate: Rate,
    in_flight: u32,
    body_bytes: usize,
) -> Row {
    Row { name, by, route, changes, rate, in_flight, body_bytes }
}

impl Row {
    pub fn per_second(&self, limits: &Limits) -> u32 {
        match self.rate {
            Calls(calls) => calls,
            Set(of) => of(limits),
        }
    }

    fn takes(&self, method: &Method, route: &str) -> bool {
        let here = match self.route.strip_suffix('*') {
            Some(begin) => route.starts_with(begin),
            None => route == self.route,
        };
        here && !(self.changes && method.is_safe())
    }
}

/// The place in [`TABLE`] of what a call is held to. Every call has one row of each kind.
pub fn row(method: &Method, route: &str, by: By) -> usize {
    let row = TABLE.iter().position(|row| row.by == by && row.takes(method, route));
    row.expect("the last row of each kind takes every call")
}

/// How large the body of a call may be, in bytes, where its route does not say otherwise.
pub fn body_bytes(method: &Method, route: &str) -> usize {
    TABLE[row(method, route, Address)].body_bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_has_a_row_of_each_kind() {
        for (method, route, address, principal) in [
            (Method::POST, ENROLL_PATH, "enrol", "changes"),
            (Method::GET, "/metrics", "metrics", "reads"),
            (Method::GET, "/readyz", "health", "reads"),
            (Method::POST, "/api/v1/requests", "any", "requests"),
            (Method::GET, "/api/v1/requests", "any", "reads"),
            (Method::DELETE, "/api/v1/requests/{id}", "any", "changes"),
            (Method::GET, "none", "any", "reads"),
        ] {
            let names = [Address, Principal].map(|by| TABLE[row(&method, route, by)].name);
            assert_eq!(names, [address, principal], "{method} {route}");
        }
    }

    #[test]
    fn a_storm_of_enrolments_from_one_address_passes() {
        let limits = Limits::default();
        let enrol = &TABLE[row(&Method::POST, ENROLL_PATH, Address)];
        assert!(enrol.per_second(&limits) >= 50, "{enrol:?}");
    }
}
