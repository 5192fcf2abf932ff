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
            let answers = show(client, &client.delete_on_hosts(&["requests", id])?, output)?;
            Ok(answers.iter().all(Answer::is_confirmed))
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

/// A request is a list of answers with a head; `run` shows them in the same way.
fn show(client: &Client, body: &[u8], output: Output) -> Result<Vec<Answer>, Error> {
    #[derive(Deserialize)]
    struct Shown {
        #[serde(default)]
        response: Vec<Box<RawValue>>,
    }
    let not_polaris = |error: serde_json::Error| client.not_polaris(&error);
    let Shown { response } = serde_json::from_slice(body).map_err(not_polaris)?;
    let answers = response.iter().map(|answer| Answer::parse(answer.get()));
    let answers = answers.collect::<Result<Vec<_>, _>>().map_err(not_polaris)?;
    let mut out = io::stdout().lock();
    match output {
        Output::Json => output::json(&mut out, body)?,
        Output::Ndjson => response.iter().try_for_each(|answer| writeln!(out, "{}", answer.get()))?,
        Output::Table => {
            let mut fields: Map<String, Value> = serde_json::from_slice(body).map_err(not_polaris)?;
            fields.remove("response");
            output::print_table(&mut out, output::fields_of(&fields))?;
            let mut printer = Printer::new(&mut out, io::stderr(), answers.len() > 1);
            answers.iter().try_for_each(|answer| printer.answer(answer))?;
            printer.end_line()?;
        }
    }
    out.flush()?;
    Ok(answers)
}

/// The start of a command, for one line of a table.
fn short(cmd: &str) -> String {
    const SHOWN_CHARS: usize = 60;
    match cmd.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", &cmd[..end]),
        None => cmd.to_owned(),
    }
}
