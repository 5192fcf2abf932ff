//! `polarisctl hosts`: the inventory.

use super::args::{Hosts, HostsList, HostsVerb, Output};
use super::client::Client;
use super::error::Error;
use super::output::{self, List};
use serde_json::Value;
use std::io::{self, Write};

pub fn hosts(client: &Client, hosts: &Hosts, output: Output) -> Result<(), Error> {
    match &hosts.verb {
        None => list(client, &hosts.list, output),
        Some(HostsVerb::List(options)) => list(client, options, output),
        Some(HostsVerb::Show { host }) => output::object(output, &client.get(&["hosts", host])?),
        Some(HostsVerb::Remove { host }) => {
            client.delete(&["hosts", host])?;
            writeln!(io::stderr(), "{} is removed: it is refused from now on", output::printable(host))?;
            Ok(())
        }
    }
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
