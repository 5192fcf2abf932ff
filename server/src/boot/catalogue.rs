//! From the catalogue of plugins to the package that a host is to get.

use super::version::compare;
use crate::limits::MAX_BOOT_FILES;
use crate::packages::PackagePath;
use crate::store::plugins::{PluginFilter, PluginRow};
use crate::store::{Store, StoreError};
use aspire_wire::boot::{BOOT_NAMES, KnownAgent};
use aspire_wire::daemon::PACKAGES;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BTreeSet};

/// A package of the catalogue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// `deb`, `rpm` or `tar.gz`.
    pub kind: String,
    /// The architecture, as Rust calls it; empty: any.
    pub arch: String,
    pub version: String,
    /// An absolute path, for whichever server the host asks.
    pub url: String,
    /// `SHA256:` and 64 hexadecimal digits.
    pub checksum: String,
}

/// What a host takes.
#[derive(Debug)]
pub struct Takes<'a> {
    /// Kinds of packages, the ones that it likes better first.
    pub kinds: &'a [String],
    /// The architecture, by whatever name.
    pub arch: &'a str,
}

impl<'a> Takes<'a> {
    /// By what its boot says of itself: its version ends with the architecture, as in
    /// `bootagent-1.2.4-x86_64`.
    pub fn of(version: &'a str, kinds: &'a [String]) -> Takes<'a> {
        Takes { kinds, arch: version.rsplit_once('-').map_or("", |(_, arch)| arch) }
    }

    /// For whoever is told that nothing fits.
    pub fn words(&self) -> String {
        if self.kinds.is_empty() {
            return "its boot does not say which kinds of packages it takes".into();
        }
        format!("it takes {} for {}", self.kinds.join(", "), self.arch)
    }

    /// The place of the newest that fits; where several are, one for the host's own architecture goes
    /// before one for any, and then the kind that the host likes better.
    pub fn choose(&self, files: &[File]) -> Option<usize> {
        let own = machine(self.arch);
        let fits = files.iter().enumerate().filter_map(|(n, file)| {
            let kind = self.kinds.iter().position(|kind| *kind == file.kind)?;
            (file.arch.is_empty() || file.arch == own).then_some((n, file, kind))
        });
        let better = |(_, one, one_kind): &(usize, &File, usize), (_, file, kind): &(usize, &File, usize)| {
            let likes = |file: &File, kind: usize| (!file.arch.is_empty(), Reverse(kind));
            compare(&one.version, &file.version).then_with(|| likes(one, *one_kind).cmp(&likes(file, *kind)))
        };
        fits.max_by(better).map(|(n, ..)| n)
    }
}

impl File {
    fn of(plugin: &PluginRow) -> Option<File> {
        Some(File {
            kind: kind(&plugin.file)?.to_owned(),
            arch: machine(&plugin.arch).to_owned(),
            version: plugin.version.clone(),
            url: PackagePath::of_text(&plugin.file).ok()?.url(),
            checksum: format!("SHA256:{}", plugin.checksum),
        })
    }

    /// Says in the job that it is this one.
    pub fn put(&self, job: &mut Map<String, Value>) {
        for (field, value) in [("url", &self.url), ("version", &self.version), ("checksum", &self.checksum)] {
            job.insert(field.into(), value.as_str().into());
        }
    }
}

/// The packages of an agent, or those of them that are this version: the newest for each kind and
/// architecture, the newest first, and no more than [`MAX_BOOT_FILES`].
pub async fn files(store: &Store, agent: &str, version: Option<&str>) -> Result<Vec<File>, StoreError> {
    let mut files = Vec::new();
    for name in names(agent) {
        let plugins =
            store.list_plugins(&PluginFilter { name: Some(name), ..PluginFilter::default() }).await?;
        let wanted = plugins.iter().filter(|plugin| version.is_none_or(|version| plugin.version == version));
        files.extend(wanted.filter_map(File::of));
    }
    Ok(newest(files))
}

/// The newest version of every agent in the catalogue, by [`title`].
pub async fn latest(store: &Store) -> Result<BTreeMap<String, String>, StoreError> {
    let mut latest = BTreeMap::<String, String>::new();
    for plugin in store.list_plugins(&PluginFilter::default()).await? {
        if kind(&plugin.file).is_none() {
            continue;
        }
        let known = latest.entry(title(&plugin.name).to_owned()).or_default();
        if compare(&plugin.version, known) == Ordering::Greater {
            *known = plugin.version;
        }
    }
    Ok(latest)
}

