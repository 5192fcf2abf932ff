//! `polarisctl boot`: the agents of each host, and the jobs by which `boot` sees to them. Orders become
//! jobs ([`order`]), where needed with a package from this machine ([`package`]); what comes of a job is
//! shown as its hosts end it ([`watch`]), what the fleet has in lists ([`lists`]).

mod lists;
mod order;
pub mod package;
mod watch;

use super::args::{self, Output};
use super::client::Client;
use super::error::Error;
use super::pace;
use super::whom::Whom;
use crate::limits::PAGE_ENTRIES;
use aspire_wire::boot::{AgentStatus, STEP_SECONDS};
use aspire_wire::daemon::DaemonLimits;
use clap::Subcommand;
use serde::Deserialize as _;
use serde_json::{Value, json};
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub struct Boot {
    #[command(subcommand)]
    pub verb: Option<BootVerb>,
}

#[derive(Debug, Subcommand)]
pub enum BootVerb {
    /// Have hosts install an agent and keep it running; one that is there becomes as this says
    Install(Box<PackageOrder>),
    /// Have hosts that have an agent run another version of it; `boot` itself is one
    ///
    /// What is not said stays as it is. One that does not come up gives way to the version before.
    Upgrade(Box<PackageOrder>),
    /// Have hosts end an agent, uninstall it and forget it
    Uninstall(AgentOrder),
    /// Have hosts run an agent, also one that they gave up
    Start(AgentOrder),
    /// Have hosts end an agent, and leave it ended
    Stop(AgentOrder),
    /// Have hosts end an agent and start it again
    Restart(AgentOrder),
    /// Change how `boot` itself reports: to which servers, and how often
    Config(ConfigOrder),
    /// List the latest jobs
    Jobs(JobsList),
    /// One job, with what became of it on each host
    ///
    /// Exit status 0 only if every host has done it.
    Job(JobShow),
    /// Take a job back from the hosts that have not fetched it; those that have it go on
    Cancel { id: String },
    /// List the agents of the hosts (what `boot` alone does, too)
    Agents(AgentsList),
    /// How many hosts have each agent, by version and status
    Summary(SummaryFilter),
    /// List the hosts that `boot` reports from, and when it did
    Hosts(HostsList),
}

#[derive(Debug, clap::Args)]
pub struct PackageOrder {
    #[command(flatten)]
    pub whom: Whom,
    #[command(flatten)]
    pub package: Package,
    #[command(flatten)]
    pub course: Course,
    /// The agent's name, such as gearman
    pub name: String,
}

/// What the agent is to be. Without a file and a URL, the package comes from the catalogue of plugins.
#[derive(Debug, Default, clap::Args)]
pub struct Package {
    /// A package on this machine: it is stored among the packages and taken into the catalogue first
    #[arg(long, conflicts_with_all = ["from", "checksum"])]
    pub file: Option<PathBuf>,
    /// The architecture that the file is for, such as x86_64 [default: as its name says, or any]
    #[arg(long, requires = "file")]
    pub arch: Option<String>,
    /// Where hosts fetch the package from; beginning with /packages/, from this server
    #[arg(long, value_name = "URL")]
    pub from: Option<String>,
    /// What the package's checksum has to be, SHA256: and 64 hexadecimal digits
    #[arg(long, value_name = "SUM", requires = "from")]
    pub checksum: Option<String>,
    /// The version [default: as the package's name says; of the catalogue, the newest]
    #[arg(long)]
    pub version: Option<String>,
    /// Set a variable of the agent's environment; may be given many times
    #[arg(long, value_name = "K=V", value_parser = args::pair)]
    pub env: Vec<(String, String)>,
    /// Start the agent anew where it uses more of a processor than this, such as 10%
    #[arg(long, value_name = "PERCENT", value_parser = cpu)]
    pub cpu: Option<String>,
    /// Start the agent anew where it uses more memory than this, such as 20M
    #[arg(long, value_name = "BYTES", value_parser = memory)]
    pub memory: Option<String>,
    /// The command that starts it [default: the agent's own]
    #[arg(long, value_name = "CMD")]
    pub start: Option<String>,
    /// What else is to be said of it, a JSON object as for `daemon init`; - is standard input
    #[arg(long, value_name = "FILE")]
    pub definition: Option<String>,
}

#[derive(Debug, clap::Args)]
pub struct AgentOrder {
    #[command(flatten)]
    pub whom: Whom,
    #[command(flatten)]
    pub course: Course,
    /// The agent's name, such as gearman
    pub name: String,
}

#[derive(Debug, clap::Args)]
pub struct ConfigOrder {
    #[command(flatten)]
    pub whom: Whom,
    /// Servers that are tried before those of the host's own configuration, HOST:PORT and commas
    /// between; empty for none
    #[arg(long, value_name = "LIST", required_unless_present = "step")]
    pub svrlist: Option<String>,
    /// The time from one report to the next, such as 20m, or in seconds
    #[arg(long, value_name = "TIME", value_parser = step)]
    pub step: Option<u64>,
    #[command(flatten)]
    pub course: Course,
}

