//! The configuration: flags over the file over the defaults. Every key is
//! checked, and what is wrong is said with file, line and key.

mod file;
mod tables;

pub use tables::{Audit, Format, Limits, Log, PackagesFolder, Requests};

use crate::limits;
use crate::people::Policy;
use crate::pki::passphrase::Source;
use crate::store::MySqlUrl;
use file::{File, dns_name};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::Spanned;

/// `polaris serve`'s flags. They win over the file.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Flags {
    /// Configuration file (TOML).
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where keys and the database are kept [default: /var/lib/polaris].
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Where people and programs connect to [default: 127.0.0.1:8180].
    #[arg(long, value_name = "ADDR")]
    pub web: Option<SocketAddr>,
    /// Where agents connect to [default: 0.0.0.0:8181].
    #[arg(long, value_name = "ADDR")]
    pub agents: Option<SocketAddr>,
    /// A DNS name or address by which agents reach this server; may be repeated.
    #[arg(long = "name", value_name = "DNSNAME", value_parser = dns_name)]
    pub names: Vec<String>,
}

/// Everything, checked.
#[derive(Debug, Clone)]
pub struct Config {
    pub data: PathBuf,
    pub web: Web,
    pub agents: Agents,
    pub database: Database,
    pub requests: Requests,
    pub packages: PackagesFolder,
    pub log: Log,
    pub limits: Limits,
    /// What roles are limited to.
    pub roles: Policy,
    pub audit: Audit,
    /// Where the passphrase of the CA's key is, if it has one.
    pub passphrase: Option<Source>,
}

#[derive(Debug, Clone)]
pub struct Web {
    pub listen: SocketAddr,
    /// Certificate chain and key, PEM.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// How callers may name this server beside its addresses and localhost.
    pub names: Vec<String>,
    /// Browsers speak TLS with us, or with a proxy before us: no session goes over anything else.
    pub secure_cookies: bool,
    pub pace: Pace,
}

/// How slow a peer of the web listener may be. Not in the file: tests lower it.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// [`limits::HTTP_HEAD_LIMIT`].
    pub head: Duration,
    /// [`limits::BODY_PATIENCE`].
    pub body: Duration,
    /// [`limits::WRITE_PATIENCE`].
    pub write: Duration,
}

impl Default for Pace {
    fn default() -> Pace {
        let (head, body) = (limits::HTTP_HEAD_LIMIT, limits::BODY_PATIENCE);
        Pace { head, body, write: limits::WRITE_PATIENCE }
    }
}

/// How much room the agents' port has. Not in the file: tests lower it.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    /// [`limits::MAX_HANDSHAKES`].
    pub handshakes: usize,
    /// [`limits::MAX_HANDSHAKES_PER_ADDRESS`].
    pub handshakes_per_address: u32,
    /// [`limits::HELLO_LIMIT`].
    pub hello: Duration,
    /// [`limits::MAX_STRANGERS`].
    pub strangers: usize,
    /// [`limits::MAX_STRANGERS_PER_ADDRESS`].
    pub strangers_per_address: u32,
}

impl Default for Room {
    fn default() -> Room {
        Room {
            handshakes: limits::MAX_HANDSHAKES,
            handshakes_per_address: limits::MAX_HANDSHAKES_PER_ADDRESS,
            hello: limits::HELLO_LIMIT,
            strangers: limits::MAX_STRANGERS,
            strangers_per_address: limits::MAX_STRANGERS_PER_ADDRESS,
        }
    }
}

#[derive(Debug, Clone)]
pub struct Agents {
    pub listen: SocketAddr,
    pub room: Room,
    /// Further names in the server's certificate.
    pub names: Vec<String>,
    /// Seconds.
    pub heartbeat: u64,
    /// Where agents are sent, as the frame says it.
    pub redirect: Option<String>,
    /// Links beyond which agents are sent away.
    pub max_links: Option<usize>,
    /// TLS handshakes that may begin in a second.
    pub handshakes: u32,
    /// The life of the hosts' certificates, in days.
    pub certificate_days: u32,
}

impl Agents {
    /// Where every agent is sent, whoever it is.
    pub fn sends_all_to(&self) -> Option<&str> {
        self.redirect.as_deref().filter(|_| self.max_links.is_none())
    }
}

#[derive(Debug, Clone)]
pub struct Database {
    /// A database server's; `None` is the embedded one.
    pub url: Option<MySqlUrl>,
    /// Connections to it at once.
    pub connections: u32,
}

/// Whoever wrote the configuration is at fault.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{file}: {reason}")]
    Unreadable { file: PathBuf, reason: std::io::Error },
    #[error("{file}:{line}: {reason}")]
    Wrong { file: PathBuf, line: usize, reason: String },
    #[error(
        "{0} is not a loopback address, and there plain HTTP would show the token to the network: \
         give [web] cert and key in the configuration file, or listen on 127.0.0.1 (--web)"
    )]
    PlainWeb(SocketAddr),
    #[error("{0}")]
    Passphrase(String),
}

