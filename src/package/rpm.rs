//! Packages of Red Hat and SUSE, by rpm, which itself waits for another rpm.

use crate::names;
use crate::tool::{Ended, Tools};
use std::path::Path;

/// A name, and what tells two packages of that name apart.
const IDENTITY: &str = "%{NAME} %{EVR}.%{ARCH}\n";

/// Installs a file over whatever there is of its package, newer versions and what
/// a killed rpm left included. Returns the package's name.
pub(crate) fn install(tools: &Tools, file: &Path) -> Result<String, String> {
    if !is_plain(file) {
        return Err(format!("file: must be a plain path for rpm, got {}", file.display()));
    }
    let (name, _) = identity(&ask_file(tools, file)?.check()?)?;
    let options = ["-U", "--replacepkgs", "--oldpackage"].map(AsRef::as_ref);
    tools.call("rpm")?.args(options.into_iter().chain([file.as_os_str()])).run()?.check()?;
    Ok(name)
}

/// Removes a package in all its versions: a killed upgrade may have left two.
pub(crate) fn uninstall(tools: &Tools, package: &str) -> Result<(), String> {
    names::check_package(package)?;
    if installed(tools, package)?.is_empty() { Ok(()) } else { remove(tools, package) }
}

/// Removes what a file may have left, whose installation did not come to its end: its package, where
/// that is here in this very version. Another version alone is the host's own.
pub(crate) fn uninstall_file(tools: &Tools, file: &Path) -> Result<(), String> {
    if !tools.has("rpm") || !is_plain(file) {
        return Ok(());
    }
    let asked = ask_file(tools, file)?;
    // A broken file was never installed.
    let Ok((package, this)) = asked.check().and_then(|asked| identity(&asked)) else { return Ok(()) };
    if installed(tools, &package)?.contains(&this) { remove(tools, &package) } else { Ok(()) }
}

fn remove(tools: &Tools, package: &str) -> Result<(), String> {
    tools.call("rpm")?.args(["-e", "--allmatches", package]).run()?.check()?;
    Ok(())
}

/// rpm takes its arguments for patterns and URLs.
fn is_plain(file: &Path) -> bool {
    file.to_str().is_some_and(|path| !path.contains(['*', '?', '[', ']', '{', '}', '\\', ':']))
}

fn ask_file(tools: &Tools, file: &Path) -> Result<Ended, String> {
    let query = ["-q", "-p", "--queryformat", IDENTITY].map(AsRef::as_ref);
    tools.call("rpm")?.args(query.into_iter().chain([file.as_os_str()])).run()
}

/// The package's name, and the whole of its identity.
fn identity(asked: &Ended) -> Result<(String, String), String> {
    let text = asked.text().unwrap_or_default();
    let whole = text.trim();
    let name = whole.split(' ').next().unwrap_or_default();
    names::check_package(name)?;
    Ok((name.to_owned(), whole.to_owned()))
}

/// The identities of the packages of this name.
fn installed(tools: &Tools, package: &str) -> Result<Vec<String>, String> {
    let asked = tools.call("rpm")?.args(["-q", "--queryformat", IDENTITY, package]).run()?;
    let text = asked.text().ok_or("rpm says more of one package than there is to say")?;
    // With a broken database it says so, too, but not alone.
    let is_missing = text.trim() == format!("package {package} is not installed");
    if asked.code() == Some(1) && is_missing && !asked.complaint().contains("error:") {
        return Ok(Vec::new());
    }
    asked.check()?;
    Ok(text.lines().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::installed;
    use crate::tool::Tools;

    fn said(script: &str) -> Result<Vec<String>, String> {
        let folder = tempfile::tempdir().unwrap();
        installed(&Tools::faked(folder.path(), "rpm", script), "monitor")
    }

    #[test]
    fn a_broken_database_is_no_missing_package() {
        let missing = "echo 'package monitor is not installed'; exit 1";
        assert_eq!(said(missing), Ok(Vec::new()));
        assert_eq!(said(&format!("echo 'warning: no key' >&2; {missing}")), Ok(Vec::new()));
        let broken = format!("echo 'error: cannot open Packages database' >&2; {missing}");
        for script in [&broken, "exit 1", "echo 'package other is not installed'; exit 1", "kill -9 $$"] {
            let error = said(script).unwrap_err();
            assert!(error.starts_with("rpm failed"), "{error}");
        }
    }

    #[test]
    fn two_versions_are_two() {
        let two = said("echo 'monitor 1-1.noarch'; echo 'monitor 2:1-1.noarch'");
        assert_eq!(two, Ok(vec!["monitor 1-1.noarch".to_owned(), "monitor 2:1-1.noarch".to_owned()]));
    }
}
