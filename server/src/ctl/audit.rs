//! `polarisctl audit`: who did what.

use super::args::Output;
use super::client::Client;
use super::error::Error;
use super::output::{self, List};
use super::requests::short;
use crate::limits::PAGE_ENTRIES;
use serde_json::Value;

#[derive(Debug, clap::Args)]
pub struct Audit {
    /// Only what this user did
    #[arg(long, value_name = "NAME")]
    pub who: Option<String>,
    /// Only what was about this host, by name or id
    #[arg(short = 'H', long)]
    pub host: Option<String>,
    /// Nothing that is older, such as 2026-11-24T00:00:00Z
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// How many at most [Polaris' default: 50]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(PAGE_ENTRIES))]
    pub limit: Option<u64>,
    /// Only what is older than the entry of this number
    #[arg(long, value_name = "ID")]
    pub before: Option<i64>,
}

pub fn audit(client: &Client, audit: &Audit, output: Output) -> Result<(), Error> {
    let query = [
        ("who", &audit.who),
        ("host", &audit.host),
        ("since", &audit.since),
        ("limit", &audit.limit.map(|limit| limit.to_string())),
        ("before", &audit.before.map(|before| before.to_string())),
    ];
    let list = List::parse(&client.get_with(&["audit"], &query)?, "entries");
    let list = list.map_err(|reason| client.not_polaris(&reason))?;
    list.print(output, &["ID", "AT", "WHO", "FROM", "STATUS", "HOSTS", "CALL", "WHAT"], |entry| {
        let cell = |field: &str| output::cell(&entry[field]);
        let who = match entry["token"].as_str() {
            Some(token) => format!("{}/{}", cell("who"), output::printable(token)),
            None => cell("who"),
        };
        let made = format!("{} {}", cell("method"), cell("path"));
        vec![
            cell("id"),
            cell("at"),
            who,
            cell("from"),
            cell("status"),
            whom(entry),
            made,
            short(&what(entry)),
        ]
    })
}

/// Names of the hosts while they are few, else their number.
fn whom(entry: &Value) -> String {
    const SHOWN: usize = 3;
    let hosts = entry["hosts"].as_array().map(Vec::as_slice).unwrap_or_default();
    match entry["host_count"].as_u64() {
        Some(0) | None => "-".to_owned(),
        Some(count) if count == hosts.len() as u64 && hosts.len() <= SHOWN => {
            let names =
                hosts.iter().map(|host| if host["name"].is_null() { &host["host"] } else { &host["name"] });
            names.map(output::cell).collect::<Vec<_>>().join(",")
        }
        Some(count) => format!("{count} hosts"),
    }
}

/// What was sent to hosts, or what changed.
fn what(entry: &Value) -> String {
    match entry["params"].as_str() {
        Some(params) => format!("{} {}", output::cell(&entry["what"]), output::printable(params)),
        None => output::cell(&entry["what"]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn few_hosts_are_named_and_many_counted() {
        let host = |name: &str| json!({"host": "id", "name": name});
        for (hosts, count, shown) in [
            (json!([]), 0, "-"),
            (json!([host("a"), {"host": "b"}]), 2, "a,b"),
            (json!([host("a"), host("b"), host("c"), host("d")]), 4, "4 hosts"),
            (json!([host("a")]), 200, "200 hosts"),
        ] {
            assert_eq!(whom(&json!({"hosts": hosts, "host_count": count})), shown);
        }
    }
}
