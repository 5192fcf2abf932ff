//! `polarisctl cron`: commands that hosts run at their times.

use super::args::{How, Output, Patience};
use super::body::Body;
use super::client::Client;
use super::error::Error;
use super::output::{self, List};
use super::pace::Pace;
use super::whom::Whom;
use super::{requests, run};
use crate::limits::PAGE_ENTRIES;
use aspire_wire::cron::SPLAY_SECONDS;
use clap::Subcommand;
use serde_json::Value;

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Cron {
    #[command(subcommand)]
    pub verb: Option<CronVerb>,
    #[command(flatten)]
    pub list: CronList,
}

#[derive(Debug, Subcommand)]
pub enum CronVerb {
    /// List the entries that hosts accepted (what `cron` alone does, too)
    List(CronList),
    /// Make or change an entry on hosts
    Set(Box<CronSet>),
    /// Forget an entry on hosts; a run under way goes on
    Remove(CronRemove),
}

#[derive(Debug, Default, clap::Args)]
pub struct CronList {
    /// Only the entries of this host, by name or id
    #[arg(short = 'H', long)]
    pub host: Option<String>,
    /// Only the entries of this name
    #[arg(long)]
    pub name: Option<String>,
    /// How many at most [Polaris' default: 50]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(PAGE_ENTRIES))]
    pub limit: Option<u64>,
    /// Only what stands after this one: its name and the host's id
    #[arg(long, value_name = "NAME/HOST")]
    pub after: Option<String>,
}

#[derive(Debug, clap::Args)]
pub struct CronSet {
    #[command(flatten)]
    pub whom: Whom,
    #[command(flatten)]
    pub pace: Pace,
    /// The entry's name; one of the same name is replaced
    pub name: String,
    /// When it runs: six fields, seconds first, or five
    pub schedule: String,
    /// The time zone of the schedule, such as Europe/Berlin [default: the host's own]
    #[arg(long, value_name = "ZONE")]
    pub timezone: Option<String>,
    /// What happens when it is due and its last run has not ended [default: skip]
    #[arg(long, value_parser = ["skip", "queue", "parallel"])]
    pub overlap: Option<String>,
    /// Make up for what was due while the agent was down, by one run
    #[arg(long)]
    pub catchup: bool,
    /// Seconds over which hosts spread their runs
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u64).range(SPLAY_SECONDS))]
    pub splay: Option<u64>,
    #[command(flatten)]
    pub how: How,
    #[command(flatten)]
    pub patience: Patience,
    /// The command, as of `run`
    #[arg(last = true, required = true, value_name = "CMD")]
    pub command: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub struct CronRemove {
    #[command(flatten)]
    pub whom: Whom,
    #[command(flatten)]
    pub pace: Pace,
    /// The entry's name
    pub name: String,
    /// Let the request wait for hosts that are offline
    #[arg(long)]
    pub queue: bool,
}

/// Whether what was asked for is so.
pub fn cron(client: &Client, cron: &Cron, output: Output) -> Result<bool, Error> {
    match &cron.verb {
        None => list(client, &cron.list, output).map(|()| true),
        Some(CronVerb::List(filter)) => list(client, filter, output).map(|()| true),
        Some(CronVerb::Set(entry)) => set(client, entry, output),
        Some(CronVerb::Remove(CronRemove { whom, pace, name, queue })) => {
            let method = "cron.remove".into();
            let body = Body { method, name: Some(name), queue: *queue, ..Body::to(whom, pace) };
            run::send(client, &body, output)
        }
    }
}

fn list(client: &Client, filter: &CronList, output: Output) -> Result<(), Error> {
    let limit = filter.limit.map(|limit| limit.to_string());
    let query = [("host", &filter.host), ("name", &filter.name), ("limit", &limit), ("after", &filter.after)];
    let list = List::parse(&client.get_with(&["cron"], &query)?, "entries");
    let list = list.map_err(|reason| client.not_polaris(&reason))?;
    let head = ["NAME", "HOST", "SCHEDULE", "TIMEZONE", "NEXT", "LAST", "RETCODE", "COMMAND"];
    list.print(output, &head, |entry| {
        let of = |value: &Value| output::cell(value);
        let host = if entry["hostname"].is_null() { &entry["host"] } else { &entry["hostname"] };
        // An entry that was given as a crontab's line may have nothing else.
        let cmd = if entry["cmd"].is_null() { &entry["line"] } else { &entry["cmd"] };
        let (next, run) = (&entry["next"][0], &entry["last"]);
        let mut row = vec![of(&entry["name"]), of(host), of(&entry["schedule"]), of(&entry["timezone"])];
        row.extend([of(next), of(&run["ended"]), of(&run["retcode"]), requests::short(&of(cmd))]);
        row
    })
}

fn set(client: &Client, entry: &CronSet, output: Output) -> Result<bool, Error> {
    let body = Body::to(&entry.whom, &entry.pace).with_command(&entry.command, &entry.how)?;
    let body = Body {
        method: "cron.set".into(),
        name: Some(&entry.name),
        schedule: Some(&entry.schedule),
        timezone: entry.timezone.as_deref(),
        overlap: entry.overlap.as_deref(),
        catchup: entry.catchup,
        splay: entry.splay,
        ..body.with_patience(&entry.patience)
    };
    run::send(client, &body, output)
}
