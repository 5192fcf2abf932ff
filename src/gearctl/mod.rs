//! gearctl: asks, on the host itself, what the agent would answer. See gearctl(1).

mod agent;
mod args;
pub mod client;
mod cron_next;

pub use args::{Asked, CommandLine, parse};

use std::time::SystemTime;

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
];

/// The command was not carried out; exit status 1.
#[derive(Debug, thiserror::Error)]
pub enum GearctlError {
    #[error("there is no command {name:?}; there are: {}", names())]
    Unknown { name: String },
    #[error("{0} is missing")]
    Missing(&'static str),
    #[error("-a: {0}")]
    Arguments(String),
    /// gearman's configuration.
    #[error("{0}")]
    Config(String),
    #[error("{0}")]
    Agent(#[from] client::AskError),
    #[error("{0}")]
    Cron(#[from] crate::cron::CronError),
}

/// Program, version and architecture, as `-V` says it.
pub fn version() -> String {
    format!("gearctl-{}-{}", env!("CARGO_PKG_VERSION"), std::env::consts::ARCH)
}

/// Carries out a command; the answer is JSON.
///
/// # Errors
/// [`GearctlError`], for people.
pub fn run(now: SystemTime, line: &CommandLine) -> Result<String, GearctlError> {
    match COMMANDS.iter().find(|command| command.name == line.command) {
        Some(command) => (command.run)(now, line),
        None => Err(GearctlError::Unknown { name: line.command.clone() }),
    }
}

fn names() -> String {
    COMMANDS.iter().map(|command| command.name).collect::<Vec<_>>().join(", ")
}