/// How a job goes over its hosts.
#[derive(Debug, Default, clap::Args)]
pub struct Course {
    /// Give it to so many hosts at once, and to the next that reports when one has ended: a number, or a
    /// percentage of the hosts such as 25%
    #[arg(long, value_name = "N", value_parser = pace::share)]
    pub batch: Option<Value>,
    /// Give it to no more hosts once more than so many have failed, a number or a percentage
    #[arg(long, value_name = "N", value_parser = pace::share)]
    pub max_errors: Option<Value>,
    /// How long hosts have to fetch it, such as 12h, or in seconds [Polaris' default: 7 days]
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    pub ttl: Option<u64>,
    /// How long a host may take once it has begun, such as 30m, or in seconds [boot's default: 1h]
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    pub timeout: Option<u64>,
    /// How many hosts it is for: where they are many, Polaris wants to hear it; on a terminal it is asked for
    #[arg(long, value_name = "N")]
    pub confirm: Option<u64>,
    /// Show what becomes of it until the last host has ended; exit status 0 only if every host has done it
    #[arg(long)]
    pub follow: bool,
}

#[derive(Debug, clap::Args)]
pub struct JobsList {
    /// Only the jobs that hosts have yet to do
    #[arg(long, conflicts_with = "ended")]
    pub open: bool,
    /// Only the jobs that are over
    #[arg(long)]
    pub ended: bool,
    /// How many at most [Polaris' default: 50]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(PAGE_ENTRIES))]
    pub limit: Option<u64>,
    /// Only what stands after this one in the list
    #[arg(long, value_name = "ID")]
    pub after: Option<String>,
}

#[derive(Debug, clap::Args)]
pub struct JobShow {
    pub id: String,
    /// Show each host as it ends, until the last one has
    #[arg(long)]
    pub follow: bool,
}

#[derive(Debug, Default, clap::Args)]
pub struct AgentsList {
    /// Only the agents of this host, by name or id, beside those that --target selects; may be given many
    /// times
    #[arg(short = 'H', long = "host", value_name = "HOST")]
    pub hosts: Vec<String>,
    #[command(flatten)]
    pub which: SummaryFilter,
    /// Only the agents at this status
    #[arg(long, value_parser = AgentStatus::ALL.map(AgentStatus::name))]
    pub status: Option<String>,
}

#[derive(Debug, Default, clap::Args)]
pub struct SummaryFilter {
    /// Only the agents of the hosts that this expression selects
    #[arg(short = 't', long)]
    pub target: Option<String>,
    /// Only the agents of this name
    #[arg(long)]
    pub name: Option<String>,
    /// Only the agents of which the catalogue has a newer version
    #[arg(long)]
    pub outdated: bool,
    /// Only on hosts of which `boot` has not reported for two steps and a half
    #[arg(long)]
    pub silent: bool,
}

#[derive(Debug, clap::Args)]
pub struct HostsList {
    /// Only this host, by name or id; may be given many times
    #[arg(short = 'H', long = "host", value_name = "HOST")]
    pub hosts: Vec<String>,
    /// Only the hosts that this expression selects, beside those of --host
    #[arg(short = 't', long)]
    pub target: Option<String>,
    /// Only hosts of which `boot` has not reported for two steps and a half
    #[arg(long)]
    pub silent: bool,
}

/// Whether what was asked for is so.
pub fn boot(client: &Client, boot: &Boot, output: Output) -> Result<bool, Error> {
    match &boot.verb {
        None => lists::agents(client, &AgentsList::default(), output).map(|()| true),
        Some(BootVerb::Install(of)) => order::package(client, "install", of, output),
        Some(BootVerb::Upgrade(of)) => order::package(client, "upgrade", of, output),
        Some(BootVerb::Uninstall(of)) => order::agent(client, "uninstall", of, output),
        Some(BootVerb::Start(of)) => order::agent(client, "start", of, output),
        Some(BootVerb::Stop(of)) => order::agent(client, "stop", of, output),
        Some(BootVerb::Restart(of)) => order::agent(client, "restart", of, output),
        Some(BootVerb::Config(of)) => order::config(client, of, output),
        Some(BootVerb::Jobs(filter)) => lists::jobs(client, filter, output).map(|()| true),
        Some(BootVerb::Job(JobShow { id, follow: true })) => watch::follow(client, id, output),
        Some(BootVerb::Job(JobShow { id, follow: false })) => watch::show(client, id, output),
        Some(BootVerb::Cancel { id }) => watch::cancel(client, id, output).map(|()| true),
        Some(BootVerb::Agents(filter)) => lists::agents(client, filter, output).map(|()| true),
        Some(BootVerb::Summary(filter)) => lists::summary(client, filter, output).map(|()| true),
        Some(BootVerb::Hosts(filter)) => lists::hosts(client, filter, output).map(|()| true),
    }
}

/// Whole seconds, or a time with its unit.
fn seconds(text: &str) -> Result<u64, String> {
    let seconds = match text.parse() {
        Ok(seconds) => seconds,
        Err(_) => humantime::parse_duration(text).map_err(|error| error.to_string())?.as_secs(),
    };
    if seconds == 0 { Err("must be at least 1 second".into()) } else { Ok(seconds) }
}

fn step(text: &str) -> Result<u64, String> {
    let (step, least, most) = (seconds(text)?, STEP_SECONDS.start(), STEP_SECONDS.end());
    if STEP_SECONDS.contains(&step) {
        return Ok(step);
    }
    Err(format!("must be {least} to {most} seconds, got {step}"))
}

fn cpu(text: &str) -> Result<String, String> {
    limit("cpu", text)
}

fn memory(text: &str) -> Result<String, String> {
    limit("memory", text)
}

/// As it is, held against the rules that the hosts have.
fn limit(key: &str, text: &str) -> Result<String, String> {
    match DaemonLimits::deserialize(json!({ key: text })) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests;
