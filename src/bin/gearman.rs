//! gearman, the basic agent. See gearman(8).

use anyhow::{Context as _, Result, anyhow};
use aspire::cli::{self, CommandLine, LogFile, Mode, PidFile, Readiness, Side};
use aspire::enroll::{self, Enroll};
use aspire::gearman::{self, Config, ConfigSource, Gearman, Host};
use aspire::machine::{Identity, Task};
use aspire::reactor::{self, Clock, Reactor};
use aspire::wire::Account;
use aspire::wire::enroll::Token;
use aspire::wire::server_list::Server;
use std::hash::{BuildHasher as _, RandomState};
use std::io::Write as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args_os().skip(1).map(|a| a.to_string_lossy().into()).collect();
    let line = match cli::parse("gearman", &arguments) {
        Ok(line) => line,
        Err(usage) => {
            complain(&usage.to_string());
            return ExitCode::from(2);
        }
    };
    let outcome = match &line.mode {
        Mode::Help(text) => Ok(say(text.trim_end())),
        Mode::Version => Ok(say(&gearman::version())),
        Mode::Check => Ok(check(&line)),
        Mode::Enroll { server, token } => enroll(&line, server, token),
        Mode::Run => run(&line),
    };
    match outcome {
        Ok(code) => code,
        Err(reason) => {
            complain(&format!("gearman: {reason:#}"));
            ExitCode::FAILURE
        }
    }
}

/// A reader that has gone (`gearman -h | head -1`) is no failure.
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

fn enroll(line: &CommandLine, server: &Server, token: &Token) -> Result<ExitCode> {
    let config = config(line)?;
    let dir = &config.link.tls_dir;
    enroll::room_for(dir)?;
    let name = if config.name.is_empty() { node_name()? } else { config.name };
    let key = rcgen::KeyPair::generate()?;
    let csr = rcgen::CertificateParams::default().serialize_request(&key)?.pem()?;
    let mut machine = Enroll::new(server.clone(), token, csr, name);
    Reactor::new(Clock::new(), Box::new(|| {}))?.run(&mut machine)?;
    let reply = machine.result.context("the loop ended before the exchange did")??;
    if reactor::fingerprint(&reply.ca) != Some(token.fingerprint) {
        return Err(anyhow!("the server sent another CA than the one that the token names"));
    }
    reactor::identity_fits(&reply.cert, &key.serialize_pem(), &reply.hostname)
        .map_err(|reason| anyhow!("the server sent a certificate that is not this host's: {reason}"))?;
    enroll::install(dir, &reply, &key.serialize_pem())?;
    Ok(say(&format!("This host is {}. Its identity is in {}.", reply.hostname, dir.display())))
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
            log::info!("agent=started version={} pid={}", gearman::version(), std::process::id());
            reactor.run(&mut machine)?;
            log::info!("agent=stopped");
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Everything that may fail before the agent can call itself ready.
fn start(line: &CommandLine, config: Config) -> Result<(PidFile, Reactor, Gearman)> {
    cli::tighten_umask();
    let pid_file = PidFile::hold(&line.pid_file).map_err(anyhow::Error::msg)?;
    let log_file = line.log.as_deref().map(LogFile::open).transpose().map_err(anyhow::Error::msg)?;
    cli::start_log(log_file.clone(), line.level);
    if let Err(reason) = reactor::finish_renewal(&config.link.tls_dir) {
        log::warn!("certificate=unfinished reason={reason:?}");
    }
    let host =
        host(&config).context("this host is not enrolled: gearman --enroll HOST:PORT --token TOKEN")?;
    let source = ConfigSource {
        path: line.config.clone(),
        was_named: line.config_was_named,
        servers: line.servers.clone(),
    };
    let clock = Clock::new();
    let store = gearman::open_store(&config.store, clock.now());
    let seed = RandomState::new().hash_one(());
    let control_socket = config.control_socket.clone();
    let machine = Gearman::new(clock.now(), host, source, config, store, seed);
    let reopen_log = move || log_file.iter().for_each(LogFile::reopen);
    let mut reactor = Reactor::new(clock, Box::new(reopen_log)).context("cannot make the event loop")?;
    // Now, so that whoever was told that the agent is ready can ask it.
    reactor.listen(&control_socket);
    Ok((pid_file, reactor, machine))
}

fn host(config: &Config) -> Result<Host> {
    let cert = config.link.tls_dir.join("cert.pem");
    Ok(Host {
        id: reactor::common_name(&cert).map_err(anyhow::Error::msg)?,
        node_name: node_name()?,
        boot_id: std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .map(|id| id.trim().to_owned())
            .unwrap_or_default(),
        own: own_identity()?,
    })
}

fn node_name() -> Result<String> {
    Ok(nix::unistd::gethostname()?.to_string_lossy().into_owned())
}

/// A user without an entry in the user database is known by its number.
fn own_identity() -> Result<Identity> {
    let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
    // Aside: libraries that the name service loads for this would stay in our memory.
    let task = Task::Identify { user: Account::Id(uid), group: None };
    let known = reactor::run_aside(&task).map_err(anyhow::Error::msg).context("who are we?")?;
    Ok(serde_json::from_slice::<Option<Identity>>(&known)?.unwrap_or_else(|| Identity {
        uid,
        gid,
        groups: vec![gid],
        name: uid.to_string(),
        group_name: gid.to_string(),
        home: "/".into(),
    }))
}
