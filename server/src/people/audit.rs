//! The audit log on its way to the database: a queue with room for so many entries, and whoever
//! writes them, many at a time. What is to be written there takes its place before it begins, so
//! that nothing is done of which no record could be kept.

use super::{Key, Limiter};
use crate::clock::EpochMs;
use crate::limits::{
    AUDIT_FLUSH_LIMIT, AUDIT_LINGER, AUDIT_REFUSALS, AUDIT_REFUSALS_EVERY, MAX_AUDIT_QUEUED,
    MAX_ROWS_PER_COMMIT, RECORD_RETRY,
};
use crate::problem::Problem;
use crate::store::Store;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Instant;
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio::time::{sleep, timeout};

/// One row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entry {
    /// Grows from row to row; given by the writer.
    pub id: i64,
    pub at: EpochMs,
    /// The user, or who was claimed to be; empty: nobody.
    pub who: String,
    /// The access token's name.
    pub token: Option<String>,
    /// The address that the call came from.
    pub peer: String,
    pub method: String,
    pub path: String,
    /// The method of a request to hosts, or what changed.
    pub what: Option<String>,
    /// JSON object.
    pub detail: Option<String>,
    /// The expression that selected the hosts.
    pub target: Option<String>,
    /// How many.
    pub hosts: i64,
    /// The first of them: JSON list of [`crate::requests::Target`].
    pub named: String,
    /// Under which id it is among the requests.
    pub request: Option<String>,
    /// HTTP; `None`: the caller left before the answer.
    pub status: Option<u16>,
}

/// What goes to the writer.
#[derive(Debug)]
pub enum News {
    Entry(Box<Entry>),
    /// To be told once all that came before is written.
    Flush(oneshot::Sender<()>),
}

/// Room for one entry, which is kept until it is used.
pub type Place = mpsc::OwnedPermit<News>;

/// See the module.
#[derive(Debug)]
pub struct Audit {
    queue: mpsc::Sender<News>,
    writer: Mutex<Writer>,
    /// The last try to write failed.
    failing: AtomicBool,
    /// How many calls of nobody are recorded.
    refusals: Limiter,
    passed_over: AtomicI64,
}

#[derive(Debug)]
struct Writer {
    queue: mpsc::Receiver<News>,
    next: i64,
    /// What was taken and is not written yet.
    entries: Vec<Entry>,
    waiting: Vec<oneshot::Sender<()>>,
}

impl Audit {
    /// `last` is the highest id in the database.
    pub fn new(last: i64) -> Audit {
        let (queue, receiver) = mpsc::channel(MAX_AUDIT_QUEUED);
        let writer = Writer { queue: receiver, next: last + 1, entries: Vec::new(), waiting: Vec::new() };
        Audit {
            queue,
            writer: Mutex::new(writer),
            failing: AtomicBool::new(false),
            refusals: Limiter::new(AUDIT_REFUSALS, AUDIT_REFUSALS_EVERY, 1),
            passed_over: AtomicI64::new(0),
        }
    }

    /// A place for what is about to happen. Without one it must not.
    pub fn place(&self) -> Result<Place, Problem> {
        if self.failing.load(Ordering::Relaxed) {
            return Err(unwritten());
        }
        self.queue.clone().try_reserve_owned().map_err(|_| unwritten())
    }

    /// Whether a call of nobody is recorded, with how many before it were not: anybody can make as
    /// many as he likes.
    pub fn takes_refusal(&self) -> Option<i64> {
        let taken = self.refusals.take(Key::All, Instant::now()).is_ok();
        if !taken {
            self.passed_over.fetch_add(1, Ordering::Relaxed);
        }
        taken.then(|| self.passed_over.swap(0, Ordering::Relaxed))
    }

    /// When this answers, what was queued before is in the database.
    pub async fn flush(&self) -> Result<(), Problem> {
        let (done, wait) = oneshot::channel();
        let flushed = timeout(AUDIT_FLUSH_LIMIT, async {
            self.queue.send(News::Flush(done)).await.ok()?;
            wait.await.ok()
        });
        flushed.await.ok().flatten().ok_or_else(unwritten)
    }
}

/// Writes until `stop` says so. What is left then is [`write_rest`]'s.
pub async fn keep_written(audit: &Audit, store: &Store, mut stop: watch::Receiver<bool>) {
    let mut writer = audit.writer.lock().await;
    loop {
        tokio::select! {
            news = writer.queue.recv() => match news {
                Some(news) => writer.take(news),
                None => return,
            },
            _ = stop.wait_for(|stop| *stop) => return,
        }
        let _ = timeout(AUDIT_LINGER, stop.wait_for(|stop| *stop)).await;
        writer.take_more();
        while let Err(error) = writer.write(store).await {
            audit.failing.store(true, Ordering::Relaxed);
            tracing::error!(%error, "the audit log cannot be written, to be tried again; until then \
                nothing is changed");
            if timeout(RECORD_RETRY, stop.wait_for(|stop| *stop)).await.is_ok() {
                return;
            }
        }
        audit.failing.store(false, Ordering::Relaxed);
    }
}

/// At the end: what [`keep_written`] did not come to.
pub async fn write_rest(audit: &Audit, store: &Store) {
    let mut writer = audit.writer.lock().await;
    loop {
        writer.take_more();
        if writer.entries.is_empty() {
            return;
        }
        if let Err(error) = writer.write(store).await {
            tracing::error!(%error, "the end of the audit log is not written");
            return;
        }
    }
}

impl Writer {
    fn take(&mut self, news: News) {
        match news {
            News::Entry(mut entry) => {
                entry.id = self.next;
                self.next += 1;
                self.entries.push(*entry);
            }
            News::Flush(done) => self.waiting.push(done),
        }
    }

    fn take_more(&mut self) {
        while self.entries.len() < MAX_ROWS_PER_COMMIT
            && let Ok(news) = self.queue.try_recv()
        {
            self.take(news);
        }
    }

    async fn write(&mut self, store: &Store) -> Result<(), crate::store::StoreError> {
        if !self.entries.is_empty() {
            store.insert_audit(&self.entries).await?;
            self.entries.clear();
        }
        for done in self.waiting.drain(..) {
            // Whoever waited may have left.
            let _ = done.send(());
        }
        Ok(())
    }
}

fn unwritten() -> Problem {
    Problem::unavailable(
        "the audit log cannot be written, and nothing is changed without; polaris' log says why",
    )
}

/// Takes away what is older than it is kept, a little at a time.
pub async fn prune(store: &Store, before: EpochMs) {
    loop {
        match store.prune_audit(before).await {
            Ok(0) => return,
            Ok(rows) => tracing::info!(rows, "old entries of the audit log removed"),
            Err(error) => return tracing::warn!(%error, "old entries of the audit log not removed"),
        }
        sleep(AUDIT_LINGER).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_so_many_and_then_nothing_may_happen() {
        let audit = Audit::new(0);
        let places: Vec<_> = (0..MAX_AUDIT_QUEUED).map(|_| audit.place().unwrap()).collect();
        audit.place().unwrap_err();
        drop(places);
        audit.place().unwrap();
    }

    #[test]
    fn refusals_that_are_passed_over_are_counted() {
        let audit = Audit::new(0);
        for _ in 0..AUDIT_REFUSALS {
            assert_eq!(audit.takes_refusal(), Some(0));
        }
        for _ in 0..3 {
            assert_eq!(audit.takes_refusal(), None);
        }
        audit.refusals.give_back(Key::All);
        assert_eq!(audit.takes_refusal(), Some(3));
    }
}
