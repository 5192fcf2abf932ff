//! What the helper does to a real host.

use super::own::BOOT_ID;
use super::plan::{Confirmed, Life, Paths, Plan, Release, Stage};
use super::search::Search;
use super::stages::{Hands, Which};
use super::stamp::Stamp;
use crate::machine::limits::{HELPER_CALL, HELPER_WORDS_BYTES, INSTALL_TIMEOUT, PLAN_BYTES};
use crate::machine::{Content, FAMILY_VARIABLE, Instant, Launch, Placed, Process};
use crate::reactor::{self, Clock, wall_clock};
use crate::wire::Limits;
use aspire_package::{Install, Kind, Uninstall};
use nix::unistd::alarm;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Of the installed program.
const PROGRAM_MODE: u32 = 0o755;
const OWN_MODE: u32 = 0o600;
/// From one look at a program that was asked to the next.
const CALL_LOOK: Duration = Duration::from_millis(10);

pub(super) struct RealHands {
    paths: Paths,
    clock: Clock,
    log: File,
    /// The kernel's id of the host's boot.
    boot: String,
    /// An installation took too long.
    is_late: bool,
}

impl RealHands {
    /// # Errors
    /// The log cannot be opened, or /proc is not there.
    pub fn new(paths: Paths, plan: &Plan, is_late: bool) -> Result<RealHands, String> {
        let named = |error: io::Error| format!("{}: {error}", plan.log.display());
        plan.log.parent().map_or(Ok(()), fs::create_dir_all).map_err(named)?;
        let mut options = File::options();
        let options = options.append(true).create(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
        let log = options.open(&plan.log).map_err(named)?;
        if plan.stage == Stage::Prepared {
            log.set_len(0).map_err(named)?;
        }
        let boot = fs::read_to_string(BOOT_ID).map_err(|error| format!("{BOOT_ID}: {error}"))?;
        Ok(RealHands { paths, clock: Clock::new(), log, boot: boot.trim().to_owned(), is_late })
    }

    fn install_package(&self, plan: &Plan, release: &Release, spare: Option<&Path>) -> Result<(), String> {
        let (Some(file), Some(kind)) = (&release.package, release.kind()) else {
            return Err("its package is not on this host".into());
        };
        let tree = self.paths.tree();
        let install = Install {
            kind,
            file: file.clone(),
            folder: tree.clone(),
            version: release.version.clone(),
            spare: spare.map(Path::to_owned),
        };
        // A script that hangs must not hang us: the kernel ends this process, and another goes on.
        alarm::set(seconds(INSTALL_TIMEOUT));
        let installed = aspire_package::install(&install);
        alarm::cancel();
        installed.map_err(|error| error.to_string())?;
        if kind != Kind::TarGz {
            return Ok(());
        }
        let name = plan.program.file_name().ok_or("the program has no name")?;
        let current = tree.join("current");
        let places = [current.join("bin").join(name), current.join(name)];
        let found = places.iter().find(|place| place.is_file());
        let found = found.ok_or_else(|| {
            let name = name.to_string_lossy();
            format!("{}: has neither bin/{name} nor {name}", file.display())
        })?;
        put_program(found, &plan.program)
    }

    /// By its package, where that is kept and the system knows of it; and in any case by its program.
    fn put_back(&mut self, plan: &Plan) -> Result<(), String> {
        let is_the_systems = plan.before.kind().is_some_and(|kind| kind != Kind::TarGz);
        if is_the_systems
            && !self.is_late
            && let Err(reason) = self.install_package(plan, &plan.before, None)
        {
            self.log(&format!("package=not_put_back version={} reason={reason:?}", plan.before.version));
        }
        let copy = self.paths.copy();
        if is_same(&copy, &plan.program) { Ok(()) } else { put_program(&copy, &plan.program) }
    }

    /// Asks a program, and waits for its end. What it says first on its standard output.
    fn call(&self, command: &mut Command) -> Result<String, String> {
        let name = command.get_program().to_string_lossy().into_owned();
        let trouble = |error: io::Error| format!("{name}: {error}");
        let mut options = File::options();
        let options = options.read(true).append(true).create(true).mode(OWN_MODE);
        let mut words = options.custom_flags(libc::O_NOFOLLOW).open(self.paths.words()).map_err(trouble)?;
        words.set_len(0).map_err(trouble)?;
        let out = words.try_clone().map_err(trouble)?;
        let err = words.try_clone().map_err(trouble)?;
        let command = command.env_remove(FAMILY_VARIABLE).stdin(Stdio::null()).stdout(out).stderr(err);
        let mut child = command.spawn().map_err(trouble)?;
        let begun = self.clock.now().mono;
        let status = loop {
            if let Some(status) = child.try_wait().map_err(trouble)? {
                break Some(status);
            }
            if self.clock.now().mono.since(begun) > HELPER_CALL {
                let _ = child.kill();
                let _ = child.wait();
                break None;
            }
            pause(CALL_LOOK);
        };
        let text = last_words(&mut words).map_err(trouble)?;
        match status {
            Some(status) if status.success() => Ok(text),
            Some(status) => Err(format!("{name} failed ({status}): {text}")),
            None => Err(format!("{name} took longer than {} s: {text}", HELPER_CALL.as_secs())),
        }
    }

    fn systemctl(&self, words: &[&str]) -> Result<String, String> {
        self.call(Command::new("systemctl").args(words))
    }
}

impl Hands for RealHands {
    fn now(&self) -> Instant {
        self.clock.now().mono
    }

