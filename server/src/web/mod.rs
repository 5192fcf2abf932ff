//! Connections that speak HTTP: how they are accepted, encrypted and served,
//! and what holds for every call whatever it is for ([`call`]).

mod body;
pub mod call;
mod headers;
mod host;
mod paced;

pub use body::TooSlow;
pub use paced::Paced;

use crate::config::Pace;
use crate::metrics::http::CONNECTIONS;
use crate::metrics::{Handshakes, Metrics};
use crate::people::Sparing;
use crate::throttle::limiter::{Caller, Limiter, Permit};
use crate::{again, clock, limits};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::{self, CertificateError};
use tokio_rustls::server::TlsStream;
use tower_http::add_extension::AddExtension;

/// From an accept that failed, for want of descriptors for example, to the next one.
const ACCEPT_RETRY: Duration = Duration::from_millis(200);

/// Who is at the other end of the connection; an extension of every call. Where a proxy stands
/// between, it is the proxy.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// The web listener.
pub struct Web {
    tls: Option<TlsAcceptor>,
    router: axum::Router,
    pace: Pace,
    /// Connections by address.
    addresses: Arc<Limiter>,
    /// Connections that are refused and logged.
    refusals: Sparing,
    metrics: Arc<Metrics>,
}

impl Web {
    /// One that takes so many connections at once from one address.
    pub fn new(
        tls: Option<TlsAcceptor>,
        router: axum::Router,
        pace: Pace,
        per_address: u32,
        metrics: Arc<Metrics>,
    ) -> Web {
        // How often somebody connects is not limited: he is soon one of too many at once.
        let addresses = Arc::new(Limiter::new(u32::MAX, limits::BURST_SECONDS, per_address));
        let refusals = Sparing::new(limits::LOGGED_REFUSALS, limits::LOGGED_REFUSALS_EVERY);
        Web { tls, router, pace, addresses, refusals, metrics }
    }

    /// Serves until `stop` says so, and then what has begun.
    pub async fn serve(self, listener: TcpListener, mut stop: watch::Receiver<bool>) {
        let web = Arc::new(self);
        let connections = Arc::new(Semaphore::new(limits::MAX_WEB_CONNECTIONS));
        let graceful = GracefulShutdown::new();
        loop {
            let (tcp, peer, room) = tokio::select! {
                accepted = accept(&listener, &connections) => accepted,
                _ = stop.wait_for(|stop| *stop) => break,
            };
            let here = match web.addresses.enter(Caller::at(peer.ip()), Instant::now()) {
                Ok(here) => here,
                Err(refused) => {
                    web.metrics.http.limited(CONNECTIONS);
                    let reason = refused.reason;
                    if let Some(passed_over) = web.refusals.take() {
                        tracing::info!(%peer, reason, passed_over, "connection refused");
                    } else {
                        tracing::debug!(%peer, reason, "connection refused");
                    }
                    continue;
                }
            };
            let open = Open::new(web.clone(), room, here);
            let (web, watcher) = (web.clone(), graceful.watcher());
            tokio::spawn(again::at_once(async move {
                let _open = open;
                web.connection(tcp, peer, watcher).await;
            }));
        }
        drop(listener);
        let _ = timeout(limits::STOP_LIMIT, graceful.shutdown()).await;
    }

    async fn connection(&self, tcp: TcpStream, peer: SocketAddr, watcher: Watcher) {
        // Below TLS, where what the peer takes shows.
        let stream = Paced::new(tcp, self.pace.write);
        let served = match &self.tls {
            None => self.http(stream, peer, watcher).await,
            Some(acceptor) => match handshake(acceptor, stream, &self.metrics.web_handshakes).await {
                Ok(stream) => self.http(stream, peer, watcher).await,
                Err(reason) => return tracing::debug!(%peer, reason, "handshake failed"),
            },
        };
        if let Err(error) = served {
            let reason = std::error::Error::source(&error).map(ToString::to_string);
            tracing::debug!(%peer, %error, reason, "connection failed");
        }
    }

    async fn http<S>(&self, stream: S, peer: SocketAddr, watcher: Watcher) -> hyper::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let connection = http1(self.pace.head).serve_connection(io(stream), service(&self.router, peer));
        watcher.watch(connection).await
    }
}

/// What a connection holds while it is open.
struct Open {
    web: Arc<Web>,
    _room: OwnedSemaphorePermit,
    _here: Permit,
}

impl Open {
    fn new(web: Arc<Web>, room: OwnedSemaphorePermit, here: Permit) -> Open {
        web.metrics.http.connections.inc();
        Open { web, _room: room, _here: here }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.web.metrics.http.connections.dec();
    }
}

/// The next connection, once there is room for it.
pub async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
    let permit = room.clone().acquire_owned().await.expect("nobody closes the semaphore");
    loop {
        match listener.accept().await {
            Ok((tcp, peer)) => {
                // Small frames must not wait for the acknowledgement of the one before.
                if let Err(error) = tcp.set_nodelay(true) {
                    tracing::debug!(%peer, %error, "connection lost");
                    continue;
                }
                return (tcp, peer, permit);
            }
            Err(error) => {
                tracing::warn!(%error, "accept failed, to be tried again");
                sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

/// TLS within [`limits::HANDSHAKE_LIMIT`], or why not.
pub async fn handshake<S: AsyncRead + AsyncWrite + Unpin>(
    acceptor: &TlsAcceptor,
    stream: S,
    counted: &Handshakes,
) -> Result<TlsStream<S>, String> {
    let shaken = match timeout(limits::HANDSHAKE_LIMIT, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(why_not(&error)),
        Err(_) => Err("it took too long".into()),
    };
    if shaken.is_ok() { &counted.ok } else { &counted.failed }.inc();
    shaken
}

/// Why a handshake failed, and what to do about it where that is known.
fn why_not(error: &io::Error) -> String {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref());
    match tls {
        Some(rustls::Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => {
            let at = i64::try_from(not_after.as_secs()).unwrap_or(i64::MAX).saturating_mul(1000);
            format!("the host's certificate expired on {}: enrol it anew", clock::rfc3339(at))
        }
        _ => error.to_string(),
    }
}

/// HTTP/1.1 as we serve it. `head` is a peer's time for the head of a call.
pub fn http1(head: Duration) -> hyper::server::conn::http1::Builder {
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(head);
    builder.max_header_size(limits::HTTP_HEAD_BYTES);
    builder
}

/// A stream as hyper wants it.
pub fn io<S>(stream: S) -> TokioIo<S> {
    TokioIo::new(stream)
}

/// The router as hyper wants it, for the calls of one connection.
pub fn service(
    router: &axum::Router,
    peer: SocketAddr,
) -> TowerToHyperService<AddExtension<axum::Router, Peer>> {
    TowerToHyperService::new(AddExtension::new(router.clone(), Peer(peer)))
}