/// All that an agent may be called.
pub fn names(agent: &str) -> Vec<&str> {
    match KnownAgent::named(agent) {
        Some(known) => vec![known.program, known.title],
        None if BOOT_NAMES.contains(&agent) => BOOT_NAMES.to_vec(),
        None => vec![agent],
    }
}

/// The one name that stands for all of them.
pub fn title(agent: &str) -> &str {
    names(agent).first().copied().unwrap_or(agent)
}

fn newest(mut files: Vec<File>) -> Vec<File> {
    files.sort_by(|one, other| compare(&other.version, &one.version));
    let mut seen = BTreeSet::new();
    files.retain(|file| seen.insert((file.kind.clone(), file.arch.clone())));
    files.truncate(MAX_BOOT_FILES);
    files
}

/// As hosts call it; `None` of what is no package.
fn kind(file: &str) -> Option<&'static str> {
    let suffix = PACKAGES.iter().find(|suffix| file.ends_with(**suffix))?;
    Some(if *suffix == ".tgz" { "tar.gz" } else { suffix.trim_start_matches('.') })
}

/// One name for each architecture: distributions have their own.
fn machine(arch: &str) -> &str {
    match arch {
        "amd64" | "x64" => "x86_64",
        "arm64" => "aarch64",
        "i386" | "i486" | "i586" | "i686" => "x86",
        "armhf" | "armv7l" | "armv7hl" => "arm",
        "all" | "any" | "noarch" => "",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(file: &str, arch: &str, version: &str) -> File {
        let row = PluginRow {
            id: String::new(),
            name: "a".into(),
            version: version.into(),
            arch: arch.into(),
            os: String::new(),
            file: file.into(),
            checksum: "0".repeat(64),
            created: 0,
        };
        File::of(&row).unwrap()
    }

    fn chosen<'a>(files: &'a [File], kinds: &[&str], arch: &str) -> Option<&'a str> {
        let kinds: Vec<_> = kinds.iter().map(|kind| (*kind).to_owned()).collect();
        let version = format!("bootagent-1.0-{arch}");
        Takes::of(&version, &kinds).choose(files).map(|n| files[n].url.as_str())
    }

    #[test]
    fn a_host_gets_the_newest_that_it_takes() {
        let files = newest(vec![
            file("a_1.9_amd64.deb", "amd64", "1.9"),
            file("a_1.10_amd64.deb", "amd64", "1.10"),
            file("a_1.10_arm64.deb", "arm64", "1.10"),
            file("a-1.11.x86_64.rpm", "x86_64", "1.11"),
            file("a-1.10.tgz", "", "1.10"),
        ]);
        assert_eq!(files.len(), 4, "of each kind and architecture one: {files:?}");
        for (kinds, arch, expected) in [
            (&["deb"][..], "x86_64", Some("/packages/a_1.10_amd64.deb")),
            (&["deb"], "aarch64", Some("/packages/a_1.10_arm64.deb")),
            (&["rpm", "deb"], "x86_64", Some("/packages/a-1.11.x86_64.rpm")),
            (&["rpm", "tar.gz"], "aarch64", Some("/packages/a-1.10.tgz")),
            (&["tar.gz", "deb"], "x86_64", Some("/packages/a_1.10_amd64.deb")),
            (&["rpm"], "aarch64", None),
            (&[], "x86_64", None),
        ] {
            assert_eq!(chosen(&files, kinds, arch), expected, "{kinds:?} {arch}");
        }
    }

    #[test]
    fn of_two_kinds_the_host_has_its_own_opinion() {
        let files = newest(vec![file("a-1.0.tar.gz", "", "1.0"), file("a_1.0_all.deb", "all", "1.0")]);
        assert_eq!(chosen(&files, &["deb", "tar.gz"], "x86_64"), Some("/packages/a_1.0_all.deb"));
        assert_eq!(chosen(&files, &["tar.gz", "deb"], "x86_64"), Some("/packages/a-1.0.tar.gz"));
    }

    #[test]
    fn an_agent_of_ours_has_two_names() {
        assert_eq!(names("BasicAgent"), ["gearman", "BasicAgent"]);
        assert_eq!((title("BasicAgent"), title("BootAgent"), title("other")), ("gearman", "boot", "other"));
        assert_eq!(kind("plugins/cpu.so"), None);
    }
}
