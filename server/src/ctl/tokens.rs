//! `polarisctl token`: what lets a new host enrol.

use super::args::{self, Output, TokenCreate, TokenVerb};
use super::client::Client;
use super::error::Error;
use super::output::{self, List};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};

/// The body of `POST /api/v1/tokens`.
#[derive(Serialize)]
struct Body<'a> {
    ttl: u64,
    uses: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    tags: BTreeMap<String, String>,
}

pub fn tokens(client: &Client, verb: &TokenVerb, output: Output) -> Result<(), Error> {
    match verb {
        TokenVerb::Create(options) => create(client, options, output),
        TokenVerb::List => {
            let list = List::parse(&client.get(&["tokens"])?, "tokens");
            let list = list.map_err(|reason| client.not_polaris(&reason))?;
            list.print(output, &["ID", "EXPIRES", "USES", "REGION", "TAGS", "CREATED"], |token| {
                ["id", "expires", "uses", "region", "tags", "created"]
                    .map(|field| output::cell(&token[field]))
                    .into()
            })
        }
        TokenVerb::Remove { id } => {
            client.delete(&["tokens", id])?;
            writeln!(
                io::stderr(),
                "token {} is removed: no host enrols with it any more",
                output::printable(id)
            )?;
            Ok(())
        }
    }
}

/// Standard output gets the token alone, so that a script can take it; how to use it is for a person.
fn create(client: &Client, options: &TokenCreate, output: Output) -> Result<(), Error> {
    #[derive(Deserialize)]
    struct Created {
        token: String,
    }
    let body = Body {
        ttl: options.ttl.as_secs(),
        uses: options.uses,
        region: options.region.as_deref(),
        tags: args::object("--tag", &options.tags)?,
    };
    let answer = client.post(&["tokens"], &body)?;
    let mut out = io::stdout().lock();
    if output != Output::Table {
        output::json(&mut out, &answer)?;
        return Ok(());
    }
    let created: Created = serde_json::from_slice(&answer).map_err(|error| client.not_polaris(&error))?;
    writeln!(out, "{}", output::printable(&created.token))?;
    out.flush()?;
    if io::stderr().is_terminal() {
        let hint = "on the host, with polaris' agents' port: gearman --enroll HOST:8181 --token TOKEN";
        writeln!(io::stderr(), "{hint}")?;
    }
    Ok(())
}
