//! What the commands of jobs write while they run, for whoever follows one. A
//! log is kept while the link lives by which its pieces come and until the
//! result is stored: what it holds is the beginning of what the result has,
//! or of what an earlier attempt wrote.

use super::Whose;
use crate::limits;
use crate::requests::Target;
use crate::requests::output::{self, Allowance};
use aspire_wire::session::Output;
use aspire_wire::{JobNotice, JobState};
use bytes::Bytes;
use serde::Serialize;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::Notify;
use uuid::Uuid;

/// See the module.
#[derive(Debug, Default)]
pub struct Logs {
    hosts: Mutex<HashMap<String, HashMap<String, Arc<Log>>>>,
    /// Bytes of all logs together.
    held_bytes: Arc<AtomicUsize>,
    /// Jobs whose pieces are kept.
    kept: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct Log {
    progress: Mutex<Progress>,
    /// It has grown, or ended.
    arrival: Notify,
    held_bytes: Arc<AtomicUsize>,
    kept: Option<Arc<AtomicUsize>>,
}

#[derive(Debug)]
struct Progress {
    /// Lines of JSON.
    lines: Vec<Bytes>,
    held: usize,
    allowance: Allowance,
    attempts: u32,
    /// Nothing more comes of it; where it ended well, the result is in the database.
    ended: bool,
}

/// Somebody who follows a job. See [`Watch::since`].
#[derive(Debug)]
pub struct Watch {
    logs: Arc<Logs>,
    host: String,
    job: String,
    log: Arc<Log>,
}

impl Logs {
    /// The host has taken the job on and will send what its command writes.
    pub fn begin(&self, target: &Target, job: &str) {
        if self.kept.load(Ordering::Relaxed) >= limits::MAX_JOB_LOGS {
            return;
        }
        let mut hosts = self.hosts();
        let jobs = hosts.entry(target.host.clone()).or_default();
        let new = || {
            Log::new(&self.held_bytes, Allowance::of(1, limits::MAX_OUTPUT_BYTES_PER_JOB), Some(&self.kept))
        };
        jobs.entry(job.to_owned()).or_insert_with(new);
    }

    /// Passes a piece on. Whether it was; once one is not, none of the same stream is any more.
    pub fn output(&self, target: &Target, piece: &Output) -> bool {
        self.find(&target.host, &piece.id).is_some_and(|log| log.output(target, piece))
    }

    /// Passes on where the job is; a new attempt writes anew.
    pub fn noticed(&self, target: &Target, notice: &JobNotice) {
        if let Some(log) = self.find(&target.host, &notice.id) {
            log.noticed(target, notice);
        }
    }

    /// The job's result is in the database.
    pub fn ended(&self, host: Uuid, job: &str) {
        let host = host.to_string();
        let mut hosts = self.hosts();
        let Some(jobs) = hosts.get_mut(&host) else { return };
        if let Some(log) = jobs.remove(job) {
            log.end();
        }
        if jobs.is_empty() {
            hosts.remove(&host);
        }
    }

    /// The link has ended by which this host's pieces came, or another has taken its place: some
    /// may be lost, so none follow, and what nobody reads is given up.
    pub fn link_ended(&self, host: Uuid) {
        let host = host.to_string();
        let mut hosts = self.hosts();
        let Some(jobs) = hosts.get_mut(&host) else { return };
        jobs.retain(|_, log| {
            log.progress().allowance = Allowance::none();
            Arc::strong_count(log) > 1
        });
        if jobs.is_empty() {
            hosts.remove(&host);
        }
    }

    /// The server stops: nobody follows anything any longer.
    pub fn stop(&self) {
        for log in self.hosts().drain().flat_map(|(_, jobs)| jobs.into_values()) {
            log.end();
        }
    }