    fn pause(&mut self, time: Duration) {
        pause(time);
    }

    fn save(&mut self, plan: &Plan) -> Result<(), String> {
        reactor::place(&Placed { to: self.paths.plan(), content: Content::Text(plan.text()), mode: OWN_MODE })
    }

    fn stamp(&mut self, plan: &Plan) -> Option<Stamp> {
        Stamp::of(&plan.program)
    }

    fn ask_manager(&mut self, plan: &mut Plan) {
        let Some(unit) = plan.unit.take() else { return };
        let main = self.systemctl(&["show", "--property=MainPID", "--value", "--", &unit]);
        if main.is_ok_and(|pid| pid == plan.old.pid.to_string()) {
            plan.is_enabled = self.systemctl(&["--quiet", "is-enabled", "--", &unit]).is_ok();
            plan.unit = Some(unit);
        }
    }

    fn too_long(&self) -> Option<String> {
        let seconds = INSTALL_TIMEOUT.as_secs();
        self.is_late.then(|| format!("its installation took longer than {seconds} s, and was ended"))
    }

    fn install(&mut self, plan: &Plan, which: Which) -> Result<(), String> {
        match which {
            Which::New => self.install_package(plan, &plan.wanted, plan.before.package.as_deref()),
            Which::Old => self.put_back(plan),
        }
    }

    fn try_out(&mut self, plan: &Plan) -> Result<(), String> {
        let mut command = Command::new(&plan.program);
        command.args(&plan.arguments).arg("-t").current_dir("/");
        self.call(&mut command).map(drop)
    }

    fn running(&mut self, plan: &Plan) -> Vec<Process> {
        let search = Search::new(plan, &self.paths.copy());
        let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter_map(|pid| {
            let process = reactor::look(pid)?;
            // Looked at again: by now the number may be another's.
            (search.knows(pid) && reactor::look(pid) == Some(process)).then_some(process)
        })
        .collect()
    }

    fn holder(&mut self, plan: &Plan) -> Option<Process> {
        reactor::reap();
        let mut text = String::new();
        File::open(&plan.pid_file).ok()?.take(32).read_to_string(&mut text).ok()?;
        let process = reactor::look(text.trim().parse().ok()?)?;
        let has_lock = holds(process.pid, &plan.pid_file).unwrap_or(false);
        (has_lock && reactor::look(process.pid) == Some(process)).then_some(process)
    }

    fn is_alive(&mut self, process: Process) -> bool {
        reactor::reap();
        reactor::look(process.pid) == Some(process)
    }

    fn living(&mut self, life: &Life) -> Option<Process> {
        let process = life.process(&self.boot)?;
        self.is_alive(process).then_some(process)
    }

    fn confirmed(&mut self) -> Option<(Process, Confirmed)> {
        let mut text = Vec::new();
        File::open(self.paths.confirmed()).ok()?.take(PLAN_BYTES).read_to_end(&mut text).ok()?;
        let confirmed: Confirmed = serde_json::from_slice(&text).ok()?;
        Some((confirmed.life.process(&self.boot)?, confirmed))
    }

    fn forget_confirmed(&mut self) -> Result<(), String> {
        reactor::place(&Placed { to: self.paths.confirmed(), content: Content::Nothing, mode: OWN_MODE })
    }

    fn signal(&mut self, process: Process, signal: i32) {
        reactor::signal(process, signal);
    }

    fn restart_unit(&mut self, plan: &Plan) -> Result<(), String> {
        let Some(unit) = &plan.unit else { return Err("it is no service".into()) };
        // What a package's scripts left undone, or did too much.
        let _ = self.systemctl(&["daemon-reload"]);
        if plan.is_enabled && self.systemctl(&["--quiet", "is-enabled", "--", unit]).is_err() {
            self.log(&format!("unit=enabled_again name={unit}"));
            let _ = self.systemctl(&["--quiet", "enable", "--", unit]);
        }
        let _ = self.systemctl(&["reset-failed", "--", unit]);
        self.systemctl(&["--no-block", "restart", "--", unit]).map(drop)
    }

