//! The audit log on its way to the database: a queue with room for so many entries, and whoever
//! writes them, many at a time. What is to be written there takes its place before it begins, so
//! that nothing is done of which no record could be kept.

use super::Sparing;
use crate::clock::EpochMs;
use crate::limits::{
    AUDIT_CROWDED_EVERY, AUDIT_FLUSH_LIMIT, AUDIT_LINGER, AUDIT_REFUSALS, AUDIT_REFUSALS_EVERY,
    MAX_AUDIT_QUEUED, MAX_ROWS_PER_COMMIT, RECORD_RETRY,
};
use crate::problem::Problem;
use crate::store::audit::AuditFilter;
use crate::store::{Store, StoreError};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio::time::timeout;

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
    refusals: Sparing,
    /// How often it is logged that there was no room.
    crowded: Sparing,
}

#[derive(Debug)]
struct Writer {
    queue: mpsc::Receiver<News>,
    next: i64,
    /// What was taken and is not written yet.
    entries: Vec<Entry>,
    /// Some of them may be in the database all the same: the last try did not come to its end.
    unsure: bool,
    waiting: Vec<oneshot::Sender<()>>,
}

impl Audit {
    /// `last` is the highest id in the database.
    pub fn new(last: i64) -> Audit {
        let (queue, receiver) = mpsc::channel(MAX_AUDIT_QUEUED);
        let (entries, waiting) = (Vec::new(), Vec::new());
        let writer = Writer { queue: receiver, next: last + 1, entries, unsure: false, waiting };
        Audit {
            queue,
            writer: Mutex::new(writer),
            failing: AtomicBool::new(false),
            refusals: Sparing::new(AUDIT_REFUSALS, AUDIT_REFUSALS_EVERY),
            crowded: Sparing::new(1, AUDIT_CROWDED_EVERY),
        }
    }

    /// A place for what is about to happen. Without one it must not.
    pub fn place(&self) -> Result<Place, Problem> {
        if self.failing.load(Ordering::Relaxed) {
            return Err(unwritten());
        }
        self.queue.clone().try_reserve_owned().map_err(|_| {
            if let Some(passed_over) = self.crowded.take() {
                let most = MAX_AUDIT_QUEUED;
                tracing::warn!(most, passed_over, "a call is refused: as many as may be are under way");
            }
            crowded()
        })
    }

