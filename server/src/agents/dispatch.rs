//! One request to many hosts: sends it, and sees to it that each host has its
//! final state by the deadline.

use super::cancel::cancel;
use super::hub::{Hub, NotSent};
use crate::app::App;
use crate::clock;
use crate::hosts::Host;
use crate::queue::courier::Offline;
use crate::requests::{Asked, Live, ReplyTo};
use aspire_wire::{Outcome, Retcode};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep_until};

/// The request's targets in their order, `None` where there is no such host.
pub type Hosts = Vec<Option<Arc<Host>>>;

/// Sends `frame` to `hosts`. Returns at once; the results come to the request,
/// whether anybody waits for them or not. Hosts that are offline and that the
/// request waits for are answered with, and have no result yet.
pub fn dispatch(app: &Arc<App>, request: &Arc<Live>, frame: &Bytes, hosts: Hosts) -> (Watch, Vec<Offline>) {
    let mut offline = Vec::new();
    for (position, host) in (0u32..).zip(&hosts) {
        let Some(host) = host else {
            request.settle(position, &Outcome::new(Retcode::NoSuchHost));
            continue;
        };
        let to = ReplyTo::Live { request: request.clone(), position, asked: Asked::Request };
        match app.hub.send(host.id, &request.head.id, frame, to) {
            Ok(()) => {}
            Err(NotSent::Offline) if request.head.waits.is_some() => offline.push((position, host.id)),
            Err(reason) => request.settle(position, &not_sent(reason)),
        }
    }
    // Not before: a request that is cancelled has been sent to every host that it will be sent to.
    (Watch { app: app.clone(), request: request.clone(), hosts }, offline)
}

/// Sees to it that a request comes to its end. Whoever waits for that does it himself, which
/// is quickest; dropped before, a task of its own does.
#[must_use]
pub struct Watch {
    app: Arc<App>,
    request: Arc<Live>,
    hosts: Hosts,
}

impl Watch {
    pub async fn end(self) {
        see_to_the_end(&self.app.hub, &self.request, &self.hosts).await;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if self.request.is_finished() {
            return;
        }
        // Without a runtime the server has ended, and every request with it.
        let Ok(runtime) = Handle::try_current() else { return };
        let (app, request, hosts) = (self.app.clone(), self.request.clone(), std::mem::take(&mut self.hosts));
        runtime.spawn(async move { see_to_the_end(&app.hub, &request, &hosts).await });
    }
}

pub(super) fn not_sent(reason: NotSent) -> Outcome {
    match reason {
        NotSent::Offline => Outcome::new(Retcode::HostOffline),
        NotSent::Busy => Outcome::with_detail(Retcode::Busy, "the host owes too many replies already"),
    }
}

/// The deadline is the server's own: it holds whatever the agents do. So does the end of a
/// request that somebody cancels, whether he waits for it or not.
pub(super) async fn see_to_the_end(hub: &Hub, request: &Arc<Live>, hosts: &Hosts) {
    let left = u64::try_from(request.head.deadline - clock::now()).unwrap_or(0);
    let deadline = Instant::now() + Duration::from_millis(left);
    tokio::select! {
        () = request.ended() => {}
        () = request.cancelled() => cancel(hub, request, hosts, deadline).await,
        () = sleep_until(deadline) => {
            for position in request.unsettled() {
                give_up(hub, request, hosts, position, &Outcome::new(Retcode::NoReplyInTime));
            }
        }
    }
}

/// Waits for this host no longer.
pub(super) fn give_up(hub: &Hub, request: &Live, hosts: &Hosts, position: u32, outcome: &Outcome) {
    if let Some(host) = &hosts[position as usize] {
        hub.forget(host.id, &request.head.id);
    }
    request.settle(position, outcome);
}
