//! `polarisctl daemon`: what hosts keep running.

use super::args::Output;
use super::body::Body;
use super::client::Client;
use super::error::Error;
use super::output::{self, List, printable};
use super::pace::Pace;
use super::pages::Pages;
use super::run;
use super::whom::Whom;
use crate::limits::{MAX_BODY_BYTES, PAGE_ENTRIES};
use crate::strict_json;
use aspire_wire::daemon::DaemonStatus;
use clap::Subcommand;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read, Write};

#[derive(Debug, clap::Args)]
pub struct Daemon {
    #[command(subcommand)]
    pub verb: Option<DaemonVerb>,
}

#[derive(Debug, Subcommand)]
pub enum DaemonVerb {
    /// List them (what `daemon` alone does, too)
    List(DaemonList),
    /// How many hosts have each daemon, by version and status
    Summary(DaemonSummary),
    /// Define a daemon on hosts, or change the one of its name: each host then sees to it
    Init(DaemonDefinition),
    /// Have hosts run a daemon, also one that they gave up
    Start(DaemonOrder),
    /// Have hosts end a daemon, and leave it ended
    Stop(DaemonOrder),
    /// Have hosts end a daemon and start it again
    Restart(DaemonOrder),
    /// Have hosts end a daemon and forget it
    Remove(DaemonOrder),
    /// What a daemon of a host came to, the latest first, and what it wrote then
    Events(DaemonEvents),
}

#[derive(Debug, Default, clap::Args)]
pub struct DaemonList {
    /// Only the daemons of this host, by name or id; may be given many times
    #[arg(short = 'H', long = "host", value_name = "HOST")]
    pub hosts: Vec<String>,
    /// Only the daemons of the hosts that this expression selects, beside those of --host
    #[arg(short = 't', long)]
    pub target: Option<String>,
    /// Only the daemons at this status
    #[arg(long, value_parser = DaemonStatus::ALL.map(DaemonStatus::name))]
    pub status: Option<String>,
    /// Only the daemons of this name
    pub name: Option<String>,
}

#[derive(Debug, clap::Args)]
pub struct DaemonSummary {
    /// Only on the hosts that this expression selects
    #[arg(short = 't', long)]
    pub target: Option<String>,
    /// Only the daemons of this name
    pub name: Option<String>,
}

#[derive(Debug, clap::Args)]
pub struct DaemonDefinition {
    #[command(flatten)]
    pub whom: Whom,
    #[command(flatten)]
    pub pace: Pace,
    /// The definition, a JSON object with name, version, url, start, stop and so on; - is standard input
    pub file: String,
    /// Let the request wait for hosts that are offline
    #[arg(long)]
    pub queue: bool,
}

#[derive(Debug, clap::Args)]
pub struct DaemonOrder {
    #[command(flatten)]
    pub whom: Whom,
    #[command(flatten)]
    pub pace: Pace,
    /// The daemon's name
    pub name: String,
    /// Let the request wait for hosts that are offline
    #[arg(long)]
    pub queue: bool,
}

#[derive(Debug, clap::Args)]
pub struct DaemonEvents {
    pub host: String,
    /// The daemon's name
    pub name: String,
    /// How many at most [Polaris' default: 50]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(PAGE_ENTRIES))]
    pub limit: Option<u64>,
}

/// Whether what was asked for is so.
pub fn daemon(client: &Client, daemon: &Daemon, output: Output) -> Result<bool, Error> {
    match &daemon.verb {
        None => list(client, &DaemonList::default(), output).map(|()| true),
        Some(DaemonVerb::List(filter)) => list(client, filter, output).map(|()| true),
        Some(DaemonVerb::Summary(filter)) => summary(client, filter, output).map(|()| true),
        Some(DaemonVerb::Init(definition)) => init(client, definition, output),
        Some(DaemonVerb::Start(of)) => order(client, "daemon.start", of, output),
        Some(DaemonVerb::Stop(of)) => order(client, "daemon.stop", of, output),
        Some(DaemonVerb::Restart(of)) => order(client, "daemon.restart", of, output),
        Some(DaemonVerb::Remove(of)) => order(client, "daemon.remove", of, output),
        Some(DaemonVerb::Events(of)) => events(client, of, output).map(|()| true),
    }
}

fn list(client: &Client, filter: &DaemonList, output: Output) -> Result<(), Error> {
    let pages = Pages {
        path: &["daemons"],
        key: "daemons",
        hosts: &filter.hosts,
        target: &filter.target,
        narrowed: &[("name", &filter.name), ("status", &filter.status)],
        mark: |daemon| Some(format!("{}/{}", daemon["daemon"].as_str()?, daemon["host"].as_str()?)),
    };
    let all = pages.fetch(client)?;
    let head = ["HOST", "DAEMON", "VERSION", "STATUS", "WANTED", "PID", "SINCE", "RESTARTS"];
    all.print(output, &head, |daemon| {
        let mut row = ["name", "daemon", "version", "status", "wanted", "pid", "since", "restarts"]
            .map(|field| output::cell(&daemon[field]));
        if daemon["name"].is_null() {
            row[0] = output::cell(&daemon["host"]);
        }
        if daemon["host_status"] != "online" {
            row[0] = format!("{} ({})", row[0], output::cell(&daemon["host_status"]));
        }
        row.to_vec()
    })
}

