//! A bare host: a Debian with nothing of ours, in namespaces of its own on this machine. Its files,
//! packages and processes are its own and end with it; the network is this machine's.

#![allow(clippy::unwrap_used, reason = "what is unexpected fails the test")]

pub mod packages;
mod system;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use tempfile::TempDir;

pub struct Bare {
    /// unshare(1), whose end is that of the host's first process and so of all of them.
    outside: Child,
    /// The host's first process, as this machine numbers it.
    init: u32,
    _place: TempDir,
}

impl Bare {
    /// `None`, and a word to people, where this user may not do that.
    pub fn start() -> Option<Bare> {
        if !nix::unistd::geteuid().is_root() {
            system::aloud("a bare host needs root");
            return None;
        }
        let probe = unshare().arg("true").output().unwrap();
        if !probe.status.success() {
            system::aloud(&format!("a bare host needs namespaces: {probe:?}"));
            return None;
        }
        let system = system::system();
        let place = tempfile::tempdir().unwrap();
        let init = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bare/init");
        let mut outside = unshare();
        outside.arg(init).arg(system).arg(place.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut outside = outside.spawn().unwrap();
        let mut said = String::new();
        BufReader::new(outside.stdout.take().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said, "ready\n", "the bare host could not be made: its init says why");
        let children = format!("/proc/{0}/task/{0}/children", outside.id());
        let init = fs::read_to_string(children).unwrap().trim().parse().unwrap();
        Some(Bare { outside, init, _place: place })
    }

    /// The path on this machine of a file of the host.
    pub fn path(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.init))
    }

    pub fn read(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.path(path)).ok()
    }

    /// Brings a file of this machine to the host.
    pub fn bring(&self, file: &Path, to: &str) {
        fs::copy(file, self.path(to)).unwrap();
    }

    /// A program of the host, there.
    pub fn command(&self, program: &str) -> Command {
        let mut nsenter = Command::new("nsenter");
        nsenter.args(["--mount", "--pid", "--target", &self.init.to_string(), "--", program]);
        nsenter.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("HOME", "/root");
        nsenter.stdin(Stdio::null());
        nsenter
    }

    /// A line for the host's shell.
    pub fn shell(&self, line: &str) -> Output {
        self.command("/bin/sh").args(["-c", line]).output().unwrap()
    }

    /// What a line that must succeed writes.
    pub fn says(&self, line: &str) -> String {
        let output = self.shell(line);
        assert!(output.status.success(), "{line}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

/// What runs behind this does so in mount and pid namespaces of its own, and ends with it.
fn unshare() -> Command {
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "--pid", "--fork", "--kill-child", "--propagation", "private", "--"]);
    unshare.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    unshare
}

impl Drop for Bare {
    fn drop(&mut self) {
        let _ = self.outside.kill();
        let _ = self.outside.wait();
    }
}
