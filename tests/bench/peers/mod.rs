//! The same small program under each supervisor, and the supervisors that
//! gearman is compared with: found where Debian's packages `runit` and
//! `supervisor` put them, run by hand in a folder of their own. Their services
//! are left alone.

use crate::rig::until;
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{Pid, mkfifo};
use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::{OpenOptionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// How long everybody is left alone before the next kill.
const QUIET: Duration = Duration::from_millis(50);

/// The small program, compiled.
pub struct Beacon {
    folder: TempDir,
}

impl Beacon {
    pub fn new() -> Beacon {
        let folder = tempfile::tempdir().unwrap();
        let mut cc = Command::new("cc");
        cc.args(["-O2", "-static", "-x", "c", "-o"]).arg(folder.path().join("beacon")).arg("-");
        let source = File::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bench/peers/beacon.c"));
        assert!(cc.stdin(source.unwrap()).status().unwrap().success(), "the beacon does not compile");
        Beacon { folder }
    }

    pub fn program(&self) -> PathBuf {
        self.folder.path().join("beacon")
    }
}

/// Who has begun under one supervisor, and when.
pub struct Begun {
    fifo: File,
    path: PathBuf,
    partial: String,
    /// Those that live, the one that is killed next first.
    alive: VecDeque<i32>,
}

impl Begun {
    pub fn at(path: PathBuf) -> Begun {
        mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
        // Open for both, so that it never ends.
        let fifo = File::options().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(&path).unwrap();
        Begun { fifo, path, partial: String::new(), alive: VecDeque::new() }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for so many.
    pub fn wait_for(&mut self, count: usize) {
        while self.alive.len() < count {
            let (pid, _) = self.next();
            self.alive.push_back(pid);
        }
    }

    /// The next that begins, and its time.
    fn next(&mut self) -> (i32, Duration) {
        until("a process to begin", || {
            let mut bytes = [0; 4096];
            if let Ok(length) = self.fifo.read(&mut bytes) {
                self.partial.push_str(str::from_utf8(&bytes[..length]).unwrap());
            }
            let (line, rest) = self.partial.split_once('\n')?;
            let (pid, nanoseconds) = line.split_once(' ').unwrap();
            let begun = (pid.parse().unwrap(), Duration::from_nanos(nanoseconds.parse().unwrap()));
            let read = self.partial.len() - rest.len();
            self.partial.drain(..read);
            Some(begun)
        })
    }

    /// Kills one, and returns the time from then until its successor began.
    pub fn killed(&mut self) -> Duration {
        std::thread::sleep(QUIET);
        let pid = self.alive.pop_front().unwrap();
        let at = Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap());
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
        let (next, begun) = self.next();
        self.alive.push_back(next);
        begun.checked_sub(at).expect("it began after the one before it was killed")
    }
}

/// A supervisor by hand, ended with what it keeps.
pub struct Peer {
    pub begun: Begun,
    supervisors: Vec<Child>,
    _folder: TempDir,
}

impl Peer {
    /// A runsv for each of so many; `None` where this machine has none.
    pub fn runit(beacon: &Beacon, count: usize) -> Option<Peer> {
        let program = installed("runsv")?;
        let folder = tempfile::tempdir().unwrap();
        let begun = Begun::at(folder.path().join("fifo"));
        let start = |number| {
            let service = folder.path().join(format!("service-{number}"));
            fs::create_dir(&service).unwrap();
            symlink(beacon.program(), service.join("run")).unwrap();
            let mut command = Command::new(&program);
            command.arg(&service).env("BEACON", begun.path());
            quiet(&mut command).spawn().unwrap()
        };
        let supervisors = (0..count).map(start).collect();
        Some(Peer { begun, supervisors, _folder: folder }.ready(count))
    }

    /// One supervisord with so many processes; `None` where this machine has none.
    pub fn supervisord(beacon: &Beacon, count: usize) -> Option<Peer> {
        let program = installed("supervisord")?;
        let folder = tempfile::tempdir().unwrap();
        let begun = Begun::at(folder.path().join("fifo"));
        let (place, settings) = (folder.path().display(), folder.path().join("settings"));
        let text = format!(
            "[supervisord]\nnodaemon=true\nlogfile={place}/log\npidfile={place}/pid\nchildlogdir={place}\n\
             [program:beacon]\ncommand={}\nenvironment=BEACON=\"{}\"\nautorestart=true\nstartsecs=1\n\
             numprocs={count}\nprocess_name=%(process_num)d\n",
            beacon.program().display(),
            begun.path().display()
        );
        fs::write(&settings, text).unwrap();
        let mut command = Command::new(program);
        command.arg("-n").arg("-c").arg(settings);
        let supervisors = vec![quiet(&mut command).spawn().unwrap()];
        Some(Peer { begun, supervisors, _folder: folder }.ready(count))
    }

    fn ready(mut self, count: usize) -> Peer {
        self.begun.wait_for(count);
        self
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // TERM has both end what they keep first.
        for supervisor in &self.supervisors {
            let _ = kill(Pid::from_raw(supervisor.id().cast_signed()), Signal::SIGTERM);
        }
        for supervisor in &mut self.supervisors {
            let _ = supervisor.wait();
        }
    }
}

fn quiet(command: &mut Command) -> &mut Command {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null())
}

fn installed(program: &str) -> Option<PathBuf> {
    let found = ["/usr/bin", "/usr/local/bin"].map(|folder| Path::new(folder).join(program));
    found.into_iter().find(|path| path.exists())
}