    /// Follows a job, whether its pieces are kept or not.
    pub fn watch(self: &Arc<Self>, host: Uuid, job: &str) -> Watch {
        let host = host.to_string();
        let mut hosts = self.hosts();
        let jobs = hosts.entry(host.clone()).or_default();
        let new = || Log::new(&self.held_bytes, Allowance::none(), None);
        let log = jobs.entry(job.to_owned()).or_insert_with(new).clone();
        drop(hosts);
        Watch { logs: self.clone(), host, job: job.to_owned(), log }
    }

    fn find(&self, host: &str, job: &str) -> Option<Arc<Log>> {
        self.hosts().get(host)?.get(job).cloned()
    }

    fn hosts(&self) -> MutexGuard<'_, HashMap<String, HashMap<String, Arc<Log>>>> {
        self.hosts.lock().expect("nothing panics while it holds the logs")
    }
}

impl Watch {
    /// The next lines after the first `cursor` ones; waits for one, and answers `None` when there
    /// are no more.
    pub async fn since(&self, cursor: usize) -> Option<Vec<Bytes>> {
        loop {
            let mut notified = std::pin::pin!(self.log.arrival.notified());
            notified.as_mut().enable();
            {
                let progress = self.log.progress();
                let new = progress.lines[cursor..].iter().take(limits::MAX_LINES_PER_CHUNK);
                let new: Vec<_> = new.cloned().collect();
                if !new.is_empty() {
                    return Some(new);
                }
                if progress.ended {
                    return None;
                }
            }
            notified.await;
        }
    }
}

impl Drop for Watch {
    /// A log without pieces was there for its readers alone.
    fn drop(&mut self) {
        let mut hosts = self.logs.hosts();
        let Some(jobs) = hosts.get_mut(&self.host) else { return };
        let last = Arc::strong_count(&self.log) <= 2 && self.log.progress().allowance.is_none();
        if last && jobs.get(&self.job).is_some_and(|log| Arc::ptr_eq(log, &self.log)) {
            jobs.remove(&self.job);
        }
        if jobs.is_empty() {
            hosts.remove(&self.host);
        }
    }
}

impl Log {
    fn new(held_bytes: &Arc<AtomicUsize>, allowance: Allowance, kept: Option<&Arc<AtomicUsize>>) -> Arc<Log> {
        if let Some(kept) = kept {
            kept.fetch_add(1, Ordering::Relaxed);
        }
        let progress = Progress { lines: Vec::new(), held: 0, allowance, attempts: 0, ended: false };
        Arc::new(Log {
            progress: Mutex::new(progress),
            arrival: Notify::new(),
            held_bytes: held_bytes.clone(),
            kept: kept.cloned(),
        })
    }

    fn output(&self, target: &Target, piece: &Output) -> bool {
        let length = output::length(piece);
        let mut progress = self.progress();
        if !progress.allowance.takes(0, piece.stream, length) {
            return false;
        }
        let line = output::line(&Whose { target, job: &piece.id }, piece);
        let taken = self.push(&mut progress, line);
        drop(progress);
        self.arrival.notify_waiters();
        taken
    }