    /// Whether a call of nobody is recorded, with how many before it were not: anybody can make as
    /// many as he likes.
    pub fn takes_refusal(&self) -> Option<i64> {
        self.refusals.take()
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

    async fn write(&mut self, store: &Store) -> Result<(), StoreError> {
        if !self.entries.is_empty() {
            self.write_entries(store).await?;
        }
        for done in self.waiting.drain(..) {
            // Whoever waited may have left.
            let _ = done.send(());
        }
        Ok(())
    }

    async fn write_entries(&mut self, store: &Store) -> Result<(), StoreError> {
        if std::mem::replace(&mut self.unsure, true) {
            self.leave_out_written(store).await?;
        }
        match store.insert_audit(&self.entries).await {
            Err(StoreError::Refused(_)) => {
                self.leave_out_written(store).await?;
                self.write_singly(store).await?;
            }
            done => done?,
        }
        self.unsure = false;
        self.entries.clear();
        Ok(())
    }

    /// Of those that are in the database nothing more is to be done. Where somebody else's are under
    /// their ids, they get others.
    async fn leave_out_written(&mut self, store: &Store) -> Result<(), StoreError> {
        let (Some(first), Some(last)) = (self.entries.first(), self.entries.last()) else { return Ok(()) };
        let limit = u64::try_from(last.id - first.id + 1).unwrap_or(0);
        let wanted = AuditFilter { before: Some(last.id + 1), limit, ..AuditFilter::default() };
        let there = store.list_audit(&wanted).await?.into_iter().map(|entry| (entry.id, entry));
        let there: HashMap<i64, Entry> = there.collect();
        self.entries.retain(|entry| there.get(&entry.id) != Some(entry));
        if self.entries.iter().any(|entry| there.contains_key(&entry.id)) {
            self.next = store.last_audit().await?.max(self.next - 1) + 1;
            for entry in &mut self.entries {
                entry.id = self.next;
                self.next += 1;
            }
        }
        Ok(())
    }

    /// Each for itself. Of one that the database does not take, and others it does, the log has no
    /// more than that there was one: it must not keep the others from being written.
    async fn write_singly(&mut self, store: &Store) -> Result<(), StoreError> {
        while let Some(entry) = self.entries.last() {
            match store.insert_audit(std::slice::from_ref(entry)).await {
                Err(StoreError::Refused(reason)) => {
                    store.insert_audit(&[remnant(entry)]).await?;
                    tracing::error!(%reason, ?entry, "an entry is refused, and not in the audit log");
                }
                done => done?,
            }
            self.entries.pop();
        }
        Ok(())
    }
}

/// What any database takes of an entry.
fn remnant(entry: &Entry) -> Entry {
    let what = "an entry that could not be written; polaris' log has it".to_owned();
    let Entry { id, at, status, .. } = *entry;
    Entry { id, at, status, what: Some(what), named: "[]".into(), ..Entry::default() }
}

fn unwritten() -> Problem {
    Problem::unavailable(
        "the audit log cannot be written, and nothing is changed without; polaris' log says why",
    )
}

fn crowded() -> Problem {
    Problem::unavailable(
        "as many calls are under way as the audit log has room for; nothing is changed without: try again",
    )
}

/// Takes away what is older than it is kept, a little at a time, or until `stop` says so.
pub async fn prune(store: &Store, before: EpochMs, stop: &mut watch::Receiver<bool>) {
    loop {
        match store.prune_audit(before).await {
            Ok(0) => return,
            Ok(rows) => tracing::info!(rows, "old entries of the audit log removed"),
            Err(error) => return tracing::warn!(%error, "old entries of the audit log not removed"),
        }
        if timeout(AUDIT_LINGER, stop.wait_for(|stop| *stop)).await.is_ok() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Database;
    use crate::limits::AUDIT_PRUNED_ROWS;

    #[test]
    fn there_is_room_for_so_many_and_then_nothing_may_happen() {
        let audit = Audit::new(0);
        let places: Vec<_> = (0..MAX_AUDIT_QUEUED).map(|_| audit.place().unwrap()).collect();
        let full = format!("{:?}", audit.place().unwrap_err());
        assert!(full.contains("under way") && !full.contains("log says why"), "{full}");
        assert_eq!(audit.crowded.take(), None, "it was logged");
        drop(places);
        audit.place().unwrap();
    }

    async fn store(dir: &tempfile::TempDir) -> Store {
        let embedded = Database { connections: 1, url: None };
        Store::open(&embedded, &dir.path().join("polaris.db")).await.unwrap()
    }

    fn entry(path: &str) -> Entry {
        Entry { at: 1, path: path.into(), named: "[]".into(), ..Entry::default() }
    }

    async fn paths(store: &Store) -> Vec<(i64, String)> {
        let all = AuditFilter { limit: 10_000, ..AuditFilter::default() };
        let all = store.list_audit(&all).await.unwrap();
        all.into_iter().rev().map(|entry| (entry.id, entry.path)).collect()
    }

    #[tokio::test]
    async fn what_was_written_though_nobody_heard_of_it_is_not_written_twice() {
        let dir = tempfile::TempDir::new().unwrap();
        let store = store(&dir).await;
        let audit = Audit::new(0);
        let mut writer = audit.writer.lock().await;
        for path in ["a", "b", "c"] {
            writer.take(News::Entry(Box::new(entry(path))));
        }
        store.insert_audit(&writer.entries[..2]).await.unwrap();
        writer.write(&store).await.unwrap();
        let expected = [(1, "a"), (2, "b"), (3, "c")].map(|(id, path)| (id, path.to_owned()));
        assert_eq!(paths(&store).await, expected);
        // What is somebody else's stays, and these go beside it.
        store.insert_audit(&[Entry { id: 5, ..entry("else") }]).await.unwrap();
        for path in ["d", "e"] {
            writer.take(News::Entry(Box::new(entry(path))));
        }
        writer.write(&store).await.unwrap();
        let after = [(5, "else"), (6, "d"), (7, "e")].map(|(id, path)| (id, path.to_owned()));
        assert_eq!(paths(&store).await[3..], after);
        writer.take(News::Entry(Box::new(entry("f"))));
        writer.write(&store).await.unwrap();
        assert_eq!(paths(&store).await.last().unwrap(), &(8, "f".to_owned()));
    }

    #[tokio::test]
    async fn who_stops_waits_for_one_round_of_removing_and_no_more() {
        let dir = tempfile::TempDir::new().unwrap();
        let store = store(&dir).await;
        let old: Vec<_> = (1..=2 * AUDIT_PRUNED_ROWS + 1).map(|id| Entry { id, ..entry("old") }).collect();
        store.insert_audit(&old).await.unwrap();
        let (stop, mut stopped) = watch::channel(true);
        prune(&store, 2, &mut stopped).await;
        assert_eq!(paths(&store).await[0].0, AUDIT_PRUNED_ROWS + 1);
        stop.send_replace(false);
        prune(&store, 2, &mut stopped).await;
        assert!(paths(&store).await.is_empty());
    }
}
