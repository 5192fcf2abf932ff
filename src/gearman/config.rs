//! gearman.conf.

use crate::config::values::{absolute, absolute_text, servers, size, socket_path, tags, text, whole};
use crate::config::{self, ConfigError, DEFAULT_SERVER, Tls};
use crate::daemon::DaemonSettings;
use crate::exec::{AllowList, ExecSettings};
use crate::link::LinkSettings;
use crate::wire::command::{DEFAULT_GRACE_SECONDS, DEFAULT_TIMEOUT_SECONDS};
use crate::wire::server_list;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// What the machine needs of the file.
#[derive(Debug, Clone)]
pub struct Config {
    /// The display name; empty is the node name.
    pub name: String,
    pub region: String,
    pub tags: BTreeMap<String, String>,
    pub link: LinkSettings,
    pub exec: ExecSettings,
    pub daemon: DaemonSettings,
    /// The database.
    pub store: PathBuf,
    /// The folder of the getinfo plugins.
    pub plugins: PathBuf,
    /// Where programs on this host reach the agent.
    pub control_socket: PathBuf,
}

impl Config {
    /// Reads the file's text. `servers`, as `-S` names them, take the place of `link.server`.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn parse(text: &str, servers: Option<&str>) -> Result<Config, ConfigError> {
        let file: File = config::read(text)?;
        let link = file.link;
        let server_error = |reason: String| ConfigError {
            line: None,
            key: if servers.is_some() { "-S".into() } else { "link.server".into() },
            reason,
        };
        let list = servers.unwrap_or(&link.server);
        let servers = server_list::parse(list).map_err(|e| server_error(e.to_string()))?;
        Ok(Config {
            name: file.hostname,
            region: file.region,
            tags: file.tags,
            link: LinkSettings {
                servers: servers.clone(),
                heartbeat: Duration::from_secs(link.heartbeat),
                backoff_min: Duration::from_secs(link.backoff.min),
                backoff_max: Duration::from_secs(link.backoff.max),
                tls_dir: file.tls.dir.clone(),
            },
            daemon: DaemonSettings {
                dir: file.daemon.dir,
                log: file.daemon.log,
                run: file.daemon.run,
                shell: file.exec.shell.clone(),
                output_limit: file.daemon.output_limit,
                output_files: file.daemon.output_files,
                servers,
                tls: file.tls.dir,
            },
            exec: ExecSettings {
                shell: file.exec.shell,
                max_children: file.exec.max_children,
                output_limit: file.exec.output_limit,
                timeout: Duration::from_secs(file.exec.timeout),
                grace: Duration::from_secs(file.exec.grace),
                allow: file.exec.allow,
            },
            store: file.store.path,
            plugins: file.plugins.dir,
            control_socket: file.control.socket,
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    #[serde(deserialize_with = "text::<_, 256>")]
    hostname: String,
    #[serde(deserialize_with = "text::<_, 64>")]
    region: String,
    #[serde(deserialize_with = "tags")]
    tags: BTreeMap<String, String>,
    link: Link,
    tls: Tls,
    store: Store,
    exec: Exec,
    daemon: Daemon,
    plugins: Plugins,
    control: Control,
}

impl Default for File {
    fn default() -> Self {
        File {
            hostname: String::new(),
            region: "unknown".into(),
            tags: BTreeMap::new(),
            link: Link::default(),
            tls: Tls::default(),
            store: Store::default(),
            exec: Exec::default(),
            daemon: Daemon::default(),
            plugins: Plugins::default(),
            control: Control::default(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Link {
    #[serde(deserialize_with = "servers")]
    server: String,
    #[serde(deserialize_with = "whole::<_, 1, 3600>")]
    heartbeat: u64,
    backoff: Backoff,
}

impl Default for Link {
    fn default() -> Self {
        Link { server: DEFAULT_SERVER.into(), heartbeat: 60, backoff: Backoff { min: 1, max: 300 } }
    }
}

#[derive(Deserialize)]
#[serde(try_from = "BackoffFields")]
struct Backoff {
    min: u64,
    max: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct BackoffFields {
    #[serde(deserialize_with = "whole::<_, 1, 3600>")]
    min: u64,
    #[serde(deserialize_with = "whole::<_, 1, 86400>")]
    max: u64,
}

impl Default for BackoffFields {
    fn default() -> Self {
        BackoffFields { min: 1, max: 300 }
    }
}

impl TryFrom<BackoffFields> for Backoff {
    type Error = String;

    fn try_from(fields: BackoffFields) -> Result<Backoff, String> {
        let BackoffFields { min, max } = fields;
        if min > max {
            return Err(format!("min must not be more than max, got min {min} and max {max}"));
        }
        Ok(Backoff { min, max })
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
        Store { path: "/var/lib/cargo/gearman.db".into() }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Exec {
    #[serde(deserialize_with = "absolute_text")]
    shell: String,
    #[serde(deserialize_with = "size::<_, 1, 4096>")]
    max_children: usize,
    /// Two streams of this size fit into one frame, however they are escaped.
    #[serde(deserialize_with = "size::<_, 1, 65536>")]
    output_limit: usize,
    #[serde(deserialize_with = "whole::<_, 1, 86400>")]
    timeout: u64,
    #[serde(deserialize_with = "whole::<_, 1, 3600>")]
    grace: u64,
    #[serde(deserialize_with = "allow_list")]
    allow: AllowList,
}

impl Default for Exec {
    fn default() -> Self {
        Exec {
            shell: "/bin/bash".into(),
            max_children: 64,
            output_limit: 65536,
            timeout: DEFAULT_TIMEOUT_SECONDS,
            grace: DEFAULT_GRACE_SECONDS,
            allow: AllowList::default(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Daemon {
    #[serde(deserialize_with = "absolute")]
    dir: PathBuf,
    #[serde(deserialize_with = "absolute")]
    log: PathBuf,
    #[serde(deserialize_with = "absolute")]
    run: PathBuf,
    #[serde(deserialize_with = "whole::<_, 4096, 1_099_511_627_776>")]
    output_limit: u64,
    #[serde(deserialize_with = "size::<_, 1, 100>")]
    output_files: usize,
}

impl Default for Daemon {
    fn default() -> Self {
        Daemon {
            dir: "/var/lib/cargo/daemon".into(),
            log: "/var/log/cargo".into(),
            run: "/var/run/cargo".into(),
            output_limit: 10 << 20,
            output_files: 4,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Plugins {
    #[serde(deserialize_with = "absolute")]
    dir: PathBuf,
}

impl Default for Plugins {
    fn default() -> Self {
        Plugins { dir: "/usr/lib/cargo/gearman".into() }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Control {
    #[serde(deserialize_with = "socket_path")]
    socket: PathBuf,
}

impl Default for Control {
    fn default() -> Self {
        Control { socket: "/var/run/cargo/gearman.sock".into() }
    }
}

fn allow_list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<AllowList, D::Error> {
    let expressions = Vec::<String>::deserialize(deserializer)?;
    AllowList::new(&expressions).map_err(D::Error::custom)
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