impl Config {
    /// Reads the file that the flags name, if they do, and lays the flags over it.
    pub fn load(flags: Flags) -> Result<Config, ConfigError> {
        let file = match &flags.config {
            None => File::default(),
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|reason| ConfigError::Unreadable { file: path.clone(), reason })?;
                let file = parse(path, &text)?;
                check_secret(path, &text, &file)?;
                file
            }
        };
        Config::of(flags, file)
    }

    fn of(flags: Flags, file: File) -> Result<Config, ConfigError> {
        let listen = flags.web.or(file.web.listen).unwrap_or((Ipv4Addr::LOCALHOST, 8180).into());
        let tls = file.web.cert.map(Spanned::into_inner).zip(file.web.key.map(Spanned::into_inner));
        if tls.is_none() && !listen.ip().to_canonical().is_loopback() {
            return Err(ConfigError::PlainWeb(listen));
        }
        let mut names = file.agents.names;
        names.extend(flags.names);
        let default_agents = (Ipv4Addr::UNSPECIFIED, aspire_wire::session::DEFAULT_PORT).into();
        let data = flags.data.or(file.data).unwrap_or_else(|| "/var/lib/polaris".into());
        Ok(Config {
            packages: PackagesFolder {
                dir: file.packages.dir.unwrap_or_else(|| data.join("packages")),
                max_size: file.packages.max_size.unwrap_or(limits::DEFAULT_PACKAGE_BYTES),
            },
            data,
            web: Web {
                listen,
                secure_cookies: tls.is_some() || file.web.secure_cookies,
                tls,
                names: file.web.names,
                pace: Pace::default(),
            },
            log: file.log.into(),
            limits: file.limits.into(),
            agents: Agents {
                listen: flags.agents.or(file.agents.listen).unwrap_or(default_agents),
                room: Room::default(),
                names,
                heartbeat: file.agents.heartbeat.unwrap_or(limits::DEFAULT_HEARTBEAT_SECONDS),
                redirect: file.agents.redirect,
                max_links: file.agents.max_links,
                handshakes: file.agents.handshakes.unwrap_or(limits::DEFAULT_HANDSHAKES_PER_SECOND),
                certificate_days: file.agents.certificate_days.unwrap_or(limits::LEAF_DAYS),
            },
            roles: file.roles,
            audit: file.audit.into(),
            database: Database {
                url: file.database.url.map(Spanned::into_inner),
                connections: file.database.connections.unwrap_or(limits::DEFAULT_DATABASE_CONNECTIONS),
            },
            requests: Requests {
                confirm_above: file.requests.confirm_above.unwrap_or(limits::DEFAULT_CONFIRM_ABOVE_HOSTS),
            },
            passphrase: Source::find(file.pki.passphrase_file).map_err(ConfigError::Passphrase)?,
        })
    }
}

fn parse(file: &Path, text: &str) -> Result<File, ConfigError> {
    let wrong = |span: Option<std::ops::Range<usize>>, reason: String| {
        let line = span.map_or(1, |span| line_of(text, span.start));
        ConfigError::Wrong { file: file.to_owned(), line, reason }
    };
    let toml = toml::Deserializer::parse(text).map_err(|e| wrong(e.span(), e.message().to_owned()))?;
    let parsed: File = serde_path_to_error::deserialize(toml).map_err(|error| {
        let (key, inner) = (error.path().to_string(), error.inner());
        // A value whose place is kept has a name of its own within its key.
        let reason = match key.split(".$__").next().unwrap_or_default() {
            "." => inner.message().to_owned(),
            key => format!("{key}: {}", inner.message()),
        };
        wrong(inner.span(), reason)
    })?;
    let (lone, key) = match (&parsed.web.cert, &parsed.web.key) {
        (Some(cert), None) => (cert, "cert"),
        (None, Some(key)) => (key, "key"),
        _ => return Ok(parsed),
    };
    let reason = format!("web.{key}: cert and key need each other: only {key} is there");
    Err(wrong(Some(lone.span()), reason))
}

fn line_of(text: &str, at: usize) -> usize {
    text[..at.min(text.len())].matches('\n').count() + 1
}

/// A password is for polaris alone.
fn check_secret(path: &Path, text: &str, file: &File) -> Result<(), ConfigError> {
    let Some(url) = file.database.url.as_ref().filter(|url| url.get_ref().has_password()) else {
        return Ok(());
    };
    let mode = std::fs::metadata(path)
        .map_err(|reason| ConfigError::Unreadable { file: path.to_owned(), reason })?
        .permissions()
        .mode();
    let for_others = mode & 0o007;
    if for_others == 0 {
        return Ok(());
    }
    let reason = format!(
        "database.url: has a password, and everybody may read this file (mode {:03o}): \
         give it to polaris' user and chmod it to 600, or to 640",
        mode & 0o777
    );
    Err(ConfigError::Wrong { file: path.to_owned(), line: line_of(text, url.span().start), reason })
}

#[cfg(test)]
mod tests;
