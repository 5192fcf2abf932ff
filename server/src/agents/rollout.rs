//! Drives a rollout: begins its hosts as [`Rollout`] says, and sees to it that
//! each has its final state. A host is not begun before the database knows
//! that it may have been.

use super::cancel::cancel;
use super::dispatch::{Hosts, give_up, not_sent};
use crate::app::App;
use crate::clock;
use crate::hosts::Term;
use crate::requests::rollout::{Plan, Reason, Rollout};
use crate::requests::{Asked, Live, ReplyTo, record};
use crate::store::StoreError;
use aspire_wire::{Outcome, Retcode};
use bytes::Bytes;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// Begins it. Returns at once; the results come to the request, whether anybody waits for them or not.
pub fn begin(app: &Arc<App>, request: &Arc<Live>, plan: Plan, sending: Sending) {
    let left = u64::try_from(request.head.deadline - clock::now()).unwrap_or(0);
    let hosts = u32::try_from(sending.hosts.len()).expect("a request is for far fewer hosts");
    let drive = Drive {
        app: app.clone(),
        request: request.clone(),
        rollout: Rollout::new(plan, hosts, Duration::from_millis(left)),
        plan,
        sending,
        begun: Instant::now(),
        seen: 0,
    };
    tokio::spawn(drive.run());
}

/// What is sent, to whom.
pub struct Sending {
    pub frame: Bytes,
    /// The request's targets in their order.
    pub hosts: Hosts,
    /// How long each has for its answer, from when it is begun.
    pub term: Term,
}

struct Drive {
    app: Arc<App>,
    request: Arc<Live>,
    rollout: Rollout,
    plan: Plan,
    sending: Sending,
    begun: Instant,
    /// How many of the request's final states the rollout knows of.
    seen: usize,
}

impl Drive {
    async fn run(mut self) {
        // The row of which `begun` is a part.
        if let Err(error) = record::record_all(&self.app.requests, &self.app.store).await {
            self.stop_for_storage(&error);
        }
        loop {
            self.take_in();
            let now = self.begun.elapsed();
            for position in self.rollout.late(now) {
                let outcome = Outcome::new(Retcode::NoReplyInTime);
                give_up(&self.app.hub, &self.request, &self.sending.hosts, position, &outcome);
            }
            self.take_in();
            if let Some(reason) = self.rollout.why_to_stop(now) {
                self.stop(reason);
            }
            let next = self.rollout.begin(now);
            if !next.is_empty() {
                self.send(next).await;
            } else if self.rollout.is_over() {
                return;
            } else if self.is_cancelled_first().await {
                return self.cancel().await;
            }
        }
    }

    /// Tells the rollout of whom has a final state by now.
    fn take_in(&mut self) {
        let now = self.begun.elapsed();
        for (position, success) in self.request.settled_after(self.seen) {
            self.rollout.ended(position, success, now);
            self.seen += 1;
        }
    }

    async fn send(&mut self, positions: Range<u32>) {
        if let Err(error) = self.app.store.mark_begun(&self.request.head.id, positions.end).await {
            return self.stop_for_storage(&error);
        }
        for position in positions {
            let host = self.sending.hosts[position as usize].clone();
            let linked = host.as_ref().is_some_and(|host| self.app.hub.link(host.id).is_some());
            if !self.request.begin(position, linked) {
                continue;
            }
            let to = ReplyTo::Live { request: self.request.clone(), position, asked: Asked::Request };
            let sent = match &host {
                None => Err(Outcome::new(Retcode::NoSuchHost)),
                Some(host) => {
                    let sent = self.app.hub.send(host.id, &self.request.head.id, &self.sending.frame, to);
                    sent.map(|()| host.state().greeting.patience.answer(self.sending.term)).map_err(not_sent)
                }
            };
            match sent {
                Ok(seconds) => {
                    self.rollout.sent(position, self.begun.elapsed() + Duration::from_secs(seconds));
                }
                Err(outcome) => {
                    self.rollout.undelivered(position);
                    self.request.settle(position, &outcome);
                }
            }
        }
    }