fn summary(client: &Client, filter: &DaemonSummary, output: Output) -> Result<(), Error> {
    let query = [("target", &filter.target), ("name", &filter.name)];
    let list = List::parse(&client.get_with(&["daemons", "summary"], &query)?, "summary");
    let list = list.map_err(|reason| client.not_polaris(&reason))?;
    list.print(output, &["DAEMON", "VERSION", "STATUS", "HOSTS", "OFFLINE"], |count| {
        ["daemon", "version", "status", "hosts", "offline"].map(|field| output::cell(&count[field])).to_vec()
    })
}

fn init(client: &Client, init: &DaemonDefinition, output: Output) -> Result<bool, Error> {
    let definition = Some(definition(&init.file)?);
    let method = "daemon.init".into();
    run::send(
        client,
        &Body { method, definition, queue: init.queue, ..Body::to(&init.whom, &init.pace) },
        output,
    )
}

fn order(client: &Client, method: &'static str, of: &DaemonOrder, output: Output) -> Result<bool, Error> {
    let name = Some(&*of.name);
    run::send(
        client,
        &Body { method: method.into(), name, queue: of.queue, ..Body::to(&of.whom, &of.pace) },
        output,
    )
}

/// What a request has beside a definition.
const OF_REQUESTS: [&str; 13] = [
    "id",
    "method",
    "action",
    "hosts",
    "target",
    "queue",
    "deadline",
    "batch",
    "ramp",
    "max_errors",
    "pause",
    "ttl",
    "confirm",
];

/// The file's object. Whether it is a good definition the server says.
pub fn definition(file: &str) -> Result<Map<String, Value>, Error> {
    let wrong = |reason: String| Error::Usage(format!("{file}: {reason}"));
    let mut text = Vec::new();
    // One byte more than may be, so that too many are seen.
    let most = MAX_BODY_BYTES as u64 + 1;
    let read = match file {
        "-" => io::stdin().take(most).read_to_end(&mut text),
        path => File::open(path).and_then(|file| file.take(most).read_to_end(&mut text)),
    };
    read.map_err(|error| wrong(error.to_string()))?;
    if text.len() > MAX_BODY_BYTES {
        return Err(wrong(format!("a definition is at most {MAX_BODY_BYTES} bytes")));
    }
    let value = strict_json::parse(&text).map_err(|error| wrong(format!("it is not JSON: {error}")))?;
    let Value::Object(definition) = value else {
        return Err(wrong("a definition is a JSON object".into()));
    };
    match OF_REQUESTS.iter().find(|key| definition.contains_key(**key)) {
        Some(key) => Err(wrong(format!("{key}: is of a request, not of a definition: leave it out"))),
        None => Ok(definition),
    }
}

#[derive(Deserialize)]
struct Shown {
    events: Vec<Box<RawValue>>,
}

fn events(client: &Client, of: &DaemonEvents, output: Output) -> Result<(), Error> {
    let limit = of.limit.map(|limit| limit.to_string());
    let body = client.get_with(&["hosts", &of.host, "daemons", &of.name], &[("limit", &limit)])?;
    let not_polaris = |error: serde_json::Error| client.not_polaris(&error);
    let Shown { events } = serde_json::from_slice(&body).map_err(not_polaris)?;
    let mut out = io::stdout().lock();
    match output {
        Output::Json => output::json(&mut out, &body)?,
        Output::Ndjson => events.iter().try_for_each(|event| writeln!(out, "{}", event.get()))?,
        Output::Table => {
            for event in &events {
                let event = serde_json::from_str(event.get()).map_err(not_polaris)?;
                out.write_all(told(&event).as_bytes())?;
            }
        }
    }
    out.flush().map_err(Error::from)
}

/// `2026-11-22T00:00:00.500Z  backoff  3101 Exited with an error: exit status 3`, and below it what
/// the daemon wrote last or what was measured.
fn told(event: &Value) -> String {
    let cell = |key: &str| output::cell(&event[key]);
    let status = if event["removed"] == true { "removed".to_owned() } else { cell("status") };
    let mut told = format!("{}  {status}  {} {}", cell("since"), cell("retcode"), cell("message"));
    // Writing to a String cannot fail.
    if !event["detail"].is_null() {
        let _ = write!(told, ": {}", cell("detail"));
    }
    told.push('\n');
    let written = match &event["data"] {
        Value::Null => "",
        Value::String(text) => text,
        measured => &measured.to_string(),
    };
    for line in written.lines() {
        let _ = writeln!(told, "    {}", printable(line));
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_event_is_a_line_and_what_was_written_is_below_it() {
        let event = json!({"since": "T", "status": "backoff", "retcode": 3101, "message": "Exited with an error",
            "detail": "exit status 3\u{1b}", "data": "one\r\ntwo\u{1b}[2J\n"});
        let expected =
            "T  backoff  3101 Exited with an error: exit status 3\\u{1b}\n    one\n    two\\u{1b}[2J\n";
        assert_eq!(told(&event), expected);
        let event = json!({"since": "T", "status": "killed", "retcode": 3305, "message": "Limit exceeded",
            "data": {"cpu": "12%"}});
        assert_eq!(told(&event), "T  killed  3305 Limit exceeded\n    {\"cpu\":\"12%\"}\n");
        let event = json!({"since": "T", "status": "stoped", "removed": true, "retcode": 2, "message": "m"});
        assert_eq!(told(&event), "T  removed  2 m\n");
    }
}
