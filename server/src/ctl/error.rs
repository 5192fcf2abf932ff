//! What can go wrong, in one sentence each, and the exit status that goes with it.

use serde::Deserialize;
use std::io;
use std::path::PathBuf;

/// A host failed, or the server refused what was asked.
pub const FAILED: u8 = 1;
const USAGE: u8 = 2;
const NO_SERVER: u8 = 3;
/// What a shell reports for a program that SIGPIPE ended.
pub const OUTPUT_CLOSED: u8 = 141;
/// What a shell reports for a program that SIGINT ended.
pub const INTERRUPTED: i32 = 130;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Usage(String),
    #[error(
        "no server to ask: give --url (or POLARIS_URL), or run this beside polaris with --data DIR \
         ({path}: {source})"
    )]
    NoServer { path: PathBuf, source: io::Error },
    #[error(
        "no token to show: give --token (or POLARIS_TOKEN), or run this as a user who may read it \
         ({path}: {source})"
    )]
    NoToken { path: PathBuf, source: io::Error },
    #[error(
        "{url} is another machine's: give its token with --token or POLARIS_TOKEN \
         (the one in the data directory is sent to this machine only)"
    )]
    ForeignServer { url: String },
    #[error(
        "{url} would carry the token over the network in clear text: use https://, \
         or a tunnel to a loopback address"
    )]
    ClearText { url: String },
    #[error("polaris at {url} cannot be reached: {reason} (is it running there?)")]
    Unreachable { url: String, reason: String },
    #[error("polaris at {url} does not accept the token: {problem}")]
    Unauthorised { url: String, problem: Box<Problem> },
    #[error("polaris refused: {0}")]
    Refused(Box<Problem>),
    #[error(
        "the answer of {url} is not what polaris would say ({reason}): \
         is it another program, or another version?"
    )]
    NotPolaris { url: String, reason: String },
    #[error(
        "the connection to polaris was lost before every host had answered ({reason}){}",
        hint(.id.as_ref())
    )]
    CutOff { id: Option<String>, reason: String },
    #[error("the connection to polaris was lost before the job had ended ({reason}); follow it again")]
    NoResult { reason: String },
    #[error(
        "polaris is out of reach for too long ({reason}); the job goes on: follow it again with: \
         polarisctl boot job {id} --follow"
    )]
    NotFollowed { id: String, reason: String },
    #[error("{path}: {source}")]
    File { path: PathBuf, source: io::Error },
    #[error("{0}")]
    Local(String),
    #[error("the download broke off ({reason}); what came is in {part}: the same command goes on from there")]
    BrokenOff { part: PathBuf, reason: String },
    #[error("that is not how many hosts there are: nothing was begun")]
    NotConfirmed,
    #[error("the output cannot be written: {0}")]
    Output(io::Error),
    #[error("the output was closed")]
    OutputClosed,
}

impl Error {
    pub fn exit_status(&self) -> u8 {
        match self {
            Error::Usage(_) => USAGE,
            Error::Refused(_)
            | Error::NotConfirmed
            | Error::File { .. }
            | Error::Local(_)
            | Error::Output(_) => FAILED,
            Error::OutputClosed => OUTPUT_CLOSED,
            _ => NO_SERVER,
        }
    }

    /// The same, with the expression that it may be about.
    pub fn about(mut self, target: Option<&str>) -> Error {
        if let Error::Refused(problem) = &mut self
            && problem.field == "target"
        {
            problem.expression = target.map(str::to_owned);
        }
        self
    }

    /// The expression, and below it a mark at the character that is to blame.
    pub fn pointer(&self) -> Option<String> {
        let Error::Refused(problem) = self else { return None };
        let (column, expression) = (problem.column?, problem.expression.as_ref()?);
        // A character of the expression is one on the terminal.
        let shown: String = expression.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let place = column.saturating_sub(1).min(shown.chars().count());
        Some(format!("  {shown}\n  {}^", " ".repeat(place)))
    }
}

