//! A simulated fleet for a server that runs: enrols its hosts, links them, and
//! says each second what they have done.

#![allow(clippy::print_stdout, reason = "a program that reports")]

use anyhow::Context as _;
use clap::Parser;
use serde_json::json;
use simulator::{Fault, Fleet, Latency, Profile, enroll_all, host_name};
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;
use tokio::time::{Instant, interval};

/// Many hosts in one process, for a server on this machine or another.
#[derive(Parser)]
struct Args {
    /// The server's port for agents.
    #[arg(long)]
    agents: SocketAddr,
    /// An enrolment token with as many uses as there are hosts.
    #[arg(long)]
    token: String,
    #[arg(long, default_value_t = 1000)]
    hosts: usize,
    /// The same seed makes the same fleet.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Of a thousand hosts, those that never answer.
    #[arg(long, default_value_t = 0)]
    silent: u32,
    /// Of a thousand hosts, those where every command fails.
    #[arg(long, default_value_t = 0)]
    failing: u32,
    /// Of a thousand hosts, those with a fault: drops=10, half-open, resets, slow-reader, dribbles,
    /// wrong-ca, duplicate.
    #[arg(long = "fault", value_parser = fault)]
    faults: Vec<(Fault, u32)>,
    /// Milliseconds from a request to its reply, as LEAST,MEAN,MOST: what is more than LEAST is MEAN
    /// on average.
    #[arg(long, value_delimiter = ',', num_args = 3)]
    latency: Vec<u64>,
    /// The most that a command writes, in bytes.
    #[arg(long, default_value_t = 0)]
    output: usize,
}

fn fault(text: &str) -> Result<(Fault, u32), String> {
    let (name, share) = text.split_once('=').ok_or("must be NAME=SHARE")?;
    let fault = match name {
        "drops" => Fault::Drops,
        "half-open" => Fault::HalfOpen,
        "resets" => Fault::Resets,
        "slow-reader" => Fault::SlowReader,
        "dribbles" => Fault::Dribbles,
        "wrong-ca" => Fault::WrongCa,
        "duplicate" => Fault::Duplicate,
        _ => return Err(format!("{name:?} is no fault")),
    };
    Ok((fault, share.parse().map_err(|e| format!("{share:?}: {e}"))?))
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    // A link is a descriptor.
    rlimit::increase_nofile_limit(u64::MAX)?;
    let output_bytes: RangeInclusive<usize> = 0..=args.output;
    let latency = match args.latency.iter().map(|ms| Duration::from_millis(*ms)).collect::<Vec<_>>()[..] {
        [least, mean, most] => Latency { least, mean, most },
        _ => Latency::default(),
    };
    let Args { seed, silent, failing, faults, .. } = args;
    let profile = Profile { seed, latency, output_bytes, silent, failing, faults };
    let begin = Instant::now();
    let names = (0..args.hosts).map(host_name);
    let identities = enroll_all(args.agents, &args.token, names).await.context("enrolling")?;
    println!("{}", json!({"enrolled": identities.len(), "seconds": begin.elapsed().as_secs_f64()}));
    let fleet = Fleet::start(&args.agents.to_string(), &identities, &profile)?;
    let mut second = interval(Duration::from_secs(1));
    loop {
        second.tick().await;
        let tally = &fleet.tally;
        println!(
            "{}",
            json!({"up": tally.up(), "handshakes": tally.handshakes().len(), "requests": tally.requests(),
                   "replies": tally.replies(), "failed": tally.failed(), "repeated": tally.repeated()})
        );
    }
}
