//! `polarisctl`, an operator's command line: arguments ([`args`]) and the
//! place of the server ([`endpoint`]) become calls of the REST API
//! ([`client`]), and their answers become text for people or JSON for programs
//! ([`output`], [`outcome`], [`live`]). One file per noun of the command line.
//!
//! Exit status: 0 success (for `run`: on every host), 1 failure, 2 usage,
//! 3 Polaris could not be reached or did not let us in.

mod access;
mod age;
mod args;
mod audit;
mod body;
mod boot;
mod client;
mod completion;
mod confirm;
mod cron;
mod daemon;
mod endpoint;
mod error;
mod hosts;
mod info;
mod jobs;
mod live;
mod outcome;
mod output;
mod pace;
mod packages;
mod pages;
mod plugins;
mod printer;
mod requests;
mod run;
mod tally;
mod tokens;
mod transfer;
mod users;
mod whom;

use args::{Args, Command};
use clap::Parser;
use client::Client;
use error::Error;
use std::io::Write;
use std::process::ExitCode;

/// The whole program.
pub fn main() -> ExitCode {
    let args = Args::parse();
    match execute(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(error::FAILED),
        // Whoever reads our output has left (`| head`): nothing to tell and nobody to tell it to.
        Err(Error::OutputClosed) => ExitCode::from(error::OUTPUT_CLOSED),
        Err(error) => {
            let mut err = std::io::stderr();
            let _ = writeln!(err, "polarisctl: {}", output::printable(&error.to_string()));
            if let Some(pointer) = error.pointer() {
                let _ = writeln!(err, "{pointer}");
            }
            ExitCode::from(error.exit_status())
        }
    }
}

/// Whether all that was asked for succeeded.
fn execute(args: &Args) -> Result<bool, Error> {
    // Before a server is looked for: a shell starts without one.
    if let Command::Completion(completion) = &args.command {
        return completion.print();
    }
    let endpoint = endpoint::Endpoint::find(args)?;
    let client = Client::new(&endpoint, args.ca.as_deref())?;
    match &args.command {
        Command::Run(run) => run::run(&client, run, args.output),
        Command::Info(info) => info::info(&client, info, args.output),
        Command::Hosts(hosts) => hosts::hosts(&client, hosts, args.output).map(|()| true),
        Command::Token(token) => tokens::tokens(&client, &token.verb, args.output).map(|()| true),
        Command::Jobs(jobs) => jobs::jobs(&client, jobs, args.output),
        Command::Cron(cron) => cron::cron(&client, cron, args.output),
        Command::Daemon(daemon) => daemon::daemon(&client, daemon, args.output),
        Command::Boot(boot) => boot::boot(&client, boot, args.output),
        Command::Packages(packages) => packages::packages(&client, packages, args.output).map(|()| true),
        Command::Plugins(plugins) => plugins::plugins(&client, plugins, args.output).map(|()| true),
        Command::Requests(requests) => requests::requests(&client, requests, args.output),
        Command::Users(users) => users::users(&client, users, args.output).map(|()| true),
        Command::AccessToken(token) => access::tokens(&client, &token.verb, args.output).map(|()| true),
        Command::Audit(audit) => audit::audit(&client, audit, args.output).map(|()| true),
        Command::Completion(completion) => completion.print(),
    }
}
