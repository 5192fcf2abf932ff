//! dpkg's database: paragraphs of fields, as deb-control(5) has them.

use crate::package::{Manager, Package, Packages};
use aspire_plugin::{Root, Text};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

const STATUS: &str = "var/lib/dpkg/status";
/// What a dpkg that runs, or was interrupted, has not yet written there.
const UPDATES: &str = "var/lib/dpkg/updates";

/// Of one name there may be a package for each architecture.
type Key = (Text, Option<Text>);

/// Adds what dpkg has, as `dpkg-query -W` lists it: with what is left of removed
/// packages, and without those of which it knows the name only.
pub fn read(root: &Root, found: &mut Packages) {
    let status = root.path(STATUS);
    // What cannot even be looked for is told below.
    if !fs::exists(&status).unwrap_or(true) {
        return;
    }
    found.managers.push(Manager::Dpkg);
    let mut files = vec![status];
    match updates(&root.path(UPDATES)) {
        Ok(updates) => files.extend(updates),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => found.unreadable(&root.path(UPDATES), &error),
    }
    let mut packages = BTreeMap::new();
    for file in files {
        match fs::read(&file) {
            Ok(text) => add(&text, &file, &mut packages, found),
            // dpkg has taken it into the status since.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => found.unreadable(&file, &error),
        }
    }
    let known = packages.into_values().filter(|package| package.status.as_bytes() != b"not-installed");
    found.packages.extend(known);
}

/// Numbered files, in their order.
fn updates(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let is_numbered = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let files = fs::read_dir(folder)?.flatten().map(|entry| entry.path());
    let mut numbered: Vec<_> = files.filter(is_numbered).collect();
    numbered.sort();
    Ok(numbered)
}

/// Adds a file's packages; a later word on a package is the one that counts.
fn add(text: &[u8], path: &Path, packages: &mut BTreeMap<Key, Package>, found: &mut Packages) {
    let mut paragraph = Vec::new();
    let mut number = 0;
    // An empty line ends a paragraph; at the end of the file one may be missing.
    for line in text.split(|&byte| byte == b'\n').chain([&b""[..]]) {
        if !line.trim_ascii().is_empty() {
            paragraph.push(line);
            continue;
        }
        if paragraph.is_empty() {
            continue;
        }
        number += 1;
        match Paragraph(&paragraph).package() {
            Some(package) => {
                packages.insert((package.name.clone(), package.architecture.clone()), package);
            }
            None => found.unreadable(path, &format!("paragraph {number} names no package")),
        }
        paragraph.clear();
    }
}

/// The lines of one.
struct Paragraph<'a>(&'a [&'a [u8]]);

impl Paragraph<'_> {
    fn package(&self) -> Option<Package> {
        let name = self.field("Package")?;
        // `install ok installed`: what is wanted, whether it must be installed again,
        // and how far it has come.
        let status = self.field("Status");
        let words = status.iter().flat_map(|text| text.as_bytes().split(u8::is_ascii_whitespace));
        let mut words = words.filter(|word| !word.is_empty()).map(Text::from);
        let (wanted, _, status) = (words.next(), words.next(), words.next());
        let size = self.field("Installed-Size").and_then(|size| size.as_str()?.parse::<u64>().ok());
        Some(Package {
            name,
            manager: Manager::Dpkg,
            version: self.field("Version"),
            architecture: self.field("Architecture"),
            // As dpkg has it, what has no status is not installed.
            status: status.unwrap_or("not-installed".into()),
            wanted,
            size: size.and_then(|size| size.checked_mul(1024)),
            summary: self.field("Description"),
            installed: None,
        })
    }

    /// A field's first line; those that continue it begin with a blank. Blanks at its
    /// end are dpkg's own where it is continued.
    fn field(&self, name: &str) -> Option<Text> {
        let (at, value) = self.0.iter().enumerate().find_map(|(at, line)| {
            let (field, value) = line.split_at_checked(name.len())?;
            field.eq_ignore_ascii_case(name.as_bytes()).then_some(())?;
            Some((at, value.strip_prefix(b":")?))
        })?;
        let continued =
            self.0.get(at + 1).is_some_and(|line| line.starts_with(b" ") || line.starts_with(b"\t"));
        let value = if continued { value.trim_ascii_start() } else { value.trim_ascii() };
        (!value.is_empty()).then(|| value.into())
    }
}
