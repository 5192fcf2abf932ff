//! The end of a request before its time: what has not left is withdrawn, and
//! what runs is ended by the hosts that run it. A host has not cancelled
//! anything before it says so, and it has only so long to say it.

use super::dispatch::{Hosts, give_up};
use super::hub::Hub;
use super::link::Cancel;
use crate::requests::{Asked, Live, ReplyTo};
use aspire_wire::{Outcome, Retcode};
use bytes::Bytes;
use std::sync::Arc;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

const UNCONFIRMED: &str = "the cancellation was sent and not confirmed: the command may still run";

/// When this returns every host has its final state. It takes as long as the hosts do: each has its
/// own grace, but none has longer than the request's deadline.
pub(super) async fn cancel(hub: &Hub, request: &Arc<Live>, hosts: &Hosts, deadline: Instant) {
    let id: Arc<str> = Uuid::new_v4().to_string().into();
    let call = serde_json::json!({ "id": id, "method": "job.cancel", "job": request.head.id });
    let frame: Bytes = aspire_wire::frame::encode(&call).into();
    let now = Instant::now();
    let mut asked = Vec::new();
    for position in request.unsettled() {
        let Some(host) = &hosts[position as usize] else { continue };
        let to = ReplyTo { request: request.clone(), position, asked: Asked::Cancel };
        if let Ok(Cancel::Withdrawn) = hub.cancel(host.id, &request.head.id, &id, &frame, to) {
            request.settle(position, &Outcome::new(Retcode::CancelledBeforeDelivery));
        } else {
            // One whose link has just ended is not asked, and settled by that.
            let patience = host.state().facts.patience.until_cancelled();
            asked.push(((now + patience).min(deadline), position, host.id));
        }
    }
    tracing::info!(request = &*request.head.id, hosts = asked.len(), "cancelled; waiting for the hosts");
    asked.sort_unstable();
    for (until, position, _) in &asked {
        if timeout_at(*until, request.ended()).await.is_ok() {
            break;
        }
        let outcome = Outcome::with_detail(Retcode::NoReplyInTime, UNCONFIRMED);
        give_up(hub, request, hosts, *position, &outcome);
    }
    for (_, _, host) in asked {
        hub.forget(host, &id);
    }
}
