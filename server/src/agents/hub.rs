//! Who holds this host's link. What a caller can do is small on purpose (send
//! to a host; the reply comes to where it belongs), so that the link may be
//! held by another process of a cluster one day.

use super::link::{Cancel, Link, Order, Refused};
use crate::requests::ReplyTo;
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};
use uuid::Uuid;

#[derive(Debug, Default)]
pub struct Hub {
    links: RwLock<HashMap<Uuid, Arc<Link>>>,
}

/// Why a request did not leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotSent {
    /// The host has no link.
    Offline,
    /// The host owes too many replies already.
    Busy,
}

/// What became of a new link.
#[derive(Debug)]
pub enum Registered {
    /// It is the host's link now; the one before it, if any, is not.
    Yes(Option<Arc<Link>>),
    /// There are as many links as may be.
    Full,
}

impl Hub {
    /// Sends one frame; the reply, or the link's end, settles `to`.
    pub fn send(&self, host: Uuid, id: &Arc<str>, frame: &Bytes, to: ReplyTo) -> Result<(), NotSent> {
        let link = self.link(host).ok_or(NotSent::Offline)?;
        link.request(id, frame, to).map_err(not_sent)
    }

    /// Withdraws the request, or sends `frame`, the wish of this `id` to cancel it.
    pub fn cancel(
        &self,
        host: Uuid,
        request: &str,
        id: &Arc<str>,
        frame: &Bytes,
        to: ReplyTo,
    ) -> Result<Cancel, NotSent> {
        let link = self.link(host).ok_or(NotSent::Offline)?;
        link.cancel(request, id, frame, to).map_err(not_sent)
    }

    /// Nobody waits for this reply any more.
    pub fn forget(&self, host: Uuid, id: &str) {
        if let Some(link) = self.read().get(&host) {
            link.forget(id);
        }
    }

    /// The newest link of a host wins. `most` counts the links of all hosts.
    /// `then` runs before anybody else can change who holds the link.
    pub fn register(&self, link: &Arc<Link>, most: Option<usize>, then: impl FnOnce()) -> Registered {
        let mut links = self.write();
        let others = links.len() - usize::from(links.contains_key(&link.host.id));
        if most.is_some_and(|most| others >= most) {
            return Registered::Full;
        }
        let old = links.insert(link.host.id, link.clone());
        then();
        Registered::Yes(old)
    }

    /// The link has ended. `then` runs, as in [`Hub::register`], if it was its host's newest.
    pub fn unregister(&self, link: &Arc<Link>, then: impl FnOnce()) {
        let mut links = self.write();
        if links.get(&link.host.id).is_some_and(|other| Arc::ptr_eq(other, link)) {
            links.remove(&link.host.id);
            then();
        }
    }

    /// Whether the link is its host's, and not one that another has replaced.
    pub fn is_newest(&self, link: &Arc<Link>) -> bool {
        self.link(link.host.id).is_some_and(|newest| Arc::ptr_eq(&newest, link))
    }

    /// The host's link, for the newest one of two to be told from the other.
    pub fn link(&self, host: Uuid) -> Option<Arc<Link>> {
        self.read().get(&host).cloned()
    }

    /// Every host's link.
    pub fn links(&self) -> Vec<Arc<Link>> {
        self.read().values().cloned().collect()
    }

    /// Ends the host's link, if it has one.
    pub fn end(&self, host: Uuid, reason: &str) {
        if let Some(link) = self.link(host) {
            link.order(Order::Leave(reason.to_owned()));
        }
    }

    /// Ends all links.
    pub fn end_all(&self, reason: &str) {
        for link in self.links() {
            link.order(Order::Leave(reason.to_owned()));
        }
    }

    /// Links there are.
    pub fn len(&self) -> usize {
        self.read().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<Uuid, Arc<Link>>> {
        self.links.read().expect("nothing panics while it holds the hub")
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<Uuid, Arc<Link>>> {
        self.links.write().expect("nothing panics while it holds the hub")
    }
}

fn not_sent(refused: Refused) -> NotSent {
    match refused {
        Refused::Closed => NotSent::Offline,
        Refused::Busy => NotSent::Busy,
    }
}
