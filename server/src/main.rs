//! `polaris`: arguments, log, signals.

use anyhow::Context as _;
use clap::{CommandFactory as _, Parser};
use clap_complete::Shell;
use polaris::config::{Config, Flags, Format, Log};
use polaris::serve::Running;
use std::io::Write as _;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::filter::LevelFilter;

/// Runs a fleet of Linux hosts: the server.
#[derive(Parser)]
#[command(name = "polaris", version)]
enum Cli {
    /// Serve agents, people and programs until SIGTERM or SIGINT.
    Serve(Flags),
    /// Print what a shell needs to complete polaris' words and options
    Completion {
        /// The shell
        shell: Shell,
    },
}

fn main() -> ExitCode {
    let flags = match Cli::parse() {
        Cli::Serve(flags) => flags,
        Cli::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "polaris", &mut script);
            // Whoever reads it may have left.
            let written = std::io::stdout().write_all(&script);
            return if written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        }
    };
    let config = Config::load(flags);
    log_to_stderr(config.as_ref().map_or_else(|_| Log::default(), |config| config.log));
    match config.map_err(anyhow::Error::from).and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn log_to_stderr(log: Log) {
    let asked: Option<LevelFilter> = std::env::var("RUST_LOG").ok().and_then(|level| level.parse().ok());
    let lines = tracing_subscriber::fmt()
        .with_max_level(asked.unwrap_or(log.level))
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(false)
        // Whoever took the log may be gone: the fleet is served all the same.
        .log_internal_errors(false);
    match log.format {
        Format::Text => lines.init(),
        Format::Json => lines.json().flatten_event(true).with_current_span(false).init(),
    }
}

fn run(config: Config) -> anyhow::Result<()> {
    // A link is a descriptor.
    if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
        tracing::warn!(%error, "limit of open files not raised");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        // Before anything that a signal could leave half-done.
        let mut terminate = signal(SignalKind::terminate()).context("waiting for SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("waiting for SIGINT")?;
        let running = Running::start(config).await?;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            // Nothing is written: what is in memory would go over what the other one has written.
            () = running.app.store.taken() => anyhow::bail!(
                "the lock of the database was lost, and another polaris has taken it: this one ends"
            ),
        }
        running.stop().await;
        Ok(())
    })
}
