//! `polarisctl hosts`: the inventory.

use super::args::Output;
use super::client::Client;
use super::error::Error;
use super::output::{self, List};
use clap::Subcommand;
use serde_json::{Map, Value};
use std::io::{self, Write};

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Hosts {
    #[command(subcommand)]
    pub verb: Option<HostsVerb>,
    #[command(flatten)]
    pub list: HostsList,
}

#[derive(Debug, Subcommand)]
pub enum HostsVerb {
    /// List them (what `hosts` alone does, too)
    List(HostsList),
    /// All about one host
    Show { host: String },
    /// Revoke a host: whatever certificate it shows, it is refused from now on
    Remove { host: String },
}

#[derive(Debug, Default, clap::Args)]
pub struct HostsList {
    /// Only the hosts in this state
    #[arg(long, value_parser = ["unknown", "online", "offline"])]
    pub status: Option<String>,
    /// Only the hosts that this expression selects
    #[arg(short = 't', long)]
    pub target: Option<String>,
}

pub fn hosts(client: &Client, hosts: &Hosts, output: Output) -> Result<(), Error> {
    match &hosts.verb {
        None => list(client, &hosts.list, output),
        Some(HostsVerb::List(options)) => list(client, options, output),
        Some(HostsVerb::Show { host }) => show(client, host, output),
        Some(HostsVerb::Remove { host }) => {
            client.delete(&["hosts", host])?;
            writeln!(io::stderr(), "{} is removed: it is refused from now on", output::printable(host))?;
            Ok(())
        }
    }
}

fn show(client: &Client, host: &str, output: Output) -> Result<(), Error> {
    let body = client.get(&["hosts", host])?;
    let fields: Map<String, Value> =
        serde_json::from_slice(&body).map_err(|error| client.not_polaris(&error))?;
    let mut out = io::stdout().lock();
    match output {
        Output::Table => {
            let mut fields = fields;
            let facts = fields.remove("facts");
            let mut table = output::fields_of(&fields);
            for (path, value) in facts.iter().flat_map(|facts| paths("facts", facts)) {
                table.add_row([output::printable(&path), value]);
            }
            output::print_table(&mut out, table)?;
        }
        Output::Json | Output::Ndjson => output::json(&mut out, &body)?,
    }
    out.flush().map_err(Error::from)
}

fn list(client: &Client, options: &HostsList, output: Output) -> Result<(), Error> {
    let body = client.get_with(&["hosts"], &[("target", &options.target)])?;
    let mut list = List::parse(&body, "hosts").map_err(|reason| client.not_polaris(&reason))?;
    if let Some(status) = &options.status {
        list.retain(|host| host["status"] == status.as_str());
    }
    list.print(
        output,
        &["NAME", "STATUS", "REGION", "TAGS", "VERSION", "ADDRESS", "LAST SEEN", "ID"],
        |host| {
            let mut row = ["name", "status", "region", "tags", "version", "address", "last_seen", "id"]
                .map(|field| output::cell(&host[field]));
            if !matches!(host["conflict"], Value::Null | Value::Bool(false)) {
                row[1].push_str(" (conflict)");
            }
            row.to_vec()
        },
    )
}

/// Each value with the path by which an expression finds it; a list of plain values is one.
fn paths(path: &str, value: &Value) -> Vec<(String, String)> {
    match value {
        Value::Object(fields) => {
            fields.iter().flat_map(|(name, value)| paths(&format!("{path}.{}", part(name)), value)).collect()
        }
        Value::Array(items) if items.iter().any(|item| item.is_object() || item.is_array()) => {
            items.iter().flat_map(|item| paths(path, item)).collect()
        }
        Value::Array(items) if !items.is_empty() => {
            let items: Vec<_> = items.iter().map(output::cell).collect();
            vec![(path.to_owned(), items.join(", "))]
        }
        Value::Array(_) => vec![(path.to_owned(), "-".to_owned())],
        plain => vec![(path.to_owned(), output::cell(plain))],
    }
}

/// A name as an expression takes it.
fn part(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if !name.is_empty() && name.bytes().all(plain) {
        return name.to_owned();
    }
    format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn facts_are_shown_by_the_paths_that_find_them() {
        let facts = json!({"os": {"id": "debian", "a b": null}, "net": {"addresses": ["127.0.0.1", 7], "none": [],
            "interfaces": [{"name": "lo"}, {"name": "eth0", "mtu": 1500}], "empty": {}}});
        let shown = paths("facts", &facts);
        let shown: Vec<_> = shown.iter().map(|(path, value)| (&**path, &**value)).collect();
        assert_eq!(
            shown,
            [
                ("facts.net.addresses", "127.0.0.1, 7"),
                ("facts.net.interfaces.name", "lo"),
                ("facts.net.interfaces.mtu", "1500"),
                ("facts.net.interfaces.name", "eth0"),
                ("facts.net.none", "-"),
                ("facts.os.\"a b\"", "-"),
                ("facts.os.id", "debian"),
            ]
        );
    }
}
