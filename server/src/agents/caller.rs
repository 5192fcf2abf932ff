//! Who is at the other end of a short exchange.

use crate::hosts::Host;
use crate::pki::Parsed;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What a peer shows of itself.
#[derive(Debug)]
pub enum Shown {
    /// No certificate.
    Nothing,
    /// One of a host that there is not, or not any more.
    Nobody,
    Host(Arc<Host>, Parsed),
}

/// An extension of every call that comes by the agents' port.
#[derive(Debug, Clone)]
pub struct Caller {
    host: Option<Arc<Host>>,
    shows_a_certificate: bool,
    takes_its_time: Arc<AtomicBool>,
}

impl Caller {
    pub fn new(shown: Shown) -> Caller {
        let shows_a_certificate = !matches!(shown, Shown::Nothing);
        let host = if let Shown::Host(host, _) = shown { Some(host) } else { None };
        Caller { host, shows_a_certificate, takes_its_time: Arc::default() }
    }

    /// Whether it shows a certificate that is no host's, or not any more.
    pub fn is_nobody(&self) -> bool {
        self.shows_a_certificate && self.host().is_none()
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
