//! `polarisctl run`: a command on many hosts, each answer shown as it arrives.

use super::args::{self, Output, Run};
use super::client::{Client, Stream};
use super::error::{Error, INTERRUPTED};
use super::outcome::{Answer, Printer};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::io::{self, BufRead, BufWriter, IsTerminal, Write};
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
        Output::Table => table(client, stream, run.hosts.len() > 1, &bar),
        Output::Ndjson => each(client, stream, |line, _| {
            let mut out = io::stdout().lock();
            writeln!(out, "{line}").and_then(|()| out.flush())
        }),
        Output::Json => document(client, stream),
    }
}

fn table(client: &Client, stream: Stream, many: bool, bar: &ProgressBar) -> Result<bool, Error> {
    let mut printer = Printer::new(BufWriter::new(io::stdout()), io::stderr(), many);
    let result = each(client, stream, |_, answer| {
        bar.suspend(|| printer.answer(answer))?;
        bar.inc(1);
        Ok(())
    });
    bar.finish_and_clear();
    let succeeded = result?;
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
    let succeeded = each(client, stream, |line, _| {
        document.response.push(RawValue::from_string(line.to_owned())?);
        Ok(())
    })?;
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, &document).map_err(io::Error::from)?;
    writeln!(out).and_then(|()| out.flush())?;
    Ok(succeeded)
}

/// Hands over each answer as it arrives. Whether there were any and all were successes.
fn each(
    client: &Client,
    stream: Stream,
    mut found: impl FnMut(&str, &Answer) -> io::Result<()>,
) -> Result<bool, Error> {
    let (mut any, mut all) = (false, true);
    for line in stream.lines.lines() {
        let line =
            line.map_err(|error| Error::CutOff { id: stream.id.clone(), reason: error.to_string() })?;
        if line.trim().is_empty() {
            continue;
        }
        let answer = Answer::parse(&line).map_err(|error| client.not_polaris(&error))?;
        any = true;
        all &= answer.is_success();
        found(line.trim(), &answer)?;
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

/// Ctrl-C leaves the hosts at work: say so, and how to look at it.
fn explain_interrupts(id: &Arc<OnceLock<String>>, bar: &ProgressBar) {
    let (id, bar) = (Arc::clone(id), bar.clone());
    // Where no handler can be set, Ctrl-C still ends the program, only without the words.
    let _ = ctrlc::set_handler(move || {
        bar.finish_and_clear();
        let told = match id.get() {
            Some(id) => {
                format!("the request goes on; see what becomes of it with: polarisctl requests show {id}")
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
            deadline: None,
        };
        let json = serde_json::to_string(&body).unwrap();
        assert_eq!(json, r#"{"hosts":["a"],"method":"sync.bash","cmd":"ls","timeout":3}"#);
    }
}
