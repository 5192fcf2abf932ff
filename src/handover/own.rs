//! What boot knows of itself.

use super::manager::{systemd_run, unit_of};
use super::plan::Life;
use super::stamp::Stamp;
use crate::machine::FAMILY_VARIABLE;
use crate::reactor;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// A boot that runs, as it is at its start.
#[derive(Debug, Clone)]
pub struct Own {
    /// As packages of it are numbered.
    pub version: String,
    /// The installed program.
    pub program: PathBuf,
    /// What can be copied to have this very program, whatever was installed since.
    pub image: PathBuf,
    /// That program's file when this was made.
    pub stamp: Option<Stamp>,
    /// With which it is started again.
    pub arguments: Vec<String>,
    /// With which it was started.
    pub given: Vec<String>,
    pub pid_file: PathBuf,
    pub life: Life,
    /// The service of systemd that it may be.
    pub unit: Option<String>,
    /// The program that makes scopes.
    pub systemd_run: Option<String>,
    /// The environment that it was given.
    pub env: Vec<(String, String)>,
}

impl Own {
    /// Of this process, once it is the daemon. `arguments` start it again as it is now: enrolment is
    /// no part of them.
    ///
    /// # Errors
    /// What /proc does not show.
    pub fn look(arguments: Vec<String>, pid_file: &Path) -> Result<Own, String> {
        let pid = std::process::id().cast_signed();
        let process = reactor::look(pid).ok_or("/proc does not show this process")?;
        let program = env::current_exe().map_err(|error| format!("/proc/self/exe: {error}"))?;
        let named = |name: &str| fs::read_to_string(name).map_err(|error| format!("{name}: {error}"));
        let text = |word: std::ffi::OsString| word.into_string().ok();
        let given = env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned());
        Ok(Own {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            program: without_mark(program),
            image: IMAGE.into(),
            stamp: Stamp::of(IMAGE.as_ref()),
            given: given.collect(),
            arguments,
            pid_file: pid_file.to_owned(),
            life: Life::new(process, named(BOOT_ID)?.trim()),
            unit: unit_of(&named("/proc/self/cgroup").unwrap_or_default()),
            systemd_run: systemd_run(),
            env: env::vars_os()
                .filter(|(name, _)| name != FAMILY_VARIABLE)
                .filter_map(|(name, value)| Some((text(name)?, text(value)?)))
                .collect(),
        })
    }
}

/// The kernel's id of the host's boot.
pub(super) const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// By this name a program has its own file, whatever has its name now.
const IMAGE: &str = "/proc/self/exe";

/// The kernel's name for a program whose file was replaced.
pub(super) fn without_mark(program: PathBuf) -> PathBuf {
    match program.to_str().and_then(|text| text.strip_suffix(" (deleted)")) {
        Some(text) => text.into(),
        None => program,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_knows_itself() {
        let own = Own::look(vec!["-f".into()], Path::new("/run/p")).unwrap();
        assert_eq!(own.program, env::current_exe().unwrap());
        assert_eq!(reactor::look(own.life.pid), own.life.process(&own.life.boot));
        assert!(fs::metadata(&own.image).unwrap().is_file());
        assert_eq!(own.stamp, Stamp::of(&own.program));
        assert_eq!(without_mark("/usr/bin/boot (deleted)".into()), Path::new("/usr/bin/boot"));
    }
}
