//! Packages of Debian, by dpkg.

use crate::error::printable;
use crate::lock::Lock;
use crate::names;
use crate::tool::{Call, Ended, Tools};
use std::path::Path;

const DATABASE: &str = "/var/lib/dpkg";

/// What dpkg is told besides: to ask nothing, to keep configuration files that
/// were changed here, and to go back to an older version.
const OPTIONS: [&str; 3] = ["--force-confdef", "--force-confold", "--force-downgrade"];

/// Of a name and a state for each package.
const LIST_BYTES: u64 = 16 << 20;

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
    let _lock = Lock::wait(DATABASE.as_ref())?;
    if states(tools, package)?.iter().any(State::is_there) { remove(tools, package) } else { Ok(()) }
}

/// Removes what a file may have left, whose installation did not come to its end: its package, where
/// that is unfinished or of this very version. Another version is the host's own.
pub(crate) fn uninstall_file(tools: &Tools, file: &Path) -> Result<(), String> {
    if !tools.has("dpkg-query") {
        return Ok(());
    }
    let asked = ask_file(tools, file)?;
    // A broken file was never installed.
    let Ok((package, version)) = asked.check().and_then(|asked| identity(&asked)) else { return Ok(()) };
    // Taken before the look: what the host's own dpkg is about to finish is not unfinished.
    let _lock = Lock::wait(DATABASE.as_ref())?;
    let states = states(tools, &package)?;
    let is_ours = |state: &State| state.is_there() && (state.is_unfinished() || state.version == version);
    if states.iter().any(is_ours) { remove(tools, &package) } else { Ok(()) }
}

fn remove(tools: &Tools, package: &str) -> Result<(), String> {
    // A killed dpkg may have left it in need of a reinstallation, which must not keep it here.
    dpkg(tools)?.args(["--force-remove-reinstreq", "--remove", package]).run()?.check()?;
    Ok(())
}

fn name_of(tools: &Tools, file: &Path) -> Result<String, String> {
    Ok(identity(&ask_file(tools, file)?.check()?)?.0)
}

fn ask_file(tools: &Tools, file: &Path) -> Result<Ended, String> {
    let show = ["--show", "--showformat=${Package}\n${Version}"].map(AsRef::as_ref);
    tools.call("dpkg-deb")?.args(show.into_iter().chain([file.as_os_str()])).run()
}

/// The package's name and version.
fn identity(asked: &Ended) -> Result<(String, String), String> {
    let text = asked.text().unwrap_or_default();
    let (name, version) = text.split_once('\n').unwrap_or((&text, ""));
    names::check_package(name)?;
    Ok((name.to_owned(), version.to_owned()))
}

/// What dpkg has of a package, for one architecture.
struct State {
    status: String,
    is_to_be_reinstalled: bool,
    version: String,
}

impl State {
    fn is_there(&self) -> bool {
        !["not-installed", "config-files"].contains(&self.status.as_str())
    }

    fn is_unfinished(&self) -> bool {
        self.is_to_be_reinstalled
            || ["half-installed", "unpacked", "half-configured"].contains(&self.status.as_str())
    }
}

/// Nothing where dpkg has never heard of it.
fn states(tools: &Tools, package: &str) -> Result<Vec<State>, String> {
    let format = "--showformat=${db:Status-Status} ${db:Status-Eflag} ${Version}\n";
    let asked = tools.call("dpkg-query")?.args(["--show", format, package]).run()?;
    if asked.code() == Some(1) && asked.complaint().contains("no packages found matching") {
        return Ok(Vec::new());
    }
    let text = asked.check()?.text().ok_or("dpkg-query says more of one package than there is to say")?;
    let state = |line: &str| {
        let mut words = line.splitn(3, ' ').map(str::to_owned);
        let (status, flag, version) = (words.next()?, words.next()?, words.next()?);
        Some(State { status, is_to_be_reinstalled: flag == "reinstreq", version })
    };
    let states: Option<Vec<State>> = text.lines().map(state).collect();
    states
        .ok_or_else(|| format!("dpkg-query says of {package} what nobody understands: {}", printable(&text)))
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

#[cfg(test)]
mod tests {
    use super::{State, states};
    use crate::tool::Tools;

    fn said(script: &str) -> Result<Vec<State>, String> {
        let folder = tempfile::tempdir().unwrap();
        states(&Tools::faked(folder.path(), "dpkg-query", script), "monitor")
    }

    #[test]
    fn a_broken_database_is_no_missing_package() {
        let never = said("echo 'dpkg-query: no packages found matching monitor' >&2; exit 1");
        assert!(never.unwrap().is_empty());
        for script in ["echo 'dpkg-query: error: parsing file' >&2; exit 2", "exit 1", "kill -9 $$"] {
            let error = said(script).err().unwrap();
            assert!(error.starts_with("dpkg-query failed"), "{error}");
        }
        let error = said("echo installed").err().unwrap();
        assert!(error.contains("what nobody understands: installed"), "{error}");
    }

    #[test]
    fn each_architecture_has_a_state() {
        let states =
            said("echo 'config-files ok '; echo 'unpacked ok 1:2-3'; echo 'half-installed reinstreq '");
        let seen = states.unwrap();
        let seen: Vec<_> =
            seen.iter().map(|s| (s.is_there(), s.is_unfinished(), s.version.as_str())).collect();
        assert_eq!(seen, [(false, false, ""), (true, true, "1:2-3"), (true, true, "")]);
    }
}