    fn start(&mut self, plan: &Plan) -> Result<Process, String> {
        let program = plan.program.display().to_string();
        let argv = std::iter::once(program).chain(plan.arguments.iter().cloned()).collect();
        let ours = [FAMILY_VARIABLE, super::helper::WORKER];
        let env = std::env::vars_os().filter_map(|(name, value)| {
            let name = name.into_string().ok().filter(|name| !ours.contains(&name.as_str()))?;
            Some((name, value.into_string().ok()?))
        });
        let launch = Launch {
            argv,
            env: env.collect(),
            cwd: "/".into(),
            credentials: None,
            limits: Limits::default(),
            remembered: false,
            lasting: None,
        };
        reactor::start(&launch).map_err(|error| error.to_string())
    }

    fn tidy(&mut self, plan: &Plan) {
        let packages = Some(self.paths.packages());
        let folder = Some(self.paths.tree());
        let none = Uninstall { kind: Kind::TarGz, package: None, folder, packages: None };
        // What stays is in nobody's way.
        let _ = aspire_package::uninstall(&none);
        let kept = plan.installed().package.as_deref();
        for entry in packages.iter().flat_map(fs::read_dir).flatten().flatten() {
            if Some(entry.path().as_path()) != kept {
                let _ = fs::remove_file(entry.path());
            }
        }
        let _ = fs::remove_file(self.paths.words());
        if plan.stage == Stage::RolledBack {
            self.log("the version before is back; the new one is not tried again");
        }
    }

    fn log(&mut self, line: &str) {
        let time = humantime::format_rfc3339_millis(wall_clock());
        // Where the log cannot be written there is the plan.
        let _ = writeln!(self.log, "{time} INFO  handover={} {line}", std::process::id());
    }
}

fn put_program(from: &Path, to: &Path) -> Result<(), String> {
    let content = Content::CopyOf(from.to_owned());
    reactor::place(&Placed { to: to.to_owned(), content, mode: PROGRAM_MODE })
}

/// Whether both have the same bytes.
fn is_same(one: &Path, other: &Path) -> bool {
    let bytes = |path: &Path| Some((fs::metadata(path).ok()?.len(), File::open(path).ok()?));
    let (Some((length, one)), Some((other_length, other))) = (bytes(one), bytes(other)) else {
        return false;
    };
    let sum = |file: File| aspire_package::Checksum::of(file).ok();
    length == other_length && sum(one).is_some_and(|sum_of_one| sum(other) == Some(sum_of_one))
}

/// Whether a process has this file open, and a lock of the file by that.
fn holds(pid: i32, path: &Path) -> io::Result<bool> {
    let file = fs::metadata(path)?;
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))?.flatten() {
        let same = |there: fs::Metadata| (there.dev(), there.ino()) == (file.dev(), file.ino());
        if !fs::metadata(entry.path()).is_ok_and(same) {
            continue;
        }
        let name = entry.file_name();
        let about = fs::read_to_string(Path::new(&format!("/proc/{pid}/fdinfo")).join(name));
        if about.is_ok_and(|about| about.lines().any(|line| line.starts_with("lock:"))) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// One line of at most so many bytes.
fn last_words(words: &mut File) -> io::Result<String> {
    let length = words.metadata()?.len();
    words.seek(SeekFrom::Start(length.saturating_sub(HELPER_WORDS_BYTES)))?;
    let mut bytes = Vec::new();
    words.take(HELPER_WORDS_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    Ok(text.trim().to_owned())
}

fn seconds(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX)
}

#[expect(clippy::disallowed_methods, reason = "the helper has no loop, and looks again")]
pub(super) fn pause(time: Duration) {
    std::thread::sleep(time);
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::fcntl::{Flock, FlockArg};

    #[test]
    fn whoever_holds_a_file_s_lock_is_told_from_whoever_has_it_open() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pid");
        let file = File::create(&path).unwrap();
        let pid = std::process::id().cast_signed();
        assert!(!holds(pid, &path).unwrap());
        let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).unwrap();
        assert!(holds(pid, &path).unwrap());
        // A file of that name is another, if the one that is held was removed.
        fs::remove_file(&path).unwrap();
        fs::write(&path, "").unwrap();
        assert!(!holds(pid, &path).unwrap());
        drop(lock);
    }

    #[test]
    fn files_are_the_same_by_their_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for (name, bytes) in [("a", "one"), ("b", "one"), ("c", "two"), ("d", "three")] {
            fs::write(path(name), bytes).unwrap();
        }
        assert!(is_same(&path("a"), &path("b")));
        for other in ["c", "d", "none"] {
            assert!(!is_same(&path("a"), &path(other)) && !is_same(&path(other), &path("a")), "{other}");
        }
    }

    #[test]
    fn of_what_a_program_says_the_end_is_told_in_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let mut options = File::options();
        let mut file =
            options.read(true).write(true).create(true).truncate(true).open(folder.path().join("w")).unwrap();
        write!(file, "{}\nthe\x1b[31m end\n", "x".repeat(5000)).unwrap();
        let words = last_words(&mut file).unwrap();
        assert!(words.ends_with("xxx the [31m end"), "{words}");
        assert_eq!(words.len(), 1023);
    }
}
