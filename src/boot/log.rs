//! What the log says: one line for each thing that happens, said once.

use super::jobs::Fact;
use super::talk::Due;
use super::{Boot, ConfigSource, version};
use crate::daemon::Daemons;
use crate::machine::Now;
use crate::store::{KeptResult, StoreError};
use crate::wire::boot::StatusAnswer;
use crate::wire::server_list::Server;
use crate::wire::{DaemonStatus, DaemonTold, Outcome};
use log::{debug, error, info, warn};
use std::path::Path;
use std::time::Duration;

pub fn restored(daemons: &Daemons, jobs: usize) {
    info!("store=open agents={} jobs={jobs}", daemons.count());
    for name in daemons.unreadable() {
        warn!("agent=left_out name={name:?} reason=\"its definition cannot be read; install it anew\"");
    }
}

pub fn stopping(jobs: usize) {
    info!("agent=stopping jobs={jobs} agents=\"go on\"");
}

pub fn config_refused(reason: &str) {
    error!("config=refused reason={reason:?} kept=\"the one before\"");
}

pub fn config_reloaded(source: &ConfigSource) {
    info!("config=reloaded file={:?}", source.path.display());
}

pub fn kept_places() {
    warn!("agents=settings kept=\"dir, log, run\" reason=\"others take effect at the next start\"");
}

pub fn kept_store(path: &Path) {
    warn!("store=kept file={} reason=\"another takes effect at the next start\"", path.display());
}

pub fn store_failed(what: &str, error: &StoreError) {
    warn!("store=failed what={what} reason={:?}", error.to_string());
}

pub fn answered(server: &Server, answer: &StatusAnswer, is_new: bool) {
    let (errcode, jobs) = (answer.errcode, answer.jobs.len());
    match &answer.message {
        Some(message) if !answer.is_ok() => {
            warn!("report=refused server={server} errcode={errcode} jobs={jobs} message={message:?}");
        }
        Some(message) => info!("report=answered server={server} jobs={jobs} message={message:?}"),
        None if !answer.is_ok() => warn!("report=refused server={server} errcode={errcode} jobs={jobs}"),
        None if is_new || jobs > 0 => info!("report=answered server={server} jobs={jobs}"),
        None => debug!("report=answered server={server}"),
    }
}

pub fn told(server: &Server, results: &[KeptResult]) {
    for KeptResult { id, errcode, .. } in results {
        info!("result=told server={server} id={id:?} errcode={errcode}");
    }
}

pub fn not_heard(what: Due, reason: &str, wait: Duration) {
    let what = match what {
        Due::Report => "report",
        Due::Results => "result",
    };
    warn!("{what}=untold reason={reason:?} next_try={:.0}s", wait.as_secs_f64());
}

pub fn job(fact: &Fact) {
    match fact {
        Fact::Taken(key) => info!("job=taken id={:?} action={:?} name={:?}", key.id, key.action, key.name),
        Fact::Begun(key) => info!("job=begun id={:?} action={:?} name={:?}", key.id, key.action, key.name),
        Fact::Failing(key, why) => {
            warn!("job=undone id={:?} action={:?} name={:?} reason={why:?}", key.id, key.action, key.name);
        }
        Fact::Ended(key, end) if end.errcode == 0 => {
            info!("job=ended id={:?} action={:?} name={:?} errcode=0", key.id, key.action, key.name);
        }
        Fact::Ended(key, end) => warn!(
            "job=ended id={:?} action={:?} name={:?} errcode={} reason={:?}",
            key.id, key.action, key.name, end.errcode, end.message
        ),
        Fact::Left(key, why) => {
            warn!("job=left id={:?} action={:?} name={:?} reason={why:?}", key.id, key.action, key.name);
        }
        Fact::Accepted(key) => {
            info!("job=accepted id={:?} action={:?} name={:?}", key.id, key.action, key.name);
        }
        Fact::ToldAgain | Fact::Configured => {}
        Fact::StoreFailed(error) => store_failed("jobs", error),
    }
}

pub fn agent_changed(told: &DaemonTold, outcome: &Outcome) {
    let DaemonTold { name, version, status, restarts, .. } = told;
    let pid = told.pid.unwrap_or_default();
    let reason = outcome.detail.as_deref().unwrap_or_default();
    match (status, outcome.is_success()) {
        (DaemonStatus::Fatal, _) => error!(
            "agent={name:?} status=fatal version={version:?} restarts={restarts} reason={reason:?} \
             until=\"it is started, restarted or installed anew\""
        ),
        (_, false) => warn!(
            "agent={name:?} status={status} version={version:?} restarts={restarts} retcode={} \
             reason={reason:?}",
            outcome.retcode
        ),
        _ if told.removed => info!("agent={name:?} status=removed version={version:?}"),
        _ => info!("agent={name:?} status={status} version={version:?} pid={pid} restarts={restarts}"),
    }
}

impl Boot {
    pub(super) fn log_status(&self, now: Now) {
        info!(
            "agent=status version={} uptime={}s agents={} jobs={} servers={} step={}s reports={} next={}s",
            version(),
            now.mono.since(self.started).as_secs(),
            self.daemons.count(),
            self.jobs.len(),
            self.servers().len(),
            self.step(),
            if self.talk.is_failing() { "untold" } else { "told" },
            self.talk.deadline().since(now.mono).as_secs(),
        );
    }
}
