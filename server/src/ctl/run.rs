//! `polarisctl run`: a command on many hosts, each answer shown as it arrives.

use super::args::{self, Output, Run};
use super::client::{Client, Stream};
use super::error::{Error, INTERRUPTED};
use super::outcome::Line;
use super::printer::Printer;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::io::{self, BufRead, BufWriter, IsTerminal, Stderr, Stdout, Write};
use std::sync::{Arc, OnceLock};

/// The body of `POST /api/v1/requests`.
#[derive(Serialize)]
struct Body<'a> {
    hosts: &'a [String],
    method: &'static str,
    cmd: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    env: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cwd: Option<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    stream: bool,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    limits: BTreeMap<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deadline: Option<u64>,
}

/// Whether every host succeeded.
pub fn run(client: &Client, run: &Run, output: Output) -> Result<bool, Error> {
    let body = Body {
        hosts: &run.hosts,
        method: "sync.bash",
        cmd: run.line()?,
        timeout: run.timeout,
        user: run.user.as_deref(),
        group: run.group.as_deref(),
        env: args::object("--env", &run.env)?,
        cwd: run.cwd.as_deref(),
        stream: run.stream,
        limits: args::object("--limit", &run.limits)?,
        deadline: run.deadline,
    };
    let bar = progress(run.hosts.len(), output);
    let id = Arc::new(OnceLock::new());
    explain_interrupts(&id, &bar);
    let stream = client.post_for_stream(&["requests"], &body)?;
    if let Some(told) = &stream.id {
        let _ = id.set(told.clone());
    }
    match output {
        Output::Table => {
            let (out, many) = (BufWriter::new(io::stdout()), run.hosts.len() > 1);
            let new = if run.stream { Printer::live } else { Printer::new };
            table(client, stream, new(out, io::stderr(), many), &bar)
        }
        Output::Ndjson => each(client, stream, |line, _| {
            let mut out = io::stdout().lock();
            writeln!(out, "{line}").and_then(|()| out.flush())
        }),
        Output::Json => document(client, stream),
    }
}

fn table(
    client: &Client,
    stream: Stream,
    mut printer: Printer<BufWriter<Stdout>, Stderr>,
    bar: &ProgressBar,
) -> Result<bool, Error> {
    let result = each(client, stream, |_, line| match line {
        Line::Piece(piece) => bar.suspend(|| printer.piece(piece)),
        Line::Answer(answer) => {
            bar.suspend(|| printer.answer(answer))?;
            bar.inc(1);
            Ok(())
        }
        Line::Unknown => Ok(()),
    });
    bar.finish_and_clear();
    let cut_off = printer.cut_off();
    let succeeded = result?;
    cut_off?;
    if io::stdout().is_terminal() {
        printer.end_line()?;
    }
    writeln!(io::stderr(), "{}", printer.summary())?;
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

/// Hidden where standard error is no terminal, and where one host makes it pointless.
fn progress(hosts: usize, output: Output) -> ProgressBar {
    if hosts < 2 || output != Output::Table {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} hosts  {elapsed}");
    let bar = ProgressBar::new(hosts as u64);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_asked_for_is_not_sent() {
        let hosts = ["a".to_owned()];
        let body = Body {
            hosts: &hosts,
            method: "sync.bash",
            cmd: "ls".into(),
            timeout: Some(3),
            user: None,
            group: None,
            env: BTreeMap::new(),
            cwd: None,
            stream: false,
            limits: BTreeMap::new(),
            deadline: None,
        };
        let json = serde_json::to_string(&body).unwrap();
        assert_eq!(json, r#"{"hosts":["a"],"method":"sync.bash","cmd":"ls","timeout":3}"#);
    }
}
