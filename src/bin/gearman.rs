//! gearman, the basic agent. See gearman(8).

use aspire::cli::{self, CommandLine, Mode};
use aspire::gearman::{self, Config, ConfigSource, Gearman, Host};
use aspire::machine::Now;
use aspire::reactor::{self, Reactor};
use std::hash::{BuildHasher as _, RandomState};
use std::process::ExitCode;

fn main() -> ExitCode {
    let version = gearman::version();
    cli::main("gearman", &version, |line| match &line.mode {
        Mode::Check => Ok(cli::verdict(config(line))),
        Mode::Enroll { server, token, .. } => {
            let config = config(line)?;
            let dir = &config.link.tls_dir;
            let id = cli::enroll(server, token, dir, &config.name)?;
            Ok(cli::say(&format!("This host is {id}. Its identity is in {}.", dir.display())))
        }
        _ => {
            let config = config(line)?;
            cli::run(line, &version, |now, reactor| begin(line, config, now, reactor))
        }
    })
}

fn config(line: &CommandLine) -> Result<Config, String> {
    let text = line.read_config()?;
    Config::parse(&text, line.servers.as_deref()).map_err(|e| format!("{}:{e}", line.config.display()))
}

fn begin(
    line: &CommandLine,
    config: Config,
    now: Now,
    mut reactor: Reactor,
) -> Result<(Reactor, Gearman), String> {
    if let Err(reason) = reactor::finish_renewal(&config.link.tls_dir) {
        log::warn!("certificate=unfinished reason={reason:?}");
    }
    let id = reactor::common_name(&config.link.tls_dir.join("cert.pem")).map_err(|reason| {
        format!("this host is not enrolled: gearman --enroll HOST:PORT --token TOKEN: {reason}")
    })?;
    let host = Host { id, node_name: cli::node_name()?, boot_id: cli::boot_id(), own: cli::own_identity()? };
    let source = ConfigSource {
        path: line.config.clone(),
        was_named: line.config_was_named,
        servers: line.servers.clone(),
    };
    let store = gearman::open_store(&config.store, now);
    let seed = RandomState::new().hash_one(());
    let control_socket = config.control_socket.clone();
    let machine = Gearman::new(now, host, source, config, store, seed);
    // Now, so that whoever was told that the agent is ready can ask it.
    reactor.listen(&control_socket);
    Ok((reactor, machine))
}