impl From<io::Error> for Error {
    /// The only I/O that is not turned into something more telling on the spot is output.
    fn from(error: io::Error) -> Error {
        if error.kind() == io::ErrorKind::BrokenPipe { Error::OutputClosed } else { Error::Output(error) }
    }
}

fn hint(id: Option<&String>) -> String {
    let show = |id| format!("; see what became of it with: polarisctl requests show {id}");
    id.map_or_else(String::new, show)
}

/// An RFC 9457 problem document.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Problem {
    title: String,
    detail: String,
    field: String,
    /// The character of the field that is to blame, from 1.
    column: Option<usize>,
    /// How many hosts the request is for, where that has to be said.
    hosts: Option<u64>,
    /// What the column is of.
    #[serde(skip)]
    expression: Option<String>,
}

impl Problem {
    pub fn parse(status: u16, body: &[u8]) -> Problem {
        let mut problem: Problem = serde_json::from_slice(body).unwrap_or_default();
        if problem.title.is_empty() && problem.detail.is_empty() {
            problem.title = format!("HTTP status {status}");
        }
        problem
    }

    /// How many hosts the request is for, where it is refused because that was not said.
    pub fn unconfirmed(&self) -> Option<u64> {
        self.hosts.filter(|_| self.field == "confirm")
    }
}

impl std::fmt::Display for Problem {
    /// `timeout: must be at least 1 second, got 0 (Unprocessable Entity)`
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let field = if self.detail.contains(&self.field) { "" } else { self.field.as_str() };
        let told: Vec<&str> = [field, &self.detail].into_iter().filter(|part| !part.is_empty()).collect();
        let sentence = match (told.join(": "), self.title.as_str()) {
            (told, "") => told,
            (told, title) if told.is_empty() => title.to_owned(),
            (told, title) => format!("{told} ({title})"),
        };
        f.write_str(&super::output::printable(&sentence))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_reads_as_one_sentence() {
        let shown = |json: &str| Problem::parse(422, json.as_bytes()).to_string();
        assert_eq!(
            shown(
                r#"{"title":"Invalid params","detail":"must be at least 1","field":"timeout","status":422}"#
            ),
            "timeout: must be at least 1 (Invalid params)"
        );
        assert_eq!(
            shown(r#"{"title":"Invalid params","detail":"timeout: must be at least 1","field":"timeout"}"#),
            "timeout: must be at least 1 (Invalid params)"
        );
        assert_eq!(shown(r#"{"title":"Not found"}"#), "Not found");
        assert_eq!(shown("<html>"), "HTTP status 422");
        assert_eq!(shown("{}"), "HTTP status 422");
        assert_eq!(shown("{\"title\":\"a\\u001b[2Jb\"}"), "a\\u{1b}[2Jb");
    }

    #[test]
    fn a_mark_stands_below_what_is_to_blame() {
        let pointer = |column: usize, expression: &str| {
            let problem = format!(r#"{{"detail":"no","field":"target","column":{column}}}"#);
            let refused = Error::Refused(Box::new(Problem::parse(422, problem.as_bytes())));
            refused.about(Some(expression)).pointer().unwrap()
        };
        assert_eq!(pointer(8, "region = 1"), "  region = 1\n         ^");
        assert_eq!(pointer(3, "\u{fc}\t\u{1b}"), "  \u{fc}  \n    ^");
        assert_eq!(pointer(99, "a"), "  a\n   ^");
        let other =
            Error::Refused(Box::new(Problem::parse(422, br#"{"detail":"no","field":"cmd","column":1}"#)));
        assert_eq!(other.about(Some("a")).pointer(), None);
    }

    #[test]
    fn exit_statuses_tell_whose_turn_it_is() {
        assert_eq!(Error::Usage(String::new()).exit_status(), 2);
        assert_eq!(Error::Refused(Box::default()).exit_status(), 1);
        assert_eq!(Error::ClearText { url: String::new() }.exit_status(), 3);
        assert_eq!(Error::CutOff { id: None, reason: String::new() }.exit_status(), 3);
        let closed = Error::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!(closed.exit_status(), 141);
    }
}
