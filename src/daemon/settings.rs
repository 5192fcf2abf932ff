//! How daemons are kept on this host: `[daemon]` of the configuration, checked.

use crate::wire::DaemonInit;
use crate::wire::server_list::Server;
use aspire_package::Kind;
use std::path::{Path, PathBuf};

/// See gearman.conf(5).
#[derive(Debug, Clone)]
pub struct DaemonSettings {
    /// Packages, and what archives are unpacked to: a folder each.
    pub dir: PathBuf,
    /// What daemons write: `NAME.out`.
    pub log: PathBuf,
    /// Where they say that they live: `NAME.sock`.
    pub run: PathBuf,
    /// Absolute path of the shell.
    pub shell: String,
    /// Bytes of what a daemon writes, beyond which the file is set aside.
    pub output_limit: u64,
    /// Files set aside that are kept.
    pub output_files: usize,
    /// The link's own, whose packages need no checksum.
    pub servers: Vec<Server>,
    /// The host's identity, which they are shown.
    pub tls: PathBuf,
}

impl DaemonSettings {
    /// What an archive of it holds.
    pub fn folder(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub fn output(&self, name: &str) -> PathBuf {
        self.log.join(format!("{name}.out"))
    }

    pub fn heartbeat(&self, name: &str) -> PathBuf {
        self.run.join(format!("{name}.sock"))
    }

    /// Where its packages are put; no daemon has such a name.
    pub fn packages(&self, name: &str) -> PathBuf {
        self.dir.join(".packages").join(name)
    }

    /// Where this package is put.
    pub fn package(&self, init: &DaemonInit) -> PathBuf {
        let suffix = match Kind::of(&init.url) {
            Some(Kind::Deb) => "deb",
            Some(Kind::Rpm) => "rpm",
            Some(Kind::TarGz) | None => "tar.gz",
        };
        // rpm takes a colon for a part of a URL.
        let version = init.version.replace(':', "%3a");
        self.packages(&init.name).join(format!("{version}.{suffix}"))
    }

    /// Where it runs: an archive's own folder, so that its programs are named by where they are in it.
    pub fn cwd(&self, init: &DaemonInit) -> PathBuf {
        match Kind::of(&init.url) {
            Some(Kind::TarGz) => self.folder(&init.name).join("current"),
            _ => Path::new("/").to_owned(),
        }
    }

    /// Whether its package comes from the link's own server, by TLS.
    pub fn is_own_server(&self, url: &str) -> bool {
        let Some(rest) = url.strip_prefix("https://") else { return false };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let port_of = |server: &Server| match server.port {
            443 => authority == server.host || authority == format!("{}:443", server.host),
            port => authority == format!("{}:{port}", server.host),
        };
        self.servers.iter().any(port_of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_links_own_server_by_tls_is_its_own() {
        let server = |host: &str, port| Server { host: host.into(), port };
        let settings = DaemonSettings {
            servers: vec![server("polaris", 8181), server("10.0.0.1", 443)],
            ..crate::daemon::tests::settings()
        };
        for (url, expected) in [
            ("https://polaris:8181/packages/a.deb", true),
            ("https://10.0.0.1/a.deb", true),
            ("https://10.0.0.1:443/a.deb", true),
            ("http://polaris:8181/a.deb", false),
            ("https://polaris/a.deb", false),
            ("https://polaris:8181@evil/a.deb", false),
            ("https://polaris:81812/a.deb", false),
            ("https://evil/polaris:8181/a.deb", false),
        ] {
            assert_eq!(settings.is_own_server(url), expected, "{url}");
        }
    }
}