    /// Waits for what comes next. Whether that is that somebody cancels it.
    async fn is_cancelled_first(&self) -> bool {
        let wakes = self.rollout.wakes().map(|wakes| self.begun + wakes);
        tokio::select! {
            () = self.request.settles_after(self.seen) => false,
            () = self.request.cancelled() => true,
            () = sleep_until(wakes.unwrap_or(self.begun)), if wakes.is_some() => false,
        }
    }

    async fn cancel(mut self) {
        self.stop(Reason::Cancelled);
        let left = u64::try_from(self.request.head.deadline - clock::now()).unwrap_or(0);
        let deadline = Instant::now() + Duration::from_millis(left);
        cancel(&self.app.hub, &self.request, &self.sending.hosts, deadline).await;
    }

    fn stop_for_storage(&mut self, error: &StoreError) {
        tracing::error!(%error, request = &*self.request.head.id, "a rollout stopped: nothing can be stored");
        self.stop(Reason::Storage);
    }

    fn stop(&mut self, reason: Reason) {
        let not_begun = self.rollout.stop().len();
        let detail = self.why(reason);
        tracing::warn!(request = &*self.request.head.id, not_begun, "a rollout ended early: {detail}");
        self.request.stop(reason, &detail);
    }

    fn why(&self, reason: Reason) -> String {
        let Plan { max_errors, ttl, .. } = self.plan;
        match reason {
            Reason::Errors => {
                let errors = self.rollout.errors();
                let noun = if errors == 1 { "error" } else { "errors" };
                format!("the rollout stopped after {errors} {noun} (max_errors {})", max_errors.unwrap_or(0))
            }
            Reason::Ttl => format!("its turn did not come within {} seconds (ttl)", ttl.unwrap_or(0)),
            Reason::Deadline => "the request's deadline came first".into(),
            Reason::Cancelled => "the request was cancelled".into(),
            Reason::Shutdown => crate::app::STOPPING.into(),
            Reason::Restart => "polaris was restarted".into(),
            Reason::Storage => "the database did not answer".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agents::link::Link;
    use crate::agents::samples::{app, begun, host};
    use std::net::SocketAddr;
    use tempfile::TempDir;
    use tokio::time::{pause, sleep};

    #[tokio::test]
    async fn each_host_has_its_own_time_to_answer_from_when_it_was_begun() {
        let dir = TempDir::new().unwrap();
        let app = app(&dir).await;
        let hosts = [host(20), host(3)];
        let links = hosts.each_ref().map(|host| {
            let link = Arc::new(Link::new(host.clone(), SocketAddr::from(([127, 0, 0, 1], 1))));
            app.hub.register(&link, None, || {});
            link
        });
        let request = begun(&app.requests, "r", 2);
        let plan = Plan { batch: 2, ramp: false, max_errors: None, pause: 0, ttl: None };
        let (frame, term) = (Bytes::from_static(b"{}\n"), Term::Command { timeout: Some(10) });
        let begin = Instant::now();
        let sending = Sending { frame, hosts: hosts.into_iter().map(Some).collect(), term };
        super::begin(&app, &request, plan, sending);
        for link in &links {
            while link.pop().is_none() {
                sleep(Duration::from_millis(1)).await;
            }
        }
        // Both have it: from here on time passes as soon as nothing else is to be done.
        pause();
        request.settles_after(0).await;
        assert_eq!(request.settled_after(0), [(1, false)]);
        assert!((46..60).contains(&begin.elapsed().as_secs()), "{:?}", begin.elapsed());
        request.ended().await;
        assert!((80..90).contains(&begin.elapsed().as_secs()), "{:?}", begin.elapsed());
        let retcodes = request.results().0.iter().map(|settled| settled.retcode).collect::<Vec<_>>();
        assert_eq!(retcodes, [Retcode::NoReplyInTime.code(); 2]);
    }
}
