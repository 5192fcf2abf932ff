//! Accepts agents, not more in a second than the configuration says: the rest
//! waits in the kernel's queue. TLS is shaken in a task of its own, so that a
//! slow peer holds up nobody, and ALPN decides what the connection is.

use super::caller::{Caller, Shown};
use super::crowd::Crowd;
use super::link::Link;
use super::pace::Pace;
use super::renewal::Renewal;
use super::session;
use crate::app::App;
use crate::pki::Parsed;
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
use tokio_rustls::server::TlsStream;

/// What whoever shows a certificate of no host is told.
pub const NOT_KNOWN: &str = "this host is not enrolled here, or it was revoked";

/// What the tasks of the port share.
pub struct Port {
    pub app: Arc<App>,
    pub acceptor: TlsAcceptor,
    pub router: axum::Router,
    /// Every link's task holds a clone.
    pub alive: mpsc::Sender<()>,
    /// Whoever shakes hands, by address.
    unshaken: Crowd,
    /// Exchanges of hosts.
    exchanges: Semaphore,
    /// Those of whoever has not shown that it is one, so that neither takes the other's room.
    strangers: Semaphore,
    /// The same by address.
    strange: Crowd,
}

impl Port {
    pub fn new(app: Arc<App>, acceptor: TlsAcceptor, router: axum::Router, alive: mpsc::Sender<()>) -> Port {
        let room = app.config.agents.room;
        Port {
            app,
            acceptor,
            router,
            alive,
            unshaken: Crowd::new(room.handshakes_per_address),
            exchanges: Semaphore::new(limits::MAX_AGENT_EXCHANGES),
            strangers: Semaphore::new(room.strangers),
            strange: Crowd::new(room.strangers_per_address),
        }
    }

    /// Accepts until `stop` says so.
    pub async fn serve(self, listener: TcpListener, mut stop: watch::Receiver<bool>) {
        let port = Arc::new(self);
        let handshakes = Arc::new(Semaphore::new(port.app.config.agents.room.handshakes));
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
            // Whoever is dropped has taken nobody's turn.
            let Some(here) = port.unshaken.enter(peer, "connection") else { continue };
            pace.taken();
            let port = port.clone();
            // Boxed: the handshake's state goes with it, the link's task is a small one of its own.
            tokio::spawn(Box::pin(async move {
                match port.shake(tcp).await {
                    Ok(stream) => {
                        drop((permit, here));
                        port.sort(stream, peer).await;
                    }
                    Err(reason) => tracing::info!(%peer, reason, "handshake failed"),
                }
            }));
        }
    }

    async fn shake(&self, tcp: TcpStream) -> Result<TlsStream<TcpStream>, String> {
        let counted = &self.app.metrics.agent_handshakes;
        // An error shows again.
        if timeout(self.app.config.agents.room.hello, tcp.peek(&mut [0])).await.is_err() {
            counted.failed.inc();
            return Err("nothing came".into());
        }
        web::handshake(&self.acceptor, tcp, counted).await
    }

    async fn sort(&self, stream: TlsStream<TcpStream>, peer: SocketAddr) {
        match stream.get_ref().1.alpn_protocol() {
            Some(ALPN_LINK) => self.link(stream, peer).await,
            Some(ALPN_HTTP) => self.exchange(stream, peer).await,
            _ => tracing::info!(%peer, "refused: the peer asked for no protocol (ALPN) of this port"),
        }
    }

    async fn exchange(&self, stream: TlsStream<TcpStream>, peer: SocketAddr) {
        let caller = Caller::new(self.shown(&stream));
        let stranger = caller.host().is_none();
        let here = stranger.then(|| self.strange.enter(peer, "exchange"));
        if matches!(here, Some(None)) {
            return;
        }
        let room = if stranger { &self.strangers } else { &self.exchanges };
        let Ok(_permit) = room.try_acquire() else {
            return tracing::warn!(%peer, stranger, "too many exchanges at once, one refused");
        };
        let http1 = web::http1(limits::HTTP_HEAD_LIMIT).keep_alive(false).clone();
        let service = web::service(&self.router.clone().layer(Extension(caller.clone())), peer);
        let stream = web::Paced::new(stream, self.app.config.web.pace.write);
        let exchange = async {
            if !in_time(http1.serve_connection(web::io(stream), service), &caller).await {
                tracing::info!(%peer, "exchange took too long");
            }
        };
        let revoked = async {
            match caller.host() {
                Some(host) => self.app.directory.revoked(host).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = exchange => {}
            () = revoked => tracing::info!(%peer, "exchange cut: its host was revoked"),
        }
    }

    /// The host whose certificate the peer shows.
    fn shown(&self, stream: &TlsStream<TcpStream>) -> Shown {
        let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let Some(certificate) = certificate else { return Shown::Nothing };
        // The verifier has proved that it is one that we signed.
        let parsed = Parsed::of(certificate);
        let host = parsed.as_ref().and_then(|parsed| self.app.directory.by_id(parsed.host));
        host.zip(parsed).map_or(Shown::Nobody, |(host, parsed)| Shown::Host(host, parsed))
    }

    async fn link(&self, stream: TlsStream<TcpStream>, peer: SocketAddr) {
        let shown = self.shown(&stream);
        if matches!(shown, Shown::Nothing) {
            return refuse(stream, peer, "a link needs a client certificate; enrol the host first").await;
        }
        // Whoever sends everybody away need not know them.
        if let Some(server) = self.app.config.agents.sends_all_to() {
            tracing::info!(%peer, to = server, "link redirected");
            return farewell(stream, &Frame::Redirect { server }).await;
        }
        match shown {
            Shown::Host(host, parsed) => {
                let link = Link::new(host, peer).with(Renewal::of(parsed));
                session::start(self.app.clone(), stream, link, self.alive.clone());
            }
            Shown::Nobody | Shown::Nothing => refuse(stream, peer, NOT_KNOWN).await,
        }
    }
}

/// Whether the exchange came to its end within the time that its caller has.
async fn in_time(exchange: impl Future, caller: &Caller) -> bool {
    let mut exchange = pin!(exchange);
    timeout(limits::EXCHANGE_LIMIT, &mut exchange).await.is_ok()
        || (caller.may_take_its_time() && timeout(limits::DOWNLOAD_LIMIT, exchange).await.is_ok())
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;
    use tokio::time::Instant;

    #[tokio::test(start_paused = true)]
    async fn an_exchange_that_does_not_end_is_cut_and_a_download_much_later() {
        let caller = Caller::new(Shown::Nothing);
        let begun = Instant::now();
        assert!(!in_time(pending::<()>(), &caller).await);
        assert_eq!(begun.elapsed(), limits::EXCHANGE_LIMIT);
        caller.takes_its_time();
        let begun = Instant::now();
        assert!(!in_time(pending::<()>(), &caller).await);
        assert_eq!(begun.elapsed(), limits::EXCHANGE_LIMIT + limits::DOWNLOAD_LIMIT);
    }
}
