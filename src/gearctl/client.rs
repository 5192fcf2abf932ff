//! Asking the running agent over its control socket: one question, one answer.

use crate::wire::frame::encode;
use crate::wire::session::FromAgent;
use crate::wire::{FrameReader, Outcome};
use serde_json::{Map, Value};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long the agent may be silent, where the caller of [`ask_within`] does not say otherwise.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The question's id. A connection carries one, so it need not be anything special.
const ID: &str = "1";

/// Why there is no answer, whose fault that is, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    #[error("{0}: gearman does not run, or listens elsewhere: -s names another socket", .socket.display())]
    NobodyThere { socket: PathBuf },
    #[error("{0}: only root may ask, or the user that gearman runs as", .socket.display())]
    NotPermitted { socket: PathBuf },
    #[error("{0}: {error}; -s names another socket", .socket.display())]
    Unusable { socket: PathBuf, error: io::Error },
    #[error("gearman has not answered for {} s; its log may say why", .patience.as_secs_f64())]
    Silent { patience: Duration },
    #[error("gearman hung up without an answer: it is stopping, or too many ask at once; ask again")]
    HungUp,
    #[error("{0}: what listens there is not gearman: {reason}; -s names another socket", .socket.display())]
    NotGearman { socket: PathBuf, reason: String },
    /// The agent says no. Its words, and the retcode of cargo-exec(5).
    #[error("{message} ({retcode}){}", after_colon(.detail.as_deref()))]
    Failed { retcode: u16, message: String, detail: Option<String> },
}

fn after_colon(detail: Option<&str>) -> String {
    detail.map(|detail| format!(": {detail}")).unwrap_or_default()
}

/// Asks the agent that listens at `socket`, and waits for its reply's `data`, which is null
/// where the reply has none. `args` are the method's arguments.
///
/// # Errors
/// [`AskError`], for people.
pub fn ask(socket: &Path, method: &str, args: Map<String, Value>) -> Result<Value, AskError> {
    ask_within(PATIENCE, socket, method, args)
}

/// As [`ask`], where the agent may be silent for this long. A command's output while it runs is
/// no silence.
///
/// # Errors
/// [`AskError`], for people.
pub fn ask_within(
    patience: Duration,
    socket: &Path,
    method: &str,
    mut args: Map<String, Value>,
) -> Result<Value, AskError> {
    args.insert("id".into(), ID.into());
    args.insert("method".into(), method.into());
    let mut stream = UnixStream::connect(socket).map_err(|error| no_connection(socket, error))?;
    let broken = |error: io::Error| match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => AskError::Silent { patience },
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => AskError::HungUp,
        _ => AskError::Unusable { socket: socket.to_owned(), error },
    };
    stream.set_read_timeout(Some(patience)).map_err(broken)?;
    stream.set_write_timeout(Some(patience)).map_err(broken)?;
    match stream.write_all(&encode(&args)) {
        // It does not want to hear more. It may have said why.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
        other => other.map_err(broken)?,
    }
    let not_gearman = |reason: String| AskError::NotGearman { socket: socket.to_owned(), reason };
    let mut frames = FrameReader::default();
    let mut buffer = [0; 4096];
    loop {
        while let Some(line) = frames.next_line().map_err(|error| not_gearman(error.to_string()))? {
            match FromAgent::parse(line).map_err(|error| not_gearman(error.to_string()))? {
                // What it could not read it answers without an id.
                FromAgent::Reply(reply) if [ID, ""].contains(&reply.id.as_str()) => {
                    return answer(reply.outcome, not_gearman);
                }
                _ => {}
            }
        }
        match stream.read(&mut buffer) {
            Ok(0) => return Err(AskError::HungUp),
            Ok(length) => frames.push(&buffer[..length]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(broken(error)),
        }
    }
}

fn no_connection(socket: &Path, error: io::Error) -> AskError {
    let socket = socket.to_owned();
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => AskError::NobodyThere { socket },
        ErrorKind::PermissionDenied => AskError::NotPermitted { socket },
        _ => AskError::Unusable { socket, error },
    }
}

fn answer(outcome: Outcome, not_gearman: impl Fn(String) -> AskError) -> Result<Value, AskError> {
    if !outcome.is_success() {
        let Outcome { retcode, message, detail, .. } = outcome;
        return Err(AskError::Failed { retcode, message, detail });
    }
    let Some(data) = outcome.data else { return Ok(Value::Null) };
    serde_json::from_str(data.get()).map_err(|error| not_gearman(error.to_string()))
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
