//! The query `package`.

use crate::{dpkg, rpm};
use aspire_plugin::args::{self, Part};
use aspire_plugin::{Failure, Root, Text, json};
use getopts::Options;
use jiff::Timestamp;
use serde::Serialize;
use std::path::Path;

/// The answer.
#[derive(Debug, Default, Serialize)]
pub struct Packages {
    /// Whose databases this host has: `dpkg`, `rpm`, both or neither.
    pub managers: Vec<Manager>,
    /// In the order of their names. `-N` shows some, `-n` and `-o` a part of those.
    pub packages: Vec<Package>,
    /// How many there are, or how many are as `-N` says.
    pub count: usize,
    /// Databases and records that cannot be read. What they hold is missing above.
    pub unreadable: Vec<Unreadable>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Manager {
    Dpkg,
    Rpm,
}

/// A package that is installed, or that has left something behind.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Package {
    pub name: Text,
    /// Who has installed it.
    pub manager: Manager,
    /// As its manager writes it in one: `1:2.36-9`. Null where none is noted.
    pub version: Option<Text>,
    /// `amd64`, `x86_64`, `all`, `noarch`. Null where none is noted, as of the keys
    /// that rpm keeps as packages.
    pub architecture: Option<Text>,
    /// `installed`, or what dpkg has come to with it: `config-files` of a package
    /// that was removed but for those, `half-installed`, `unpacked`, …. What rpm
    /// has is `installed`.
    pub status: Text,
    /// What shall become of it: `install`, `hold`, `deinstall`, `purge`; null for
    /// rpm, which does not note that.
    pub wanted: Option<Text>,
    /// What it takes when installed, in bytes: dpkg counts it in KiB.
    pub size: Option<u64>,
    /// What it is, in a line.
    pub summary: Option<Text>,
    /// When it was installed; null for dpkg, which does not note that.
    pub installed: Option<Timestamp>,
}

/// What cannot be read, and why.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Unreadable {
    pub path: Text,
    pub reason: String,
}

impl Packages {
    pub fn unreadable(&mut self, path: &Path, reason: &impl ToString) {
        self.unreadable.push(Unreadable { path: path.into(), reason: reason.to_string() });
    }
}

/// `-N GLOB`: those of such names. `-n`, `-o`: a part of the list.
pub fn answer(args: &str) -> Result<String, Failure> {
    let mut options = Options::new();
    options.optopt("N", "", "those with such a name, where * is any text and ? any character", "GLOB");
    Part::options(&mut options);
    let matches = args::matches(&options, args)?;
    json(&packages(&Root::default(), matches.opt_str("N").as_deref(), Part::of(&matches)?))
}

/// As [`answer`], of the system below a root.
pub fn packages(root: &Root, name: Option<&str>, part: Part) -> Packages {
    let mut found = Packages::default();
    dpkg::read(root, &mut found);
    rpm::read(root, &mut found);
    found
        .packages
        .retain(|package| name.is_none_or(|glob| is_like(package.name.as_bytes(), glob.as_bytes())));
    found.packages.sort();
    found.count = found.packages.len();
    found.packages = part.take(found.packages);
    found
}

/// Whether a name is as `*` (any text) and `?` (any character) in a pattern allow.
fn is_like(name: &[u8], glob: &[u8]) -> bool {
    let (mut at, mut in_glob) = (0, 0);
    // The last asterisk, and the place in the name up to which it stands.
    let mut asterisk: Option<(usize, usize)> = None;
    while at < name.len() {
        match glob.get(in_glob) {
            Some(b'*') => {
                asterisk = Some((in_glob, at));
                in_glob += 1;
            }
            Some(&byte) if byte == b'?' || byte == name[at] => {
                at += 1;
                in_glob += 1;
            }
            // It stands for one more, and what follows is tried there.
            _ => match &mut asterisk {
                Some((place, upto)) => {
                    *upto += 1;
                    (in_glob, at) = (*place + 1, *upto);
                }
                None => return false,
            },
        }
    }
    glob[in_glob..].iter().all(|&byte| byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_like_a_glob_or_not() {
        for (glob, like, unlike) in [
            ("bash", &["bash"][..], &["bash-doc", "bas", ""][..]),
            ("*", &["", "bash"], &[]),
            ("lib*", &["lib", "libc6"], &["alib", "li"]),
            ("*-dev", &["-dev", "libc6-dev", "a-dev-dev"], &["libc6-dev-x", "dev"]),
            ("lib?6*-*v", &["libc6-v", "libc6-a-dev"], &["lib6-v", "libc6-de"]),
            ("??", &["ab"], &["a", "abc"]),
            ("**a*", &["a", "bab"], &["", "b"]),
            ("[a]", &["[a]"], &["a"]),
        ] {
            for (names, expected) in [(like, true), (unlike, false)] {
                for name in names {
                    assert_eq!(is_like(name.as_bytes(), glob.as_bytes()), expected, "{glob} {name}");
                }
            }
        }
    }

    #[test]
    fn a_hostile_glob_takes_no_longer_than_its_length_by_the_names() {
        let name = "a".repeat(20_000);
        assert!(!is_like(name.as_bytes(), format!("{}b", "a*".repeat(200)).as_bytes()));
    }
}
