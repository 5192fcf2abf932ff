//! One host's answer to a request, for people: a line that says what became
//! of it, then what the command wrote.

use super::output::printable;
use aspire_wire::{Encoding, Outcome};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use std::fmt::Write as _;
use std::io::{self, Write};

/// One entry of a response.
#[derive(Debug)]
pub struct Answer {
    who: Who,
    outcome: Outcome,
}

#[derive(Debug, Deserialize)]
struct Who {
    /// The id, or what was asked for where there is no such host.
    host: String,
    #[serde(default)]
    name: String,
}

impl Answer {
    pub fn parse(json: &str) -> Result<Answer, serde_json::Error> {
        Ok(Answer { who: serde_json::from_str(json)?, outcome: serde_json::from_str(json)? })
    }

    pub fn is_success(&self) -> bool {
        self.outcome.is_success()
    }

    fn label(&self) -> String {
        printable(if self.who.name.is_empty() { &self.who.host } else { &self.who.name })
    }

    /// `web-1  failed 3101 Exited with an error, exit status 3  0.01s`
    fn headline(&self) -> String {
        let outcome = &self.outcome;
        let resp = if outcome.is_success() { "success" } else { "failed" };
        let mut line =
            format!("{}  {resp} {} {}", self.label(), outcome.retcode, printable(&outcome.message));
        // Writing to a String cannot fail.
        if let Some(code) = outcome.exitcode.filter(|code| *code != 0) {
            let _ = write!(line, ", exit status {code}");
        }
        if let Some(signal) = outcome.signal {
            let _ = write!(line, ", signal {signal}");
        }
        if let Some(dropped) = outcome.dropped.filter(|bytes| *bytes > 0) {
            let _ = write!(line, ", {dropped} bytes of output dropped");
        }
        if let Some(detail) = &outcome.detail {
            let _ = write!(line, ": {}", printable(detail));
        }
        if let Some(elapsed) = outcome.elapsed {
            let _ = write!(line, "  {elapsed:.2}s");
        }
        line
    }

    /// What the command wrote to standard output, or the JSON that the method answered with.
    fn stdout(&self) -> Vec<u8> {
        let Some(data) = &self.outcome.data else { return Vec::new() };
        match serde_json::from_str::<String>(data.get()) {
            Ok(text) => self.decode(text),
            Err(_) => data.get().as_bytes().to_vec(),
        }
    }

    fn stderr(&self) -> Vec<u8> {
        self.outcome.stderr.clone().map_or_else(Vec::new, |text| self.decode(text))
    }

    /// Text that claims to be base64 and is not is shown as it came: better than nothing.
    fn decode(&self, text: String) -> Vec<u8> {
        match self.outcome.encoding {
            Some(Encoding::Base64) => STANDARD.decode(&text).unwrap_or_else(|_| text.into_bytes()),
            None => text.into_bytes(),
        }
    }
}

/// Prints answers one below the other and counts them.
pub struct Printer<O: Write, E: Write> {
    out: O,
    err: E,
    /// Whether lines of the commands' standard error need to say whose they are.
    many: bool,
    at_line_start: bool,
    succeeded: usize,
    failed: usize,
}

impl<O: Write, E: Write> Printer<O, E> {
    pub fn new(out: O, err: E, many: bool) -> Self {
        Printer { out, err, many, at_line_start: true, succeeded: 0, failed: 0 }
    }

    /// The commands' output goes where they sent it, unchanged: only one that
    /// does not end its last line gets that end before the next headline.
    pub fn answer(&mut self, answer: &Answer) -> io::Result<()> {
        self.end_line()?;
        let headline = console::style(answer.headline()).bold();
        let headline = if answer.is_success() { headline.green() } else { headline.red() };
        writeln!(self.out, "{headline}")?;
        let stdout = answer.stdout();
        self.out.write_all(&stdout)?;
        self.at_line_start = stdout.last().is_none_or(|last| *last == b'\n');
        self.out.flush()?;
        self.stderr(&answer.label(), &answer.stderr())?;
        if answer.is_success() {
            self.succeeded += 1;
        } else {
            self.failed += 1;
        }
        Ok(())
    }

