//! From the configuration to a server that listens, and from the wish to stop
//! to one that has let go of everything.

use crate::agents::listener::Port;
use crate::agents::renewal::keep_renewed;
use crate::app::{self, App, STOPPING};
use crate::boot::sweep;
use crate::config::Config;
use crate::hosts;
use crate::jobs::book;
use crate::people::{audit, keep};
use crate::pki::passphrase::Source;
use crate::pki::{Authority, ServerCertificate, files, keep_fresh, tls};
use crate::queue::courier;
use crate::requests::record;
use crate::web::Web;
use crate::{limits, routes};
use anyhow::Context as _;
use std::fs::{File, TryLockError};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

/// A server that listens.
pub struct Running {
    pub app: Arc<App>,
    /// What the web listener is bound to.
    pub web: SocketAddr,
    /// What the agents' port is bound to.
    pub agents: SocketAddr,
    listen_file: PathBuf,
    stop: watch::Sender<bool>,
    /// The two listeners.
    accepting: [JoinHandle<()>; 2],
    /// Those that write to the database.
    writing: [JoinHandle<()>; 7],
    renewal: JoinHandle<()>,
    /// Ends when the last link's task has.
    links: mpsc::Receiver<()>,
    /// Held by an OS lock: the data folder is ours alone.
    _lock: File,
}

impl Running {
    /// Starts everything; both listeners accept when this returns.
    pub async fn start(config: Config) -> anyhow::Result<Running> {
        let data = config.data.clone();
        files::private_dir(&data).with_context(|| format!("making {} (--data)", data.display()))?;
        let lock = lock(&data)?;
        let pki = data.join("pki");
        files::private_dir(&pki).with_context(|| format!("making {}", pki.display()))?;
        let passphrase = config.passphrase.as_ref().map(Source::read).transpose()?;
        let authority = Authority::open(&pki, passphrase.as_ref())?;
        drop(passphrase);
        let certificate =
            Arc::new(ServerCertificate::open(&pki, &authority, certificate_names(&config.agents.names))?);
        let agents_tls: TlsAcceptor = tls::agents(&authority, certificate.clone())?.into();
        let web_tls = match &config.web.tls {
            Some((cert, key)) => Some(TlsAcceptor::from(tls::web(cert, key)?)),
            None => None,
        };
        let token = app::admin_token(&data)?;
        let web_listener = bind(config.web.listen, limits::MAX_BACKLOG, "--web", "[web]")?;
        let backlog = config.agents.handshakes.saturating_mul(limits::BACKLOG_SECONDS);
        let backlog = backlog.min(limits::MAX_BACKLOG);
        let agents_listener = bind(config.agents.listen, backlog, "--agents", "[agents]")?;
        let (web, agents) = (web_listener.local_addr()?, agents_listener.local_addr()?);
        let app = Arc::new(App::build(config, authority, &token).await?);

        let (stop, stopped) = watch::channel(false);
        let (alive, links) = mpsc::channel(1);
        let port = Port::new(app.clone(), agents_tls, routes::agents(&app), alive);
        let scheme = if web_tls.is_some() { "https" } else { "http" };
        let Config { web: crate::config::Web { pace, .. }, limits, .. } = &app.config;
        let web_server =
            Web::new(web_tls, routes::web(&app), *pace, limits.connections_per_address, app.metrics.clone());
        app.hears_from(crate::clock::now());
        let accepting = [
            tokio::spawn(web_server.serve(web_listener, stopped.clone())),
            tokio::spawn(port.serve(agents_listener, stopped.clone())),
        ];
        let writing = [
            tokio::spawn(recorder(app.clone(), stopped.clone())),
            tokio::spawn(host_writer(app.clone(), stopped.clone())),
            tokio::spawn(bookkeeper(app.clone(), stopped.clone())),
            tokio::spawn(carrier(app.clone(), stopped.clone())),
            tokio::spawn(scribe(app.clone(), stopped.clone())),
            tokio::spawn(keeper(app.clone(), stopped.clone())),
            tokio::spawn(sweeper(app.clone(), stopped)),
        ];
        let renewal = tokio::spawn(renewal(certificate, app.clone()));

        let listen_file = data.join("listen.json");
        let listen = serde_json::json!({
            "web": format!("{scheme}://{web}"), "agents": agents.to_string(), "pid": std::process::id(),
        });
        files::write(&listen_file, format!("{listen}\n").as_bytes(), 0o600)
            .with_context(|| format!("writing {}", listen_file.display()))?;
        tracing::info!(%web, %agents, data = %data.display(), "ready");
        Ok(Running { app, web, agents, listen_file, stop, accepting, writing, renewal, links, _lock: lock })
    }

