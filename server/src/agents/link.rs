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
        self.inner().pending.remove(id)
    }

    /// Nobody waits any more.
    pub fn forget(&self, id: &str) {
        self.inner().pending.remove(id);
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
        inner.outbox_bytes -= frame.len();
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
        if self.outbox_bytes + frame.len() > limits::MAX_OUTBOX_BYTES {
            self.closed = true;
            self.order = Some(Order::Leave("the agent does not read what it is sent".into()));
            return;
        }
        self.outbox_bytes += frame.len();
        self.outbox.push_back(frame);
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}
