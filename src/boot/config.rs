//! boot.conf.

use crate::config::values::{absolute, absolute_text, servers, size, text, whole};
use crate::config::{self, ConfigError, DEFAULT_SERVER, Tls};
use crate::daemon::DaemonSettings;
use crate::wire::boot::DEFAULT_STEP_SECONDS;
use crate::wire::server_list::{self, Server};
use serde::Deserialize;
use std::path::PathBuf;

/// What the machine needs of the file.
#[derive(Debug, Clone)]
pub struct Config {
    /// The display name; empty is the node name.
    pub name: String,
    pub servers: Vec<Server>,
    /// Seconds from one report to the next.
    pub step: u64,
    /// The folder of the host's identity.
    pub tls_dir: PathBuf,
    /// The database.
    pub store: PathBuf,
    /// How agents are kept. Their servers are those of this file.
    pub agents: DaemonSettings,
}

impl Config {
    /// Reads the file's text. `servers`, as `-S` names them, take the place of `report.server`.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn parse(text: &str, servers: Option<&str>) -> Result<Config, ConfigError> {
        let file: File = config::read(text)?;
        let server_error = |reason: String| ConfigError {
            line: None,
            key: if servers.is_some() { "-S".into() } else { "report.server".into() },
            reason,
        };
        let list = servers.unwrap_or(&file.report.server);
        let servers = server_list::parse(list).map_err(|e| server_error(e.to_string()))?;
        Ok(Config {
            name: file.hostname,
            servers: servers.clone(),
            step: file.report.step,
            tls_dir: file.tls.dir.clone(),
            store: file.store.path,
            agents: DaemonSettings {
                dir: file.agents.dir,
                log: file.agents.log,
                run: file.agents.run,
                shell: file.agents.shell,
                output_limit: file.agents.output_limit,
                output_files: file.agents.output_files,
                servers,
                tls: file.tls.dir,
            },
        })
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    #[serde(deserialize_with = "text::<_, 256>")]
    hostname: String,
    report: Report,
    tls: Tls,
    store: Store,
    agents: Agents,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Report {
    #[serde(deserialize_with = "servers")]
    server: String,
    #[serde(deserialize_with = "whole::<_, 60, 3600>")]
    step: u64,
}

impl Default for Report {
    fn default() -> Self {
        Report { server: DEFAULT_SERVER.into(), step: DEFAULT_STEP_SECONDS }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Store {
    #[serde(deserialize_with = "absolute")]
    path: PathBuf,
}

impl Default for Store {
    fn default() -> Self {
        Store { path: "/var/lib/cargo/boot.db".into() }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Agents {
    #[serde(deserialize_with = "absolute")]
    dir: PathBuf,
    #[serde(deserialize_with = "absolute")]
    log: PathBuf,
    #[serde(deserialize_with = "absolute")]
    run: PathBuf,
    #[serde(deserialize_with = "absolute_text")]
    shell: String,
    #[serde(deserialize_with = "whole::<_, 4096, 1_099_511_627_776>")]
    output_limit: u64,
    #[serde(deserialize_with = "size::<_, 1, 100>")]
    output_files: usize,
}

impl Default for Agents {
    fn default() -> Self {
        Agents {
            dir: "/var/lib/cargo/boot".into(),
            log: "/var/log/cargo".into(),
            run: "/var/run/cargo".into(),
            shell: "/bin/sh".into(),
            output_limit: 10 << 20,
            output_files: 4,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::boot::STEP_SECONDS;

    #[test]
    fn an_empty_file_is_the_documented_defaults() {
        let config = Config::parse("", None).unwrap();
        assert_eq!(config.servers[0].to_string(), "config.cargo.com:8181");
        assert_eq!((config.step, config.name.as_str()), (600, ""));
        assert_eq!(config.tls_dir, PathBuf::from("/etc/cargo/pki"));
        assert_eq!(config.store, PathBuf::from("/var/lib/cargo/boot.db"));
        assert_eq!(config.agents.dir, PathBuf::from("/var/lib/cargo/boot"));
        assert_eq!((config.agents.shell.as_str(), &config.agents.servers), ("/bin/sh", &config.servers));
    }

    #[test]
    fn every_key_can_be_set_and_the_flag_replaces_the_servers() {
        let text = "hostname = \"web-1\"\n[report]\nserver = \"a,b:1\"\nstep = 60\n[tls]\ndir = \"/t\"\n\
                    [store]\npath = \"/s\"\n[agents]\ndir = \"/d\"\nlog = \"/l\"\nrun = \"/r\"\n\
                    shell = \"/bin/bash\"\noutput_limit = 4096\noutput_files = 1\n";
        let config = Config::parse(text, Some("c")).unwrap();
        assert_eq!((config.servers[0].to_string().as_str(), config.servers.len()), ("c:8181", 1));
        assert_eq!((config.step, config.name.as_str()), (60, "web-1"));
        let agents = config.agents;
        assert_eq!((agents.tls, agents.output_limit, agents.output_files), ("/t".into(), 4096, 1));
        assert_eq!(Config::parse(text, None).unwrap().servers.len(), 2);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line_and_key() {
        let refusal = |text: &str| Config::parse(text, None).expect_err(text).to_string();
        for step in [STEP_SECONDS.start() - 1, STEP_SECONDS.end() + 1] {
            let text = format!("[report]\nstep = {step}");
            assert_eq!(refusal(&text), format!("2: report.step: must be from 60 to 3600, got {step}"));
        }
        assert!(refusal("[report]\nserver = \"a b\"").starts_with("2: report.server: "));
        assert!(refusal("[agents]\ndir = \"x\"").contains("agents.dir: must be an absolute path"));
        assert!(refusal("[link]\n").contains("link"));
    }
}
