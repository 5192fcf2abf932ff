//! A link as the rest of the server sees it: an outbox, and the replies that it owes.

use super::renewal::Renewal;
use crate::hosts::Host;
use crate::limits;
use crate::requests::ReplyTo;
use aspire_wire::frame;
use aspire_wire::session::{Frame, Output};
use aspire_wire::{Outcome, Reply, Retcode};
use bytes::Bytes;
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Waker};

/// See the module. The other end is the link's [`super::session`].
#[derive(Debug)]
pub struct Link {
    pub host: Arc<Host>,
    pub peer: SocketAddr,
    renewal: Mutex<Renewal>,
    inner: Mutex<Inner>,
    /// Bytes of what came by this link, is owed and is not on disk.
    unstored: AtomicUsize,
}

#[derive(Debug, Default)]
struct Inner {
    outbox: VecDeque<Queued>,
    outbox_bytes: usize,
    /// By the id of what was asked.
    pending: HashMap<Arc<str>, ReplyTo>,
    order: Option<Order>,
    /// Takes nothing more.
    closed: bool,
    waker: Option<Waker>,
}

/// A frame that waits to be written.
#[derive(Debug)]
struct Queued {
    frame: Bytes,
    /// The request that it is, by its id.
    request: Option<Arc<str>>,
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

/// What became of the wish to cancel a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancel {
    /// The agent will never hear of the request.
    Withdrawn,
    /// The agent has it, or a part of it, and was asked.
    Asked,
}

impl Link {
    pub fn new(host: Arc<Host>, peer: SocketAddr) -> Link {
        Link { host, peer, renewal: Mutex::default(), inner: Mutex::default(), unstored: AtomicUsize::new(0) }
    }

    /// The same link, of which this is known.
    #[must_use]
    pub fn with(mut self, renewal: Renewal) -> Link {
        self.renewal = Mutex::new(renewal);
        self
    }

    /// How it stands with the renewal of its host's certificate.
    pub fn renewal(&self) -> MutexGuard<'_, Renewal> {
        self.renewal.lock().expect("nothing panics while it holds a renewal")
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
        inner.push(Queued { frame: frame.clone(), request: Some(id.clone()) });
        inner.wake();
        Ok(())
    }

    /// Takes the request back where it still waits to be written; else queues `frame`, the wish of
    /// this `id` to cancel it. There is always room for one: the request took up more.
    pub fn cancel(
        &self,
        request: &str,
        id: &Arc<str>,
        frame: &Bytes,
        to: ReplyTo,
    ) -> Result<Cancel, Refused> {
        let mut inner = self.inner();
        if inner.withdraw(request) {
            return Ok(Cancel::Withdrawn);
        }
        if inner.closed {
            return Err(Refused::Closed);
        }
        inner.pending.insert(id.clone(), to);
        inner.push(Queued { frame: frame.clone(), request: None });
        inner.wake();
        Ok(Cancel::Asked)
    }

    /// Queues one of the link's own frames. For the link's task, which needs no waking.
    pub fn push(&self, frame: &Frame<'_>) {
        self.push_bytes(frame::encode(frame).into());
    }

    /// As [`Link::push`], unless the link is about to end. Whether it is not.
    pub fn push_if_open(&self, frame: &Frame<'_>) -> bool {
        let mut inner = self.inner();
        if !inner.closed {
            inner.push(Queued { frame: frame::encode(frame).into(), request: None });
        }
        !inner.closed
    }

    /// Queues a whole frame, as [`Link::push`].
    pub fn push_bytes(&self, frame: Bytes) {
        self.inner().push(Queued { frame, request: None });
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

    /// Takes a reply to where it belongs, after `first` has seen where that is. Whether it was
    /// waited for.
    pub fn answered(&self, reply: &Reply, first: impl FnOnce(&ReplyTo)) -> bool {
        let to = self.inner().take(&reply.id);
        to.inspect(first).inspect(|to| to.answered(&reply.outcome)).is_some()
    }

    /// Bytes of what came by this link, is owed and is not on disk.
    pub fn unstored_bytes(&self) -> usize {
        self.unstored.load(Ordering::Relaxed)
    }

    /// Something owed, of so many bytes, waits to be on disk.
    pub fn owe_ack(&self, bytes: usize) {
        self.unstored.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The results of these numbers are on disk. Their agent is told in one go, if it is still there.
    pub fn acknowledge(&self, seqs: &[u64], bytes: usize) {
        self.unstored.fetch_sub(bytes, Ordering::Relaxed);
        let frames: Vec<u8> = seqs.iter().flat_map(|seq| frame::encode(&Frame::Ack { seq: *seq })).collect();
        let mut inner = self.inner();
        if !inner.closed && !seqs.is_empty() {
            inner.push(Queued { frame: frames.into(), request: None });
            inner.wake();
        }
    }

    /// Has the link's task look around.
    pub fn wake(&self) {
        self.inner().wake();
    }

    /// Takes a piece of output to where it belongs. Whether anything became of it.
    pub fn output(&self, piece: &Output) -> bool {
        let to = self.inner().pending.get(piece.id.as_str()).cloned();
        to.is_some_and(|to| to.output(piece))
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
        inner.remove(0)
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
                to.lost(&outcome);
            }
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("nothing panics while it holds a link")
    }
}

