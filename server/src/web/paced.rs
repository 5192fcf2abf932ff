//! A connection whose peer has to take what is written to it.

use super::body::earned;
use crate::limits::MIN_BODY_RATE;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// Fails a write once the peer was waited for so long in all: what it takes earns the time back,
/// and where nothing is to be written, no time runs.
#[derive(Debug)]
pub struct Paced<S> {
    stream: S,
    /// What the peer has at most.
    patience: Duration,
    /// What it has left.
    left: Duration,
    /// Since when a write is blocked, and until when it may be.
    blocked: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl<S> Paced<S> {
    pub fn new(stream: S, patience: Duration) -> Paced<S> {
        Paced { stream, patience, left: patience, blocked: None }
    }

    /// What became of a write, of which so many bytes were taken, or that it has been waited for long
    /// enough.
    fn paced<T>(
        &mut self,
        context: &mut Context<'_>,
        done: Poll<io::Result<T>>,
        taken: impl FnOnce(&T) -> usize,
    ) -> Poll<io::Result<T>> {
        let Poll::Ready(done) = done else {
            let left = self.left;
            let (_, limit) = self.blocked.get_or_insert_with(|| (Instant::now(), Box::pin(sleep(left))));
            ready!(limit.as_mut().poll(context));
            let reason = format!("the peer took less than {MIN_BODY_RATE} bytes a second for too long");
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, reason)));
        };
        if let Some((since, _)) = self.blocked.take() {
            self.left = self.left.saturating_sub(since.elapsed());
        }
        if let Ok(done) = &done {
            self.left = (self.left + earned(taken(done))).min(self.patience);
        }
        Poll::Ready(done)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.paced(context, written, |bytes| *bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.paced(context, written, |bytes| *bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Of TLS, where what was written may still be.
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.paced(context, flushed, |()| 0)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(context);
        self.paced(context, shut, |()| 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::{self, http1, service};
    use axum::Router;
    use axum::body::Body;
    use axum::routing::get;
    use bytes::Bytes;
    use futures_util::stream;
    use std::convert::Infallible;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    const PATIENCE: Duration = Duration::from_secs(10);

    /// Writes so many bytes to a peer that takes `each` of them every second; how long it took.
    async fn written(bytes: usize, each: usize) -> Result<u64, u64> {
        let (ours, mut peers) = duplex(each);
        tokio::spawn(async move {
            let mut piece = vec![0; each];
            while peers.read_exact(&mut piece).await.is_ok() {
                sleep(Duration::from_secs(1)).await;
            }
        });
        let (begun, mut paced) = (Instant::now(), Paced::new(ours, PATIENCE));
        let done = paced.write_all(&vec![b'x'; bytes]).await;
        let seconds = begun.elapsed().as_secs();
        done.map(|()| seconds).map_err(|error| {
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
            seconds
        })
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_an_answer_at_the_least_pace_has_all_of_it_and_who_trickles_is_cut() {
        let rate = MIN_BODY_RATE as usize;
        assert!(written(1000 * rate, rate).await.is_ok_and(|seconds| seconds >= 998));
        assert_eq!(written(1000, 1).await, Err(PATIENCE.as_secs()));
        assert!(written(8, 1).await.is_ok(), "a short trickle");
    }

    /// All that is answered to one call, with this pace for everything.
    async fn answered(router: Router, patience: Duration) -> String {
        let (ours, mut peers): (DuplexStream, _) = duplex(1024);
        let peer = ([127, 0, 0, 1], 1).into();
        let stream = web::io(Paced::new(ours, patience));
        tokio::spawn(http1(patience).keep_alive(false).serve_connection(stream, service(&router, peer)));
        peers.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        let mut said = String::new();
        peers.read_to_string(&mut said).await.unwrap();
        said
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_silent_for_long_is_not_cut() {
        let silent = get(async || {
            let pieces = stream::unfold(0, |n| async move {
                sleep(PATIENCE * 3).await;
                (n < 3).then(|| (Ok::<_, Infallible>(Bytes::from(format!("piece {n}\n"))), n + 1))
            });
            Body::from_stream(pieces)
        });
        let begun = Instant::now();
        let said = answered(Router::new().route("/", silent), PATIENCE).await;
        for n in 0..3 {
            assert!(said.contains(&format!("piece {n}")), "{said}");
        }
        assert!(said.ends_with("0\r\n\r\n"), "{said}");
        assert_eq!(begun.elapsed(), PATIENCE * 12);
    }
}
