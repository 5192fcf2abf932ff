//! What the running agent is asked: `status`, `jobs`, `cron`.

use super::client::ask;
use super::{CommandLine, GearctlError};
use crate::gearman::Config;
use serde_json::{Map, Value, json};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

const CONFIG: &str = "/etc/cargo/gearman.conf";

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

fn named(key: &str, value: &str) -> Map<String, Value> {
    Map::from_iter([(key.to_owned(), json!(value))])
}

fn answer(line: &CommandLine, method: &str, args: Map<String, Value>) -> Result<String, GearctlError> {
    let socket = match &line.socket {
        Some(socket) => socket.clone(),
        None => configured(line.config.as_deref())?,
    };
    Ok(ask(&socket, method, args)?.to_string())
}

/// The socket of gearman's configuration, which need not be there.
fn configured(named: Option<&Path>) -> Result<PathBuf, GearctlError> {
    let path = named.unwrap_or(Path::new(CONFIG));
    let bad = |reason: String| GearctlError::Config(format!("{}: {reason}", path.display()));
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        other => other.map_err(|error| bad(error.to_string()))?,
    };
    Config::parse(&text, None).map(|config| config.control_socket).map_err(|error| bad(error.to_string()))
}
