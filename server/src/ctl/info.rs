//! `polarisctl info`: what hosts tell of themselves when they are asked.

use super::args::Output;
use super::body::{Body, HowBody};
use super::client::Client;
use super::error::Error;
use super::pace::Pace;
use super::run;
use super::whom::Whom;
use aspire_wire::getinfo::{PREFIX, TIMEOUT_SECONDS};

#[derive(Debug, clap::Args)]
pub struct Info {
    #[command(flatten)]
    pub whom: Whom,
    #[command(flatten)]
    pub pace: Pace,
    /// Seconds that the query may take [agent's default: 10]
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u64).range(TIMEOUT_SECONDS))]
    pub timeout: Option<u64>,
    /// What to ask for: users, groups, kernel, os, cpu, memory, disk, net, load, process, package and what
    /// else the hosts' plugins know
    pub query: String,
    /// The query's own arguments, such as -U root
    #[arg(last = true, value_name = "ARGS")]
    pub arguments: Vec<String>,
}

/// Whether every host has answered.
pub fn info(client: &Client, info: &Info, output: Output) -> Result<bool, Error> {
    let query = info.query.strip_prefix(PREFIX).unwrap_or(&info.query);
    let words = info.arguments.iter().map(String::as_str);
    let arguments =
        shlex::try_join(words).map_err(|_| Error::Usage("an argument must not contain a NUL".into()))?;
    let body = Body {
        method: format!("{PREFIX}{query}").into(),
        args: Some(arguments).filter(|arguments| !arguments.is_empty()),
        how: info.timeout.map(HowBody::timeout),
        ..Body::to(&info.whom, &info.pace)
    };
    run::send(client, &body, output)
}
