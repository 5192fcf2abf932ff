//! Accepts agents, not more in a second than the configuration says: the rest
//! waits in the kernel's queue. TLS is shaken in a task of its own, so that a
//! slow peer holds up nobody, and ALPN decides what the connection is.

use super::pace::Pace;
use super::{Caller, session};
use crate::app::App;
use crate::hosts::Host;
use crate::{limits, web};
use aspire_wire::frame::encode;
use aspire_wire::session::{ALPN_HTTP, ALPN_LINK, Frame};
use axum::Extension;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::server::TlsStream;
use uuid::Uuid;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// What the tasks of the port share.
pub struct Port {
    pub app: Arc<App>,
    pub acceptor: TlsAcceptor,
    pub router: axum::Router,
    /// Every link's task holds a clone.
    pub alive: mpsc::Sender<()>,
    exchanges: Semaphore,
}

impl Port {
    pub fn new(app: Arc<App>, acceptor: TlsAcceptor, router: axum::Router, alive: mpsc::Sender<()>) -> Port {
        Port { app, acceptor, router, alive, exchanges: Semaphore::new(limits::MAX_AGENT_EXCHANGES) }
    }

    /// Accepts until `stop` says so.
    pub async fn serve(self, listener: TcpListener, mut stop: watch::Receiver<bool>) {
        let port = Arc::new(self);
        let handshakes = Arc::new(Semaphore::new(limits::MAX_HANDSHAKES));
        let mut pace = Pace::new(port.app.config.agents.handshakes);
        loop {
            let accepted = async {
                pace.turn().await;
                web::accept(&listener, &handshakes).await
            };
            let (tcp, peer, permit) = tokio::select! {
                accepted = accepted => accepted,
                _ = stop.wait_for(|stop| *stop) => return,
            };
            pace.taken();
            let port = port.clone();
            // Boxed: the handshake's state goes with it, the link's task is a small one of its own.
            tokio::spawn(Box::pin(async move {
                match web::handshake(&port.acceptor, tcp, &port.app.metrics.agent_handshakes).await {
                    Ok(stream) => {
                        drop(permit);
                        port.sort(stream, peer).await;
                    }
                    Err(reason) => tracing::info!(%peer, reason, "handshake failed"),
                }
            }));
        }
    }

    async fn sort(&self, stream: TlsStream<TcpStream>, peer: SocketAddr) {
        match stream.get_ref().1.alpn_protocol() {
            Some(ALPN_LINK) => self.link(stream, peer).await,
            Some(ALPN_HTTP) => self.exchange(stream, peer).await,
            _ => tracing::info!(%peer, "refused: the peer asked for no protocol (ALPN) of this port"),
        }
    }

    async fn exchange(&self, stream: TlsStream<TcpStream>, peer: SocketAddr) {
        let Ok(_permit) = self.exchanges.try_acquire() else {
            return tracing::warn!(%peer, "too many exchanges at once, one refused");
        };
        let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let caller = Caller::new(certificate.and_then(|certificate| self.host(certificate)));
        let http1 = web::http1(limits::HTTP_HEAD_LIMIT).keep_alive(false).clone();
        let service = web::service(&self.router.clone().layer(Extension(caller.clone())), peer);
        let stream = web::Paced::new(stream, self.app.config.web.pace.write);
        let mut exchange = pin!(http1.serve_connection(web::io(stream), service));
        let mut ended = timeout(limits::EXCHANGE_LIMIT, &mut exchange).await;
        if ended.is_err() && caller.may_take_its_time() {
            ended = timeout(limits::DOWNLOAD_LIMIT, exchange).await;
        }
        if ended.is_err() {
            tracing::info!(%peer, "exchange took too long");
        }
    }

    /// Whose certificate it is, if anybody's whom we know.
    fn host(&self, certificate: &CertificateDer<'_>) -> Option<Arc<Host>> {
        host_id(certificate).and_then(|id| self.app.directory.by_id(id))
    }

    async fn link(&self, stream: TlsStream<TcpStream>, peer: SocketAddr) {
        let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let Some(certificate) = certificate else {
            return refuse(stream, peer, "a link needs a client certificate; enrol the host first").await;
        };
        // Whoever sends everybody away need not know them.
        if let Some(server) = self.app.config.agents.sends_all_to() {
            tracing::info!(%peer, to = server, "link redirected");
            return farewell(stream, &Frame::Redirect { server }).await;
        }
        match self.host(certificate) {
            Some(host) => session::start(self.app.clone(), stream, host, peer, self.alive.clone()),
            None => refuse(stream, peer, "this host is not enrolled here, or it was revoked").await,
        }
    }
}

/// The common name, which the verifier has proved to be what we signed.
fn host_id(certificate: &CertificateDer<'_>) -> Option<Uuid> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let name = certificate.subject().iter_common_name().next()?.as_str().ok()?;
    Uuid::parse_str(name).ok()
}

async fn refuse(stream: TlsStream<TcpStream>, peer: SocketAddr, reason: &str) {
    tracing::info!(%peer, reason, "link refused");
    farewell(stream, &Frame::Bye { reason }).await;
}

/// Says a last word to the agent and waits for it to go, for a close with
/// unread bytes would take the word back.
async fn farewell(mut stream: TlsStream<TcpStream>, word: &Frame<'_>) {
    let _ = timeout(limits::FAREWELL_LIMIT, async {
        stream.write_all(&encode(word)).await?;
        stream.shutdown().await?;
        let mut rest = [0; 1024];
        while stream.read(&mut rest).await? > 0 {}
        std::io::Result::Ok(())
    })
    .await;
}