impl Inner {
    fn push(&mut self, queued: Queued) {
        let cost = cost(&queued.frame);
        if self.outbox_bytes + cost > limits::MAX_OUTBOX_BYTES {
            self.closed = true;
            self.order = Some(Order::Leave("the agent does not read what it is sent".into()));
            return;
        }
        self.outbox_bytes += cost;
        self.outbox.push_back(queued);
    }

    fn remove(&mut self, index: usize) -> Option<Bytes> {
        let Queued { frame, .. } = self.outbox.remove(index)?;
        self.outbox_bytes -= cost(&frame);
        if self.outbox.is_empty() {
            // An idle link keeps no memory of a busy one.
            self.outbox = VecDeque::new();
        }
        Some(frame)
    }

    /// Whether the request had not left.
    fn withdraw(&mut self, request: &str) -> bool {
        let index = self.outbox.iter().position(|queued| queued.request.as_deref() == Some(request));
        if let Some(index) = index {
            self.remove(index);
            self.take(request);
        }
        index.is_some()
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
    use crate::agents::samples::{begun, host};
    use crate::requests::{Asked, Live, Registry};

    fn link() -> Link {
        Link::new(host(3), SocketAddr::from(([127, 0, 0, 1], 1)))
    }

    /// Sends a request of this id on the link.
    fn asked(link: &Link, registry: &Registry, id: &str) -> ReplyTo {
        let to = ReplyTo::Live { request: begun(registry, id, 1), position: 0, asked: Asked::Request };
        link.request(&id.into(), &Bytes::from(format!("{id}\n")), to.clone()).unwrap();
        to
    }

    fn live(to: &ReplyTo) -> &Live {
        let ReplyTo::Live { request, .. } = to else { panic!("not sent so") };
        request
    }

    fn cancel(link: &Link, request: &str, to: &ReplyTo) -> Result<Cancel, Refused> {
        let ReplyTo::Live { request: live, position, .. } = to.clone() else { panic!("not sent so") };
        let to = ReplyTo::Live { request: live, position, asked: Asked::Cancel };
        link.cancel(request, &"cancel".into(), &Bytes::from_static(b"cancel\n"), to)
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
            asked(&link, &registry, &n.to_string());
        }
        while link.pop().is_some() {}
        let done = Outcome::new(Retcode::NormalTermination);
        for n in 0..99 {
            assert!(link.answered(&Reply::new(n.to_string(), done.clone()), |_| {}));
        }
        link.forget("99");
        let inner = link.inner();
        assert_eq!((inner.pending.capacity(), inner.outbox.capacity()), (0, 0));
    }

    #[test]
    fn what_has_not_left_is_withdrawn_and_nothing_else() {
        let (link, registry) = (link(), Registry::default());
        let to = ["one", "two", "three"].map(|id| asked(&link, &registry, id));
        assert_eq!(cancel(&link, "two", &to[1]), Ok(Cancel::Withdrawn));
        assert_eq!([link.pop().unwrap(), link.pop().unwrap()], ["one\n", "three\n"]);
        assert_eq!((link.pop(), link.inner().outbox_bytes), (None, 0));
        assert!(!link.answered(&Reply::new("two", Outcome::new(Retcode::NormalTermination)), |_| {}));
        assert_eq!(cancel(&link, "three", &to[2]), Ok(Cancel::Asked));
        assert_eq!(link.pop().unwrap(), "cancel\n");
        link.order(Order::Leave("away".into()));
        assert_eq!(cancel(&link, "one", &to[0]), Err(Refused::Closed));
    }

    #[test]
    fn a_full_link_still_takes_the_wish_to_cancel() {
        let (link, registry) = (link(), Registry::default());
        for n in 0..limits::MAX_PENDING_PER_LINK {
            asked(&link, &registry, &n.to_string());
        }
        let to = ReplyTo::Live { request: begun(&registry, "more", 1), position: 0, asked: Asked::Request };
        assert_eq!(link.request(&"more".into(), &Bytes::new(), to.clone()), Err(Refused::Busy));
        while link.pop().is_some() {}
        assert_eq!(cancel(&link, "0", &to), Ok(Cancel::Asked));
    }

    #[test]
    fn a_link_that_ends_leaves_the_word_to_the_request_itself() {
        let (link, registry) = (link(), Registry::default());
        let to = asked(&link, &registry, "one");
        link.pop();
        cancel(&link, "one", &to).unwrap();
        link.close("gone");
        assert_eq!(live(&to).results().0[0].retcode, Retcode::LinkLost.code());
    }
}
