//! The kinds of package, by their files' names.

use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;

const DEB_DATABASES: [&str; 1] = ["var/lib/dpkg/status"];
const RPM_DATABASES: [&str; 5] = [
    "var/lib/rpm/rpmdb.sqlite",
    "var/lib/rpm/Packages",
    "var/lib/rpm/Packages.db",
    "usr/lib/sysimage/rpm/rpmdb.sqlite",
    "usr/lib/sysimage/rpm/Packages.db",
];

/// What a package is, and so who installs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// By dpkg.
    Deb,
    /// By rpm.
    Rpm,
    /// Unpacked into the daemon's own folder.
    TarGz,
}

impl Kind {
    /// The kind that a file name or a URL ends with; its query does not count.
    #[must_use]
    pub fn of(name: &str) -> Option<Kind> {
        let path = name.split(['?', '#']).next().unwrap_or_default();
        let file = path.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
        let endings =
            [(".deb", Kind::Deb), (".rpm", Kind::Rpm), (".tar.gz", Kind::TarGz), (".tgz", Kind::TarGz)];
        let ending = |(ending, kind): (&str, Kind)| {
            file.strip_suffix(ending).is_some_and(|stem| !stem.is_empty()).then_some(kind)
        };
        endings.into_iter().find_map(ending)
    }

    /// As reports of hosts name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Kind::Deb => "deb",
            Kind::Rpm => "rpm",
            Kind::TarGz => "tar.gz",
        }
    }

    /// Those that this host takes: an archive always, another where its tool has a database here.
    #[must_use]
    pub fn taken_here() -> Vec<Kind> {
        Kind::taken_by(Path::new("/"))
    }

    fn taken_by(root: &Path) -> Vec<Kind> {
        let has = |files: &[&str]| {
            let length = |file: &&str| fs::metadata(root.join(file)).map_or(0, |file| file.len());
            files.iter().any(|file| length(file) > 0)
        };
        let mut taken = Vec::new();
        // A tool alone says little: many a host of one kind has the other's tool as well.
        if has(&DEB_DATABASES) {
            taken.push(Kind::Deb);
        }
        if has(&RPM_DATABASES) {
            taken.push(Kind::Rpm);
        }
        taken.push(Kind::TarGz);
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::Kind;

    #[test]
    fn a_name_s_ending_says_the_kind() {
        assert_eq!(Kind::of("monitor_1.0_amd64.deb"), Some(Kind::Deb));
        assert_eq!(Kind::of("http://your/monitor.rpm"), Some(Kind::Rpm));
        assert_eq!(Kind::of("https://h/a/b.tar.gz?token=x.deb#y.rpm"), Some(Kind::TarGz));
        assert_eq!(Kind::of("B.TGZ"), Some(Kind::TarGz));
    }

    #[test]
    fn a_host_takes_what_has_a_database_there() {
        let root = tempfile::tempdir().unwrap();
        let taken = || Kind::taken_by(root.path()).into_iter().map(Kind::name).collect::<Vec<_>>();
        assert_eq!(taken(), ["tar.gz"]);
        for (folder, file) in [("var/lib/dpkg", "status"), ("usr/lib/sysimage/rpm", "rpmdb.sqlite")] {
            std::fs::create_dir_all(root.path().join(folder)).unwrap();
            std::fs::write(root.path().join(folder).join(file), "").unwrap();
        }
        assert_eq!(taken(), ["tar.gz"], "an empty one is none");
        std::fs::write(root.path().join("var/lib/dpkg/status"), "x").unwrap();
        assert_eq!(taken(), ["deb", "tar.gz"]);
    }

    #[test]
    fn other_names_have_no_kind() {
        for name in ["", "deb", ".deb", "a/.rpm", "a.zip", "a.deb/", "a.gz", "a.tar", "a?b.deb", "adeb"] {
            assert_eq!(Kind::of(name), None, "{name}");
        }
    }
}
