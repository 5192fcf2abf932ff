//! `polaris`: arguments, log, signals.

use anyhow::Context as _;
use clap::Parser;
use polaris::config::{Config, Flags};
use polaris::serve::Running;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::filter::LevelFilter;

/// Runs a fleet of Linux hosts: the server.
#[derive(Parser)]
#[command(name = "polaris", version)]
enum Cli {
    /// Serve agents, people and programs until SIGTERM or SIGINT.
    Serve(Flags),
}

fn main() -> ExitCode {
    let Cli::Serve(flags) = Cli::parse();
    let level =
        std::env::var("RUST_LOG").ok().and_then(|level| level.parse().ok()).unwrap_or(LevelFilter::INFO);
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(false)
        // Whoever took the log may be gone: the fleet is served all the same.
        .log_internal_errors(false)
        .init();
    match run(flags) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(flags: Flags) -> anyhow::Result<()> {
    let config = Config::load(flags)?;
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
        }
        running.stop().await;
        Ok(())
    })
}
