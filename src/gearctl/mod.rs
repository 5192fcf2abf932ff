//! gearctl: asks, on the host itself, what the agent would answer. See gearctl(1).

mod agent;
mod args;
pub mod client;
mod cron_next;
mod getinfo;

pub use args::{Asked, CommandLine, parse};
pub use getinfo::Asking;

use crate::gearman::Config;
use crate::wire::getinfo::PREFIX;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::SystemTime;

const CONFIG: &str = "/etc/cargo/gearman.conf";

/// One of gearctl's commands.
pub struct Command {
    pub name: &'static str,
    /// For the help.
    pub summary: &'static str,
    run: fn(now: SystemTime, line: &CommandLine) -> Result<String, GearctlError>,
}

pub const COMMANDS: &[Command] = &[
    Command {
        name: "cron.next",
        summary: "when a schedule fires: the schedule, or an object with it",
        run: cron_next::run,
    },
    Command { name: "status", summary: "what the agent is and does", run: agent::status },
    Command { name: "jobs", summary: "the agent's jobs, or the job of this id", run: agent::jobs },
    Command { name: "cron", summary: "the agent's cron entries, or the one of this name", run: agent::cron },
    Command { name: "daemons", summary: "the daemons, or the one of this name", run: agent::daemons },
];

/// The command was not carried out; exit status 1.
#[derive(Debug, thiserror::Error)]
pub enum GearctlError {
    #[error("there is no command {name:?}; there are: {}, {PREFIX}NAME", names())]
    Unknown { name: String },
    #[error("-c: {0}")]
    Command(String),
    #[error("{0} is missing")]
    Missing(&'static str),
    #[error("-a: {0}")]
    Arguments(String),
    /// gearman's configuration.
    #[error("{0}")]
    Config(String),
    #[error(transparent)]
    Agent(#[from] client::AskError),
    #[error(transparent)]
    Cron(#[from] crate::cron::CronError),
    #[error("interrupted")]
    Interrupted,
}

/// What a command comes to.
pub enum Doing {
    /// The answer, as JSON.
    Answer(String),
    /// A machine to be run, which has the answer then.
    Ask(Box<Asking>),
}

/// Program, version and architecture, as `-V` says it.
pub fn version() -> String {
    format!("gearctl-{}-{}", env!("CARGO_PKG_VERSION"), std::env::consts::ARCH)
}

/// Carries out a command, or says what is to be run for it.
///
/// # Errors
/// [`GearctlError`], for people.
pub fn run(now: SystemTime, line: &CommandLine) -> Result<Doing, GearctlError> {
    if let Some(query) = line.command.strip_prefix(PREFIX) {
        return Asking::new(query, line).map(|asking| Doing::Ask(Box::new(asking)));
    }
    match COMMANDS.iter().find(|command| command.name == line.command) {
        Some(command) => (command.run)(now, line).map(Doing::Answer),
        None => Err(GearctlError::Unknown { name: line.command.clone() }),
    }
}

/// gearman's configuration, which need not be there.
fn config(line: &CommandLine) -> Result<Config, GearctlError> {
    let path = line.config.as_deref().unwrap_or(Path::new(CONFIG));
    let bad = |reason: String| GearctlError::Config(format!("{}: {reason}", path.display()));
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        other => other.map_err(|error| bad(error.to_string()))?,
    };
    Config::parse(&text, None).map_err(|error| bad(error.to_string()))
}

fn names() -> String {
    COMMANDS.iter().map(|command| command.name).collect::<Vec<_>>().join(", ")
}
