//! The kinds of package, by their files' names.

use serde::{Deserialize, Serialize};

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
    fn other_names_have_no_kind() {
        for name in ["", "deb", ".deb", "a/.rpm", "a.zip", "a.deb/", "a.gz", "a.tar", "a?b.deb", "adeb"] {
            assert_eq!(Kind::of(name), None, "{name}");
        }
    }
}
