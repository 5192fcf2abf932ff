//! What comes of a request, line by line: pieces of what a command writes
//! while it runs, and each host's final answer.

use super::output::printable;
use aspire_wire::session::StreamName;
use aspire_wire::{Encoding, Outcome, Retcode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use std::fmt::Write as _;

/// One line of a response that is streamed.
#[derive(Debug)]
pub enum Line {
    Piece(Piece),
    Answer(Answer),
    /// Where a job is: attempts begun so far.
    Moved {
        attempts: u32,
    },
    /// The turn of one host of a rollout has come.
    Begun(Who),
    /// A rollout ended early.
    Stopped(StoppedLine),
    /// Something that a later server tells.
    Unknown,
}

/// Why a rollout ended early.
#[derive(Debug, Clone, Deserialize)]
pub struct StoppedLine {
    pub detail: String,
}

/// Something that a command has written.
#[derive(Debug)]
pub struct Piece {
    pub who: Who,
    pub stream: StreamName,
    pub bytes: Vec<u8>,
}

/// One entry of a response.
#[derive(Debug)]
pub struct Answer {
    pub who: Who,
    outcome: Outcome,
}

/// Whom it is of.
#[derive(Debug, Deserialize)]
pub struct Who {
    /// The id, or what was asked for where there is no such host.
    pub host: String,
    #[serde(default)]
    name: String,
}

impl Who {
    /// For people.
    pub fn label(&self) -> String {
        printable(if self.name.is_empty() { &self.host } else { &self.name })
    }
}

impl Line {
    pub fn parse(json: &str) -> Result<Line, serde_json::Error> {
        #[derive(Deserialize)]
        struct Kind {
            #[serde(default)]
            method: Option<String>,
            #[serde(default)]
            attempts: u32,
        }
        let Kind { method, attempts } = serde_json::from_str(json)?;
        match method.as_deref() {
            None => Answer::parse(json).map(Line::Answer),
            Some("output") => Piece::parse(json).map(Line::Piece),
            Some("job") => Ok(Line::Moved { attempts }),
            Some("begun") => serde_json::from_str(json).map(Line::Begun),
            Some("stopped") => serde_json::from_str(json).map(Line::Stopped),
            Some(_) => Ok(Line::Unknown),
        }
    }
}

impl Piece {
    fn parse(json: &str) -> Result<Piece, serde_json::Error> {
        #[derive(Deserialize)]
        struct Output {
            #[serde(flatten)]
            who: Who,
            stream: StreamName,
            data: String,
            #[serde(default)]
            encoding: Option<Encoding>,
        }
        let Output { who, stream, data, encoding } = serde_json::from_str(json)?;
        Ok(Piece { who, stream, bytes: decode(data, encoding) })
    }
}

impl Answer {
    pub fn parse(json: &str) -> Result<Answer, serde_json::Error> {
        Ok(Answer { who: serde_json::from_str(json)?, outcome: serde_json::from_str(json)? })
    }

    pub fn is_success(&self) -> bool {
        self.outcome.is_success()
    }

    /// Whether the host has only taken note of it, or will: there is no output.
    pub fn is_accepted(&self) -> bool {
        self.outcome.retcode == Retcode::Accepted.code()
    }

    /// Whether the host never heard of it, because the request was ended before.
    pub fn is_not_begun(&self) -> bool {
        self.outcome.retcode == Retcode::CancelledBeforeDelivery.code()
    }

    /// Whether it is the host's own word, or that of one that never heard of the request.
    pub fn is_confirmed(&self) -> bool {
        ![Retcode::NoReplyInTime, Retcode::LinkLost].map(Retcode::code).contains(&self.outcome.retcode)
    }

    /// `web-1  failed 3101 Exited with an error, exit status 3  0.01s`
    pub fn headline(&self) -> String {
        let outcome = &self.outcome;
        let resp = if outcome.is_success() { "success" } else { "failed" };
        let mut line =
            format!("{}  {resp} {} {}", self.who.label(), outcome.retcode, printable(&outcome.message));
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
    pub fn stdout(&self) -> Vec<u8> {
        let Some(data) = &self.outcome.data else { return Vec::new() };
        match serde_json::from_str::<String>(data.get()) {
            Ok(text) => decode(text, self.outcome.encoding),
            Err(_) => data.get().as_bytes().to_vec(),
        }
    }

    /// The JSON that the method answered with, laid out for people, its keys in their order.
    pub fn document(&self) -> Vec<u8> {
        let Some(data) = &self.outcome.data else { return Vec::new() };
        let (mut from, mut laid_out) = (serde_json::Deserializer::from_str(data.get()), Vec::new());
        let mut to = serde_json::Serializer::pretty(&mut laid_out);
        if serde_transcode::transcode(&mut from, &mut to).is_err() {
            // It is deeper than anything that a person would read.
            laid_out = data.get().into();
        }
        let text = String::from_utf8_lossy(&laid_out);
        text.lines().flat_map(|line| [printable(line), "\n".to_owned()]).collect::<String>().into_bytes()
    }

    pub fn stderr(&self) -> Vec<u8> {
        self.outcome.stderr.clone().map_or_else(Vec::new, |text| decode(text, self.outcome.encoding))
    }
}

/// Text that claims to be base64 and is not is shown as it came: better than nothing.
fn decode(text: String, encoding: Option<Encoding>) -> Vec<u8> {
    match encoding {
        Some(Encoding::Base64) => STANDARD.decode(&text).unwrap_or_else(|_| text.into_bytes()),
        None => text.into_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn a_line_is_told_by_its_method() {
        let line = r#"{"host":"1","name":"web-1","method":"output","stream":"stderr","data":"/w==","encoding":"base64"}"#;
        let Ok(Line::Piece(piece)) = Line::parse(line) else { panic!("no piece") };
        assert_eq!(
            (&*piece.who.label(), piece.stream, &*piece.bytes),
            ("web-1", StreamName::Stderr, &b"\xff"[..])
        );
        assert!(matches!(Line::parse(r#"{"host":"1","method":"news"}"#), Ok(Line::Unknown)));
        let answer = r#"{"host":"1","resp":"failed","retcode":205,"message":""}"#;
        let Ok(Line::Answer(answer)) = Line::parse(answer) else { panic!("no answer") };
        assert!(!answer.is_confirmed());
        assert!(Line::parse(r#"{"host":"1","method":"output"}"#).is_err());
    }
}
