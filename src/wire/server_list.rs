//! Server lists: `host[:port],host[:port]`, as in the configuration, `-S` and redirects.

use crate::session::DEFAULT_PORT;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// Servers in one list.
pub const MAX_SERVERS: usize = 64;

/// One entry of a server list: a name or an address, and a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Server {
    pub host: String,
    pub port: u16,
}

impl Server {
    /// The address, where the entry is one and not a name.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.parse::<Ipv6Addr>() {
            Ok(address) => write!(f, "[{address}]:{}", self.port),
            Err(_) => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// Why a server list was refused, naming the entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServerListError {
    #[error("the list is empty")]
    Empty,
    #[error("more than {MAX_SERVERS} servers")]
    TooMany,
    #[error("{0:?}: the port must be a number from 1 to 65535")]
    Port(String),
    #[error("{0:?} is neither a host name nor an address")]
    Host(String),
}

/// Reads a server list. Empty entries (a comma at the end) are passed over.
///
/// # Errors
/// The first entry that is wrong, or a list without any.
pub fn parse(list: &str) -> Result<Vec<Server>, ServerListError> {
    let entries = list.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    let servers = entries.map(entry).collect::<Result<Vec<_>, _>>()?;
    match servers.len() {
        0 => Err(ServerListError::Empty),
        n if n > MAX_SERVERS => Err(ServerListError::TooMany),
        _ => Ok(servers),
    }
}

/// Reads one entry. An IPv6 address with a port stands in brackets.
///
/// # Errors
/// As [`parse`].
pub fn entry(text: &str) -> Result<Server, ServerListError> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, tail) = rest.split_once(']').ok_or_else(|| ServerListError::Host(text.into()))?;
        host.parse::<Ipv6Addr>().map_err(|_| ServerListError::Host(text.into()))?;
        match tail.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if tail.is_empty() => (host, None),
            None => return Err(ServerListError::Host(text.into())),
        }
    } else if text.parse::<Ipv6Addr>().is_ok() {
        (text, None)
    } else {
        text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)))
    };
    let port = match port {
        None => DEFAULT_PORT,
        Some(port) => match port.parse() {
            Ok(number) if number > 0 && port.bytes().all(|b| b.is_ascii_digit()) => number,
            _ => return Err(ServerListError::Port(text.into())),
        },
    };
    if host.parse::<IpAddr>().is_err() && !is_host_name(host) {
        return Err(ServerListError::Host(text.into()));
    }
    Ok(Server { host: host.to_owned(), port })
}

/// Letters, digits, hyphens and underscores between dots, as RFC 1123 and practice have it.
fn is_host_name(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    name.len() <= 253 && name.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(list: &str) -> Result<Vec<String>, ServerListError> {
        parse(list).map(|servers| servers.iter().map(Server::to_string).collect())
    }

    #[test]
    fn names_addresses_and_ports_in_every_form() {
        for (list, expected) in [
            ("config.cargo.com:8181", vec!["config.cargo.com:8181"]),
            ("127.0.10.1,10.92.1.130:9", vec!["127.0.10.1:8181", "10.92.1.130:9"]),
            ("192.168.9.1:1234,", vec!["192.168.9.1:1234"]),
            (" a , b:1 ", vec!["a:8181", "b:1"]),
            ("::1", vec!["[::1]:8181"]),
            ("[::1]:99,[fe80::1]", vec!["[::1]:99", "[fe80::1]:8181"]),
        ] {
            assert_eq!(shown(list).unwrap(), expected, "{list}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        assert_eq!(parse(" , "), Err(ServerListError::Empty));
        for list in ["a:0", "a:65536", "a:", "a:+1", "a:1:2", "[::1]:x"] {
            assert!(matches!(parse(list), Err(ServerListError::Port(_))), "{list}");
        }
        for list in ["a b", "-a", "a..b", "[::1", "[::1]9", "[a]:1", "http://a", ":1"] {
            assert!(parse(list).is_err(), "{list}");
        }
        assert_eq!(parse(&"a,".repeat(65)), Err(ServerListError::TooMany));
    }
}
