//! What the fleet has: its agents, its hosts as `boot` reports from them, and the jobs.

use super::super::age::{ago, lasting};
use super::super::args::Output;
use super::super::client::Client;
use super::super::error::Error;
use super::super::output::{List, cell};
use super::super::pages::Pages;
use super::super::tally::counted;
use super::{AgentsList, HostsList, JobsList, SummaryFilter};
use serde_json::Value;

/// In which order the states of a job's hosts are told.
pub const STATES: [&str; 6] = ["waiting", "sent", "done", "failed", "expired", "cancelled"];

pub fn agents(client: &Client, filter: &AgentsList, output: Output) -> Result<(), Error> {
    let SummaryFilter { target, name, outdated, silent } = &filter.which;
    let pages = Pages {
        path: &["boot", "agents"],
        key: "agents",
        hosts: &filter.hosts,
        target,
        narrowed: &[
            ("name", name),
            ("status", &filter.status),
            ("outdated", &only(*outdated)),
            ("silent", &only(*silent)),
        ],
        mark: |agent| Some(format!("{}/{}", agent["agent"].as_str()?, agent["host"].as_str()?)),
    };
    let head = ["HOST", "AGENT", "VERSION", "LATEST", "STATUS", "UPTIME", "REPORTED", "REASON"];
    pages.fetch(client)?.print(output, &head, |agent| {
        vec![
            host(agent),
            cell(&agent["agent"]),
            marked(cell(&agent["version"]), agent, "outdated"),
            cell(&agent["latest"]),
            status(agent),
            lasting(&agent["uptime"]),
            ago(&agent["reported"]),
            cell(&agent["reason"]),
        ]
    })
}

pub fn summary(client: &Client, filter: &SummaryFilter, output: Output) -> Result<(), Error> {
    let SummaryFilter { target, name, outdated, silent } = filter;
    let query =
        [("target", target), ("name", name), ("outdated", &only(*outdated)), ("silent", &only(*silent))];
    let list = List::parse(&client.get_with(&["boot", "agents", "summary"], &query)?, "summary");
    let list = list.map_err(|reason| client.not_polaris(&reason))?;
    list.print(output, &["AGENT", "VERSION", "STATUS", "HOSTS", "SILENT"], |count| {
        let mut row = ["agent", "version", "status", "hosts", "silent"].map(|field| cell(&count[field]));
        row[1] = marked(std::mem::take(&mut row[1]), count, "outdated");
        row.to_vec()
    })
}

pub fn hosts(client: &Client, filter: &HostsList, output: Output) -> Result<(), Error> {
    let pages = Pages {
        path: &["boot", "hosts"],
        key: "hosts",
        hosts: &filter.hosts,
        target: &filter.target,
        narrowed: &[("silent", &only(filter.silent))],
        mark: |host| host["host"].as_str().map(str::to_owned),
    };
    let head = ["HOST", "BOOT", "UPTIME", "STEP", "REPORTED", "NEXT", "AGENTS", "PACKAGES"];
    pages.fetch(client)?.print(output, &head, |entry| {
        vec![
            host(entry),
            cell(&entry["version"]),
            lasting(&entry["uptime"]),
            lasting(&entry["step"]),
            ago(&entry["reported"]),
            ago(&entry["next"]),
            names(&entry["agents"]),
            names(&entry["packages"]),
        ]
    })
}

pub fn jobs(client: &Client, filter: &JobsList, output: Output) -> Result<(), Error> {
    let state = [(filter.open, "open"), (filter.ended, "ended")].into_iter().find(|(wanted, _)| *wanted);
    let query = [
        ("state", &state.map(|(_, state)| state.to_owned())),
        ("limit", &filter.limit.map(|limit| limit.to_string())),
        ("after", &filter.after),
    ];
    let list = List::parse(&client.get_with(&["boot", "jobs"], &query)?, "jobs");
    let list = list.map_err(|reason| client.not_polaris(&reason))?;
    let head = ["ID", "ACTION", "AGENT", "VERSION", "CREATED", "BY", "STATE", "HOSTS"];
    list.print(output, &head, |job| {
        let mut row =
            ["id", "action", "name", "version", "created", "by", "state"].map(|key| cell(&job[key]));
        row[4] = ago(&job["created"]);
        let hosts = STATES.map(|state| (job["counts"][state].as_u64().unwrap_or_default(), state));
        [&row[..], &[counted(&hosts)]].concat()
    })
}

fn only(wanted: bool) -> Option<String> {
    wanted.then(|| "true".to_owned())
}

/// By its name where it has one: `web-1`, `web-1 (silent)`.
fn host(entry: &Value) -> String {
    let name = if cell(&entry["hostname"]) == "-" { &entry["host"] } else { &entry["hostname"] };
    marked(cell(name), entry, "silent")
}

fn marked(shown: String, entry: &Value, flag: &str) -> String {
    if entry[flag] == true { format!("{shown} ({flag})") } else { shown }
}

/// `running`; `fatal (backoff)` where the host has a word that says it more exactly.
fn status(agent: &Value) -> String {
    match &agent["state"] {
        Value::Null => cell(&agent["status"]),
        state if *state == agent["status"] => cell(state),
        state => format!("{} ({})", cell(&agent["status"]), cell(state)),
    }
}

fn names(list: &Value) -> String {
    match list.as_array() {
        Some(names) if !names.is_empty() => names.iter().map(cell).collect::<Vec<_>>().join(", "),
        _ => "-".into(),
    }
}
