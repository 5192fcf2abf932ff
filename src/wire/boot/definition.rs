//! From what a job says of an agent to the daemon that it is to be.

use super::job::fields;
use crate::DaemonInit;
use crate::cron::entry_name;
use crate::daemon::PACKAGES;
use crate::server_list::Server;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// An agent of ours, and what is meant where a job does not say it.
#[derive(Debug, PartialEq, Eq)]
pub struct KnownAgent {
    /// As the seed calls it.
    pub title: &'static str,
    /// Its program, by which it is called as well.
    pub program: &'static str,
    /// `start`, where its package is the system's.
    pub start: &'static str,
    /// `check`.
    pub check: &'static str,
}

pub const KNOWN_AGENTS: [KnownAgent; 4] = [
    KnownAgent {
        title: "BasicAgent",
        program: "gearman",
        start: "/usr/bin/gearman -f",
        check: "script:/usr/bin/gearctl -c status",
    },
    KnownAgent { title: "MonitorAgent", program: "nodus", start: "/usr/bin/nodus -f", check: "process" },
    KnownAgent { title: "LogAgent", program: "logagent", start: "/usr/bin/logagent -f", check: "process" },
    KnownAgent {
        title: "SecureAgent",
        program: "secureagent",
        start: "/usr/bin/secureagent -f",
        check: "process",
    },
];

impl KnownAgent {
    /// By either of its names.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static KnownAgent> {
        KNOWN_AGENTS.iter().find(|known| [known.title, known.program].contains(&name))
    }
}

/// Seconds from an agent's start until it is looked at whether it came up.
const START_DELAY_SECONDS: u64 = 3;
/// Seconds from one check to the next, of what has no limits.
const CHECK_INTERVAL_SECONDS: u64 = 60;
/// What else than a version a package's name may end in.
const ARCHITECTURES: [&str; 11] =
    ["x86_64", "amd64", "aarch64", "arm64", "armhf", "armv7hl", "i386", "i686", "noarch", "all", "any"];
/// Of [`PACKAGES`], those that are unpacked into a folder of the agent's own.
const ARCHIVES: [&str; 2] = [".tar.gz", ".tgz"];
/// What says where files of the package are, which each kind has elsewhere.
const PLACED_FIELDS: [&str; 2] = ["start", "check"];
const PACKAGE_FIELDS: [&str; 4] = ["name", "url", "checksum", "version"];

/// What a job says of an agent: fields of [`DaemonInit`], as far as it has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// The agent's.
    pub name: String,
    said: Map<String, Value>,
}

impl Wish {
    /// For an agent, whether it is there or not.
    pub(super) fn of_agent(object: Map<String, Value>) -> Result<Wish, String> {
        let wish = Wish::read(object)?;
        wish.definition(None, &nowhere()).map(|_| wish)
    }

    /// For boot itself.
    pub(super) fn of_boot(object: Map<String, Value>) -> Result<Wish, String> {
        let stray = object.keys().find(|field| !PACKAGE_FIELDS.contains(&field.as_str()));
        if let Some(stray) = stray {
            return Err(format!("{stray}: says nothing of boot's package, and boot runs as it does"));
        }
        Wish::of_agent(object)
    }

    fn read(mut object: Map<String, Value>) -> Result<Wish, String> {
        #[derive(Deserialize)]
        struct Name {
            #[serde(deserialize_with = "entry_name")]
            name: String,
        }
        let Name { name } = match object.get("name") {
            Some(name) => fields([("name".to_owned(), name.clone())].into_iter().collect())?,
            None => return Err("name: missing".into()),
        };
        if let Some(Value::Object(limits)) = object.get_mut("limits")
            && let Some(cpu) = limits.remove("CPU")
            && limits.insert("cpu".into(), cpu).is_some()
        {
            return Err("limits: CPU and cpu are the same".into());
        }
        if !object.contains_key("url") {
            return Err("url: missing".into());
        }
        Ok(Wish { name, said: object })
    }

