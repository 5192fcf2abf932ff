//! How daemons are kept on this host: `[daemon]` of the configuration, checked.

use crate::wire::DaemonInit;
use crate::wire::server_list::{self, Server};
use aspire_package::Kind;
use std::path::{Path, PathBuf};

/// See cargo-daemon(5).
#[derive(Debug, Clone)]
pub struct DaemonSettings {
    /// Packages, and what archives are unpacked to: a folder each.
    pub dir: PathBuf,
    /// What daemons write: `NAME.out`.
    pub log: PathBuf,
    /// Where they say that they live: `NAME.notify`.
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
        self.run.join(format!("{name}.notify"))
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
        // Another file of the same version must not take the place of the good one.
        let digits =
            init.checksum.as_deref().and_then(|checksum| checksum.split(':').nth(1)).unwrap_or_default();
        let file = format!("{version}-{}.{suffix}", digits.get(..16).unwrap_or("own"));
        self.packages(&init.name).join(file)
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
        let bracket = authority.rfind(']').unwrap_or_default();
        let has_port = authority[bracket..].contains(':');
        let named = if has_port { authority.to_owned() } else { format!("{authority}:443") };
        let Ok(named) = server_list::entry(&named) else { return false };
        let is_named =
            |server: &Server| server.port == named.port && server.host.eq_ignore_ascii_case(&named.host);
        self.servers.iter().any(is_named)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_links_own_server_by_tls_is_its_own() {
        let server = |host: &str, port| Server { host: host.into(), port };
        let settings = DaemonSettings {
            servers: vec![server("polaris", 8181), server("10.0.0.1", 443), server("::1", 8181)],
            ..crate::daemon::tests::settings()
        };
        for (url, expected) in [
            ("https://polaris:8181/packages/a.deb", true),
            ("https://10.0.0.1/a.deb", true),
            ("https://10.0.0.1:443/a.deb", true),
            ("https://POLARIS:8181/a.deb", true),
            ("https://[::1]:8181/a.deb", true),
            ("https://[::1]/a.deb", false),
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
