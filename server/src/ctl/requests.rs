//! `polarisctl requests`: what was asked for, and what became of it.

use super::args::{Output, Requests, RequestsVerb};
use super::client::Client;
use super::error::Error;
use super::outcome::Answer;
use super::output::{self, List};
use super::printer::Printer;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::io::{self, Write};

/// Whether what was asked for is so.
pub fn requests(client: &Client, requests: &Requests, output: Output) -> Result<bool, Error> {
    match &requests.verb {
        None | Some(RequestsVerb::List) => list(client, output).map(|()| true),
        Some(RequestsVerb::Show { id }) => {
            show(client, &client.get(&["requests", id])?, output)?;
            Ok(true)
        }
        Some(RequestsVerb::Cancel { id }) => {
            show(client, &client.delete_on_hosts(&["requests", id])?, output)
        }
    }
}

fn list(client: &Client, output: Output) -> Result<(), Error> {
    let list = List::parse(&client.get(&["requests"])?, "requests");
    let list = list.map_err(|reason| client.not_polaris(&reason))?;
    let fields = ["id", "created", "hosts", "succeeded", "failed", "pending", "method"];
    let head = ["ID", "CREATED", "HOSTS", "SUCCEEDED", "FAILED", "PENDING", "METHOD", "COMMAND"];
    list.print(output, &head, |request| {
        let mut row = fields.map(|field| output::cell(&request[field])).to_vec();
        row.push(short(&output::cell(&request["cmd"])));
        row
    })
}

/// What is shown of one request beside its own fields.
#[derive(Deserialize)]
struct Shown {
    #[serde(default)]
    response: Vec<Box<RawValue>>,
    /// Hosts that it waits for.
    #[serde(default)]
    waiting: Vec<Value>,
    #[serde(default)]
    jobs: Vec<Value>,
    /// What hosts said that were asked to cancel what they had begun.
    #[serde(default)]
    cancellation: Option<Cancellation>,
}

#[derive(Deserialize)]
struct Cancellation {
    response: Vec<Box<RawValue>>,
}

/// A request is a list of answers with a head; `run` shows them in the same way. Whether every
/// host said what became of it, and of the wish to cancel it where there was one.
fn show(client: &Client, body: &[u8], output: Output) -> Result<bool, Error> {
    let not_polaris = |error: serde_json::Error| client.not_polaris(&error);
    let shown: Shown = serde_json::from_slice(body).map_err(not_polaris)?;
    let parse = |answers: &[Box<RawValue>]| {
        let answers = answers.iter().map(|answer| Answer::parse(answer.get()));
        answers.collect::<Result<Vec<_>, _>>().map_err(not_polaris)
    };
    let answers = parse(&shown.response)?;
    let cancelled = shown.cancellation.as_ref().map(|told| parse(&told.response)).transpose()?;
    let cancelled = cancelled.unwrap_or_default();
    let mut out = io::stdout().lock();
    match output {
        Output::Json => output::json(&mut out, body)?,
        Output::Ndjson => shown.response.iter().try_for_each(|answer| writeln!(out, "{}", answer.get()))?,
        Output::Table => {
            let mut fields: Map<String, Value> = serde_json::from_slice(body).map_err(not_polaris)?;
            fields.retain(|name, _| !["response", "waiting", "jobs", "cancellation"].contains(&&**name));
            output::print_table(&mut out, output::fields_of(&fields))?;
            let mut printer = Printer::new(&mut out, io::stderr(), answers.len() > 1);
            answers.iter().try_for_each(|answer| printer.answer(answer))?;
            printer.end_line()?;
            shown.waiting.iter().try_for_each(|host| writeln!(out, "{}", waits(host)))?;
            shown.jobs.iter().try_for_each(|job| writeln!(out, "{}", moved(job)))?;
            for answer in &cancelled {
                writeln!(out, "{} (asked to cancel)", answer.headline())?;
            }
        }
    }
    out.flush()?;
    Ok(answers.iter().all(Answer::is_confirmed) && cancelled.iter().all(Answer::is_success))
}

/// `web-1  waits until 2026-11-23T00:00:00.000Z`
fn waits(host: &Value) -> String {
    let sent = if host["sent"].is_null() { "" } else { ", was delivered and is not answered" };
    format!("{}  waits until {}{sent}", whose(host), output::cell(&host["until"]))
}

/// `web-1  job running, attempt 1`
fn moved(job: &Value) -> String {
    let retcode = job["retcode"].as_u64().map_or_else(String::new, |code| format!(", retcode {code}"));
    format!("{}  job {}, attempt {}{retcode}", whose(job), output::cell(&job["state"]), job["attempts"])
}

fn whose(entry: &Value) -> String {
    output::cell(if entry["name"].is_null() { &entry["host"] } else { &entry["name"] })
}

/// The start of a command, for one line of a table.
pub fn short(cmd: &str) -> String {
    const SHOWN_CHARS: usize = 60;
    match cmd.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", &cmd[..end]),
        None => cmd.to_owned(),
    }
}
