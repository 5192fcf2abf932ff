//! boot, the agent that installs the others. See boot(8).

use aspire::boot::{self, Boot, Config, ConfigSource, Host, Kept};
use aspire::cli::{self, CommandLine, Mode};
use aspire::handover;
use aspire::machine::Now;
use aspire::reactor::{self, Clock, Reactor};
use aspire::store::{Store, StoreError};
use aspire::wire::boot::KnownAgent;
use aspire::wire::enroll::Token;
use aspire::wire::server_list::Server;
use std::fmt::Display;
use std::hash::{BuildHasher as _, RandomState};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// The agent that boot can tell of its server, and its configuration.
const GEARMAN: (&str, &str) = ("gearman", "/etc/cargo/gearman.conf");

/// How long before the host's certificate ends the log says so.
const ENDS_SOON: Duration = Duration::from_secs(30 * 86_400);

fn main() -> ExitCode {
    cli::main("boot", &boot::version(), |line| match &line.mode {
        Mode::Check => Ok(cli::verdict(config(line))),
        Mode::TakeOver(plan) => handover::take_over(plan).map(|()| ExitCode::SUCCESS),
        Mode::Enroll { server, token, install } => enroll(line, server, token, install),
        _ => run(line, config(line)?),
    })
}

fn config(line: &CommandLine) -> Result<Config, String> {
    let text = line.read_config()?;
    Config::parse(&text, line.servers.as_deref()).map_err(|e| format!("{}:{e}", line.config.display()))
}

/// From a bare host to one that works: what is still missing the server is asked for. Whatever can
/// fail is tried before the token is used, for it cannot be used again.
fn enroll(
    line: &CommandLine,
    server: &Server,
    token: &Token,
    install: &[String],
) -> Result<ExitCode, String> {
    cli::room_for(line)?;
    let is_configured = line.config.exists();
    let config =
        if is_configured { config(line)? } else { Config::parse("", None).map_err(|e| e.to_string())? };
    let dir = &config.tls_dir;
    let (program, file) = GEARMAN;
    let has_gearman = |name: &String| KnownAgent::named(name).is_some_and(|known| known.program == program);
    let gearman = install.iter().any(has_gearman).then_some(Path::new(file));
    for file in [Some(line.config.as_path()), gearman].into_iter().flatten() {
        cli::room_for_config(file)?;
    }
    let mut store = open_store(&config, Clock::new().now())?;
    let failed = |error: StoreError| store_failed(&config.store, &error);
    let mut kept = Kept::load(&store).map_err(failed)?;
    let before = kept.clone();
    // From here on a boot that is started plainly goes on, wherever this one ends.
    kept.enrolled(server, install, &mut store).map_err(failed)?;
    let id = match cli::enroll(server, token, dir, &config.name) {
        Ok(id) => id,
        Err(reason) => {
            before.restore(&mut store).map_err(failed)?;
            return Err(reason);
        }
    };
    cli::say(&format!("This host is {id}. Its identity is in {}.", dir.display()));
    cli::first_config(&line.config, "report", server, dir)?;
    if let Some(file) = gearman {
        cli::first_config(file, "link", server, dir)?;
    }
    drop(store);
    // Without the token, which anybody on the host could read for as long as the daemon lives.
    Err(cli::execute_again(&line.again()))
}

fn run(line: &CommandLine, config: Config) -> Result<ExitCode, String> {
    let begin = |now, reactor: Reactor| Ok((reactor.frugal(), begin(line, config, now)?));
    cli::run(line, &boot::version(), begin)
}

fn begin(line: &CommandLine, config: Config, now: Now) -> Result<Boot, String> {
    if let Err(reason) = reactor::finish_renewal(&config.tls_dir) {
        log::warn!("certificate=unfinished reason={reason:?}");
    }
    reactor::common_name(&config.tls_dir.join("cert.pem")).map_err(|reason| {
        format!("this host is not enrolled: boot --enroll HOST:PORT --token TOKEN: {reason}")
    })?;
    warn_of_end(&config.tls_dir.join("cert.pem"), now);
    let program = handover::Own::look(line.again(), &line.pid_file)?;
    let host = Host {
        program,
        node_name: cli::node_name()?,
        boot_id: cli::boot_id(),
        own: cli::own_identity()?,
        packages: aspire_package::Kind::taken_here().into_iter().map(|kind| kind.name().to_owned()).collect(),
    };
    let source = ConfigSource {
        path: line.config.clone(),
        was_named: line.config_was_named,
        servers: line.servers.clone(),
    };
    let (store, path) = (open_store(&config, now)?, config.store.clone());
    let seed = RandomState::new().hash_one(());
    Boot::new(now, host, source, config, store, seed).map_err(|error| store_failed(&path, &error))
}

fn open_store(config: &Config, now: Now) -> Result<Store, String> {
    Store::open_patiently(&config.store, now.wall).map_err(|error| store_failed(&config.store, &error))
}

fn store_failed(path: &Path, error: &dyn Display) -> String {
    format!("store.path: {}: {error}", path.display())
}

/// gearman renews the certificate of both; boot does not.
fn warn_of_end(cert: &Path, now: Now) {
    if let Some(end) = reactor::certificate_end(cert).filter(|end| *end <= now.wall + ENDS_SOON) {
        log::warn!(
            "certificate=ends at={} reason=\"where no gearman runs here, which renews it, enrol the host \
             anew before: boot --enroll\"",
            humantime::format_rfc3339_seconds(end)
        );
    }
}
