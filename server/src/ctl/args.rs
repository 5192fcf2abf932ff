//! The command line.

use super::access::AccessToken;
use super::audit::Audit;
use super::boot::Boot;
use super::completion::Completion;
use super::cron::Cron;
use super::daemon::Daemon;
use super::error::Error;
use super::hosts::Hosts;
use super::info::Info;
use super::pace::Pace;
use super::packages::Packages;
use super::plugins::Plugins;
use super::users::Users;
use super::whom::Whom;
use crate::limits::PAGE_ENTRIES;
use aspire_wire::command::TIMEOUT_SECONDS;
use aspire_wire::job::{RETRIES, RETRY_DELAY_SECONDS, TTL_SECONDS};
use aspire_wire::{JobState, Limits};
use clap::builder::RangedU64ValueParser;
use clap::{Parser, Subcommand, ValueEnum};
use serde::Deserialize as _;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Gives orders to Polaris, and shows what became of them.
///
/// Exit status: 0 success (of `run`: on every host), 1 failure, 2 usage, 3 Polaris could not be
/// reached or did not accept the token.
#[derive(Debug, Parser)]
#[command(name = "polarisctl", version, max_term_width = 100)]
pub struct Args {
    /// The server, such as https://polaris.example.com:8180. Without it, the one that runs with --data
    #[arg(long, env = "POLARIS_URL", global = true)]
    pub url: Option<String>,
    /// The bearer token; in POLARIS_TOKEN other users do not see it. Without it, the one in --data
    #[arg(long, env = "POLARIS_TOKEN", hide_env_values = true, global = true, allow_hyphen_values = true)]
    pub token: Option<String>,
    /// Polaris' data directory on this machine
    #[arg(long, env = "POLARIS_DATA", default_value = "/var/lib/polaris", value_name = "DIR", global = true)]
    pub data: PathBuf,
    /// PEM file of the authority that signed the server's web certificate, where the system does not know it
    #[arg(long, value_name = "FILE", global = true)]
    pub ca: Option<PathBuf>,
    /// What to print: text for people, one JSON document, or one JSON object a line
    #[arg(short, long, value_enum, default_value_t = Output::Table, global = true)]
    pub output: Output,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    Table,
    Json,
    Ndjson,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a command on hosts and show each answer as it arrives
    Run(Run),
    /// Ask hosts about themselves and show each answer as it arrives
    Info(Info),
    /// The hosts that Polaris knows
    Hosts(Hosts),
    /// Tokens that let new hosts enrol
    Token(Token),
    /// Requests that were given, and what became of them
    Requests(Requests),
    /// Jobs: commands that hosts run apart from the request that began them
    Jobs(Jobs),
    /// Commands that hosts run at their times
    Cron(Cron),
    /// Long-lived processes that hosts keep running
    Daemon(Daemon),
    /// The agents of each host, which `boot` installs and keeps running
    Boot(Boot),
    /// Files that people store and hosts fetch
    Packages(Packages),
    /// The catalogue of plugins: which file is which version, and what it is for
    Plugins(Plugins),
    /// Who may be let in, and as what
    Users(Users),
    /// What users give to programs in the place of their passwords
    AccessToken(AccessToken),
    /// Who did what, from where, to which hosts: the newest first
    Audit(Audit),
    /// Print what a shell needs to complete polarisctl's words and options
    Completion(Completion),
}

#[derive(Debug, clap::Args)]
pub struct Run {
    #[command(flatten)]
    pub whom: Whom,
    #[command(flatten)]
    pub pace: Pace,
    #[command(flatten)]
    pub how: How,
    /// Show what the command writes while it runs; with --async, let `jobs follow` show it
    #[arg(long)]
    pub stream: bool,
    /// Have the hosts take note of the command and run it on their own, as a job
    #[arg(long = "async")]
    pub later: bool,
    #[command(flatten)]
    pub patience: Patience,
    /// Seconds after which Polaris waits for no host any longer
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u64).range(1..))]
    pub deadline: Option<u64>,
    /// The command. One word is a line for bash, as it is ('df -h | tail -1'); several words are one command
    /// whose arguments bash does not touch (echo '$HOME' prints $HOME)
    #[arg(last = true, required = true, value_name = "CMD")]
    pub command: Vec<String>,
}

/// How a command runs.
#[derive(Debug, Default, clap::Args)]
pub struct How {
    /// Seconds that the command may run [agent's default: 120]
    #[arg(long, value_name = "S", value_parser = timeout())]
    pub timeout: Option<u64>,
    /// Run as this user, by name or id [default: the agent's own, which is root]
    #[arg(long)]
    pub user: Option<String>,
    /// Run as this group, by name or id [default: the user's own]
    #[arg(long)]
    pub group: Option<String>,
    /// Set a variable of the command's environment; may be given many times
    #[arg(long, value_name = "K=V", value_parser = pair)]
    pub env: Vec<(String, String)>,
    /// Run in this directory
    #[arg(long, value_name = "DIR")]
    pub cwd: Option<String>,
    /// Bound what each of the command's processes may use: cpu (in seconds), memory (in bytes, or such as
    /// 100M), files or processes; may be given many times
    #[arg(long = "limit", value_name = "K=V", value_parser = limit)]
    pub limits: Vec<(String, Value)>,
}

/// How long and how often a job is tried, and whether it waits for its host.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub struct Patience {
    /// How long a job may wait until it begins, what is queued for its host, or a host for its turn, such as
    /// 30m, 1h or 7days, or in seconds [default: a day; of a turn, the deadline]
    #[arg(long, value_name = "TIME", value_parser = ttl)]
    pub ttl: Option<u64>,
    /// How often a job that failed is run again
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(RETRIES))]
    pub retries: Option<u64>,
    /// Seconds from a failure to the next attempt [agent's default: 10]
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u64).range(RETRY_DELAY_SECONDS))]
    pub retry_delay: Option<u64>,
    /// Let the request wait for hosts that are offline
    #[arg(long)]
    pub queue: bool,
}

