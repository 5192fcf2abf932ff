//! How it is found out whether a daemon is well.

use super::SHORT_BYTES;
use crate::command::plain;
use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize, Serializer};
use std::fmt;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Check {
    /// `process`: its main process is there.
    #[default]
    Process,
    /// `socket`: its socket takes connections.
    Socket,
    /// `http:URL`: the answer's status is 200 to 399. The `http` may be that of the URL itself.
    Http(String),
    /// `script:COMMAND`: the command succeeds.
    Script(String),
}

impl Check {
    fn parse(text: &str) -> Result<Check, String> {
        let of_web = |text: &str| text.starts_with("http://") || text.starts_with("https://");
        match text.split_once(':') {
            None if text == "process" => Ok(Check::Process),
            None if text == "socket" => Ok(Check::Socket),
            Some(_) if of_web(text) => web(text),
            Some(("http", url)) if of_web(url) => web(url),
            Some(("http", url)) => {
                Err(format!("http: must be followed by a URL of http or https, got {url:?}"))
            }
            Some(("script", command)) if command.trim().is_empty() => {
                Err("script: must be followed by a command".into())
            }
            Some(("script", command)) => Ok(Check::Script(command.trim().to_owned())),
            _ => Err(format!("must be process, socket, http:URL or script:COMMAND, got {text:?}")),
        }
    }
}

fn web(url: &str) -> Result<Check, String> {
    let host = url.split_once("://").map_or("", |(_, rest)| rest);
    if host.is_empty() || host.starts_with('/') || url.bytes().any(|b| b.is_ascii_control() || b == b' ') {
        return Err(format!("http: not a URL: {url:?}"));
    }
    Ok(Check::Http(url.to_owned()))
}

/// What follows `tcp:`. The host is a name or an address; one of IPv6 is in brackets.
pub(super) fn host_and_port(address: &str) -> Result<(), String> {
    let parts = address.rsplit_once(':');
    let good = parts.is_some_and(|(host, port)| {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host_is_good = match bare {
            Some(ipv6) => ipv6.parse::<std::net::Ipv6Addr>().is_ok(),
            None => !host.is_empty() && !host.contains([':', '[', ']', '/', ' ']),
        };
        host_is_good && port.parse::<u16>().is_ok_and(|port| port > 0)
    });
    if good { Ok(()) } else { Err(format!("tcp: must be followed by HOST:PORT, got {address:?}")) }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Check::Process => f.write_str("process"),
            Check::Socket => f.write_str("socket"),
            // As short as it came: the whole is bounded.
            Check::Http(url) => f.write_str(url),
            Check::Script(command) => write!(f, "script:{command}"),
        }
    }
}

impl Serialize for Check {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Check {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        plain("", &text, 1, SHORT_BYTES)?;
        Check::parse(&text).map_err(de::Error::custom)
    }
}
