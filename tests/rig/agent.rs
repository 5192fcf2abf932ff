//! The built agent, in a folder of its own.

use super::pki::Ca;
use super::{process, until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use tempfile::TempDir;

/// The variable that says how to start the agent.
const WATCHED: &str = "GEARMAN";

/// Everything that an agent finds and leaves on its host. Whatever of it still
/// runs when this is dropped is ended.
pub struct Host {
    folder: TempDir,
}

/// An agent in the foreground, killed when this is dropped.
pub struct Agent {
    child: Child,
}

impl Host {
    /// A host that no Polaris knows yet.
    pub fn new() -> Host {
        Host { folder: tempfile::tempdir().unwrap() }
    }

    pub fn enrolled(ca: &Ca) -> Host {
        let host = Host::new();
        ca.enrol(&host.path("pki"));
        host
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Writes gearman.conf: this server list, and these lines in `[exec]`.
    pub fn configure(&self, servers: &str, exec: &str) {
        self.configure_daemons(servers, exec, "");
    }

    /// The same, and these lines in `[daemon]`.
    pub fn configure_daemons(&self, servers: &str, exec: &str, daemon: &str) {
        let (pki, store, socket) = (self.path("pki"), self.path("gearman.db"), self.socket());
        let (pki, store, socket) = (pki.display(), store.display(), socket.display());
        let plugins = self.plugins();
        let plugins = plugins.display();
        let (daemons, written, run) = (self.path("daemon"), self.path("log"), self.path("run"));
        let (daemons, written, run) = (daemons.display(), written.display(), run.display());
        let text = format!(
            "hostname = \"web-1\"\nregion = \"cn-1\"\ntags = {{ svc = \"ecs\", cmpt = \"db\" }}\n\
             [link]\nserver = \"{servers}\"\nbackoff = {{ min = 1, max = 1 }}\n\
             [tls]\ndir = \"{pki}\"\n[store]\npath = \"{store}\"\n[exec]\ngrace = 1\n{exec}\n\
             [daemon]\ndir = \"{daemons}\"\nlog = \"{written}\"\nrun = \"{run}\"\n{daemon}\n\
             [plugins]\ndir = \"{plugins}\"\n[control]\nsocket = \"{socket}\"\n"
        );
        fs::write(self.path("gearman.conf"), text).unwrap();
    }

    /// The agent's control socket.
    pub fn socket(&self) -> PathBuf {
        self.path("gearman.sock")
    }

    /// The plugin folder, which need not be there.
    pub fn plugins(&self) -> PathBuf {
        self.path("plugins")
    }

    /// `gearman` with this host's files.
    pub fn command(&self) -> Command {
        let mut command = gearman();
        command.arg("-C").arg(self.path("gearman.conf"));
        command.arg("-L").arg(self.path("gearman.log"));
        command.arg("-P").arg(self.path("gearman.pid"));
        command
    }

    /// Starts the agent in the foreground.
    pub fn start(&self) -> Agent {
        let mut command = self.command();
        Agent { child: command.args(["-f", "-l", "debug"]).stdin(Stdio::null()).spawn().unwrap() }
    }

    /// Starts it as a daemon: once this returns it has said that it is ready.
    pub fn daemonize(&self) -> u32 {
        let output = self.command().output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        self.pid().expect("a pid file")
    }

    /// The pid file's content.
    pub fn pid(&self) -> Option<u32> {
        fs::read_to_string(self.path("gearman.pid")).ok()?.trim().parse().ok()
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.path("gearman.log")).unwrap_or_default()
    }

    /// Waits until the log has a line with all of these words, and returns it.
    pub fn logged(&self, words: &[&str]) -> String {
        until(&format!("{words:?} in the log"), || {
            let log = self.log();
            log.lines().find(|line| words.iter().all(|word| line.contains(word))).map(str::to_owned)
        })
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the agent's log:\n{}{}", self.log(), self.boot_log());
        }
        // Of this very host, which shows in where they are or in what they are called with: agents, what
        // they run, and a helper of boot that would start another.
        let folder = self.folder.path().to_string_lossy();
        process::end_all(|| [self.processes(), process::with_words(&folder)].concat());
    }
}

impl Agent {
    pub fn of(child: Child) -> Agent {
        Agent { child }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, which: Signal) {
        signal(self.pid(), which);
    }

    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for its end.
    pub fn ended(&mut self) -> ExitStatus {
        until("the agent to end", || self.child.try_wait().unwrap())
    }

    /// Waits until it has neither children nor zombies.
    pub fn alone(&self) {
        until("the agent's children to be gone", || process::children(self.pid()).is_empty().then_some(()));
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // What it started in process groups of their own must not outlive the test.
        for child in process::children(self.pid()) {
            let _ = kill(Pid::from_raw(-child.cast_signed()), Signal::SIGKILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The binary under test: the built one, or what GEARMAN names, a word a line,
/// such as another build behind a program that watches it.
pub fn gearman() -> Command {
    watched(WATCHED, env!("CARGO_BIN_EXE_gearman"))
}

/// The program, or what the variable names in its place.
pub fn watched(variable: &str, program: &str) -> Command {
    let words = std::env::var(variable).unwrap_or_default();
    let mut words = words.lines();
    let mut command = Command::new(words.next().unwrap_or(program));
    command.args(words);
    command
}

pub fn is_watched() -> bool {
    std::env::var_os(WATCHED).is_some()
}

pub fn signal(pid: u32, which: Signal) {
    // One that has ended already is what is wanted of most signals.
    let _ = kill(Pid::from_raw(pid.cast_signed()), which);
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Exit code, standard output, standard error.
pub fn parts(output: &Output) -> (Option<i32>, String, String) {
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}