    /// Ends everything: nothing new, who waits gets an answer, links are told, all is written.
    pub async fn stop(mut self) {
        tracing::info!("stopping");
        self.app.stop();
        self.stop.send_replace(true);
        for request in self.app.requests.all() {
            request.shut_down(STOPPING);
        }
        self.app.jobs.logs.stop();
        self.app.hub.end_all(STOPPING);
        for task in self.accepting {
            let _ = task.await;
        }
        let _ = timeout(limits::STOP_LIMIT, self.links.recv()).await;
        for task in self.writing {
            let _ = task.await;
        }
        self.renewal.abort();
        if let Err(error) = record::record_all(&self.app.requests, &self.app.store).await {
            tracing::error!(%error, "results not recorded");
        }
        if let Err(error) = book::store_all(&self.app.jobs, &self.app.store).await {
            tracing::error!(%error, "news of jobs not stored: their hosts will tell it again");
        }
        if let Err(error) = courier::settle_all(&self.app).await {
            tracing::error!(%error, "answers not stored: they will be asked for again");
        }
        if let Err(error) = keep::write_uses(&self.app).await {
            tracing::error!(%error, "when access tokens and sessions were used is not written");
        }
        audit::write_rest(&self.app.audit, &self.app.store).await;
        hosts::write_rest(&self.app.directory, &self.app.store).await;
        self.app.store.close().await;
        let _ = std::fs::remove_file(&self.listen_file);
        tracing::info!("stopped");
    }
}

async fn recorder(app: Arc<App>, stop: watch::Receiver<bool>) {
    record::keep_recorded(&app.requests, &app.store, stop).await;
}

async fn bookkeeper(app: Arc<App>, stop: watch::Receiver<bool>) {
    book::keep_stored(&app.jobs, &app.store, stop).await;
}

async fn carrier(app: Arc<App>, stop: watch::Receiver<bool>) {
    courier::keep_delivering(&app, stop).await;
}

async fn scribe(app: Arc<App>, stop: watch::Receiver<bool>) {
    audit::keep_written(&app.audit, &app.store, stop).await;
}

async fn keeper(app: Arc<App>, stop: watch::Receiver<bool>) {
    keep::keep(&app, stop).await;
}

async fn sweeper(app: Arc<App>, stop: watch::Receiver<bool>) {
    sweep::keep_swept(&app, stop).await;
}

async fn host_writer(app: Arc<App>, stop: watch::Receiver<bool>) {
    hosts::keep_written(&app.directory, &app.store, stop).await;
}

async fn renewal(certificate: Arc<ServerCertificate>, app: Arc<App>) {
    tokio::join!(keep_fresh(&certificate, &app.authority), keep_renewed(&app.hub));
}

/// One polaris a folder; the lock goes with the process, however it ends.
fn lock(data: &Path) -> anyhow::Result<File> {
    let path = data.join("polaris.lock");
    let file = File::create(&path).with_context(|| format!("opening {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => anyhow::bail!(
            "another polaris runs on {}: stop it, or choose another folder with --data",
            data.display()
        ),
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("locking {}", path.display())),
    }
}

/// At most `backlog` connections wait to be accepted.
fn bind(address: SocketAddr, backlog: u32, flag: &str, table: &str) -> anyhow::Result<TcpListener> {
    let bind = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // Connections of a server that has just ended do not keep the next one from its port.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(backlog)
    };
    bind().with_context(|| {
        format!("cannot listen on {address}: choose another address with {flag} ADDR or {table} listen")
    })
}

/// What agents may call this server: the names that work anywhere, this
/// machine's, and the configured ones.
fn certificate_names(configured: &[String]) -> Vec<String> {
    let mut names: Vec<String> =
        ["localhost", "127.0.0.1", "::1", "config.cargo.com"].map(String::from).to_vec();
    let node = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let node = node.trim();
    if aspire_wire::server_list::entry(node).is_ok_and(|server| server.host == node) {
        names.push(node.to_owned());
    }
    for name in configured {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    names
}
