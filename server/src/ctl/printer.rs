//! Answers for people, one below the other: a line that says what became of
//! the request on a host, and what the command wrote: after that line, or, as
//! it was written, before it.

use super::live::{Live, prefixed};
use super::outcome::{Answer, Piece};
use aspire_wire::session::StreamName::{self, Stderr, Stdout};
use std::io::{self, Write};

/// Prints answers and counts them.
pub struct Printer<O: Write, E: Write> {
    out: O,
    err: E,
    /// Whether lines of the commands' standard error need to say whose they are.
    many: bool,
    /// What of an answer goes to standard output.
    shown: fn(&Answer) -> Vec<u8>,
    /// Where output is shown before the answers.
    live: Option<Live>,
    out_at_line_start: bool,
    err_at_line_start: bool,
    succeeded: usize,
    /// Of these, more is to come.
    accepted: usize,
    failed: usize,
    not_begun: usize,
}

impl<O: Write, E: Write> Printer<O, E> {
    pub fn new(out: O, err: E, many: bool) -> Self {
        Printer {
            out,
            err,
            many,
            shown: Answer::stdout,
            live: None,
            out_at_line_start: true,
            err_at_line_start: true,
            succeeded: 0,
            accepted: 0,
            failed: 0,
            not_begun: 0,
        }
    }

    /// One that shows output as it comes.
    pub fn live(out: O, err: E, many: bool) -> Self {
        Printer { live: Some(Live::new(many)), ..Printer::new(out, err, many) }
    }

    /// One whose answers are JSON.
    pub fn documents(out: O, err: E, many: bool) -> Self {
        Printer { shown: Answer::document, ..Printer::new(out, err, many) }
    }

    /// The commands' output goes where they sent it, unchanged: only one that
    /// does not end its last line gets that end before the next headline.
    pub fn answer(&mut self, answer: &Answer) -> io::Result<()> {
        if let Some(live) = &mut self.live {
            let rest = live.rest(answer);
            self.write_rest(&rest)?;
        }
        self.end_line()?;
        let headline = console::style(answer.headline()).bold();
        let headline = if answer.is_success() { headline.green() } else { headline.red() };
        writeln!(self.out, "{headline}")?;
        self.out.flush()?;
        if self.live.is_none() && !answer.is_accepted() {
            self.write(Stdout, &(self.shown)(answer))?;
            let stderr = answer.stderr();
            let stderr = if self.many { prefixed(&answer.who.label(), &stderr) } else { stderr };
            self.write(Stderr, &stderr)?;
        }
        let count = if answer.is_accepted() {
            &mut self.accepted
        } else if answer.is_success() {
            &mut self.succeeded
        } else if answer.is_not_begun() {
            &mut self.not_begun
        } else {
            &mut self.failed
        };
        *count += 1;
        Ok(())
    }

    /// Something that a command has just written.
    pub fn piece(&mut self, piece: &Piece) -> io::Result<()> {
        let shown = self.live.as_mut().map(|live| live.piece(piece));
        self.write(piece.stream, &shown.unwrap_or_default())
    }

    /// What was held back of hosts whose answers will not come.
    pub fn cut_off(&mut self) -> io::Result<()> {
        let rest = self.live.as_mut().map(Live::cut_off).unwrap_or_default();
        rest.iter().try_for_each(|rest| self.write_rest(rest))
    }

    pub fn any_accepted(&self) -> bool {
        self.accepted > 0
    }

