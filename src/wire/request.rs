//! Requests: what an operator sends to a host.

use crate::command::Command;
use crate::cron::{CronFilter, CronName, CronSet};
use crate::daemon::{DaemonFilter, DaemonInit, DaemonName};
use crate::fields::Without;
use crate::getinfo::{self, GetInfo};
use crate::head::Head;
use crate::job::{Job, JobFilter, JobName, TERMS, Terms};
use crate::{FrameError, Retcode};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// The longest request id, in bytes.
pub const MAX_ID_BYTES: usize = 128;
/// The longest reason of a refusal, in characters: it may quote what is wrong,
/// and the reply must fit into a frame all the same.
const MAX_REASON_CHARS: usize = 500;
/// One request, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Chosen by the server; the reply carries it back.
    pub id: String,
    pub call: Call,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// `sync.bash`: run a command and answer when it has ended.
    SyncBash(Command),
    /// `async.bash`: take a command on as a job, and answer once that is on disk.
    AsyncBash(Job),
    /// `job.list`: the jobs, and what is known of each.
    JobList(JobFilter),
    /// `job.status`: one job.
    JobStatus(JobName),
    /// `job.cancel`: end a command or a job that runs or waits, and answer when it has ended.
    JobCancel(JobName),
    /// `cron.set`: make or change an entry, and answer once that is on disk.
    CronSet(Box<CronSet>),
    /// `cron.remove`: forget an entry. Runs under way go on.
    CronRemove(CronName),
    /// `cron.list`: the entries and their next fire times.
    CronList(CronFilter),
    /// `daemon.init`: make or change a daemon, and answer once that is on disk.
    DaemonInit(Box<DaemonInit>),
    /// `daemon.start`: it is to run.
    DaemonStart(DaemonName),
    /// `daemon.stop`: it is not to.
    DaemonStop(DaemonName),
    /// `daemon.restart`: it is to be ended, and to run again.
    DaemonRestart(DaemonName),
    /// `daemon.remove`: it is to be ended, uninstalled and forgotten.
    DaemonRemove(DaemonName),
    /// `daemon.list`: the daemons and what they are at.
    DaemonList(DaemonFilter),
    /// `getinfo.NAME`: ask the host about itself.
    GetInfo(GetInfo),
    /// `agent.info`: what the agent is and does.
    AgentInfo,
}

/// Why a call was not understood. Whoever sent it is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    #[error("{0}")]
    Malformed(String),
    #[error("{0}")]
    UnknownMethod(String),
    /// Begins with the field's name.
    #[error("{0}")]
    InvalidParams(String),
}

impl CallError {
    #[must_use]
    pub fn retcode(&self) -> Retcode {
        match self {
            CallError::Malformed(_) => Retcode::MalformedMessage,
            CallError::UnknownMethod(_) => Retcode::UnknownMethod,
            CallError::InvalidParams(_) => Retcode::InvalidParams,
        }
    }
}

/// A frame that asked for something and cannot be carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Empty where the frame had no usable id.
    pub id: String,
    pub error: CallError,
}

impl Request {
    /// Reads a request from one line.
    ///
    /// # Errors
    /// The outer one where the line is no frame at all, the inner one where the
    /// frame is no request that this version knows.
    pub fn parse(line: &[u8]) -> Result<Result<Request, Rejected>, FrameError> {
        let head = Head::parse(line)?;
        Ok(Self::from_head(&head, line))
    }

    pub(crate) fn from_head(head: &Head<'_>, line: &[u8]) -> Result<Request, Rejected> {
        let id = request_id(head).map_err(|error| Rejected { id: String::new(), error })?;
        match Call::parse(head, line) {
            Ok(call) => Ok(Request { id, call }),
            Err(error) => Err(Rejected { id, error }),
        }
    }
}

