//! `polarisctl run`: a command on many hosts, each answer shown as it arrives.

use super::args::{Output, Run};
use super::body::Body;
use super::client::{Client, Stream};
use super::confirm;
use super::error::{Error, INTERRUPTED};
use super::outcome::Line;
use super::output::printable;
use super::pace::Pace;
use super::printer::Printer;
use super::tally::Tally;
use indicatif::ProgressBar;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::io::{self, BufRead, BufWriter, IsTerminal, Stderr, Stdout, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

/// Whether every host succeeded.
pub fn run(client: &Client, run: &Run, output: Output) -> Result<bool, Error> {
    run.check()?;
    let body =
        Body::to(&run.whom, &run.pace).with_command(&run.command, &run.how)?.with_patience(&run.patience);
    let method = if run.later { "async.bash" } else { "sync.bash" }.into();
    let body = Body { method, stream: run.stream, deadline: run.deadline, ..body };
    send(client, &body, output)
}

/// Sends the request and shows each answer as it arrives. Whether every host succeeded.
pub fn send(client: &Client, body: &Body<'_>, output: Output) -> Result<bool, Error> {
    let mut tally = Tally::new(output == Output::Table, body.pace.batch.is_some());
    let told = Arc::new(Told::default());
    explain_interrupts(&told, tally.bar());
    let stream = confirm::confirmed(body.pace.confirm, &told.asking, |confirm| {
        let pace = Pace { confirm, ..body.pace.clone() };
        client.post_for_stream(&["requests"], &Body { pace, ..body.clone() })
    });
    let stream = stream.map_err(|error| error.about(body.target))?;
    if let Some(id) = &stream.id {
        let _ = told.id.set(id.clone());
    }
    // Of what an expression selects the server alone knows how many it is.
    let hosts = stream.hosts.unwrap_or(body.hosts.len() as u64);
    tally.begins(hosts);
    match output {
        Output::Table => {
            let (out, many) = (BufWriter::new(io::stdout()), hosts > 1);
            let new = match &*body.method {
                "sync.bash" if body.stream => Printer::live,
                query if query.starts_with("getinfo.") => Printer::documents,
                _ => Printer::new,
            };
            let hint = hint(body, told.id.get());
            table(client, stream, new(out, io::stderr(), many), tally, hint.as_deref())
        }
        Output::Ndjson => each(client, stream, |line, _| {
            let mut out = io::stdout().lock();
            writeln!(out, "{line}").and_then(|()| out.flush())
        }),
        Output::Json => document(client, stream),
    }
}

/// How to see what becomes of what was accepted.
fn hint(body: &Body<'_>, id: Option<&String>) -> Option<String> {
    let how = match &*body.method {
        "async.bash" => format!("jobs --request {}", id?),
        _ if body.queue => format!("requests show {}", id?),
        method if method.starts_with("daemon.") => format!("daemon list {}", body.daemon()?),
        _ => return None,
    };
    Some(format!("see what becomes of it with: polarisctl {}", printable(&how)))
}

fn table(
    client: &Client,
    stream: Stream,
    mut printer: Printer<BufWriter<Stdout>, Stderr>,
    mut tally: Tally,
    hint: Option<&str>,
) -> Result<bool, Error> {
    let result = each(client, stream, |_, line| {
        match line {
            Line::Piece(piece) => tally.bar().suspend(|| printer.piece(piece))?,
            Line::Answer(answer) => tally.bar().suspend(|| printer.answer(answer))?,
            Line::Moved { .. } | Line::Begun(_) | Line::Stopped(_) | Line::Unknown => {}
        }
        tally.line(line);
        Ok(())
    });
    tally.bar().finish_and_clear();
    let cut_off = printer.cut_off();
    let succeeded = result?;
    cut_off?;
    if io::stdout().is_terminal() {
        printer.end_line()?;
    }
    writeln!(io::stderr(), "{}", printer.summary())?;
    if let Some(told) = tally.told_at_the_end() {
        writeln!(io::stderr(), "{told}")?;
    }
    if let Some(hint) = hint.filter(|_| printer.any_accepted()) {
        writeln!(io::stderr(), "{hint}")?;
    }
    Ok(succeeded)
}

fn document(client: &Client, stream: Stream) -> Result<bool, Error> {
    #[derive(Serialize)]
    struct Document {
        id: Option<String>,
        response: Vec<Box<RawValue>>,
        /// Of a rollout that ended early.
        #[serde(skip_serializing_if = "Option::is_none")]
        stopped: Option<Map<String, Value>>,
    }
    let mut document = Document { id: stream.id.clone(), response: Vec::new(), stopped: None };
    let succeeded = each(client, stream, |text, line| {
        match line {
            Line::Answer(_) => document.response.push(RawValue::from_string(text.to_owned())?),
            Line::Stopped(_) => {
                let mut stopped: Map<String, Value> = serde_json::from_str(text)?;
                stopped.remove("method");
                document.stopped = Some(stopped);
            }
            _ => {}
        }
        Ok(())
    })?;
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, &document).map_err(io::Error::from)?;
    writeln!(out).and_then(|()| out.flush())?;
    Ok(succeeded)
}

/// Hands over each line as it arrives. Whether there were any answers and all were successes.
fn each(
    client: &Client,
    stream: Stream,
    mut found: impl FnMut(&str, &Line) -> io::Result<()>,
) -> Result<bool, Error> {
    let (mut any, mut all) = (false, true);
    for text in stream.lines.lines() {
        let text =
            text.map_err(|error| Error::CutOff { id: stream.id.clone(), reason: error.to_string() })?;
        if text.trim().is_empty() {
            continue;
        }
        let line = Line::parse(&text).map_err(|error| client.not_polaris(&error))?;
        if let Line::Answer(answer) = &line {
            any = true;
            all &= answer.is_success();
        }
        found(text.trim(), &line)?;
    }
    Ok(any && all)
}

/// What is known of the request while it is on its way.
#[derive(Default)]
struct Told {
    id: OnceLock<String>,
    /// Somebody is asked whether it is to be given at all.
    asking: AtomicBool,
}

/// Ctrl-C leaves the hosts at work: say so, how to look at it and how to end it.
fn explain_interrupts(told: &Arc<Told>, bar: &ProgressBar) {
    let (told, bar) = (Arc::clone(told), bar.clone());
    // Where no handler can be set, Ctrl-C still ends the program, only without the words.
    let _ = ctrlc::set_handler(move || {
        bar.finish_and_clear();
        let words = match told.id.get() {
            Some(id) => {
                format!(
                    "the request goes on; see what becomes of it with: polarisctl requests show {id}\n\
                     or end it with: polarisctl requests cancel {id}"
                )
            }
            None if told.asking.load(Ordering::SeqCst) => "nothing was begun".into(),
            None => "it is not known whether polaris has the request; see: polarisctl requests".into(),
        };
        let _ = writeln!(io::stderr(), "\npolarisctl: {words}");
        std::process::exit(INTERRUPTED);
    });
}
