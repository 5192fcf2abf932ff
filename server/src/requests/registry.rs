//! The requests that run or are not in the database yet, by id: what makes a
//! repeated id harmless.

use super::{Head, Live, Target};
use crate::limits;
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
    /// Held from the look-up of an id that a caller chose until it is taken.
    pub choosing: tokio::sync::Mutex<()>,
    /// Held by whoever records.
    pub(super) recording: tokio::sync::Mutex<()>,
}

/// What [`Registry::start`] did.
#[derive(Debug)]
pub enum Started {
    /// It is the caller's to send.
    New(Arc<Live>),
    /// Too much is in memory already, and why.
    Full(&'static str),
}

impl Registry {
    /// Takes in a new request, whose id is not known.
    pub fn start(&self, head: Head, targets: Vec<Target>) -> Started {
        if self.held_bytes.load(Ordering::Relaxed) > limits::MAX_LIVE_RESULT_BYTES {
            return Started::Full("too many results wait to be recorded");
        }
        let mut live = self.live();
        if live.len() >= limits::MAX_LIVE_REQUESTS {
            return Started::Full("too many requests run at once");
        }
        let request = Arc::new(Live::new(head, targets, self.news.clone(), self.held_bytes.clone()));
        live.insert(request.head.id.clone(), request.clone());
        drop(live);
        self.news.notify_one();
        Started::New(request)
    }

    pub fn find(&self, id: &str) -> Option<Arc<Live>> {
        self.live().get(id).cloned()
    }

    /// All of them, in no order.
    pub fn all(&self) -> Vec<Arc<Live>> {
        self.live().values().cloned().collect()
    }

    /// Forgets what is wholly in the database.
    pub(super) fn forget_closed(&self) {
        self.live().retain(|_, request| !request.is_closed());
    }

    fn live(&self) -> MutexGuard<'_, HashMap<Arc<str>, Arc<Live>>> {
        self.live.lock().expect("nothing panics while it holds the registry")
    }
}
