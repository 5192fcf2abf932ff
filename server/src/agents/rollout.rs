//! Drives a rollout: begins its hosts as [`Rollout`] says, and sees to it that
//! each has its final state. A host is not begun before the database knows
//! that it may have been.

use super::cancel::cancel;
use super::dispatch::{Hosts, give_up, not_sent};
use crate::app::App;
use crate::clock;
use crate::hosts::Term;
use crate::limits;
use crate::requests::rollout::{CANCELLED, Plan, Reason, Rollout};
use crate::requests::{Asked, Live, ReplyTo, record};
use crate::store::StoreError;
use crate::unbroken::to_the_end;
use aspire_wire::{Outcome, Retcode};
use bytes::Bytes;
use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};

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
        let app = self.app.clone();
        let record = || {
            let app = app.clone();
            async move { record::record_all(&app.requests, &app.store).await }
        };
        self.written(record).await;
        loop {
            if self.request.is_cancelled() {
                return self.cancel().await;
            }
            let now = self.begun.elapsed();
            self.see_to_late(now);
            if let Some(reason) = self.rollout.why_to_stop(now) {
                self.stop(reason);
            }
            let next = self.rollout.begin(now);
            if !next.is_empty() {
                self.send(next).await;
            } else if self.rollout.is_over() {
                return;
            } else {
                self.wait(self.rollout.wakes()).await;
            }
        }
    }

    /// Gives up those whose time to answer is over.
    fn see_to_late(&mut self, now: Duration) {
        self.take_in();
        for position in self.rollout.late(now) {
            let outcome = Outcome::new(Retcode::NoReplyInTime);
            give_up(&self.app.hub, &self.request, &self.sending.hosts, position, &outcome);
        }
        self.take_in();
    }

    /// Whether the database has taken what must be there before hosts are begun. What fails is tried
    /// again until they are not begun any more; the database's own time keeps nothing else waiting.
    async fn written<W>(&mut self, write: impl Fn() -> W) -> bool
    where
        W: Future<Output = Result<(), StoreError>> + Send + 'static,
    {
        let request = self.request.clone();
        let mut writing = pin!(async {
            while let Err(error) = to_the_end(write()).await {
                tracing::error!(%error, request = &*request.head.id, "a rollout waits: nothing is stored");
                sleep(limits::RECORD_RETRY).await;
            }
        });
        let begun = self.begun.elapsed();
        loop {
            tokio::select! {
                biased;
                () = self.request.cancelled() => return false,
                () = &mut writing => return true,
                () = self.wait(self.rollout.runs_out()) => {}
            }
            let now = self.begun.elapsed();
            self.see_to_late(now);
            if let Some(reason) = self.rollout.why_none_is_begun(now) {
                let unstored = reason != Reason::Errors && now.saturating_sub(begun) >= limits::RECORD_RETRY;
                self.stop(if unstored { Reason::Storage } else { reason });
                return false;
            }
            if self.request.stopped().is_some() {
                return false;
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
        let (app, request, hosts) = (self.app.clone(), self.request.clone(), positions.end);
        let mark = || {
            let (store, id) = (app.store.clone(), request.head.id.clone());
            async move { store.mark_begun(&id, hosts).await }
        };
        if !self.written(mark).await {
            return;
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

    /// Waits for what comes next, until `wakes` at most.
    async fn wait(&self, wakes: Option<Duration>) {
        let wakes = wakes.map(|wakes| self.begun + wakes);
        tokio::select! {
            biased;
            () = self.request.cancelled() => {}
            () = self.request.settles_after(self.seen) => {}
            () = sleep_until(wakes.unwrap_or(self.begun)), if wakes.is_some() => {}
        }
    }

    async fn cancel(mut self) {
        self.stop(Reason::Cancelled);
        let left = u64::try_from(self.request.head.deadline - clock::now()).unwrap_or(0);
        let deadline = Instant::now() + Duration::from_millis(left);
        cancel(&self.app.hub, &self.request, &self.sending.hosts, deadline).await;
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
            Reason::Cancelled => CANCELLED.into(),
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
    use crate::agents::samples::{app, begun, begun_as, host};
    use std::net::SocketAddr;
    use tempfile::TempDir;
    use tokio::task::yield_now;
    use tokio::time::pause;

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
        let earliest = Instant::now();
        let sending = Sending { frame, hosts: hosts.into_iter().map(Some).collect(), term };
        begin(&app, &request, plan, sending);
        for link in &links {
            while link.pop().is_none() {
                yield_now().await;
            }
        }
        // Both have it: from here on time passes as soon as nothing else is to be done.
        pause();
        let latest = Instant::now();
        // Each was begun between these two, however long that took; the clock's own step is 1 ms.
        let is_after = |seconds| {
            let after = Duration::from_secs(seconds);
            let step = Duration::from_millis(5);
            assert!((earliest + after..latest + after + step).contains(&Instant::now()), "{seconds}");
        };
        request.settles_after(0).await;
        assert_eq!(request.settled_after(0), [(1, false)]);
        is_after(10 + 2 * 3 + 30);
        request.ended().await;
        is_after(10 + 2 * 20 + 30);
        let retcodes = request.results().0.iter().map(|settled| settled.retcode).collect::<Vec<_>>();
        assert_eq!(retcodes, [Retcode::NoReplyInTime.code(); 2]);
    }

    #[tokio::test]
    async fn one_whose_hosts_end_sooner_than_they_are_begun_can_be_cancelled() {
        const HOSTS: usize = 500;
        let dir = TempDir::new().unwrap();
        let app = app(&dir).await;
        let plan = Plan { batch: 1, ramp: false, max_errors: None, pause: 0, ttl: None };
        let request = begun_as(&app.requests, "r", HOSTS, Some(plan));
        // Nobody knows these: the place of each is free at once.
        let (frame, term) = (Bytes::from_static(b"{}\n"), Term::Command { timeout: None });
        let sending = Sending { frame, hosts: vec![None; HOSTS], term };
        begin(&app, &request, plan, sending);
        request.settles_after(2).await;
        request.cancel();
        request.ended().await;
        let stopped = request.stopped().expect("it was cancelled before the last host");
        let results = request.results().0;
        let not_begun = results.iter().filter(|settled| settled.retcode == 207).count();
        assert_eq!((stopped.reason, stopped.not_begun), (Reason::Cancelled, not_begun));
        assert!(not_begun > HOSTS / 2, "{not_begun}");
    }
}
