//! What the file may say, table by table, each value within its range.

use super::tables::{AuditTable, LimitsTable, LogTable, PkiTable, certificate_days};
use crate::limits;
use crate::people::Policy;
use crate::store::MySqlUrl;
use aspire_wire::command::Quantity;
use aspire_wire::server_list;
use aspire_wire::session::HEARTBEAT_SECONDS;
use serde::de::{Deserialize, Deserializer, Error as _};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use toml::Spanned;

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct File {
    pub data: Option<PathBuf>,
    pub web: WebTable,
    pub agents: AgentsTable,
    pub requests: RequestsTable,
    pub database: DatabaseTable,
    pub packages: PackagesTable,
    pub log: LogTable,
    pub limits: LimitsTable,
    pub roles: Policy,
    pub audit: AuditTable,
    pub pki: PkiTable,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct WebTable {
    pub listen: Option<SocketAddr>,
    pub cert: Option<Spanned<PathBuf>>,
    pub key: Option<Spanned<PathBuf>>,
    #[serde(deserialize_with = "names")]
    pub names: Vec<String>,
    pub secure_cookies: bool,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct AgentsTable {
    pub listen: Option<SocketAddr>,
    #[serde(deserialize_with = "names")]
    pub names: Vec<String>,
    #[serde(deserialize_with = "heartbeat")]
    pub heartbeat: Option<u64>,
    #[serde(deserialize_with = "redirect")]
    pub redirect: Option<String>,
    #[serde(deserialize_with = "max_links")]
    pub max_links: Option<usize>,
    #[serde(deserialize_with = "handshakes")]
    pub handshakes: Option<u32>,
    #[serde(deserialize_with = "certificate_days")]
    pub certificate_days: Option<u32>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RequestsTable {
    #[serde(deserialize_with = "confirm_above")]
    pub confirm_above: Option<usize>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct DatabaseTable {
    #[serde(deserialize_with = "database")]
    pub url: Option<Spanned<MySqlUrl>>,
    #[serde(deserialize_with = "connections")]
    pub connections: Option<u32>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct PackagesTable {
    #[serde(deserialize_with = "folder")]
    pub dir: Option<PathBuf>,
    #[serde(deserialize_with = "max_size")]
    pub max_size: Option<u64>,
}

/// A name as a certificate may have it, or an address.
pub(super) fn dns_name(text: &str) -> Result<String, String> {
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

pub(super) fn in_range<E: serde::de::Error>(
    value: i64,
    range: &RangeInclusive<u64>,
    unit: impl fmt::Display,
) -> Result<u64, E> {
    match u64::try_from(value) {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => Err(E::custom(format!("must be {} to {} {unit}, got {value}", range.start(), range.end()))),
    }
}
