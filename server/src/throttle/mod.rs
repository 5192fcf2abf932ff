//! How much one caller may ask for: calls at once and calls a second, by the
//! rows of [`table`]. Who a caller is says the row: an address where nobody
//! knows better, a principal behind the [`guard`](crate::routes).

pub mod limiter;
pub mod table;

use crate::config::Limits;
use crate::limits::BURST_SECONDS;
use crate::metrics::Metrics;
use crate::people::Principal;
use crate::problem::Problem;
use axum::http::Method;
use limiter::{Caller, Limiter, Permit};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;
use table::{By, Row, TABLE};

/// See the module; one a server.
#[derive(Debug)]
pub struct Throttle {
    /// In the order of [`TABLE`].
    limiters: Vec<Arc<Limiter>>,
    metrics: Arc<Metrics>,
}

impl Throttle {
    pub fn new(limits: &Limits, metrics: Arc<Metrics>) -> Throttle {
        let limiter =
            |row: &Row| Arc::new(Limiter::new(row.per_second(limits), BURST_SECONDS, row.in_flight));
        Throttle { limiters: TABLE.iter().map(limiter).collect(), metrics }
    }

    /// Lets a call from this address in, or says when to come again. A row by principal is
    /// [`Throttle::principal`]'s; here such calls count together, whoever makes them.
    pub fn address(&self, method: &Method, route: &str, peer: IpAddr) -> Result<Permit, Problem> {
        let row = table::row(method, route, By::Address);
        self.enter(row, Caller::at(peer), "this address")
    }

    /// The same for who has proved who he is.
    pub fn principal(&self, method: &Method, route: &str, who: &Principal) -> Result<Permit, Problem> {
        let row = table::row(method, route, By::Principal);
        self.enter(row, Caller::Name(who.name.clone()), "you")
    }

    fn enter(&self, row: usize, caller: Caller, whom: &str) -> Result<Permit, Problem> {
        let name = TABLE[row].name;
        self.limiters[row].enter(caller, Instant::now()).map_err(|refused| {
            self.metrics.http.limited(name);
            let reason = format!("too many calls ({name}) from {whom}: {}", refused.reason);
            Problem::too_many(reason, refused.retry_after)
        })
    }
}
