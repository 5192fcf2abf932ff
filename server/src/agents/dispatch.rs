//! One request to many hosts: sends it, and sees to it that each host has its
//! final state by the deadline.

use super::hub::NotSent;
use crate::app::App;
use crate::clock;
use crate::hosts::Host;
use crate::requests::{Live, ReplyTo};
use aspire_wire::{Outcome, Retcode};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

/// Sends `frame` to `hosts`, which are the request's targets in their order,
/// `None` where there is no such host. Returns at once; the results come to
/// the request, whether anybody waits for them or not.
pub fn dispatch(app: &Arc<App>, request: &Arc<Live>, frame: &Bytes, hosts: Vec<Option<Arc<Host>>>) {
    for (position, host) in (0u32..).zip(&hosts) {
        let failure = match host {
            None => Some(Outcome::new(Retcode::NoSuchHost)),
            Some(host) => {
                let to = ReplyTo { request: request.clone(), position };
                app.hub.send(host.id, &request.head.id, frame, to).err().map(not_sent)
            }
        };
        if let Some(outcome) = failure {
            request.settle(position, &outcome);
        }
    }
    tokio::spawn(expire(app.clone(), request.clone(), hosts));
}

fn not_sent(reason: NotSent) -> Outcome {
    match reason {
        NotSent::Offline => Outcome::new(Retcode::HostOffline),
        NotSent::Busy => Outcome::with_detail(Retcode::Busy, "the host owes too many replies already"),
    }
}

/// The deadline is the server's own: it holds whatever the agents do.
async fn expire(app: Arc<App>, request: Arc<Live>, hosts: Vec<Option<Arc<Host>>>) {
    let left = u64::try_from(request.head.deadline - clock::now()).unwrap_or(0);
    if tokio::time::timeout(Duration::from_millis(left), request.ended()).await.is_ok() {
        return;
    }
    for position in request.unsettled() {
        if let Some(host) = &hosts[position as usize] {
            app.hub.forget(host.id, &request.head.id);
        }
        request.settle(position, &Outcome::new(Retcode::NoReplyInTime));
    }
}
