//! Packages of Red Hat and SUSE, by rpm, which itself waits for another rpm.

use crate::names;
use crate::tool::Tools;
use std::path::Path;

/// Installs a file over whatever there is of its package, newer versions and what
/// a killed rpm left included. Returns the package's name.
pub(crate) fn install(tools: &Tools, file: &Path) -> Result<String, String> {
    // rpm takes its arguments for patterns and URLs.
    if file.to_str().is_none_or(|path| path.contains(['*', '?', '[', ']', '{', '}', '\\', ':'])) {
        return Err(format!("file: must be a plain path for rpm, got {}", file.display()));
    }
    let name = name_of(tools, file)?;
    let options = ["-U", "--replacepkgs", "--oldpackage"].map(AsRef::as_ref);
    tools.call("rpm")?.args(options.into_iter().chain([file.as_os_str()])).run()?.check()?;
    Ok(name)
}

pub(crate) fn name_of(tools: &Tools, file: &Path) -> Result<String, String> {
    let query = ["-q", "-p", "--queryformat", "%{NAME}"].map(AsRef::as_ref);
    let asked = tools.call("rpm")?.args(query.into_iter().chain([file.as_os_str()])).run()?.check()?;
    let name = asked.text().unwrap_or_default().trim().to_owned();
    names::check_package(&name)?;
    Ok(name)
}

/// Removes a package in all its versions: a killed upgrade may have left two.
pub(crate) fn uninstall(tools: &Tools, package: &str) -> Result<(), String> {
    names::check_package(package)?;
    if !tools.call("rpm")?.args(["-q", package]).run()?.success() {
        return Ok(());
    }
    tools.call("rpm")?.args(["-e", "--allmatches", package]).run()?.check()?;
    Ok(())
}
