//! The life of one host: it dials, has a link, loses it, and comes back.

use crate::backoff::Backoff;
use crate::identity::secure;
use crate::link::{End, Link};
use crate::{Fault, Tally, Traits};
use aspire_wire::server_list::Server;
use aspire_wire::session::MAX_REDIRECTS;
use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ClientConfig;

/// As agents have it where nobody says otherwise.
const BACKOFF: [Duration; 2] = [Duration::from_secs(1), Duration::from_mins(5)];
/// For a connection with TLS.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// For the answer to `init`.
const INIT_TIMEOUT: Duration = Duration::from_secs(15);
/// After a link that lived this long the back-off begins anew.
const STABLE_LINK: Duration = Duration::from_secs(30);
/// Ids of requests that a host remembers.
const KEPT_IDS: usize = 16;
/// What the kernel keeps for a slow reader, in bytes: as little as may be.
const SLOW_READER_BYTES: u32 = 2048;

/// See the module.
pub(crate) struct Host {
    pub id: String,
    pub name: String,
    pub boot: String,
    pub config: Arc<ClientConfig>,
    pub servers: Arc<[Server]>,
    /// What it connects from; `None` leaves that to the kernel.
    pub source: Option<Ipv4Addr>,
    pub traits: Traits,
    pub tally: Arc<Tally>,
    /// Of the latest requests.
    pub ids: VecDeque<String>,
}

/// What became of one address.
enum Tried {
    Failed,
    Redirected(Vec<Server>),
    /// There was a link, since then.
    Linked(Instant),
}

impl Host {
    pub async fn live(mut self) {
        let [min, max] = BACKOFF;
        let mut backoff = Backoff::new(min, max, self.traits.seed);
        loop {
            if self.round().await {
                backoff.reset();
            }
            sleep(backoff.next_wait()).await;
        }
    }

    /// Tries all servers, and those that they redirect to, until there is a link, and ends with it.
    /// Whether it was stable.
    async fn round(&mut self) -> bool {
        let mut servers = self.servers.to_vec();
        for _ in 0..=MAX_REDIRECTS {
            match self.first_of(&servers).await {
                Tried::Failed => break,
                Tried::Linked(since) => return since.elapsed() >= STABLE_LINK,
                Tried::Redirected(others) => servers = others,
            }
        }
        false
    }

    /// Tries every address in turn until one does not fail.
    async fn first_of(&mut self, servers: &[Server]) -> Tried {
        for server in servers {
            let Ok(addresses) = lookup_host((server.host.as_str(), server.port)).await else { continue };
            for address in addresses {
                match self.attempt(address).await {
                    Tried::Failed => {}
                    other => return other,
                }
            }
        }
        Tried::Failed
    }

    async fn attempt(&mut self, to: SocketAddr) -> Tried {
        let Ok(Ok(stream)) = timeout(CONNECT_TIMEOUT, self.dial(to)).await else {
            self.tally.has_failed();
            return Tried::Failed;
        };
        self.tally.shook();
        let tally = self.tally.clone();
        let mut link = Link::new(self, stream);
        let greeted = timeout(INIT_TIMEOUT, link.greet()).await.unwrap_or(End::Lost);
        let (since, end) = match greeted {
            End::Ready(heartbeat) => {
                let _up = Up::new(&tally);
                (Some(Instant::now()), link.run(heartbeat).await)
            }
            other => (None, other),
        };
        match (end, since) {
            (End::Redirected(servers), _) => {
                tally.was_redirected();
                Tried::Redirected(servers)
            }
            (_, Some(since)) => Tried::Linked(since),
            (_, None) => {
                tally.has_failed();
                Tried::Failed
            }
        }
    }

    /// A request has come.
    pub fn had(&mut self, id: &str) {
        self.tally.took(self.ids.iter().any(|known| known == id));
        self.ids.push_back(id.to_owned());
        if self.ids.len() > KEPT_IDS {
            self.ids.pop_front();
        }
    }

    async fn dial(&self, to: SocketAddr) -> io::Result<TlsStream<TcpStream>> {
        let socket = if to.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        if self.traits.fault == Some(Fault::SlowReader) {
            socket.set_recv_buffer_size(SLOW_READER_BYTES)?;
        }
        if let Some(source) = self.source.filter(|_| to.is_ipv4()) {
            socket.bind((source, 0).into())?;
        }
        secure(socket.connect(to).await?, self.config.clone()).await
    }
}

/// A link that is ready, as long as this lives.
struct Up<'a>(&'a Tally);

impl Up<'_> {
    fn new(tally: &Tally) -> Up<'_> {
        tally.linked();
        Up(tally)
    }
}

impl Drop for Up<'_> {
    fn drop(&mut self) {
        self.0.unlinked();
    }
}
