//! The configuration: flags over the file over the defaults. Every key is
//! checked, and what is wrong is said with file, line and key.

mod tables;

pub use tables::{Audit, Format, Limits, Log, PackagesFolder, Requests};

use crate::limits;
use crate::people::Policy;
use crate::pki::passphrase::Source;
use crate::store::MySqlUrl;
use aspire_wire::command::Quantity;
use aspire_wire::server_list;
use aspire_wire::session::HEARTBEAT_SECONDS;
use serde::de::{Deserialize, Deserializer, Error as _};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tables::{AuditTable, LimitsTable, LogTable, PkiTable, certificate_days};
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

#[derive(Debug, Clone)]
pub struct Agents {
    pub listen: SocketAddr,
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

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    data: Option<PathBuf>,
    web: WebTable,
    agents: AgentsTable,
    requests: RequestsTable,
    database: DatabaseTable,
    packages: PackagesTable,
    log: LogTable,
    limits: LimitsTable,
    roles: Policy,
    audit: AuditTable,
    pki: PkiTable,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct WebTable {
    listen: Option<SocketAddr>,
    cert: Option<Spanned<PathBuf>>,
    key: Option<Spanned<PathBuf>>,
    #[serde(deserialize_with = "names")]
    names: Vec<String>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct AgentsTable {
    listen: Option<SocketAddr>,
    #[serde(deserialize_with = "names")]
    names: Vec<String>,
    #[serde(deserialize_with = "heartbeat")]
    heartbeat: Option<u64>,
    #[serde(deserialize_with = "redirect")]
    redirect: Option<String>,
    #[serde(deserialize_with = "max_links")]
    max_links: Option<usize>,
    #[serde(deserialize_with = "handshakes")]
    handshakes: Option<u32>,
    #[serde(deserialize_with = "certificate_days")]
    certificate_days: Option<u32>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RequestsTable {
    #[serde(deserialize_with = "confirm_above")]
    confirm_above: Option<usize>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct DatabaseTable {
    #[serde(deserialize_with = "database")]
    url: Option<Spanned<MySqlUrl>>,
    #[serde(deserialize_with = "connections")]
    connections: Option<u32>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct PackagesTable {
    #[serde(deserialize_with = "folder")]
    dir: Option<PathBuf>,
    #[serde(deserialize_with = "max_size")]
    max_size: Option<u64>,
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
            web: Web { listen, tls, names: file.web.names, pace: Pace::default() },
            log: file.log.into(),
            limits: file.limits.into(),
            agents: Agents {
                listen: flags.agents.or(file.agents.listen).unwrap_or(default_agents),
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

/// A name as a certificate may have it, or an address.
fn dns_name(text: &str) -> Result<String, String> {
    let plain = server_list::entry(text).is_ok_and(|server| server.host == text);
    if plain || text.parse::<IpAddr>().is_ok() {
        Ok(text.to_owned())
    } else {
        Err(format!("{text:?} is neither a DNS name nor an address"))
    }
}

fn names<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let names = Vec::<String>::deserialize(deserializer)?;
    names.iter().map(|name| dns_name(name).map_err(D::Error::custom)).collect()
}

fn redirect<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let servers = Vec::<String>::deserialize(deserializer)?;
    if servers.is_empty() {
        return Ok(None);
    }
    let list = servers.join(",");
    server_list::parse(&list).map_err(D::Error::custom)?;
    Ok(Some(list))
}

fn heartbeat<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let seconds = i64::deserialize(deserializer)?;
    in_range(seconds, &HEARTBEAT_SECONDS, "seconds").map(Some)
}

fn max_links<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<usize>, D::Error> {
    let links = i64::deserialize(deserializer)?;
    in_range(links, &limits::MAX_LINKS, "links").map(|links| usize::try_from(links).ok())
}

fn handshakes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    let number = i64::deserialize(deserializer)?;
    let number = in_range(number, &limits::HANDSHAKES_PER_SECOND, "handshakes a second")?;
    Ok(u32::try_from(number).ok())
}

fn confirm_above<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<usize>, D::Error> {
    let hosts = i64::deserialize(deserializer)?;
    in_range(hosts, &limits::CONFIRM_ABOVE_HOSTS, "hosts").map(|hosts| usize::try_from(hosts).ok())
}

/// `None` where it is empty: in the data folder, then.
fn folder<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    let folder = PathBuf::deserialize(deserializer)?;
    Ok(Some(folder).filter(|folder| !folder.as_os_str().is_empty()))
}

fn max_size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let bytes = Quantity { range: limits::PACKAGE_BYTES, one: "byte", many: "bytes" };
    bytes.read(deserializer).map(Some)
}

fn database<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Spanned<MySqlUrl>>, D::Error> {
    let url = Spanned::<String>::deserialize(deserializer)?;
    if url.get_ref().is_empty() {
        return Ok(None);
    }
    let parsed = MySqlUrl::parse(url.get_ref()).map_err(D::Error::custom)?;
    Ok(Some(Spanned::new(url.span(), parsed)))
}

fn connections<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    let number = i64::deserialize(deserializer)?;
    in_range(number, &limits::DATABASE_CONNECTIONS, "connections").map(|number| u32::try_from(number).ok())
}