impl Run {
    /// Options that have no meaning together, in a sentence.
    pub fn check(&self) -> Result<(), Error> {
        let Patience { ttl, retries, retry_delay, queue } = self.patience;
        if !self.later && (retries.is_some() || retry_delay.is_some()) {
            return Err(Error::Usage("--retries and --retry-delay are for jobs: add --async".into()));
        }
        if !self.later && !queue && self.pace.batch.is_none() && ttl.is_some() {
            return Err(Error::Usage("--ttl is for what may wait: add --async, --queue or --batch".into()));
        }
        Ok(())
    }
}

/// The line that bash gets.
pub fn line(words: &[String]) -> Result<String, Error> {
    match words {
        [line] => Ok(line.clone()),
        words => shlex::try_join(words.iter().map(String::as_str))
            .map_err(|_| Error::Usage("the command must not contain a NUL".into())),
    }
}

#[derive(Debug, clap::Args)]
pub struct Token {
    #[command(subcommand)]
    pub verb: TokenVerb,
}

#[derive(Debug, Subcommand)]
pub enum TokenVerb {
    /// Print a new token; it is shown this once
    Create(TokenCreate),
    /// List them, without their secrets
    List,
    /// Make a token useless
    Remove { id: String },
}

#[derive(Debug, clap::Args)]
pub struct TokenCreate {
    /// How long it is good for, such as 30m, 1h or 7days
    #[arg(long, default_value = "1h", value_parser = humantime::parse_duration)]
    pub ttl: Duration,
    /// How many hosts may enrol with it
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub uses: u32,
    /// The region that those hosts get
    #[arg(long)]
    pub region: Option<String>,
    /// A tag that those hosts get; may be given many times
    #[arg(long = "tag", value_name = "K=V", value_parser = pair)]
    pub tags: Vec<(String, String)>,
}

#[derive(Debug, clap::Args)]
pub struct Requests {
    #[command(subcommand)]
    pub verb: Option<RequestsVerb>,
}

#[derive(Debug, Subcommand)]
pub enum RequestsVerb {
    /// List the latest (what `requests` alone does, too)
    List,
    /// One request, with each host's answer
    Show { id: String },
    /// End a request before its time, and show what became of it on each host
    ///
    /// Exit status 0 only if every host said what became of it.
    Cancel { id: String },
}

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Jobs {
    #[command(subcommand)]
    pub verb: Option<JobsVerb>,
    #[command(flatten)]
    pub list: JobsList,
}

#[derive(Debug, Subcommand)]
pub enum JobsVerb {
    /// List the latest (what `jobs` alone does, too)
    List(JobsList),
    /// One job of a host, with its result
    Show { host: String, job: String },
    /// Show what a job writes, as it comes, and its result
    ///
    /// Exit status 0 only if the job succeeded.
    Follow { host: String, job: String },
    /// End a job before its time; exit status 0 only if the host said so
    Cancel { host: String, job: String },
}

#[derive(Debug, Default, clap::Args)]
pub struct JobsList {
    /// Only the jobs of this host, by name or id
    #[arg(short = 'H', long)]
    pub host: Option<String>,
    /// Only the jobs in this state
    #[arg(long, value_parser = JobState::ALL.map(JobState::name))]
    pub state: Option<String>,
    /// Only the runs of the cron entry of this name
    #[arg(long, value_name = "NAME")]
    pub cron: Option<String>,
    /// Only the jobs that this request began
    #[arg(long, value_name = "ID")]
    pub request: Option<String>,
    /// How many at most [Polaris' default: 50]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(PAGE_ENTRIES))]
    pub limit: Option<u64>,
    /// Only what is older than this one: the host's id and the job
    #[arg(long, value_name = "HOST/JOB")]
    pub before: Option<String>,
}

/// Pairs as an object; a key that was given twice is a mistake worth telling.
pub fn object<V: Clone>(what: &str, pairs: &[(String, V)]) -> Result<BTreeMap<String, V>, Error> {
    let mut object = BTreeMap::new();
    for (key, value) in pairs {
        if object.insert(key.clone(), value.clone()).is_some() {
            return Err(Error::Usage(format!("{what} {key} was given twice")));
        }
    }
    Ok(object)
}

fn timeout() -> RangedU64ValueParser {
    clap::value_parser!(u64).range(TIMEOUT_SECONDS)
}

/// Seconds, or a time with its unit.
fn ttl(text: &str) -> Result<u64, String> {
    let seconds = match text.parse() {
        Ok(seconds) => seconds,
        Err(_) => humantime::parse_duration(text).map_err(|error| error.to_string())?.as_secs(),
    };
    let (least, most) = (TTL_SECONDS.start(), TTL_SECONDS.end());
    if TTL_SECONDS.contains(&seconds) {
        return Ok(seconds);
    }
    Err(format!("must be {least} to {most} seconds, got {seconds}"))
}

pub fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.into(), value.into())),
        _ => Err("it must look like NAME=VALUE".into()),
    }
}

/// One of `limits`, held against the rules that the hosts have.
fn limit(text: &str) -> Result<(String, Value), String> {
    let (key, value) = pair(text)?;
    let value = value.parse::<u64>().map_or_else(|_| Value::from(value), Value::from);
    match Limits::deserialize(json!({ &key: value })) {
        Ok(_) => Ok((key, value)),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
#[path = "args_tests.rs"]
mod tests;