impl Call {
    fn parse(head: &Head<'_>, line: &[u8]) -> Result<Call, CallError> {
        if head.method.is_none() {
            return Err(CallError::Malformed("method: missing".into()));
        }
        let Some(method) = head.method() else {
            return Err(CallError::Malformed("method: must be a string".into()));
        };
        match method {
            "sync.bash" => params(line).map(Call::SyncBash),
            "async.bash" => job(line, &[], None).map(Call::AsyncBash),
            "job.list" => params(line).map(Call::JobList),
            "job.status" => params(line).map(Call::JobStatus),
            "job.cancel" => params(line).map(Call::JobCancel),
            "cron.set" => CronSet::parse(line).map(|set| Call::CronSet(Box::new(set))),
            "cron.remove" => params(line).map(Call::CronRemove),
            "cron.list" => params(line).map(Call::CronList),
            "daemon.init" => DaemonInit::parse(line).map(|init| Call::DaemonInit(Box::new(init))),
            "daemon.start" => params(line).map(Call::DaemonStart),
            "daemon.stop" => params(line).map(Call::DaemonStop),
            "daemon.restart" => params(line).map(Call::DaemonRestart),
            "daemon.remove" => params(line).map(Call::DaemonRemove),
            "daemon.list" => params(line).map(Call::DaemonList),
            "agent.info" => params::<NoParams>(line).map(|_| Call::AgentInfo),
            other if other.strip_prefix(getinfo::PREFIX).is_some_and(getinfo::is_query) => {
                let query = other[getinfo::PREFIX.len()..].to_owned();
                Ok(Call::GetInfo(GetInfo { query, params: params(line)? }))
            }
            other => {
                let shown: String = other.chars().take(64).collect();
                Err(CallError::UnknownMethod(format!("method: this version does not know {shown:?}")))
            }
        }
    }
}

fn request_id(head: &Head<'_>) -> Result<String, CallError> {
    let malformed = |reason: &str| Err(CallError::Malformed(format!("id: {reason}")));
    match (&head.id, head.id()) {
        (None, _) => malformed("missing"),
        (_, None) => malformed("must be a string"),
        (_, Some("")) => malformed("must not be empty"),
        (_, Some(id)) if id.len() > MAX_ID_BYTES => {
            malformed(&format!("must be at most {MAX_ID_BYTES} bytes, got {}", id.len()))
        }
        (_, Some(id)) => Ok(id.to_owned()),
    }
}

/// What the head has read already.
const HEAD: [&str; 2] = ["id", "method"];

/// The arguments of a method.
pub(crate) fn params<T: DeserializeOwned>(line: &[u8]) -> Result<T, CallError> {
    params_without(line, &[&HEAD], None)
}

/// A command and its terms, beside fields that the method has of its own.
pub(crate) fn job(line: &[u8], own: &[&str], renamed: Option<(&str, &str)>) -> Result<Job, CallError> {
    Ok(Job {
        command: params_without(line, &[&HEAD, &TERMS, own], renamed)?,
        terms: params_among::<Terms>(line)?,
    })
}

/// Some fields out of an object that has others.
pub(crate) fn params_among<T: DeserializeOwned>(line: &[u8]) -> Result<T, CallError> {
    params_without(line, &[], None)
}

fn params_without<T: DeserializeOwned>(
    line: &[u8],
    hidden: &[&[&str]],
    renamed: Option<(&str, &str)>,
) -> Result<T, CallError> {
    let mut json = serde_json::Deserializer::from_slice(line);
    serde_path_to_error::deserialize(Without { object: &mut json, hidden, renamed }).map_err(|error| {
        let path = error.path().to_string();
        let reason = reason_without_position(error.inner());
        CallError::InvalidParams(shortened(match path.as_str() {
            "." => reason,
            field => {
                let called = renamed.filter(|(_, meant)| *meant == field).map_or(field, |(called, _)| called);
                format!("{called}: {reason}")
            }
        }))
    })
}

fn shortened(mut reason: String) -> String {
    if let Some((end, _)) = reason.char_indices().nth(MAX_REASON_CHARS) {
        reason.truncate(end);
        reason.push('…');
    }
    reason
}

/// serde_json ends its messages with "at line 1 column N", of no use to a
/// person who did not write the line.
fn reason_without_position(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let position = format!(" at line {} column {}", error.line(), error.column());
    text.strip_suffix(&position).unwrap_or(&text).to_owned()
}

/// The arguments of a method that takes none.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NoParams {}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
