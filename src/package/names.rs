//! Names that become parts of paths, or arguments of programs.

use std::path::{Component, Path};

/// As long as the `daemon` table's columns.
const VERSION_BYTES: usize = 64;
const PACKAGE_BYTES: usize = 256;

/// A version is the name of a folder: one plain component that is no option,
/// not hidden, and none of the names kept for our own links.
pub(crate) fn check_version(version: &str) -> Result<(), String> {
    let wrong = |reason: &str| Err(format!("version: {reason}, got {version:?}"));
    match version {
        "" => return wrong("must not be empty"),
        "current" | "previous" => return wrong("this name is kept for a link"),
        _ if version.len() > VERSION_BYTES => return wrong("must be at most 64 bytes"),
        _ => {}
    }
    if !version.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return wrong("must begin with a letter or a digit");
    }
    match version.chars().find(|c| !c.is_ascii_alphanumeric() && !"._+~:-".contains(*c)) {
        Some(_) => wrong("may have letters, digits and . _ + ~ : - only"),
        None => Ok(()),
    }
}

/// A package's name as dpkg and rpm have them, so that none is an option or a pattern.
pub(crate) fn check_package(package: &str) -> Result<(), String> {
    let plain = package.starts_with(|c: char| c.is_ascii_alphanumeric())
        && package.len() <= PACKAGE_BYTES
        && package.chars().all(|c| c.is_ascii_alphanumeric() || "._+~-".contains(c));
    if plain {
        return Ok(());
    }
    Err(format!("package: must be a name of letters, digits and . _ + ~ -, got {package:?}"))
}

/// A path that a tool takes as it is: absolute, without `.` or `..`, and deep
/// enough not to be one of the system's own folders.
pub(crate) fn check_path(field: &str, path: &Path) -> Result<(), String> {
    let wrong = |reason: &str| Err(format!("{field}: {reason}, got {}", path.display()));
    if !path.is_absolute() {
        return wrong("must be an absolute path");
    }
    if path.components().any(|part| part == Component::ParentDir) {
        return wrong("must not climb with ..");
    }
    if path.components().count() < 3 {
        return wrong("must lie at least two folders deep");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{check_package, check_path, check_version};
    use std::path::Path;

    #[test]
    fn a_version_is_one_plain_component() {
        for version in ["1", "1.0.1", "1:2.3-4+deb12u1~rc1", "v2_x"] {
            assert_eq!(check_version(version), Ok(()));
        }
        let long = "1".repeat(65);
        for version in
            ["", ".", "..", ".1", "-r", "a/b", "/", "a b", "a\nb", "é", "current", "previous", &long]
        {
            let error = check_version(version).unwrap_err();
            assert!(error.starts_with("version: "), "{error}");
        }
    }

    #[test]
    fn a_package_s_name_is_neither_option_nor_pattern() {
        for name in ["aspire-agent", "libstdc++6", "python3.11", "glibc_x"] {
            assert_eq!(check_package(name), Ok(()));
        }
        for name in ["", "-r", "--root=/", "a*", "a b", "../a", "a/b", "a\n", &"a".repeat(257)] {
            assert!(check_package(name).unwrap_err().starts_with("package: "), "{name}");
        }
    }

    #[test]
    fn a_folder_is_nobody_else_s() {
        assert_eq!(check_path("folder", Path::new("/opt/monitor")), Ok(()));
        for path in ["", "a/b", "/", "/usr", "/opt/../usr", "/opt/a/.."] {
            assert!(check_path("folder", Path::new(path)).unwrap_err().starts_with("folder: "), "{path}");
        }
    }
}
