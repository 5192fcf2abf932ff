//! A real host for the real helper: a script stands in for boot, and is installed by an archive or by
//! a .deb of the test's own.

use crate::rig::{process, until};
use aspire::handover::{Job, Life, Paths, Plan, Release, Stage};
use aspire::machine::Process;
use aspire::reactor;
use aspire_package::{Install, Kind};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tempfile::TempDir;

const SCRIPT: &str = include_str!("../scripts/boot.sh");
const PAUSE: Duration = Duration::from_millis(20);
/// Says to this test that it is the helper, and of which plan.
pub const PLAN: &str = "ASPIRE_TEST_PLAN";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    Archive,
    /// Installed into this very system, below /opt.
    Deb,
}

/// Whose dpkg is at work: another test's would finish what this one's has left half done, and run the
/// script that hangs.
static DPKG: Mutex<()> = Mutex::new(());

pub struct Host {
    pub folder: TempDir,
    pub packing: Packing,
    /// The installed program.
    pub program: PathBuf,
    pub paths: Paths,
    /// The .deb's.
    name: String,
    current: Release,
    test: &'static str,
    /// The last field, for it is given back last.
    _dpkg: Option<MutexGuard<'static, ()>>,
}

impl Host {
    /// With the first version installed, and nobody who runs it. `test` is the caller's name.
    pub fn new(packing: Packing, test: &'static str) -> Host {
        let dpkg = (packing == Packing::Deb).then(|| DPKG.lock().unwrap_or_else(PoisonError::into_inner));
        let folder = tempfile::tempdir().unwrap();
        // Tests in the same process have packages of their own.
        let name = format!("aspire-test-boot-{}-{}", std::process::id(), test.len());
        let program = match packing {
            Packing::Archive => folder.path().join("installed/boot"),
            Packing::Deb => PathBuf::from(format!("/opt/{name}/bin/boot")),
        };
        let paths = Paths::new(folder.path());
        let current = Release { version: "1".into(), checksum: None, package: None };
        let host = Host { folder, packing, program, paths, name, current, test, _dpkg: dpkg };
        let package = host.package("1", "good");
        match packing {
            Packing::Archive => {
                fs::create_dir(host.path("installed")).unwrap();
                host.script(&host.program, "1", "good");
            }
            Packing::Deb => {
                let (kind, folder) = (Kind::Deb, host.path("tree"));
                let install = Install { kind, file: package, folder, version: "1".into(), spare: None };
                aspire_package::install(&install).unwrap();
            }
        }
        host
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// As boot is started.
    pub fn arguments(&self, foreground: bool) -> Vec<String> {
        let text = |path: PathBuf| path.to_str().unwrap().to_owned();
        let mut arguments = vec!["-P".into(), text(self.path("pid")), "-H".into(), text(self.path(""))];
        arguments.extend(foreground.then(|| "-f".to_owned()));
        arguments
    }

    /// Starts boot, which outlives nobody but this test.
    pub fn boot(&self, foreground: bool) -> Child {
        let mut command = Command::new(&self.program);
        command.args(self.arguments(foreground)).stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(Stdio::null()).process_group(0).spawn().unwrap()
    }

    /// Whoever holds the pid file, and the version that it runs.
    pub fn running(&self) -> Option<(i32, String)> {
        let pid: i32 = fs::read_to_string(self.path("pid")).ok()?.trim().parse().ok()?;
        let alive = process::is_alive(pid.cast_unsigned());
        let version = fs::read_to_string(self.path(&format!("version.{pid}"))).ok()?;
        alive.then(|| (pid, version.trim().to_owned()))
    }

    /// All processes with this host's arguments, of whatever version.
    pub fn all(&self) -> Vec<i32> {
        process::with_words(&self.arguments(false).join("\0"))
    }

    pub fn helpers(&self) -> Vec<i32> {
        process::with_words(self.paths.plan().to_str().unwrap())
    }

    /// What boot leaves for the helper, to become this version.
    pub fn prepare(&self, version: &str, kind: &str, deadline: u64, foreground: bool) -> Plan {
        let (pid, _) = until("boot to run", || self.running());
        let package = self.package(version, kind);
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        let process: Process = reactor::look(pid).expect("it runs");
        let plan = Plan {
            job: Job { id: format!("job-{version}"), name: "boot".into() },
            stage: Stage::Prepared,
            reason: None,
            failed_at: None,
            wanted: Release { version: version.into(), checksum: None, package: Some(package) },
            before: self.current.clone(),
            program: self.program.clone(),
            arguments: self.arguments(foreground),
            given: self.arguments(foreground),
            pid_file: self.path("pid"),
            old: Life::new(process, boot.trim()),
            unit: None,
            is_enabled: false,
            found: None,
            left: None,
            deadline,
            log: self.path("boot-upgrade.log"),
        };
        fs::create_dir_all(self.path(".self")).unwrap();
        let _ = fs::remove_file(self.paths.confirmed());
        fs::copy(&self.program, self.paths.copy()).unwrap();
        self.save(&plan);
        plan
    }

    pub fn plan(&self) -> Plan {
        Plan::parse(&fs::read(self.paths.plan()).unwrap()).unwrap()
    }

    /// This is what is installed from now on.
    pub fn settle(&mut self, plan: &Plan) {
        self.current = plan.installed().clone();
    }

    /// The real helper, in a process of its own.
    pub fn helper(&self) -> Child {
        self.helper_with(&[])
    }

    /// With these variables besides.
    pub fn helper_with(&self, variables: &[(&str, &Path)]) -> Child {
        let plan = self.paths.plan();
        let mut command = Command::new(std::env::current_exe().unwrap());
        // The last is no test's name; it is found by it.
        command.args(["--exact", self.test, "--test-threads=1"]).arg(&plan).env(PLAN, &plan);
        command.envs(variables.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.process_group(0).spawn().unwrap()
    }

    /// What dpkg has of it.
    pub fn packaged(&self) -> Option<String> {
        let query = ["--show", "--showformat=${db:Status-Status} ${Version}", &self.name];
        let output = Command::new("dpkg-query").args(query).output().unwrap();
        (self.packing == Packing::Deb).then(|| String::from_utf8(output.stdout).unwrap())
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.path("boot-upgrade.log")).unwrap_or_default()
    }

    pub fn save(&self, plan: &Plan) {
        let new = self.path(".self/new");
        fs::write(&new, plan.text()).unwrap();
        fs::rename(new, self.paths.plan()).unwrap();
    }

    fn script(&self, to: &Path, version: &str, kind: &str) {
        let text = SCRIPT.replace("@VERSION@", version).replace("@KIND@", kind);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        // Written by a process of its own: what another thread's child has open cannot be run.
        let draft = self.path("draft");
        fs::write(&draft, text).unwrap();
        run(Command::new("install").args(["-m", "755"]).arg(draft).arg(to));
    }

    /// A package of this version, in the folder of packages.
    fn package(&self, version: &str, kind: &str) -> PathBuf {
        let tree = self.path(&format!("tree-{version}"));
        fs::create_dir_all(self.paths.packages()).unwrap();
        let ending = if self.packing == Packing::Deb { "deb" } else { "tar.gz" };
        let file = self.paths.packages().join(format!("{version}.{ending}"));
        if kind == "broken" {
            fs::write(&file, "no package").unwrap();
            return file;
        }
        match self.packing {
            Packing::Archive => {
                self.script(&tree.join("bin/boot"), version, kind);
                run(Command::new("tar").arg("-czf").arg(&file).arg("-C").arg(&tree).arg("."));
            }
            Packing::Deb => {
                self.script(&tree.join(format!("opt/{}/bin/boot", self.name)), version, kind);
                let control = tree.join("DEBIAN/control");
                fs::create_dir_all(control.parent().unwrap()).unwrap();
                let name = &self.name;
                let fields = format!(
                    "Package: {name}\nVersion: {version}\nArchitecture: all\n\
                     Maintainer: Test <test@example.org>\nDescription: a test's\n"
                );
                fs::write(&control, fields).unwrap();
                let here = self.path("");
                let here = here.display();
                let waits = format!("while [ -d {here} ] && [ ! -e {here}/go ]; do sleep 0.05; done");
                let scripts =
                    [("half", "exit 1".to_owned()), ("stuck", format!("echo >{here}/stuck; {waits}"))];
                if let Some((_, text)) = scripts.iter().find(|(of, _)| *of == kind) {
                    let script = tree.join("DEBIAN/postinst");
                    fs::write(&script, format!("#!/bin/sh\n{text}\n")).unwrap();
                    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
                }
                let mut command = Command::new("dpkg-deb");
                command.args(["-Znone", "--build", "--root-owner-group"]);
                run(command.arg(&tree).arg(&file));
            }
        }
        file
    }
}

/// Nobody of it stays, and nothing in the system.
impl Drop for Host {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Whoever fails here as well ends the whole program, and leaves everything behind.
            eprintln!("{}\n{}", self.log(), fs::read_to_string(self.paths.plan()).unwrap_or_default());
        }
        process::end_all(|| [self.helpers(), self.all()].concat());
        let _ = fs::write(self.path("go"), "");
        if self.packing == Packing::Deb {
            let purge = ["--force-all", "--purge", &self.name];
            // Another dpkg may be at work, one of a test that failed among them.
            let purged = || Command::new("dpkg").args(purge).output().is_ok_and(|done| done.status.success());
            for _ in 0..100 {
                if purged() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(100));
            }
        }
    }
}

/// Whoever starts boot again when it has ended.
pub struct Keeper {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    pub fn of(host: &Host) -> Keeper {
        let is_over = Arc::new(AtomicBool::new(false));
        let (over, program, arguments) = (is_over.clone(), host.program.clone(), host.arguments(true));
        let keep = move || {
            while !over.load(Ordering::Relaxed) {
                let mut command = Command::new(&program);
                command.args(&arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
                // Where there is none at the moment, it tries again, as such programs do.
                if let Ok(mut child) = command.process_group(0).spawn() {
                    while matches!(child.try_wait(), Ok(None)) {
                        if over.load(Ordering::Relaxed) {
                            let _ = child.kill();
                        }
                        std::thread::sleep(PAUSE);
                    }
                }
                std::thread::sleep(PAUSE);
            }
        };
        Keeper { is_over, thread: Some(std::thread::spawn(keep)) }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

pub fn end(pid: i32) {
    let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
}

pub fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
}
