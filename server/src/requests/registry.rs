//! The requests that run or are not in the database yet, by id: what makes a
//! repeated id harmless.

use super::{Head, Live, Target};
use crate::{limits, metrics};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::Notify;

#[derive(Debug, Default)]
pub struct Registry {
    live: Mutex<HashMap<Arc<str>, Arc<Live>>>,
    /// Something is to be recorded.
    pub(super) news: Arc<Notify>,
    held_bytes: Arc<AtomicUsize>,
    metrics: Arc<metrics::Requests>,
    /// Held from the look-up of an id that a caller chose until it is taken.
    pub choosing: tokio::sync::Mutex<()>,
    /// Held by whoever records.
    pub(super) recording: tokio::sync::Mutex<()>,
}

/// Too much is in memory already. Nobody's fault; it passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    #[error("too many results are in memory, because they wait to be recorded or read; try again later")]
    Results,
    #[error("too many requests run at once; try again later")]
    Requests,
}

impl Registry {
    /// One whose requests are counted by `metrics`.
    pub fn measured_by(metrics: Arc<metrics::Requests>) -> Registry {
        Registry { metrics, ..Registry::default() }
    }

    /// Takes in a new request, whose id is not known.
    pub fn start(&self, head: Head, targets: Vec<Target>) -> Result<Arc<Live>, Full> {
        if self.held_bytes.load(Ordering::Relaxed) > limits::MAX_LIVE_RESULT_BYTES {
            return Err(Full::Results);
        }
        let mut live = self.live();
        if live.len() >= limits::MAX_LIVE_REQUESTS {
            return Err(Full::Requests);
        }
        let (news, held_bytes) = (self.news.clone(), self.held_bytes.clone());
        let request = Arc::new(Live::new(head, targets, news, held_bytes, self.metrics.clone()));
        live.insert(request.head.id.clone(), request.clone());
        drop(live);
        self.metrics.begun();
        self.news.notify_one();
        Ok(request)
    }

    pub fn find(&self, id: &str) -> Option<Arc<Live>> {
        self.live().get(id).cloned()
    }

    /// All of them, in no order.
    pub fn all(&self) -> Vec<Arc<Live>> {
        self.live().values().cloned().collect()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.live().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of results and of live output in memory.
    pub fn held_bytes(&self) -> usize {
        self.held_bytes.load(Ordering::Relaxed)
    }

    /// Forgets what is wholly in the database.
    pub(super) fn forget_closed(&self) {
        self.live().retain(|_, request| !request.is_closed());
    }

    fn live(&self) -> MutexGuard<'_, HashMap<Arc<str>, Arc<Live>>> {
        self.live.lock().expect("nothing panics while it holds the registry")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Database;
    use crate::requests::record::record_all;
    use crate::store::Store;
    use aspire_wire::{Outcome, Retcode};
    use std::future::poll_fn;
    use std::path::Path;
    use std::pin::pin;
    use std::task::Poll;

    fn head(id: &str) -> Head {
        Head {
            id: id.into(),
            who: "ann".into(),
            method: "sync.bash".into(),
            cmd: None,
            target: None,
            rollout: None,
            params: "{}".into(),
            url: None,
            stream: false,
            follow: None,
            waits: None,
            digest: String::new(),
            created: 1,
            deadline: 2,
        }
    }

    fn target() -> Vec<Target> {
        vec![Target { host: "h".into(), name: None }]
    }

    async fn store(dir: &Path) -> Store {
        let embedded = Database { url: None, connections: 1 };
        Store::open(&embedded, &dir.join("polaris.db")).await.unwrap()
    }

    #[test]
    fn only_so_many_requests_live_at_once() {
        let registry = Registry::default();
        for n in 0..limits::MAX_LIVE_REQUESTS {
            registry.start(head(&n.to_string()), target()).unwrap();
        }
        assert_eq!(registry.start(head("more"), target()).unwrap_err(), Full::Requests);
    }

    #[tokio::test]
    async fn results_that_wait_are_bounded_and_given_back_once_recorded() {
        let dir = tempfile::TempDir::new().unwrap();
        let store = store(dir.path()).await;
        let registry = Arc::new(Registry::default());
        let large = Outcome::new(Retcode::NormalTermination).with_data(&"x".repeat(1024 * 1024));
        let mut begun = 0;
        let full = loop {
            match registry.start(head(&begun.to_string()), target()) {
                Ok(request) => request.settle(0, &large),
                Err(full) => break full,
            }
            begun += 1;
        };
        assert_eq!((full, begun), (Full::Results, limits::MAX_LIVE_RESULT_BYTES / (1024 * 1024)));
        record_all(&registry, &store).await.unwrap();
        assert_eq!(registry.held_bytes.load(Ordering::Relaxed), 0);
        assert!(registry.all().is_empty());
        assert_eq!(store.count_requests(None).await.unwrap(), i64::try_from(begun).unwrap());
    }
    #[tokio::test]
    async fn a_reader_gets_no_more_at_once_than_it_can_take() {
        let registry = Registry::default();
        let hosts = limits::MAX_LINES_PER_CHUNK * 2 + 1;
        let targets = (0..hosts).flat_map(|_| target()).collect();
        let request = registry.start(head("r"), targets).unwrap();
        request.settle_rest(&Outcome::new(Retcode::HostOffline));
        let mut chunks = Vec::new();
        while let Some(chunk) = request.since(chunks.iter().sum()).await {
            chunks.push(chunk.len());
        }
        assert_eq!(chunks, [limits::MAX_LINES_PER_CHUNK, limits::MAX_LINES_PER_CHUNK, 1]);
    }

    #[tokio::test]
    async fn whoever_waits_until_all_is_recorded_may_leave_at_any_moment() {
        let dir = tempfile::TempDir::new().unwrap();
        let store = store(dir.path()).await;
        let registry = Arc::new(Registry::default());
        // How often it has to wait is a matter of luck, so each moment is tried many times.
        for n in 0..400 {
            let request = registry.start(head(&n.to_string()), target()).unwrap();
            request.settle(0, &Outcome::new(Retcode::NormalTermination));
            drop(request);
            {
                let mut recording = pin!(record_all(&registry, &store));
                let mut left = n % 8;
                poll_fn(|context| match recording.as_mut().poll(context) {
                    Poll::Pending if left > 0 => {
                        left -= 1;
                        Poll::Pending
                    }
                    _ => Poll::Ready(()),
                })
                .await;
            }
            record_all(&registry, &store).await.unwrap_or_else(|error| panic!("left {n}: {error}"));
            assert!(registry.all().is_empty());
        }
    }
}
