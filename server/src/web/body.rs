//! Bodies: those that come must come at some pace, and those that leave are
//! accompanied to their last byte.

use crate::limits::MIN_BODY_RATE;
use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Body as _, Frame, SizeHint};
use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep};

/// The caller did not send what it had announced. Its fault, or its network's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the body came too slowly: at least {MIN_BODY_RATE} bytes a second are expected")]
pub struct TooSlow;

impl TooSlow {
    /// Whether that is why something failed.
    pub fn caused(error: &(dyn Error + 'static)) -> bool {
        error.is::<TooSlow>() || error.source().is_some_and(TooSlow::caused)
    }
}

/// The body of a call, which is waited for for so long in all: what arrives of it earns the time
/// back, and the time in which nobody wants it is free.
pub struct Paced {
    body: Body,
    /// What the caller has at most.
    patience: Duration,
    /// What it has left.
    left: Duration,
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl Paced {
    pub fn new(body: Body, patience: Duration) -> Paced {
        Paced { body, patience, left: patience, waiting: None }
    }
}

impl hyper::body::Body for Paced {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Paced { body, patience, left, waiting } = &mut *self;
        let Poll::Ready(frame) = Pin::new(body).poll_frame(context) else {
            let (_, limit) = waiting.get_or_insert_with(|| (Instant::now(), Box::pin(sleep(*left))));
            ready!(limit.as_mut().poll(context));
            return Poll::Ready(Some(Err(axum::Error::new(TooSlow))));
        };
        if let Some((since, _)) = waiting.take() {
            *left = left.saturating_sub(since.elapsed());
        }
        if let Some(Ok(frame)) = &frame {
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            *left = (*left + earned(bytes)).min(*patience);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The time that so many bytes are worth.
pub fn earned(bytes: usize) -> Duration {
    Duration::from_secs(1).mul_f64(f64::from(u32::try_from(bytes).unwrap_or(u32::MAX))) / MIN_BODY_RATE
}

/// Sees an answer off.
pub trait Companion: Send + Unpin + 'static {
    /// So many more bytes of it have been handed on.
    fn sent(&mut self, _bytes: usize) {}

    /// It was whole: what comes now is the end.
    fn whole(&mut self) {}
}

/// The body of an answer with something that lives as long.
pub struct Accompanied<C: Companion> {
    body: Body,
    companion: C,
}

impl<C: Companion> Accompanied<C> {
    pub fn new(body: Body, companion: C) -> Accompanied<C> {
        Accompanied { body, companion }
    }
}

impl<C: Companion> hyper::body::Body for Accompanied<C> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        match &frame {
            Some(Ok(frame)) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                self.companion.sent(bytes);
            }
            Some(Err(_)) => {}
            None => self.companion.whole(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<C: Companion> Drop for Accompanied<C> {
    fn drop(&mut self) {
        // Of a body whose length is known nobody asks for the end.
        if self.body.is_end_stream() {
            self.companion.whole();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream;
    use std::convert::Infallible;

    const PATIENCE: Duration = Duration::from_secs(10);

    /// How many bytes of pieces of this size, one each second, arrive; and how it ends.
    async fn arrived(pieces: usize, bytes: usize) -> (usize, bool) {
        let pieces = stream::unfold(pieces, move |left| async move {
            sleep(Duration::from_secs(1)).await;
            (left > 0).then(|| (Ok::<_, Infallible>(Bytes::from(vec![b'x'; bytes])), left - 1))
        });
        let body = Body::new(Paced::new(Body::from_stream(pieces), PATIENCE));
        match axum::body::to_bytes(body, usize::MAX).await {
            Ok(bytes) => (bytes.len(), true),
            Err(error) => {
                assert!(TooSlow::caused(&error), "{error}");
                (0, false)
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_at_the_least_pace_passes_however_long_it_is() {
        let bytes = MIN_BODY_RATE as usize;
        assert_eq!(arrived(1000, bytes).await, (1000 * bytes, true));
    }

    #[tokio::test(start_paused = true)]
    async fn what_trickles_is_cut_and_short_trickles_are_not() {
        let begin = Instant::now();
        assert_eq!(arrived(1000, 1).await, (0, false));
        assert_eq!(begin.elapsed().as_secs(), PATIENCE.as_secs());
        assert_eq!(arrived(8, 1).await, (8, true));
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_cut_and_the_time_in_which_nobody_reads_is_free() {
        let silent = Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
        let begin = Instant::now();
        let mut body = Box::pin(Paced::new(silent, PATIENCE));
        sleep(PATIENCE * 5).await;
        let frame = std::future::poll_fn(|context| body.as_mut().poll_frame(context)).await;
        assert!(TooSlow::caused(&frame.unwrap().unwrap_err()));
        assert_eq!(begin.elapsed(), PATIENCE * 6);
    }
}
