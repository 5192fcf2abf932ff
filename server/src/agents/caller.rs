//! Who is at the other end of a short exchange.

use crate::hosts::Host;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// An extension of every call that comes by the agents' port.
#[derive(Debug, Clone)]
pub struct Caller {
    host: Option<Arc<Host>>,
    takes_its_time: Arc<AtomicBool>,
}

impl Caller {
    /// `host` is that of the certificate, where one was shown and the host is known.
    pub fn new(host: Option<Arc<Host>>) -> Caller {
        Caller { host, takes_its_time: Arc::default() }
    }

    /// The host, unless it was revoked.
    pub fn host(&self) -> Option<&Arc<Host>> {
        self.host.as_ref().filter(|host| !host.is_revoked())
    }

    /// What is answered may be long: the exchange has [`crate::limits::DOWNLOAD_LIMIT`].
    pub fn takes_its_time(&self) {
        self.takes_its_time.store(true, Ordering::Relaxed);
    }

    pub fn may_take_its_time(&self) -> bool {
        self.takes_its_time.load(Ordering::Relaxed)
    }
}
