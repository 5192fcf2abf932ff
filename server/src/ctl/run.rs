//! `polarisctl run`: a command on many hosts, each answer shown as it arrives.

use super::args::{Output, Run};
use super::body::Body;
use super::client::{Client, Stream};
use super::error::{Error, INTERRUPTED};
use super::outcome::Line;
use super::output::printable;
use super::printer::Printer;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use serde_json::value::RawValue;
use std::io::{self, BufRead, BufWriter, IsTerminal, Stderr, Stdout, Write};
use std::sync::{Arc, OnceLock};

/// Whether every host succeeded.
pub fn run(client: &Client, run: &Run, output: Output) -> Result<bool, Error> {
    run.check()?;
    let body = Body::to(&run.whom).with_command(&run.command, &run.how)?.with_patience(&run.patience);
    let method = if run.later { "async.bash" } else { "sync.bash" }.into();
    let body = Body { method, stream: run.stream, deadline: run.deadline, ..body };
    send(client, &body, output)
}

/// Sends the request and shows each answer as it arrives. Whether every host succeeded.
pub fn send(client: &Client, body: &Body<'_>, output: Output) -> Result<bool, Error> {
    let bar = progress(output);
    let id = Arc::new(OnceLock::new());
    explain_interrupts(&id, &bar);
    let stream = client.post_for_stream(&["requests"], body)?;
    if let Some(told) = &stream.id {
        let _ = id.set(told.clone());
    }
    // Of what an expression selects the server alone knows how many it is.
    let hosts = stream.hosts.unwrap_or(body.hosts.len() as u64);
    match hosts {
        0 | 1 => bar.set_draw_target(ProgressDrawTarget::hidden()),
        many => bar.set_length(many),
    }
    match output {
        Output::Table => {
            let (out, many) = (BufWriter::new(io::stdout()), hosts > 1);
            let new = match &*body.method {
                "sync.bash" if body.stream => Printer::live,
                query if query.starts_with("getinfo.") => Printer::documents,
                _ => Printer::new,
            };
            let hint = hint(body, id.get());
            table(client, stream, new(out, io::stderr(), many), &bar, hint.as_deref())
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
    bar: &ProgressBar,
    hint: Option<&str>,
) -> Result<bool, Error> {
    let result = each(client, stream, |_, line| match line {
        Line::Piece(piece) => bar.suspend(|| printer.piece(piece)),
        Line::Answer(answer) => {
            bar.suspend(|| printer.answer(answer))?;
            bar.inc(1);
            Ok(())
        }
        Line::Moved { .. } | Line::Unknown => Ok(()),
    });
    bar.finish_and_clear();
    let cut_off = printer.cut_off();
    let succeeded = result?;
    cut_off?;
    if io::stdout().is_terminal() {
        printer.end_line()?;
    }
    writeln!(io::stderr(), "{}", printer.summary())?;
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
    }
    let mut document = Document { id: stream.id.clone(), response: Vec::new() };
    let succeeded = each(client, stream, |text, line| {
        if let Line::Answer(_) = line {
            document.response.push(RawValue::from_string(text.to_owned())?);
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

/// Hidden where standard error is no terminal.
fn progress(output: Output) -> ProgressBar {
    if output != Output::Table {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} hosts  {elapsed}");
    let bar = ProgressBar::new(0);
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// Ctrl-C leaves the hosts at work: say so, how to look at it and how to end it.
fn explain_interrupts(id: &Arc<OnceLock<String>>, bar: &ProgressBar) {
    let (id, bar) = (Arc::clone(id), bar.clone());
    // Where no handler can be set, Ctrl-C still ends the program, only without the words.
    let _ = ctrlc::set_handler(move || {
        bar.finish_and_clear();
        let told = match id.get() {
            Some(id) => {
                format!(
                    "the request goes on; see what becomes of it with: polarisctl requests show {id}\n\
                     or end it with: polarisctl requests cancel {id}"
                )
            }
            None => "it is not known whether polaris has the request; see: polarisctl requests".into(),
        };
        let _ = writeln!(io::stderr(), "\npolarisctl: {told}");
        std::process::exit(INTERRUPTED);
    });
}
