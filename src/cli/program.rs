//! The way of every agent's program, from its arguments to its end.

use super::args::{self, CommandLine, Mode};
use super::daemonize::{Readiness, Side, daemonize, tighten_umask};
use super::logging::{self, LogFile};
use super::pid_file::PidFile;
use crate::machine::{Machine, Now};
use crate::reactor::{Clock, Reactor};
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

/// Reads the arguments and does what they ask for: what every agent answers alike, and for the rest
/// `work`, whose reason is told where it fails.
pub fn main(
    program: &str,
    version: &str,
    work: impl FnOnce(&CommandLine) -> Result<ExitCode, String>,
) -> ExitCode {
    let arguments: Vec<String> = std::env::args_os().skip(1).map(|a| a.to_string_lossy().into()).collect();
    let line = match args::parse(program, &arguments) {
        Ok(line) => line,
        Err(usage) => {
            complain(&usage.to_string());
            return ExitCode::from(2);
        }
    };
    match &line.mode {
        Mode::Help(text) => say(text.trim_end()),
        Mode::Version => say(version),
        _ => work(&line).unwrap_or_else(|reason| {
            complain(&format!("{program}: {reason}"));
            ExitCode::FAILURE
        }),
    }
}

/// `-t`: whether the configuration could be read.
pub fn verdict<T>(config: Result<T, String>) -> ExitCode {
    match config {
        Ok(_) => say("Success"),
        Err(reason) => {
            complain(&reason);
            say("Failed!!!");
            ExitCode::FAILURE
        }
    }
}

/// Runs the agent that `begin` makes to its end, in the background where nothing else is asked for.
/// `begin` may fail: the agent calls itself ready after it.
///
/// # Errors
/// There is no agent in the background, and why.
pub fn run<M: Machine>(
    line: &CommandLine,
    version: &str,
    begin: impl FnOnce(Now, Reactor) -> Result<(Reactor, M), String>,
) -> Result<ExitCode, String> {
    let readiness = if line.foreground {
        Readiness::foreground()
    } else {
        match daemonize().map_err(|e| e.to_string())? {
            Side::Daemon(readiness) => readiness,
            Side::Starter(word) => return word.map(|()| ExitCode::SUCCESS),
        }
    };
    match start(line, begin) {
        Err(reason) => {
            readiness.failed(&reason);
            Ok(ExitCode::FAILURE)
        }
        Ok((_pid_file, reactor, mut machine)) => {
            readiness.ready().map_err(|e| e.to_string())?;
            log::info!("agent=started version={version} pid={}", std::process::id());
            reactor.run(&mut machine).map_err(|e| e.to_string())?;
            log::info!("agent=stopped");
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Whether an agent could run by this command line: no other one does, and its log can be written.
///
/// # Errors
/// A sentence that names the file.
pub fn room_for(line: &CommandLine) -> Result<(), String> {
    tighten_umask();
    drop(PidFile::hold(&line.pid_file)?);
    line.log.as_deref().map(LogFile::open).transpose().map(drop)
}

/// Becomes this very program with other arguments. Returns only where that cannot be: why.
pub fn execute_again(arguments: &[String]) -> String {
    // Whatever has its name now.
    let mut program = Command::new("/proc/self/exe");
    if let Some(name) = std::env::args_os().next() {
        program.arg0(name);
    }
    format!("could not execute it again: {}", program.args(arguments).exec())
}

/// Everything that may fail before the agent can call itself ready.
fn start<M: Machine>(
    line: &CommandLine,
    begin: impl FnOnce(Now, Reactor) -> Result<(Reactor, M), String>,
) -> Result<(PidFile, Reactor, M), String> {
    tighten_umask();
    let pid_file = PidFile::hold(&line.pid_file)?;
    let log_file = line.log.as_deref().map(LogFile::open).transpose()?;
    logging::start(log_file.clone(), line.level);
    let clock = Clock::new();
    let now = clock.now();
    let reopen_log = move || log_file.iter().for_each(LogFile::reopen);
    let reactor = Reactor::new(clock, Box::new(reopen_log));
    let reactor = reactor.map_err(|e| format!("cannot make the event loop: {e}"))?;
    let (reactor, machine) = begin(now, reactor)?;
    Ok((pid_file, reactor, machine))
}

/// A reader that has gone (`gearman -h | head -1`) is no failure.
pub fn say(text: &str) -> ExitCode {
    let _ = writeln!(std::io::stdout(), "{text}");
    ExitCode::SUCCESS
}

/// Says what is wrong to whoever looks.
fn complain(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