    /// What the agent is to be: what the job says, for the rest what `former` says, for the rest what is
    /// usual. Where one of them is an archive and the other is not, `start` and `check` are not taken from
    /// `former`. A URL that begins with `/` is on `server`, which is where the job came from.
    ///
    /// # Errors
    /// What is wrong with it, after the field's name.
    pub fn definition(&self, former: Option<&DaemonInit>, server: &Server) -> Result<DaemonInit, String> {
        let mut object = match former.map(|former| json!(former)) {
            Some(Value::Object(former)) => former,
            _ => self.usual(),
        };
        // They are the other file's.
        object.remove("checksum");
        object.remove("version");
        if former.is_some_and(|former| is_archive(&former.url) != is_archive(self.url())) {
            // What the other kind of package has elsewhere.
            let mut usual = self.usual();
            for field in PLACED_FIELDS {
                match usual.remove(field) {
                    Some(value) => object.insert(field.into(), value),
                    None => object.remove(field),
                };
            }
        }
        object.extend(self.said.clone());
        if let Some(Value::String(url)) = object.get_mut("url") {
            if url.starts_with('/') {
                *url = format!("https://{server}{url}");
            }
            if !object.contains_key("version") {
                let version = version_of(object["url"].as_str().unwrap_or_default()).ok_or(
                    "version: missing, and the file's name in the url has none: it should be as in \
                     NAME-1.2.3.rpm or NAME_1.2.3_amd64.deb",
                )?;
                object.insert("version".into(), version.into());
            }
        }
        let mut init: DaemonInit = fields(object)?;
        init.name.clone_from(&self.name);
        init.fits_together()?;
        Ok(init)
    }

    fn url(&self) -> &str {
        self.said.get("url").and_then(Value::as_str).unwrap_or_default()
    }

    fn usual(&self) -> Map<String, Value> {
        let is_archive = is_archive(self.url());
        let known = KnownAgent::named(&self.name);
        let program = known.map_or(self.name.as_str(), |known| known.program);
        let start = match known {
            _ if is_archive => format!("bin/{program} -f"),
            Some(known) => known.start.to_owned(),
            None => format!("/usr/bin/{program} -f"),
        };
        let mut usual = Map::new();
        usual.insert("start".into(), start.into());
        usual.insert("stop".into(), "kill:TERM".into());
        usual.insert("start_delay".into(), START_DELAY_SECONDS.into());
        // Limits are kept by samples: what runs away is to be noticed sooner.
        if !self.said.contains_key("limits") {
            usual.insert("check_interval".into(), CHECK_INTERVAL_SECONDS.into());
        }
        if let Some(known) = known.filter(|_| !is_archive) {
            usual.insert("check".into(), known.check.into());
        }
        usual
    }
}

fn is_archive(url: &str) -> bool {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    ARCHIVES.iter().any(|suffix| path.ends_with(suffix))
}

/// For a look at a job before it is known which server it is of.
fn nowhere() -> Server {
    Server { host: "localhost".into(), port: crate::session::DEFAULT_PORT }
}

/// The version in a package's file name: `BasicAgent-1.5.6.rpm`, `gearman_0.1.0_amd64.deb`.
fn version_of(url: &str) -> Option<String> {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let file = path.rsplit('/').next().unwrap_or_default();
    let mut stem = PACKAGES.iter().find_map(|suffix| file.strip_suffix(suffix))?;
    let first_digit_after = |from: &str| {
        let bytes = from.as_bytes();
        (1..bytes.len()).find(|at| bytes[*at].is_ascii_digit() && b"-_".contains(&bytes[at - 1]))
    };
    stem = &stem[first_digit_after(stem)?..];
    for architecture in ARCHITECTURES {
        if let Some(rest) = stem.strip_suffix(architecture)
            && let Some(rest) = rest.strip_suffix(['.', '_', '-'])
        {
            stem = rest;
            break;
        }
    }
    let version = stem.trim_end_matches(['.', '_', '-']);
    (!version.is_empty() && !version.contains('_')).then(|| version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::version_of;

    #[test]
    fn a_version_is_found_in_a_file_s_name() {
        for (url, version) in [
            ("ftp://server:21/BasicAgent/BasicAgent-1.5.6..rpm", Some("1.5.6")),
            ("http://h/gearman_0.1.0_amd64.deb", Some("0.1.0")),
            ("http://h/gearman-0.1.0-2.x86_64.rpm?x=1", Some("0.1.0-2")),
            ("/packages/log-agent_1:2.0~rc1-1_all.deb", Some("1:2.0~rc1-1")),
            ("http://h/agent2-1.0.tar.gz", Some("1.0")),
            ("http://h/agent-7.tgz", Some("7")),
            ("http://h/agent.deb", None),
            ("http://h/agent-x.deb", None),
            ("http://h/agent-1.0.zip", None),
        ] {
            assert_eq!(version_of(url).as_deref(), version, "{url}");
        }
    }
}
