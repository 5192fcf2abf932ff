//! Connections that speak HTTP: how they are accepted, encrypted and served.

use crate::{again, limits};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// From an accept that failed, for want of descriptors for example, to the next one.
const ACCEPT_RETRY: Duration = Duration::from_millis(200);

/// Serves the web listener until `stop` says so, and then what has begun.
pub async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    router: axum::Router,
    mut stop: watch::Receiver<bool>,
) {
    let connections = Arc::new(Semaphore::new(limits::MAX_WEB_CONNECTIONS));
    let graceful = GracefulShutdown::new();
    loop {
        let (tcp, peer, permit) = tokio::select! {
            accepted = accept(&listener, &connections) => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let (tls, service, watcher) = (tls.clone(), service(&router), graceful.watcher());
        tokio::spawn(again::at_once(async move {
            let _permit = permit;
            let served = match tls {
                None => watcher.watch(http1().serve_connection(io(tcp), service)).await,
                Some(acceptor) => match handshake(&acceptor, tcp).await {
                    Ok(stream) => watcher.watch(http1().serve_connection(io(stream), service)).await,
                    Err(reason) => return tracing::debug!(%peer, reason, "handshake failed"),
                },
            };
            if let Err(error) = served {
                tracing::debug!(%peer, %error, "connection failed");
            }
        }));
    }
    drop(listener);
    let _ = timeout(limits::STOP_LIMIT, graceful.shutdown()).await;
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
pub async fn handshake(acceptor: &TlsAcceptor, tcp: TcpStream) -> Result<TlsStream<TcpStream>, String> {
    match timeout(limits::HANDSHAKE_LIMIT, acceptor.accept(tcp)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("it took too long".into()),
    }
}

/// HTTP/1.1 as we serve it.
pub fn http1() -> hyper::server::conn::http1::Builder {
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(limits::HTTP_HEAD_LIMIT);
    builder.max_header_size(limits::HTTP_HEAD_BYTES);
    builder
}

/// A stream as hyper wants it.
pub fn io<S>(stream: S) -> TokioIo<S> {
    TokioIo::new(stream)
}

/// The router as hyper wants it.
pub fn service(router: &axum::Router) -> TowerToHyperService<axum::Router> {
    TowerToHyperService::new(router.clone())
}
