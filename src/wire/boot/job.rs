//! One job of an answer.

use super::BOOT_NAMES;
use super::STEP_SECONDS;
use super::definition::Wish;
use crate::Retcode;
use crate::command::Quantity;
use crate::cron::entry_name;
use crate::request::{MAX_ID_BYTES, params};
use crate::server_list::{self, Server};
use serde::Deserialize;
use serde::de::{self, Deserializer};
use serde_json::{Map, Value};
use std::ops::RangeInclusive;

/// `timeout`, in seconds.
const TIMEOUT_SECONDS: RangeInclusive<u64> = 10..=86_400;
/// `timeout` where a job has none, in seconds.
pub const DEFAULT_JOB_TIMEOUT_SECONDS: u64 = 3600;
/// Characters that are shown of an action that there is not.
const SHOWN_CHARS: usize = 64;
const ACTIONS: [&str; 7] = ["install", "upgrade", "uninstall", "start", "stop", "restart", "config"];

/// One job, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootJob {
    /// 1 to [`MAX_ID_BYTES`] bytes, chosen by the server; the result carries it back.
    pub id: String,
    /// Seconds that it may take once it is begun, in [`TIMEOUT_SECONDS`].
    pub timeout: u64,
    pub action: Action,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// The agent is to be there as this says, and to run.
    Install(Box<Wish>),
    /// The agent, which is there, is to be so from now on. What the job does not say stays as it is.
    Upgrade(Box<Wish>),
    /// Boot itself is to be another version. Of the wish only the package counts.
    UpgradeBoot(Box<Wish>),
    /// The agent of this name is to be ended, uninstalled and forgotten.
    Uninstall(String),
    Start(String),
    Stop(String),
    Restart(String),
    Config(ConfigChange),
}

/// `config`: what of boot's own settings is to be otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfigChange {
    /// Servers that come before those of the configuration, instead of those that did so far; empty
    /// for none.
    pub servers: Option<Vec<Server>>,
    /// In [`STEP_SECONDS`].
    pub step: Option<u64>,
}

/// A job that is not one, and what its sender is told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct BadBootJob {
    /// Empty where it has no usable one: then nobody can be told.
    pub id: String,
    pub retcode: Retcode,
    /// Begins with the field's name.
    pub reason: String,
}

impl BootJob {
    /// Reads a job, a JSON object.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn parse(text: &str) -> Result<BootJob, BadBootJob> {
        let bad = |id: &str, retcode, reason: String| BadBootJob { id: id.to_owned(), retcode, reason };
        let mut object: Map<String, Value> = serde_json::from_str(text)
            .map_err(|_| bad("", Retcode::MalformedMessage, "a job must be a JSON object".into()))?;
        let id = match object.remove("id") {
            Some(Value::String(id)) if (1..=MAX_ID_BYTES).contains(&id.len()) => id,
            _ => {
                let reason = format!("id: must be a string of 1 to {MAX_ID_BYTES} bytes");
                return Err(bad("", Retcode::InvalidParams, reason));
            }
        };
        let timeout = timeout(&mut object).map_err(|reason| bad(&id, Retcode::InvalidParams, reason))?;
        let action = match object.remove("action") {
            Some(Value::String(action)) => action,
            Some(_) => return Err(bad(&id, Retcode::InvalidParams, "action: must be a string".into())),
            None => return Err(bad(&id, Retcode::InvalidParams, "action: missing".into())),
        };
        if !ACTIONS.contains(&action.as_str()) {
            let shown: String = action.chars().take(SHOWN_CHARS).collect();
            let reason = format!("action: must be one of {}, got {shown:?}", ACTIONS.join(", "));
            return Err(bad(&id, Retcode::UnknownMethod, reason));
        }
        let action = read(&action, object).map_err(|reason| bad(&id, Retcode::InvalidParams, reason))?;
        Ok(BootJob { id, timeout, action })
    }
}

impl Action {
    /// The agent that it is about; `None` where it is about boot.
    #[must_use]
    pub fn agent(&self) -> Option<&str> {
        match self {
            Action::Install(wish) | Action::Upgrade(wish) => Some(&wish.name),
            Action::Uninstall(name) | Action::Start(name) | Action::Stop(name) | Action::Restart(name) => {
                Some(name)
            }
            Action::UpgradeBoot(_) | Action::Config(_) => None,
        }
    }

    /// As a job names it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Action::Install(_) => "install",
            Action::Upgrade(_) | Action::UpgradeBoot(_) => "upgrade",
            Action::Uninstall(_) => "uninstall",
            Action::Start(_) => "start",
            Action::Stop(_) => "stop",
            Action::Restart(_) => "restart",
            Action::Config(_) => "config",
        }
    }
}

fn timeout(object: &mut Map<String, Value>) -> Result<u64, String> {
    let Some(timeout) = object.remove("timeout") else { return Ok(DEFAULT_JOB_TIMEOUT_SECONDS) };
    Quantity::seconds(TIMEOUT_SECONDS).read(timeout).map_err(|error| format!("timeout: {error}"))
}

fn read(action: &str, object: Map<String, Value>) -> Result<Action, String> {
    if action == "config" {
        return fields(object).and_then(|fields: ConfigFields| fields.change()).map(Action::Config);
    }
    let is_boot = object.get("name").and_then(Value::as_str).is_some_and(|name| BOOT_NAMES.contains(&name));
    match action {
        "upgrade" if is_boot => Wish::of_boot(object).map(|wish| Action::UpgradeBoot(Box::new(wish))),
        _ if is_boot => Err(format!("name: boot can be upgraded, and nothing else, got {action:?}")),
        "install" => Wish::of_agent(object).map(|wish| Action::Install(Box::new(wish))),
        "upgrade" => Wish::of_agent(object).map(|wish| Action::Upgrade(Box::new(wish))),
        other => {
            let AgentName { name } = fields(object)?;
            Ok(match other {
                "uninstall" => Action::Uninstall(name),
                "start" => Action::Start(name),
                "stop" => Action::Stop(name),
                _ => Action::Restart(name),
            })
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AgentName {
    #[serde(deserialize_with = "entry_name")]
    name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfigFields {
    #[serde(default)]
    svrlist: Option<String>,
    #[serde(default, deserialize_with = "step")]
    step: Option<u64>,
}

impl ConfigFields {
    fn change(self) -> Result<ConfigChange, String> {
        if self.svrlist.is_none() && self.step.is_none() {
            return Err("svrlist, step: one of them must be given".into());
        }
        let servers = self.svrlist.map(|list| match server_list::parse(&list) {
            Err(server_list::ServerListError::Empty) => Ok(Vec::new()),
            other => other.map_err(|error| format!("svrlist: {error}")),
        });
        Ok(ConfigChange { servers: servers.transpose()?, step: self.step })
    }
}

fn step<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    Quantity::seconds(STEP_SECONDS).read(deserializer).map(Some)
}

/// Reads what is left of a job.
pub(super) fn fields<T: de::DeserializeOwned>(object: Map<String, Value>) -> Result<T, String> {
    params(Value::Object(object).to_string().as_bytes()).map_err(|error| error.to_string())
}
