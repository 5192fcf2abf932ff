//! Packages of Debian, by dpkg.

use crate::lock::Lock;
use crate::names;
use crate::tool::{Call, Tools};
use std::path::Path;

const DATABASE: &str = "/var/lib/dpkg";

/// What dpkg is told besides: to ask nothing, to keep configuration files that
/// were changed here, and to go back to an older version.
const OPTIONS: [&str; 3] = ["--force-confdef", "--force-confold", "--force-downgrade"];

/// Of a name and a state for each package.
const LIST_BYTES: usize = 16 << 20;

/// States in which dpkg has not done its work to the end.
const UNFINISHED: [&str; 4] = ["unpacked", "half-configured", "triggers-awaited", "triggers-pending"];

/// Installs a file over whatever there is of its package, be it a whole version
/// or what a killed dpkg left. Returns the package's name.
pub(crate) fn install(tools: &Tools, file: &Path) -> Result<String, String> {
    let package = name_of(tools, file)?;
    let _lock = Lock::wait(DATABASE.as_ref())?;
    finish_others(tools, &package)?;
    dpkg(tools)?.args(OPTIONS).args(["--install".as_ref(), file.as_os_str()]).run()?.check()?;
    Ok(package)
}

/// Removes a package and keeps its configuration files.
pub(crate) fn uninstall(tools: &Tools, package: &str) -> Result<(), String> {
    names::check_package(package)?;
    let query = tools.call("dpkg-query")?.args(["--show", "--showformat=${db:Status-Status}", package]);
    let _lock = Lock::wait(DATABASE.as_ref())?;
    let state = query.run()?;
    let state = if state.success() { state.text().unwrap_or_default() } else { String::new() };
    if ["", "not-installed", "config-files"].contains(&state.trim()) {
        return Ok(());
    }
    // A killed dpkg may have left it in need of a reinstallation, which must not keep it here.
    dpkg(tools)?.args(["--force-remove-reinstreq", "--remove", package]).run()?.check()?;
    Ok(())
}

pub(crate) fn name_of(tools: &Tools, file: &Path) -> Result<String, String> {
    let field = tools.call("dpkg-deb")?.args(["--field".as_ref(), file.as_os_str(), "Package".as_ref()]);
    let name = field.run()?.check()?.text().unwrap_or_default().trim().to_owned();
    names::check_package(&name)?;
    Ok(name)
}

/// A dpkg that is killed may leave others half done, and they keep ours from
/// being configured. Whether that helps shows when ours is installed.
fn finish_others(tools: &Tools, package: &str) -> Result<(), String> {
    let query = ["--show", "--showformat=${binary:Package} ${db:Status-Status}\n"];
    let list = tools.call("dpkg-query")?.args(query).keep(LIST_BYTES).run()?;
    let text = list.check()?.text().ok_or("dpkg-query lists more packages than any system has")?;
    let pairs = text.lines().filter_map(|line| line.split_once(' '));
    let others = pairs.filter(|(name, state)| *name != package && UNFINISHED.contains(state));
    let others: Vec<&str> = others.map(|(name, _)| name).collect();
    if !others.is_empty() {
        dpkg(tools)?.args(OPTIONS).args(["--configure"]).args(others).run()?;
    }
    Ok(())
}

fn dpkg(tools: &Tools) -> Result<Call, String> {
    Ok(tools.call("dpkg")?.env("DPKG_FRONTEND_LOCKED", "1"))
}
