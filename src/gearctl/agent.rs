//! What the running agent is asked: `status`, `jobs`, `cron`, `daemons`.

use super::client::ask;
use super::{CommandLine, GearctlError, config};
use serde_json::{Map, Value, json};
use std::time::SystemTime;

/// `status`: what the agent is and does.
pub fn status(_: SystemTime, line: &CommandLine) -> Result<String, GearctlError> {
    if line.arguments.is_some() {
        return Err(GearctlError::Arguments("status takes none".into()));
    }
    answer(line, "agent.info", Map::new())
}

/// `jobs`: all of them, or the one that `-a` names.
pub fn jobs(_: SystemTime, line: &CommandLine) -> Result<String, GearctlError> {
    match &line.arguments {
        None => answer(line, "job.list", Map::new()),
        Some(job) => answer(line, "job.status", named("job", job)),
    }
}

/// `cron`: all entries, or the one that `-a` names.
pub fn cron(_: SystemTime, line: &CommandLine) -> Result<String, GearctlError> {
    answer(line, "cron.list", line.arguments.as_deref().map(|name| named("name", name)).unwrap_or_default())
}

/// `daemons`: all of them, or the one that `-a` names.
pub fn daemons(_: SystemTime, line: &CommandLine) -> Result<String, GearctlError> {
    answer(line, "daemon.list", line.arguments.as_deref().map(|name| named("name", name)).unwrap_or_default())
}

fn named(key: &str, value: &str) -> Map<String, Value> {
    Map::from_iter([(key.to_owned(), json!(value))])
}

fn answer(line: &CommandLine, method: &str, args: Map<String, Value>) -> Result<String, GearctlError> {
    let socket = match &line.socket {
        Some(socket) => socket.clone(),
        None => config(line)?.control_socket,
    };
    Ok(ask(&socket, method, args)?.to_string())
}
