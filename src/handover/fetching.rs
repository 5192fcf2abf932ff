//! The package comes here, while the boot that is there goes on.

use super::plan::{Job, Paths, Release};
use crate::daemon::DaemonSettings;
use crate::machine::limits::{FETCH_TIMEOUT, PACKAGE_BYTES, RESTART_DELAY_MAX, RESTART_DELAY_MIN};
use crate::machine::{Content, Effects, Event, Instant, Now, Placed, Task};
use crate::task::PendingTask;
use crate::wire::{DaemonInit, Outcome, Retcode};
use aspire_package::{Error, Fetch, Fetched};
use std::time::Duration;

/// What is to come.
#[derive(Debug)]
pub(super) struct Order {
    pub job: Job,
    pub release: Release,
    fetch: Fetch,
    /// In which it is to be here.
    timeout: Duration,
}

#[derive(Debug)]
pub(super) struct Fetching {
    pub order: Order,
    until: Instant,
    /// Or when the next begins.
    attempt: Result<PendingTask<Result<Fetched, Error>>, Instant>,
    pause: Duration,
}

impl Order {
    pub fn new(
        job: Job,
        init: &DaemonInit,
        paths: &Paths,
        settings: &DaemonSettings,
        timeout: Duration,
    ) -> Order {
        // Named by its version and its checksum, as those of any agent.
        let file = settings.package(init);
        let to = paths.packages().join(file.file_name().unwrap_or_default());
        let release = Release {
            version: init.version.clone(),
            checksum: init.checksum.clone(),
            package: Some(to.clone()),
        };
        let fetch = Fetch {
            url: init.url.clone(),
            to,
            checksum: init.checksum.as_ref().and_then(|checksum| checksum.parse().ok()),
            most_bytes: PACKAGE_BYTES,
            identity: settings.is_own_server(&init.url).then(|| settings.tls.clone()),
        };
        Order { job, release, fetch, timeout }
    }

    /// Has what is here of it removed.
    pub fn clear(&self, now: Now, fx: &mut Effects) -> PendingTask<()> {
        let beside = |ending: &str| {
            let mut name = self.fetch.to.as_os_str().to_owned();
            name.push(ending);
            Placed { to: name.into(), content: Content::Nothing, mode: 0 }
        };
        PendingTask::start(now, Task::Place(["", ".part", ".part.origin"].map(beside).into()), fx)
    }
}

impl Fetching {
    pub fn begin(now: Now, order: Order, fx: &mut Effects) -> Fetching {
        let until = now.mono + order.timeout;
        let attempt = Ok(attempt(now, &order, until, fx));
        Fetching { order, until, attempt, pause: RESTART_DELAY_MIN }
    }

    pub fn deadline(&self) -> Instant {
        match &self.attempt {
            Ok(task) => task.deadline(),
            Err(again) => *again,
        }
    }

    /// Takes in an event. `Some` is the end: it is here, or why not.
    pub fn handle(&mut self, now: Now, event: &Event<'_>, fx: &mut Effects) -> Option<Result<(), Outcome>> {
        let ended = match &mut self.attempt {
            Ok(task) if super::is_for(event, task.child()) => task.handle(now, event, fx)?,
            Err(again) if now.mono >= *again => {
                self.attempt = Ok(attempt(now, &self.order, self.until, fx));
                return None;
            }
            _ => return None,
        };
        let (retcode, reason) = match ended {
            Ok(Ok(_)) => return Some(Ok(())),
            Ok(Err(error)) => (error.retcode(), error.to_string()),
            Err(reason) => {
                let url = aspire_package::without_login(&self.order.fetch.url);
                (Retcode::DownloadFailed, format!("{url}: {reason}"))
            }
        };
        // A server that is away comes back; a file that is another one does not become the right one.
        let again = now.mono + self.pause;
        if retcode != Retcode::DownloadFailed || again >= self.until {
            return Some(Err(Outcome::with_detail(retcode, reason)));
        }
        log::warn!("upgrade=not_fetched reason={reason:?} again_in={}", self.pause.as_secs());
        self.pause = (2 * self.pause).min(RESTART_DELAY_MAX);
        self.attempt = Err(again);
        None
    }
}

fn attempt(now: Now, order: &Order, until: Instant, fx: &mut Effects) -> PendingTask<Result<Fetched, Error>> {
    let time = FETCH_TIMEOUT.min(until.since(now.mono));
    PendingTask::start_within(now, Task::Fetch(order.fetch.clone()), time, fx)
}
