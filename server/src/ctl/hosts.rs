//! `polarisctl hosts`: the inventory.

use super::args::{Hosts, HostsList, HostsVerb, Output};
use super::client::Client;
use super::error::Error;
use super::output::{self, List};
use serde_json::{Map, Value};
use std::io::{self, Write};

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
        Output::Table => output::print_table(&mut out, output::fields_of(&fields))?,
        Output::Json | Output::Ndjson => output::json(&mut out, &body)?,
    }
    out.flush().map_err(Error::from)
}

fn list(client: &Client, options: &HostsList, output: Output) -> Result<(), Error> {
    let body = client.get(&["hosts"])?;
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
