//! `polarisctl jobs`: what hosts run apart from the request that began it.

use super::args::{Jobs, JobsList, JobsVerb, Output};
use super::body::Body;
use super::client::{Client, Stream};
use super::error::Error;
use super::outcome::{Answer, Line};
use super::output::{self, List};
use super::printer::Printer;
use super::{requests, run};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::io::{self, BufRead, Write};

/// Whether what was asked for is so.
pub fn jobs(client: &Client, jobs: &Jobs, output: Output) -> Result<bool, Error> {
    match &jobs.verb {
        None => list(client, &jobs.list, output).map(|()| true),
        Some(JobsVerb::List(filter)) => list(client, filter, output).map(|()| true),
        Some(JobsVerb::Show { host, job }) => show(client, host, job, output).map(|()| true),
        Some(JobsVerb::Follow { host, job }) => follow(client, host, job, output),
        Some(JobsVerb::Cancel { host, job }) => {
            let hosts = std::slice::from_ref(host);
            run::send(
                client,
                &Body { hosts, method: "job.cancel".into(), job: Some(job), ..Body::default() },
                output,
            )
        }
    }
}

fn list(client: &Client, filter: &JobsList, output: Output) -> Result<(), Error> {
    let limit = filter.limit.map(|limit| limit.to_string());
    let query = [
        ("host", &filter.host),
        ("state", &filter.state),
        ("cron", &filter.cron),
        ("request", &filter.request),
        ("limit", &limit),
        ("before", &filter.before),
    ];
    let list = List::parse(&client.get_with(&["jobs"], &query)?, "jobs");
    let list = list.map_err(|reason| client.not_polaris(&reason))?;
    let head = ["JOB", "HOST", "STATE", "ATTEMPTS", "RETCODE", "CREATED", "ENDED", "COMMAND"];
    list.print(output, &head, |job| {
        let mut row = ["job", "name", "state", "attempts", "retcode", "created", "ended"]
            .map(|field| output::cell(&job[field]))
            .to_vec();
        if job["name"].is_null() {
            row[1] = output::cell(&job["host"]);
        }
        row.push(requests::short(&output::cell(&job["cmd"])));
        row
    })
}

/// The job's fields, and its result as `run` shows an answer.
fn show(client: &Client, host: &str, job: &str, output: Output) -> Result<(), Error> {
    #[derive(Deserialize)]
    struct Shown {
        #[serde(default)]
        result: Option<Box<RawValue>>,
    }
    let body = client.get(&["jobs", host, job])?;
    let not_polaris = |error: serde_json::Error| client.not_polaris(&error);
    let mut out = io::stdout().lock();
    if output != Output::Table {
        output::json(&mut out, &body)?;
        return out.flush().map_err(Error::from);
    }
    let mut fields: Map<String, Value> = serde_json::from_slice(&body).map_err(not_polaris)?;
    let Shown { result } = serde_json::from_slice(&body).map_err(not_polaris)?;
    fields.remove("result");
    output::print_table(&mut out, output::fields_of(&fields))?;
    let mut printer = Printer::new(&mut out, io::stderr(), false);
    if let Some(result) = result {
        printer.answer(&Answer::parse(result.get()).map_err(not_polaris)?)?;
    }
    printer.end_line().map_err(Error::from)
}

/// Whether the job succeeded.
fn follow(client: &Client, host: &str, job: &str, output: Output) -> Result<bool, Error> {
    let stream = client.get_stream(&["jobs", host, job, "output"])?;
    match output {
        Output::Table => watch(client, stream),
        Output::Ndjson => each(client, stream, |text, _| {
            let mut out = io::stdout().lock();
            writeln!(out, "{text}").and_then(|()| out.flush())
        }),
        Output::Json => each(client, stream, |text, line| match line {
            Line::Answer(_) => output::json(&mut io::stdout().lock(), text.as_bytes()),
            _ => Ok(()),
        }),
    }
}

fn watch(client: &Client, stream: Stream) -> Result<bool, Error> {
    let mut printer = Printer::live(io::stdout().lock(), io::stderr(), false);
    let mut attempt = 0;
    let result = each(client, stream, |_, line| match line {
        Line::Piece(piece) => printer.piece(piece),
        Line::Answer(answer) => printer.answer(answer),
        Line::Moved { attempts } if *attempts > attempt => {
            let again = std::mem::replace(&mut attempt, *attempts) > 0;
            if again {
                // What comes now begins anew.
                printer.cut_off()?;
                printer.end_line()?;
                writeln!(io::stderr(), "attempt {attempts}")?;
            }
            Ok(())
        }
        Line::Moved { .. } | Line::Begun(_) | Line::Stopped(_) | Line::Unknown => Ok(()),
    });
    printer.cut_off()?;
    printer.end_line()?;
    result
}

/// Hands over each line as it arrives. Whether the last one, the result, is a success.
fn each(
    client: &Client,
    stream: Stream,
    mut found: impl FnMut(&str, &Line) -> io::Result<()>,
) -> Result<bool, Error> {
    let mut success = None;
    for text in stream.lines.lines() {
        let text = text.map_err(|error| Error::NoResult { reason: error.to_string() })?;
        let line = Line::parse(&text).map_err(|error| client.not_polaris(&error))?;
        if let Line::Answer(answer) = &line {
            success = Some(answer.is_success());
        }
        found(&text, &line)?;
    }
    success.ok_or_else(|| Error::NoResult { reason: "polaris ended it".into() })
}
