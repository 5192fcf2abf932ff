//! `polarisctl access-token`: what users give to programs.

use super::args::Output;
use super::client::Client;
use super::error::Error;
use super::output::{self, List, printable};
use crate::people::Role;
use clap::Subcommand;
use serde::{Deserialize, Serialize};
use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

#[derive(Debug, clap::Args)]
pub struct AccessToken {
    #[command(subcommand)]
    pub verb: AccessTokenVerb,
}

#[derive(Debug, Subcommand)]
pub enum AccessTokenVerb {
    /// List a user's, without their secrets
    List { user: String },
    /// Print a new access token of a user; it is shown this once
    Create(AccessTokenCreate),
    /// Make an access token useless
    Remove { user: String, name: String },
}

#[derive(Debug, clap::Args, Serialize)]
pub struct AccessTokenCreate {
    #[serde(skip)]
    pub user: String,
    /// What it is for
    pub name: String,
    /// What it may at most [default: as the user]
    #[arg(long, value_parser = Role::ALL.map(Role::name))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// The hosts that it sees and reaches, as an expression [default: as the user]
    #[arg(short = 't', long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// How long it is good for, such as 12h or 90days [default: for ever]
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u64>,
}

pub fn tokens(client: &Client, verb: &AccessTokenVerb, output: Output) -> Result<(), Error> {
    match verb {
        AccessTokenVerb::List { user } => {
            let list = List::parse(&client.get(&["users", user, "tokens"])?, "tokens");
            let list = list.map_err(|reason| client.not_polaris(&reason))?;
            list.print(output, &["NAME", "ROLE", "TARGET", "EXPIRES", "LAST USED", "CREATED"], |token| {
                ["name", "role", "target", "expires", "last_used", "created"]
                    .map(|field| output::cell(&token[field]))
                    .into()
            })
        }
        AccessTokenVerb::Create(options) => create(client, options, output),
        AccessTokenVerb::Remove { user, name } => {
            client.delete(&["users", user, "tokens", name])?;
            writeln!(io::stderr(), "access token {} of {} is removed", printable(name), printable(user))?;
            Ok(())
        }
    }
}

/// Standard output gets the token alone, so that a script can take it.
fn create(client: &Client, options: &AccessTokenCreate, output: Output) -> Result<(), Error> {
    #[derive(Deserialize)]
    struct Created {
        token: String,
    }
    let answer = client.post(&["users", &options.user, "tokens"], options)?;
    let mut out = io::stdout().lock();
    if output != Output::Table {
        output::json(&mut out, &answer)?;
        return Ok(());
    }
    let created: Created = serde_json::from_slice(&answer).map_err(|error| client.not_polaris(&error))?;
    writeln!(out, "{}", printable(&created.token))?;
    out.flush()?;
    if io::stderr().is_terminal() {
        writeln!(io::stderr(), "for polarisctl it goes into POLARIS_TOKEN; it is not shown again")?;
    }
    Ok(())
}

fn seconds(text: &str) -> Result<u64, humantime::DurationError> {
    humantime::parse_duration(text).map(|time: Duration| time.as_secs())
}