    /// `3 hosts: 2 succeeded, 1 failed`
    pub fn summary(&self) -> String {
        let total = self.succeeded + self.accepted + self.failed + self.not_begun;
        let hosts = if total == 1 { "host" } else { "hosts" };
        let parts = [
            (self.succeeded, "succeeded"),
            (self.accepted, "accepted"),
            (self.failed, "failed"),
            (self.not_begun, "not begun"),
        ];
        let parts =
            parts.into_iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}"));
        format!("{total} {hosts}: {}", parts.collect::<Vec<_>>().join(", "))
    }

    /// Ends the last line where a terminal would go on in it.
    pub fn end_line(&mut self) -> io::Result<()> {
        if !self.out_at_line_start {
            self.write(Stdout, b"\n")?;
        }
        self.out.flush()
    }

    fn write_rest(&mut self, [stdout, stderr]: &[Vec<u8>; 2]) -> io::Result<()> {
        self.write(Stdout, stdout)?;
        self.write(Stderr, stderr)?;
        if !self.err_at_line_start {
            self.write(Stderr, b"\n")?;
        }
        Ok(())
    }

    fn write(&mut self, stream: StreamName, bytes: &[u8]) -> io::Result<()> {
        let Some(last) = bytes.last() else { return Ok(()) };
        match stream {
            Stdout => {
                self.out_at_line_start = *last == b'\n';
                self.out.write_all(bytes)?;
                self.out.flush()
            }
            Stderr => {
                self.err_at_line_start = *last == b'\n';
                self.err.write_all(bytes)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ctl::outcome::Line;

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
    fn documents_are_laid_out_and_drive_no_terminal() {
        const TOLD: &str = r#"{"host":"1","name":"web-1","resp":"success","retcode":2,"message":"","data":{"z":[1,"\u009b31m"],"a":{}}}"#;
        const WRONG: &str = r#"{"host":"2","name":"web-2","resp":"failed","retcode":3021,"message":"Invalid params","detail":"args: no"}"#;
        let mut out = Vec::new();
        let mut printer = Printer::documents(&mut out, io::sink(), true);
        for answer in [TOLD, WRONG] {
            printer.answer(&Answer::parse(answer).unwrap()).unwrap();
        }
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "web-1  success 2 \n{\n  \"z\": [\n    1,\n    \"\\u{9b}31m\"\n  ],\n  \"a\": {}\n}\n\
             web-2  failed 3021 Invalid params: args: no\n"
        );
    }

    #[test]
    fn what_is_accepted_has_not_succeeded_yet() {
        const QUEUED: &str = r#"{"host":"3","name":"web-3","resp":"success","retcode":1,"message":"Accepted","detail":"queued: the host is offline"}"#;
        let (out, _, summary) = printed(true, &[QUEUED, DONE]);
        assert!(out.starts_with("web-3  success 1 Accepted: queued: the host is offline\n"), "{out}");
        assert_eq!(summary, "2 hosts: 1 succeeded, 1 accepted");
    }

    #[test]
    fn one_hosts_output_is_verbatim() {
        let (out, err, summary) = printed(false, &[FAILED]);
        assert!(out.ends_with("\nhalf"), "{out}");
        assert_eq!(err, "no\nway");
        assert_eq!(summary, "1 host: 1 failed");
    }

    #[test]
    fn live_output_stands_before_its_headline() {
        const HALF: &str = r#"{"host":"2","name":"web-2","method":"output","stream":"stdout","data":"ha"}"#;
        const NO: &str = r#"{"host":"2","name":"web-2","method":"output","stream":"stderr","data":"no\n"}"#;
        for (many, out, err) in [
            (true, "web-2: half\n", "web-2: no\nweb-2: way\n"),
            // The end of its last line goes before the headline, wherever the two are shown.
            (false, "half\n", "no\nway\n"),
        ] {
            let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
            let mut printer = Printer::live(&mut stdout, &mut stderr, many);
            for line in [HALF, NO, FAILED, DONE] {
                match Line::parse(line).unwrap() {
                    Line::Piece(piece) => printer.piece(&piece).unwrap(),
                    Line::Answer(answer) => printer.answer(&answer).unwrap(),
                    other => panic!("{line}: {other:?}"),
                }
            }
            let shown = String::from_utf8(stdout).unwrap();
            assert!(shown.starts_with(&format!("{out}web-2  failed 3101")), "{shown}");
            let last = if many { "web-1: up\n" } else { "up\n" };
            assert!(
                shown.ends_with(&format!("{last}web-1  success 2 Normal termination  0.01s\n")),
                "{shown}"
            );
            assert_eq!(String::from_utf8(stderr).unwrap(), err);
        }
    }
}
