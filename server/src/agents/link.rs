//! A link as the rest of the server sees it: an outbox, and the replies that it owes.

use crate::hosts::Host;
use crate::limits;
use crate::requests::ReplyTo;
use aspire_wire::frame;
use aspire_wire::session::Frame;
use aspire_wire::{Outcome, Retcode};
use bytes::Bytes;
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Waker};

/// See the module. The other end is the link's [`super::session`].
#[derive(Debug)]
pub struct Link {
    pub host: Arc<Host>,
    pub peer: SocketAddr,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    outbox: VecDeque<Bytes>,
    outbox_bytes: usize,
    /// By request id.
    pending: HashMap<Arc<str>, ReplyTo>,
    order: Option<Order>,
    /// Takes nothing more.
    closed: bool,
    waker: Option<Waker>,
}

/// What the link's task is to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Say `bye` with this reason, and end.
    Leave(String),
    /// A newer link has come: end, but first find out whether this one's agent is still there.
    Yield,
}

/// Nothing was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The link is about to end.
    Closed,
    /// It owes too many replies already.
    Busy,
}

impl Link {
    pub fn new(host: Arc<Host>, peer: SocketAddr) -> Link {
        Link { host, peer, inner: Mutex::default() }
    }

    /// Queues a request and remembers where its reply belongs.
    pub fn request(&self, id: &Arc<str>, frame: &Bytes, to: ReplyTo) -> Result<(), Refused> {
        let mut inner = self.inner();
        if inner.closed {
            return Err(Refused::Closed);
        }
        if inner.pending.len() >= limits::MAX_PENDING_PER_LINK {
            return Err(Refused::Busy);
        }
        inner.pending.insert(id.clone(), to);
        inner.push(frame.clone());
        inner.wake();
        Ok(())
    }

    /// Queues one of the link's own frames. For the link's task, which needs no waking.
    pub fn push(&self, frame: &Frame<'_>) {
        self.push_bytes(frame::encode(frame).into());
    }

    /// Queues a whole frame, as [`Link::push`].
    pub fn push_bytes(&self, frame: Bytes) {
        self.inner().push(frame);
    }

    /// Ends the link. A reason to leave, once given, stays.
    pub fn order(&self, order: Order) {
        let mut inner = self.inner();
        if !matches!(inner.order, Some(Order::Leave(_))) {
            inner.order = Some(order);
        }
        inner.closed = true;
        inner.wake();
    }

    /// Takes a reply to the request.
    pub fn answered(&self, id: &str) -> Option<ReplyTo> {
        self.inner().take(id)
    }

    /// Nobody waits any more.
    pub fn forget(&self, id: &str) {
        self.inner().take(id);
    }

    /// The order that came since this was last called. From now on the task is woken by news.
    pub fn poll(&self, context: &Context<'_>) -> Option<Order> {
        let mut inner = self.inner();
        match &mut inner.waker {
            Some(waker) => waker.clone_from(context.waker()),
            none => *none = Some(context.waker().clone()),
        }
        inner.order.take()
    }

    /// The next frame to write.
    pub fn pop(&self) -> Option<Bytes> {
        let mut inner = self.inner();
        let frame = inner.outbox.pop_front()?;
        inner.outbox_bytes -= cost(&frame);
        if inner.outbox.is_empty() {
            // An idle link keeps no memory of a busy one.
            inner.outbox = VecDeque::new();
        }
        Some(frame)
    }

    /// The task has ended: whoever still waits is told.
    pub fn close(&self, reason: &str) {
        let mut inner = self.inner();
        inner.closed = true;
        inner.waker = None;
        inner.outbox = VecDeque::new();
        inner.outbox_bytes = 0;
        let pending = std::mem::take(&mut inner.pending);
        drop(inner);
        if !pending.is_empty() {
            let outcome = Outcome::with_detail(Retcode::LinkLost, reason);
            for to in pending.into_values() {
                to.settle(&outcome);
            }
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("nothing panics while it holds a link")
    }
}

impl Inner {
    fn push(&mut self, frame: Bytes) {
        if self.outbox_bytes + cost(&frame) > limits::MAX_OUTBOX_BYTES {
            self.closed = true;
            self.order = Some(Order::Leave("the agent does not read what it is sent".into()));
            return;
        }
        self.outbox_bytes += cost(&frame);
        self.outbox.push_back(frame);
    }

    fn take(&mut self, id: &str) -> Option<ReplyTo> {
        let to = self.pending.remove(id);
        if self.pending.is_empty() {
            // As the outbox.
            self.pending = HashMap::new();
        }
        to
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// Bytes of memory that the frame takes while it waits.
fn cost(frame: &Bytes) -> usize {
    frame.len() + limits::QUEUED_FRAME_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hosts::{Facts, Settings, Status};
    use crate::requests::{Head, Registry, Target};
    use crate::store::hosts::HostRow;

    fn link() -> Link {
        let row = HostRow {
            id: uuid::Uuid::nil(),
            settings: Settings::default(),
            facts: Facts::default(),
            status: Status::Unknown,
            last_seen: None,
            created: 0,
        };
        Link::new(Arc::new(Host::new(row)), SocketAddr::from(([127, 0, 0, 1], 1)))
    }

    #[test]
    fn small_frames_that_are_not_read_are_bounded_by_what_they_cost() {
        let link = link();
        let queued = (0..1_000_000).take_while(|_| {
            link.push(&Frame::Pong);
            link.inner().order.is_none()
        });
        let queued = queued.count();
        assert!((1000..50_000).contains(&queued), "{queued} pongs were queued");
        while link.pop().is_some() {}
        assert_eq!(link.inner().outbox_bytes, 0);
    }

    #[test]
    fn an_idle_link_keeps_no_memory_of_a_busy_one() {
        let (link, registry) = (link(), Registry::default());
        for n in 0..100 {
            let id: Arc<str> = n.to_string().into();
            let target = Target { host: "h".into(), name: None };
            let (method, params, digest) = ("m".into(), "{}".into(), String::new());
            let head = Head { id: id.clone(), method, cmd: None, params, digest, created: 0, deadline: 1 };
            let request = registry.start(head, vec![target]).unwrap();
            link.request(&id, &Bytes::from_static(b"{}\n"), ReplyTo { request, position: 0 }).unwrap();
        }
        while link.pop().is_some() {}
        for n in 0..99 {
            assert!(link.answered(&n.to_string()).is_some());
        }
        link.forget("99");
        let inner = link.inner();
        assert_eq!((inner.pending.capacity(), inner.outbox.capacity()), (0, 0));
    }
}
