//! The configuration: flags over the file over the defaults. Every key is
//! checked, and what is wrong is said with file, line and key.

use crate::limits;
use aspire_wire::server_list;
use aspire_wire::session::HEARTBEAT_SECONDS;
use serde::de::{Deserialize, Deserializer, Error as _};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
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
}

#[derive(Debug, Clone)]
pub struct Web {
    pub listen: SocketAddr,
    /// Certificate chain and key, PEM.
    pub tls: Option<(PathBuf, PathBuf)>,
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
}

impl Agents {
    /// Where every agent is sent, whoever it is.
    pub fn sends_all_to(&self) -> Option<&str> {
        self.redirect.as_deref().filter(|_| self.max_links.is_none())
    }
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
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    data: Option<PathBuf>,
    web: WebTable,
    agents: AgentsTable,
    database: DatabaseTable,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct WebTable {
    listen: Option<SocketAddr>,
    cert: Option<Spanned<PathBuf>>,
    key: Option<Spanned<PathBuf>>,
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
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct DatabaseTable {
    #[serde(deserialize_with = "embedded")]
    url: (),
}

impl Config {
    /// Reads the file that the flags name, if they do, and lays the flags over it.
    pub fn load(flags: Flags) -> Result<Config, ConfigError> {
        let file = match &flags.config {
            None => File::default(),
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|reason| ConfigError::Unreadable { file: path.clone(), reason })?;
                parse(path, &text)?
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
        Ok(Config {
            data: flags.data.or(file.data).unwrap_or_else(|| "/var/lib/polaris".into()),
            web: Web { listen, tls },
            agents: Agents {
                listen: flags.agents.or(file.agents.listen).unwrap_or(default_agents),
                names,
                heartbeat: file.agents.heartbeat.unwrap_or(limits::DEFAULT_HEARTBEAT_SECONDS),
                redirect: file.agents.redirect,
                max_links: file.agents.max_links,
                handshakes: file.agents.handshakes.unwrap_or(limits::DEFAULT_HANDSHAKES_PER_SECOND),
            },
        })
    }
}

fn parse(file: &Path, text: &str) -> Result<File, ConfigError> {
    let wrong = |span: Option<std::ops::Range<usize>>, reason: String| {
        let line = span.map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        ConfigError::Wrong { file: file.to_owned(), line, reason }
    };
    let toml = toml::Deserializer::parse(text).map_err(|e| wrong(e.span(), e.message().to_owned()))?;
    let parsed: File = serde_path_to_error::deserialize(toml).map_err(|error| {
        let (key, inner) = (error.path().to_string(), error.inner());
        let reason = match key.as_str() {
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

fn embedded<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
    match String::deserialize(deserializer)?.as_str() {
        "" => Ok(()),
        url if url.starts_with("mysql://") => {
            Err(D::Error::custom("mysql:// is not supported by this version yet; leave it empty"))
        }
        _ => Err(D::Error::custom("must be empty, which means the embedded database")),
    }
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
        assert_eq!(config.agents.handshakes, 2000);
    }

    #[test]
    fn every_key_is_understood() {
        let config = load(
            "data = '/tmp/x'\n[web]\nlisten = '0.0.0.0:1'\ncert = 'c'\nkey = 'k'\n[agents]\n\
             listen = '[::]:2'\nnames = ['a.example', '10.0.0.1', '::1']\nheartbeat = 5\n\
             redirect = ['10.0.0.2', 'b:9']\nmax_links = 3\nhandshakes = 7\n[database]\nurl = ''\n",
        )
        .unwrap();
        assert_eq!(config.agents.redirect.as_deref(), Some("10.0.0.2,b:9"));
        assert_eq!(config.agents.names.len(), 3);
        assert_eq!((config.agents.max_links, config.agents.handshakes), (Some(3), 7));
        assert!(config.web.tls.is_some());
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
            (
                "[agents]\nhandshakes = 0\n",
                "polaris.conf:2: agents.handshakes: must be 1 to 100000 handshakes a second, got 0",
            ),
            ("[agents]\nhandshakes = 100001\n", "got 100001"),
            ("[agents]\nnames = ['a b']\n", "polaris.conf:2: agents.names: \"a b\" is neither"),
            ("[agents]\nnames = ['a:1']\n", "agents.names"),
            ("[agents]\nredirect = ['a:0']\n", "polaris.conf:2: agents.redirect: \"a:0\": the port"),
            ("[agents]\nlisten = 'x'\n", "polaris.conf:2: agents.listen: "),
            (
                "[database]\nurl = 'mysql://u@h/d'\n",
                "database.url: mysql:// is not supported by this version yet",
            ),
            ("x = \n", "polaris.conf:1: "),
            ("[web]\nlisten = '0.0.0.0:80'\n", "--web"),
            ("[web]\ncert = 'c'\n", "polaris.conf:2: web.cert: cert and key need each other: only cert"),
        ] {
            let error = load(text).expect_err(text);
            assert!(error.contains(expected), "{error} should contain {expected}");
        }
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
