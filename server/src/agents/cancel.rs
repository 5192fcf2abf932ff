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
        let to = ReplyTo::Live { request: request.clone(), position, asked: Asked::Cancel };
        if let Ok(Cancel::Withdrawn) = hub.cancel(host.id, &request.head.id, &id, &frame, to) {
            request.settle(position, &Outcome::new(Retcode::CancelledBeforeDelivery));
        } else {
            // One whose link has just ended is not asked, and settled by that.
            let patience = host.state().greeting.patience.until_cancelled();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agents::dispatch::see_to_the_end;
    use crate::agents::link::Link;
    use crate::agents::samples::{begun, host};
    use crate::limits::CANCEL_MARGIN_SECONDS;
    use crate::requests::Registry;
    use aspire_wire::Reply;
    use serde_json::Value;
    use std::net::SocketAddr;
    use std::time::Duration;
    use tokio::time::{sleep, timeout};

    /// A request that was sent to hosts with these graces, whose links the tests play.
    struct Rig {
        hub: Hub,
        hosts: Hosts,
        links: Vec<Arc<Link>>,
        request: Arc<Live>,
    }

    impl Rig {
        fn new(graces: &[u64]) -> Rig {
            let hub = Hub::default();
            let hosts: Vec<_> = graces.iter().map(|grace| host(*grace)).collect();
            let request = begun(&Registry::default(), "r", hosts.len());
            let link =
                |host: &_| Arc::new(Link::new(Arc::clone(host), SocketAddr::from(([127, 0, 0, 1], 1))));
            let links: Vec<_> = hosts.iter().map(link).collect();
            for (position, link) in (0..).zip(&links) {
                hub.register(link, None, || {});
                let to = ReplyTo::Live { request: request.clone(), position, asked: Asked::Request };
                hub.send(link.host.id, &request.head.id, &Bytes::from_static(b"{}\n"), to).unwrap();
            }
            Rig { hub, hosts: hosts.into_iter().map(Some).collect(), links, request }
        }

        /// What the host is sent next.
        fn heard(&self, host: usize) -> Value {
            serde_json::from_slice(&self.links[host].pop().unwrap()).unwrap()
        }

        /// The host's entry.
        fn entry(&self, host: usize) -> Value {
            serde_json::from_str(self.request.results().0[host].json()).unwrap()
        }

        async fn see_to_the_end(&self) {
            see_to_the_end(&self.hub, &self.request, &self.hosts).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_host_has_its_own_time_to_confirm() {
        let rig = Rig::new(&[20, 3]);
        let _sent = [rig.heard(0), rig.heard(1)];
        rig.request.cancel();
        let begin = Instant::now();
        let watch = async {
            sleep(Duration::from_millis((3 + CANCEL_MARGIN_SECONDS) * 1000 - 1)).await;
            assert_eq!(rig.request.unsettled(), [0, 1]);
            sleep(Duration::from_millis(2)).await;
            assert_eq!(rig.request.unsettled(), [0]);
        };
        tokio::join!(rig.see_to_the_end(), watch);
        assert_eq!(begin.elapsed().as_secs(), 20 + CANCEL_MARGIN_SECONDS);
        for host in 0..2 {
            assert_eq!(
                (&rig.entry(host)["retcode"], &rig.entry(host)["detail"]),
                (&205.into(), &UNCONFIRMED.into())
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_host_has_longer_than_the_request() {
        let rig = Rig::new(&[3]);
        let _sent = rig.heard(0);
        let begin = Instant::now();
        cancel(&rig.hub, &rig.request, &rig.hosts, begin + Duration::from_secs(2)).await;
        assert_eq!((begin.elapsed().as_secs(), &rig.entry(0)["retcode"]), (2, &205.into()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_that_confirms_is_not_waited_for_any_longer() {
        let rig = Rig::new(&[3]);
        let _sent = rig.heard(0);
        rig.request.cancel();
        let begin = Instant::now();
        let agent = async {
            sleep(Duration::from_secs(1)).await;
            let call = rig.heard(0);
            assert_eq!((&call["method"], &call["job"]), (&"job.cancel".into(), &"r".into()));
            let id = call["id"].as_str().unwrap().to_owned();
            assert!(rig.links[0].answered(&Reply::new("r", Outcome::new(Retcode::Cancelled)), |_| {}));
            id
        };
        let ((), id) = tokio::join!(rig.see_to_the_end(), agent);
        assert_eq!((begin.elapsed().as_secs(), &rig.entry(0)["retcode"]), (1, &3108.into()));
        let confirmation = Reply::new(id, Outcome::new(Retcode::NormalTermination));
        assert!(!rig.links[0].answered(&confirmation, |_| {}), "nobody waits for what is known already");
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_takes_over_from_a_caller_that_hung_up_goes_on_with_it() {
        let rig = Rig::new(&[3]);
        let _sent = rig.heard(0);
        rig.request.cancel();
        timeout(Duration::from_secs(1), rig.see_to_the_end()).await.unwrap_err();
        let limit = Duration::from_secs(3 + CANCEL_MARGIN_SECONDS + 1);
        timeout(limit, rig.see_to_the_end()).await.expect("not only at the deadline");
        assert_eq!(rig.entry(0)["retcode"], 205);
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_that_says_no_is_quoted() {
        for (retcode, detail) in [
            (Retcode::NotFound, "the host says that it does not run this request"),
            (Retcode::UnknownMethod, "the host did not cancel it (3022 Unknown method)"),
        ] {
            let rig = Rig::new(&[3]);
            let _sent = rig.heard(0);
            rig.request.cancel();
            let agent = async {
                sleep(Duration::from_secs(1)).await;
                let id = rig.heard(0)["id"].as_str().unwrap().to_owned();
                rig.links[0].answered(&Reply::new(id, Outcome::new(retcode)), |_| {});
            };
            tokio::join!(timeout(Duration::from_secs(2), rig.see_to_the_end()), agent).0.unwrap();
            let entry = rig.entry(0);
            assert_eq!(entry["retcode"], 205);
            assert!(entry["detail"].as_str().unwrap().starts_with(detail), "{entry}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_not_left_is_cancelled_before_delivery() {
        let rig = Rig::new(&[3, 3]);
        let _sent = rig.heard(1);
        rig.request.cancel();
        let agent = async {
            sleep(Duration::from_secs(1)).await;
            assert_eq!(rig.links[0].pop(), None, "the host never hears of it");
            rig.links[1].answered(&Reply::new("r", Outcome::new(Retcode::Cancelled)), |_| {});
        };
        tokio::join!(rig.see_to_the_end(), agent);
        assert_eq!((&rig.entry(0)["retcode"], &rig.entry(1)["retcode"]), (&207.into(), &3108.into()));
    }
}