    fn noticed(&self, target: &Target, notice: &JobNotice) {
        #[derive(Serialize)]
        struct Line<'a> {
            #[serde(flatten)]
            whose: Whose<'a>,
            method: &'static str,
            state: JobState,
            attempts: u32,
        }
        let mut progress = self.progress();
        if progress.allowance.is_none() {
            return;
        }
        let before = std::mem::replace(&mut progress.attempts, notice.attempts);
        if (1..notice.attempts).contains(&before) {
            progress.allowance.renew();
        }
        let whose = Whose { target, job: &notice.id };
        let line = Line { whose, method: "job", state: notice.state, attempts: notice.attempts };
        let line = aspire_wire::frame::encode(&line).into();
        self.push(&mut progress, line);
        drop(progress);
        self.arrival.notify_waiters();
    }

    /// Adds the line where there is room for it; where there is not, none follows.
    fn push(&self, progress: &mut Progress, line: Bytes) -> bool {
        let cost = line.len() + limits::OUTPUT_LINE_BYTES;
        let room = limits::MAX_JOB_OUTPUT_BYTES.saturating_sub(self.held_bytes.load(Ordering::Relaxed));
        if cost > room || !progress.allowance.affords(cost) {
            progress.allowance = Allowance::none();
            return false;
        }
        self.held_bytes.fetch_add(cost, Ordering::Relaxed);
        progress.held += cost;
        progress.lines.push(line);
        true
    }

    fn end(&self) {
        let mut progress = self.progress();
        progress.ended = true;
        progress.allowance = Allowance::none();
        drop(progress);
        self.arrival.notify_waiters();
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().expect("nothing panics while it holds a log")
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let held = self.progress().held;
        self.held_bytes.fetch_sub(held, Ordering::Relaxed);
        if let Some(kept) = &self.kept {
            kept.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aspire_wire::session::StreamName::Stdout;

    const HOST: Uuid = Uuid::from_u128(1);

    fn target() -> Target {
        Target { host: HOST.to_string(), name: None }
    }

    fn piece(job: &str, bytes: usize) -> Output {
        Output::new(job, Stdout, &vec![b'x'; bytes])
    }

    fn running(attempts: u32) -> JobNotice {
        JobNotice { id: "j".into(), state: JobState::Running, attempts, cron: None }
    }

    #[test]
    fn one_job_has_so_much_memory_through_all_its_attempts() {
        let logs = Logs::default();
        logs.begin(&target(), "j");
        for attempt in 1..100 {
            logs.noticed(&target(), &running(attempt));
            logs.output(&target(), &piece("j", limits::MAX_OUTPUT_BYTES_PER_STREAM));
        }
        let held = logs.held_bytes.load(Ordering::Relaxed);
        assert!(held <= limits::MAX_OUTPUT_BYTES_PER_JOB, "{held}");
        assert!(held > limits::MAX_OUTPUT_BYTES_PER_JOB - 2 * limits::MAX_OUTPUT_BYTES_PER_STREAM, "{held}");
        logs.ended(HOST, "j");
        assert_eq!((logs.held_bytes.load(Ordering::Relaxed), logs.kept.load(Ordering::Relaxed)), (0, 0));
        assert!(logs.hosts().is_empty());
    }

    #[test]
    fn all_jobs_together_are_bounded_in_bytes_and_in_number() {
        let logs = Logs::default();
        for n in 0..=limits::MAX_JOB_LOGS {
            logs.begin(&target(), &n.to_string());
        }
        assert_eq!(logs.kept.load(Ordering::Relaxed), limits::MAX_JOB_LOGS);
        let full = limits::MAX_OUTPUT_BYTES_PER_STREAM;
        let taken = (0..2000).filter(|n: &i32| logs.output(&target(), &piece(&n.to_string(), full))).count();
        assert!((900..=1024).contains(&taken), "{taken}");
        assert!(logs.held_bytes.load(Ordering::Relaxed) <= limits::MAX_JOB_OUTPUT_BYTES);
        logs.link_ended(HOST);
        assert_eq!(logs.held_bytes.load(Ordering::Relaxed), 0, "nobody reads it");
    }

    #[tokio::test]
    async fn whoever_only_looks_leaves_nothing_behind() {
        let logs = Arc::new(Logs::default());
        let (one, other) = (logs.watch(HOST, "j"), logs.watch(HOST, "j"));
        assert!(!logs.output(&target(), &piece("j", 1)), "it does not stream");
        drop(one);
        assert!(!logs.hosts().is_empty(), "somebody still looks");
        drop(other);
        assert!(logs.hosts().is_empty());
        logs.begin(&target(), "j");
        drop(logs.watch(HOST, "j"));
        assert!(logs.output(&target(), &piece("j", 1)), "what streams is kept for whoever comes later");
        let watch = logs.watch(HOST, "j");
        logs.ended(HOST, "j");
        assert_eq!(watch.since(0).await.unwrap().len(), 1);
        assert!(watch.since(1).await.is_none());
    }
}
