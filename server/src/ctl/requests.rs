//! `polarisctl requests`: what was asked for, and what became of it.

use super::args::{Output, Requests, RequestsVerb};
use super::client::Client;
use super::error::Error;
use super::outcome::{Answer, Printer};
use super::output::{self, List};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::io::{self, Write};

pub fn requests(client: &Client, requests: &Requests, output: Output) -> Result<(), Error> {
    match &requests.verb {
        None | Some(RequestsVerb::List) => list(client, output),
        Some(RequestsVerb::Show { id }) => show(client, id, output),
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

/// A request is a list of answers with a head; `run` shows them in the same way.
fn show(client: &Client, id: &str, output: Output) -> Result<(), Error> {
    #[derive(Deserialize)]
    struct Shown {
        #[serde(default)]
        response: Vec<Box<RawValue>>,
    }
    let body = client.get(&["requests", id])?;
    let not_polaris = |error: serde_json::Error| client.not_polaris(&error);
    let mut out = io::stdout().lock();
    match output {
        Output::Json => output::json(&mut out, &body)?,
        Output::Ndjson => {
            let shown: Shown = serde_json::from_slice(&body).map_err(not_polaris)?;
            for answer in shown.response {
                writeln!(out, "{}", answer.get())?;
            }
        }
        Output::Table => {
            let mut fields: serde_json::Map<String, Value> =
                serde_json::from_slice(&body).map_err(not_polaris)?;
            let shown: Shown = serde_json::from_slice(&body).map_err(not_polaris)?;
            fields.remove("response");
            output::print_table(&mut out, output::fields_of(&fields))?;
            let mut printer = Printer::new(&mut out, io::stderr(), shown.response.len() > 1);
            for answer in &shown.response {
                printer.answer(&Answer::parse(answer.get()).map_err(not_polaris)?)?;
            }
            printer.end_line()?;
        }
    }
    out.flush().map_err(Error::from)
}

/// The start of a command, for one line of a table.
fn short(cmd: &str) -> String {
    const SHOWN_CHARS: usize = 60;
    match cmd.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", &cmd[..end]),
        None => cmd.to_owned(),
    }
}