fn in_range<E: serde::de::Error>(
    value: i64,
    range: &RangeInclusive<u64>,
    unit: impl fmt::Display,
) -> Result<u64, E> {
    match u64::try_from(value) {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => Err(E::custom(format!("must be {} to {} {unit}, got {value}", range.start(), range.end()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Config, String> {
        let file = parse(Path::new("polaris.conf"), text).map_err(|e| e.to_string())?;
        Config::of(Flags::default(), file).map_err(|e| e.to_string())
    }

    #[test]
    fn the_defaults_are_the_documented_ones() {
        let config = load("").unwrap();
        assert_eq!(config.data, Path::new("/var/lib/polaris"));
        assert_eq!(config.web.listen.to_string(), "127.0.0.1:8180");
        assert_eq!(config.agents.listen.to_string(), "0.0.0.0:8181");
        assert_eq!((config.agents.heartbeat, config.agents.max_links), (60, None));
        assert_eq!(config.requests.confirm_above, 1000);
        assert_eq!(config.packages.dir, Path::new("/var/lib/polaris/packages"));
        assert_eq!(config.packages.max_size, 4 << 30);
        assert_eq!(config.agents.handshakes, 2000);
        assert_eq!((config.agents.certificate_days, config.passphrase), (397, None));
    }

    #[test]
    fn every_key_is_understood() {
        let config = load(
            "data = '/tmp/x'\n[web]\nlisten = '0.0.0.0:1'\ncert = 'c'\nkey = 'k'\nnames = ['p.example']\n\
             [log]\nlevel = 'debug'\nformat = 'json'\naccess = true\n[limits]\nconnections_per_address = 1\n\
             requests_per_second = 2\nchanges_per_second = 3\nreads_per_second = 4\n\
             enrolments_per_second = 5\n[agents]\n\
             listen = '[::]:2'\nnames = ['a.example', '10.0.0.1', '::1']\nheartbeat = 5\n\
             redirect = ['10.0.0.2', 'b:9']\nmax_links = 3\nhandshakes = 7\ncertificate_days = 1\n[requests]\nconfirm_above = 9\n\
             [database]\nurl = ''\nconnections = 1\n\
             [packages]\ndir = '/srv/p'\nmax_size = '2G'\n\
             [pki]\npassphrase_file = '/p'\n",
        )
        .unwrap();
        assert_eq!(config.agents.redirect.as_deref(), Some("10.0.0.2,b:9"));
        assert_eq!(config.agents.names.len(), 3);
        assert_eq!(config.requests.confirm_above, 9);
        assert_eq!((config.agents.max_links, config.agents.handshakes), (Some(3), 7));
        assert_eq!(config.agents.certificate_days, 1);
        assert_eq!(config.passphrase, Some(Source::File("/p".into())));
        assert!(config.web.tls.is_some());
        assert_eq!((config.packages.dir.as_path(), config.packages.max_size), (Path::new("/srv/p"), 2 << 30));
        assert_eq!(config.web.names, ["p.example"]);
        assert_eq!((config.log.format, config.log.access), (Format::Json, true));
        assert_eq!((config.limits.connections_per_address, config.limits.enrolments_per_second), (1, 5));
    }

    #[test]
    fn what_is_wrong_is_said_with_file_line_and_key() {
        for (text, expected) in [
            ("\nfoo = 1\n", "polaris.conf:2: foo: unknown field `foo`"),
            ("[agents]\nnames = []\nheart = 1\n", "polaris.conf:3: agents.heart: unknown field `heart`"),
            (
                "[agents]\n\nheartbeat = 0\n",
                "polaris.conf:3: agents.heartbeat: must be 1 to 3600 seconds, got 0",
            ),
            ("[agents]\nheartbeat = 3601\n", "got 3601"),
            ("[agents]\nheartbeat = '60'\n", "polaris.conf:2: agents.heartbeat: invalid type: string"),
            ("[agents]\nmax_links = 0\n", "polaris.conf:2: agents.max_links: must be 1 to"),
            ("[requests]\nconfirm_above = 0\n", "polaris.conf:2: requests.confirm_above: must be 1 to"),
            (
                "[agents]\nhandshakes = 0\n",
                "polaris.conf:2: agents.handshakes: must be 1 to 100000 handshakes a second, got 0",
            ),
            ("[agents]\nhandshakes = 100001\n", "got 100001"),
            (
                "[agents]\ncertificate_days = 0\n",
                "polaris.conf:2: agents.certificate_days: must be 1 to 3653 days, got 0",
            ),
            ("[agents]\ncertificate_days = 3654\n", "got 3654"),
            ("[pki]\npassphrase = 'x'\n", "polaris.conf:2: pki.passphrase: unknown field"),
            ("[agents]\nnames = ['a b']\n", "polaris.conf:2: agents.names: \"a b\" is neither"),
            ("[agents]\nnames = ['a:1']\n", "agents.names"),
            ("[agents]\nredirect = ['a:0']\n", "polaris.conf:2: agents.redirect: \"a:0\": the port"),
            ("[agents]\nlisten = 'x'\n", "polaris.conf:2: agents.listen: "),
            ("[database]\nurl = 'mysql://u@h'\n", "polaris.conf:2: database.url: names no database"),
            ("[database]\nconnections = 0\n", "database.connections: must be 1 to 100 connections, got 0"),
            ("[database]\nurl = 5\n", "polaris.conf:2: database.url: invalid type"),
            (
                "[packages]\nmax_size = 0\n",
                "polaris.conf:2: packages.max_size: must be at least 1 byte, got 0",
            ),
            ("[packages]\nmax_size = -1\n", "packages.max_size: must be at least 1 byte, got -1"),
            ("[packages]\nmax_size = '2000000G'\n", "packages.max_size: must be at most"),
            ("[packages]\nmax_size = 'big'\n", "packages.max_size: invalid type: string"),
            ("[log]\nlevel = 'loud'\n", "polaris.conf:2: log.level: unknown variant `loud`"),
            ("[log]\nformat = 'xml'\n", "polaris.conf:2: log.format: unknown variant `xml`"),
            (
                "[limits]\nreads_per_second = 0\n",
                "polaris.conf:2: limits.reads_per_second: must be 1 to 1000000 a second, got 0",
            ),
            (
                "[roles.operator]\ntarget = 'regio'\n",
                "polaris.conf:2: roles.operator.target: there is no field \"regio\"",
            ),
            ("[roles.operator]\nmethods = ['']\n", "polaris.conf:2: roles.operator.methods: \"\" is no"),
            ("[roles.readonly]\nmethods = []\n", "roles.readonly.methods: unknown field"),
            ("[roles.admin]\ntarget = ''\n", "roles.admin: unknown field"),
            ("[audit]\nkeep = 'year'\n", "polaris.conf:2: audit.keep: must be a time such as"),
            ("[audit]\nkeep = '1s'\n", "polaris.conf:2: audit.keep: must be 1d to"),
            ("x = \n", "polaris.conf:1: "),
            ("[web]\nlisten = '0.0.0.0:80'\n", "--web"),
            ("[web]\ncert = 'c'\n", "polaris.conf:2: web.cert: cert and key need each other: only cert"),
        ] {
            let error = load(text).expect_err(text);
            assert!(error.contains(expected), "{error} should contain {expected}");
        }
    }

    #[test]
    fn a_password_is_not_for_everybody_to_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("polaris.toml");
        let load = |text: &str, mode: u32| {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            Config::load(Flags { config: Some(path.clone()), ..Flags::default() })
        };
        let with = "[database]\nurl = 'mysql://bob:secret@h/a'\n";
        let error = load(with, 0o644).expect_err("everybody").to_string();
        assert!(error.contains("polaris.toml:2: database.url: has a password"), "{error}");
        assert!(error.contains("mode 644") && !error.contains("secret"), "{error}");
        for (text, mode) in [(with, 0o640), (with, 0o600), ("[database]\nurl = 'mysql://bob@h/a'\n", 0o644)] {
            let shown = format!("{:?}", load(text, mode).unwrap());
            assert!(shown.contains("mysql://h/a") && !shown.contains("secret"), "{shown}");
        }
        assert!(load("[database]\nurl = ''", 0o644).unwrap().database.url.is_none());
    }

    #[test]
    fn flags_win_over_the_file() {
        let file = parse(Path::new("f"), "data = 'file'\n[agents]\nnames = ['a']\n").unwrap();
        let flags = Flags { data: Some("flag".into()), names: vec!["b".into()], ..Flags::default() };
        let config = Config::of(flags, file).unwrap();
        assert_eq!(config.data, Path::new("flag"));
        assert_eq!(config.agents.names, ["a", "b"]);
    }
}
