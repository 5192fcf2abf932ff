//! boot, the agent that installs the others. See boot(8).

use anyhow::{Context as _, Result, anyhow};
use aspire::boot::{self, Boot, Config, ConfigSource, Host};
use aspire::cli::{self, CommandLine, LogFile, Mode, PidFile, Readiness, Side};
use aspire::machine::Identity;
use aspire::reactor::{self, Clock, Reactor};
use aspire::store::Store;
use aspire::wire::Account;
use std::hash::{BuildHasher as _, RandomState};
use std::io::Write as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args_os().skip(1).map(|a| a.to_string_lossy().into()).collect();
    let line = match cli::parse("boot", &arguments) {
        Ok(line) => line,
        Err(usage) => {
            complain(&usage.to_string());
            return ExitCode::from(2);
        }
    };
    let outcome = match &line.mode {
        Mode::Help(text) => Ok(say(text.trim_end())),
        Mode::Version => Ok(say(&boot::version())),
        Mode::Check => Ok(check(&line)),
        Mode::Enroll { .. } => Err(anyhow!("enrol this host with gearman --enroll")),
        Mode::Run => run(&line),
    };
    match outcome {
        Ok(code) => code,
        Err(reason) => {
            complain(&format!("boot: {reason:#}"));
            ExitCode::FAILURE
        }
    }
}

/// A reader that has gone (`boot -h | head -1`) is no failure.
fn say(text: &str) -> ExitCode {
    let _ = writeln!(std::io::stdout(), "{text}");
    ExitCode::SUCCESS
}

fn complain(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

fn check(line: &CommandLine) -> ExitCode {
    match config(line) {
        Ok(_) => say("Success"),
        Err(reason) => {
            complain(&format!("{reason:#}"));
            say("Failed!!!");
            ExitCode::FAILURE
        }
    }
}

fn config(line: &CommandLine) -> Result<Config> {
    let text = line.read_config().map_err(anyhow::Error::msg)?;
    Config::parse(&text, line.servers.as_deref()).map_err(|e| anyhow!("{}:{e}", line.config.display()))
}

fn run(line: &CommandLine) -> Result<ExitCode> {
    let config = config(line)?;
    let readiness = if line.foreground {
        Readiness::foreground()
    } else {
        match cli::daemonize()? {
            Side::Daemon(readiness) => readiness,
            Side::Starter(word) => return word.map(|()| ExitCode::SUCCESS).map_err(anyhow::Error::msg),
        }
    };
    match start(line, config) {
        Err(reason) => {
            readiness.failed(&format!("{reason:#}"));
            Ok(ExitCode::FAILURE)
        }
        Ok((_pid_file, reactor, mut machine)) => {
            readiness.ready()?;
            log::info!("agent=started version={} pid={}", boot::version(), std::process::id());
            reactor.run(&mut machine)?;
            log::info!("agent=stopped");
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Everything that may fail before boot can call itself ready.
fn start(line: &CommandLine, config: Config) -> Result<(PidFile, Reactor, Boot)> {
    cli::tighten_umask();
    let pid_file = PidFile::hold(&line.pid_file).map_err(anyhow::Error::msg)?;
    let log_file = line.log.as_deref().map(LogFile::open).transpose().map_err(anyhow::Error::msg)?;
    cli::start_log(log_file.clone(), line.level);
    if let Err(reason) = reactor::finish_renewal(&config.tls_dir) {
        log::warn!("certificate=unfinished reason={reason:?}");
    }
    reactor::common_name(&config.tls_dir.join("cert.pem"))
        .map_err(anyhow::Error::msg)
        .context("this host is not enrolled: boot --enroll HOST:PORT --token TOKEN")?;
    let source = ConfigSource {
        path: line.config.clone(),
        was_named: line.config_was_named,
        servers: line.servers.clone(),
    };
    let clock = Clock::new();
    let store = Store::open(&config.store, clock.now().wall)
        .with_context(|| format!("store.path: {}", config.store.display()))?;
    let seed = RandomState::new().hash_one(());
    let machine = Boot::new(clock.now(), host()?, source, config, store, seed)?;
    let reopen_log = move || log_file.iter().for_each(LogFile::reopen);
    let reactor = Reactor::new(clock, Box::new(reopen_log)).context("cannot make the event loop")?;
    Ok((pid_file, reactor, machine))
}

fn host() -> Result<Host> {
    Ok(Host {
        node_name: nix::unistd::gethostname()?.to_string_lossy().into_owned(),
        boot_id: std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .map(|id| id.trim().to_owned())
            .unwrap_or_default(),
        own: own_identity()?,
        packages: aspire_package::Kind::taken_here().into_iter().map(|kind| kind.name().to_owned()).collect(),
    })
}

/// A user without an entry in the user database is known by its number.
fn own_identity() -> Result<Identity> {
    let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
    let known = reactor::identify(&Account::Id(uid), None).map_err(anyhow::Error::msg)?;
    Ok(known.unwrap_or_else(|| Identity {
        uid,
        gid,
        groups: vec![gid],
        name: uid.to_string(),
        group_name: gid.to_string(),
        home: "/".into(),
    }))
}