    /// `3 hosts: 2 succeeded, 1 failed`
    pub fn summary(&self) -> String {
        let total = self.succeeded + self.failed;
        let hosts = if total == 1 { "host" } else { "hosts" };
        let parts = [(self.succeeded, "succeeded"), (self.failed, "failed")];
        let parts =
            parts.into_iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}"));
        format!("{total} {hosts}: {}", parts.collect::<Vec<_>>().join(", "))
    }

    /// Ends the last line where a terminal would go on in it.
    pub fn end_line(&mut self) -> io::Result<()> {
        if !self.at_line_start {
            self.out.write_all(b"\n")?;
            self.at_line_start = true;
        }
        self.out.flush()
    }

    fn stderr(&mut self, label: &str, stderr: &[u8]) -> io::Result<()> {
        if !self.many {
            return self.err.write_all(stderr);
        }
        for line in stderr.split_inclusive(|byte| *byte == b'\n') {
            write!(self.err, "{label}: ")?;
            self.err.write_all(line)?;
            if !line.ends_with(b"\n") {
                self.err.write_all(b"\n")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DONE: &str = r#"{"host":"1","name":"web-1","resp":"success","retcode":2,"message":"Normal termination","data":"up\n","stderr":"","exitcode":0,"elapsed":0.0123}"#;
    const FAILED: &str = r#"{"host":"2","name":"web-2","resp":"failed","retcode":3101,"message":"Exited with an error","data":"half","stderr":"no\nway","exitcode":3,"dropped":7,"elapsed":1}"#;
    const ABSENT: &str = r#"{"host":"x\u001b[2J","resp":"failed","retcode":203,"message":"No such host","detail":"known by no name"}"#;

    fn printed(many: bool, answers: &[&str]) -> (String, String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut printer = Printer::new(&mut out, &mut err, many);
        for answer in answers {
            printer.answer(&Answer::parse(answer).unwrap()).unwrap();
        }
        let summary = printer.summary();
        (String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap(), summary)
    }

    #[test]
    fn each_host_has_its_headline_and_its_output() {
        let (out, err, summary) = printed(true, &[FAILED, DONE, ABSENT]);
        assert_eq!(
            out,
            "web-2  failed 3101 Exited with an error, exit status 3, 7 bytes of output dropped  1.00s\nhalf\n\
             web-1  success 2 Normal termination  0.01s\nup\n\
             x\\u{1b}[2J  failed 203 No such host: known by no name\n"
        );
        assert_eq!(err, "web-2: no\nweb-2: way\n");
        assert_eq!(summary, "3 hosts: 1 succeeded, 2 failed");
    }

    #[test]
    fn one_hosts_output_is_verbatim() {
        let (out, err, summary) = printed(false, &[FAILED]);
        assert!(out.ends_with("\nhalf"), "{out}");
        assert_eq!(err, "no\nway");
        assert_eq!(summary, "1 host: 1 failed");
    }

    #[test]
    fn output_that_is_not_text_arrives_as_bytes() {
        let json = r#"{"host":"1","resp":"success","retcode":2,"message":"","data":"/wA=","stderr":"d2Fybg==","encoding":"base64"}"#;
        let answer = Answer::parse(json).unwrap();
        assert_eq!((answer.stdout(), answer.stderr()), (vec![255, 0], b"warn".to_vec()));
    }

    #[test]
    fn data_may_be_any_json() {
        let json = r#"{"host":"1","resp":"success","retcode":2,"message":"","data":{"a": [1]}}"#;
        assert_eq!(Answer::parse(json).unwrap().stdout(), br#"{"a": [1]}"#);
    }
}
