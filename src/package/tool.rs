//! The system's own tools: found, run with an environment of their own, and heard.

use crate::error::printable;
use crate::heard::{Heard, Tail};
use nix::errno::Errno;
use nix::poll::{PollTimeout, poll};
use std::io;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

const FOLDERS: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Of each stream the end is kept: the reason comes last.
const KEPT_BYTES: u64 = 64 * 1024;
const TOLD_LINES: usize = 5;
const TOLD_BYTES: usize = 1024;
/// How late a tool's end is noticed at most.
const LONGEST_PAUSE_MS: u16 = 50;

/// Where programs are looked for.
#[derive(Debug, Clone)]
pub(crate) struct Tools {
    folders: String,
}

impl Default for Tools {
    fn default() -> Self {
        Tools { folders: FOLDERS.into() }
    }
}

impl Tools {
    #[cfg(test)]
    pub fn in_folders(folders: String) -> Self {
        Tools { folders }
    }

    /// Tools of a test's own, of which there is one.
    #[cfg(test)]
    pub fn faked(folder: &std::path::Path, program: &str, script: &str) -> Self {
        // Written by a process of its own: what another thread's child has open cannot be run.
        let make = r#"printf '#!/bin/sh\n%s\n' "$2" > "$1"; chmod +x "$1""#;
        let status =
            Command::new("sh").args(["-c", make, "sh"]).arg(folder.join(program)).arg(script).status();
        assert!(status.unwrap().success());
        Tools::in_folders(folder.to_str().unwrap().to_owned())
    }

    /// Whether a program is on this host.
    pub fn has(&self, program: &str) -> bool {
        self.path(program).is_some()
    }

    fn path(&self, program: &str) -> Option<PathBuf> {
        self.folders.split(':').map(|folder| PathBuf::from(folder).join(program)).find(|path| path.is_file())
    }

    /// A call of a program that is on this host.
    pub fn call(&self, program: &str) -> Result<Call, String> {
        let path = self.path(program).ok_or_else(|| {
            let remedy = "install it, or publish a package of another kind";
            format!("{program} is not on this host (looked in {}): {remedy}", self.folders)
        })?;
        let mut command = Command::new(path);
        command.env_clear().env("PATH", &self.folders).env("HOME", "/root").env("LC_ALL", "C.UTF-8");
        command.env("DEBIAN_FRONTEND", "noninteractive").env("DEBCONF_NONINTERACTIVE_SEEN", "true");
        command.current_dir("/");
        Ok(Call { program: program.to_owned(), command, kept_bytes: KEPT_BYTES })
    }
}

pub(crate) struct Call {
    program: String,
    command: Command,
    kept_bytes: u64,
}

/// How a call ended.
pub(crate) struct Ended {
    program: String,
    status: ExitStatus,
    stdout: Tail,
    stderr: Tail,
}

impl Call {
    pub fn args<S: AsRef<std::ffi::OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.command.args(args);
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Keeps more, or less, of each stream than the end that a reason needs.
    pub fn keep(mut self, bytes: u64) -> Self {
        self.kept_bytes = bytes;
        self
    }

    /// Runs it to its own end: a daemon that a package's script started, and that
    /// holds its streams, is not waited for.
    pub fn run(mut self) -> Result<Ended, String> {
        let trouble = |error: io::Error| format!("{} could not be run: {error}", self.program);
        let heard = || Heard::new(self.kept_bytes);
        let (out, err) = (heard().map_err(trouble)?, heard().map_err(trouble)?);
        self.command.stdin(Stdio::null());
        self.command.stdout(out.writer().map_err(trouble)?).stderr(err.writer().map_err(trouble)?);
        let mut child = self.command.spawn().map_err(trouble)?;
        let status = wait(&mut child, [&out, &err]).map_err(trouble)?;
        let (stdout, stderr) = (out.end().map_err(trouble)?, err.end().map_err(trouble)?);
        Ok(Ended { program: self.program, status, stdout, stderr })
    }
}

/// Waits for its end, and sees meanwhile that what it says does not fill the memory.
fn wait(child: &mut Child, streams: [&Heard; 2]) -> io::Result<ExitStatus> {
    let mut pause_ms = 1;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        for stream in streams {
            stream.forget()?;
        }
        match poll(&mut [], PollTimeout::from(pause_ms)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        // Most calls are short, and an installation is long.
        pause_ms = LONGEST_PAUSE_MS.min(2 * pause_ms);
    }
}

impl Ended {
    pub fn success(&self) -> bool {
        self.status.success()
    }

    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// The end of what it complained of.
    pub fn complaint(&self) -> String {
        String::from_utf8_lossy(&self.stderr.bytes).into_owned()
    }

    /// All that it wrote to its standard output, where that was not too much.
    pub fn text(&self) -> Option<String> {
        (!self.stdout.is_cut).then(|| String::from_utf8_lossy(&self.stdout.bytes).into_owned())
    }

    /// `Err` says how it failed, in its own last words.
    pub fn check(self) -> Result<Self, String> {
        if self.success() {
            return Ok(self);
        }
        let words = [&self.stderr, &self.stdout].map(last_lines);
        let words: Vec<&str> = words.iter().map(String::as_str).filter(|words| !words.is_empty()).collect();
        let words = if words.is_empty() { "it said nothing".to_owned() } else { words.join(" | ") };
        Err(format!("{} failed ({}): {words}", self.program, self.status))
    }
}

fn last_lines(tail: &Tail) -> String {
    let text = String::from_utf8_lossy(&tail.bytes[tail.bytes.len().saturating_sub(TOLD_BYTES)..]);
    let lines: Vec<String> = text.lines().map(printable).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(TOLD_LINES)..].join(" / ")
}

#[cfg(test)]
mod tests {
    use super::Tools;
    use std::fs;
    use std::path::Path;
    use std::process::{Command, Stdio};
    use std::time::Duration;

    fn sh(script: &str) -> super::Ended {
        Tools::default().call("sh").unwrap().args(["-c", script]).run().unwrap()
    }

    #[test]
    fn a_tool_s_last_words_are_told() {
        let error = sh("seq 9; echo no\troom >&2; exit 3").check().err().unwrap();
        assert_eq!(error, "sh failed (exit status: 3): no room | 5 / 6 / 7 / 8 / 9");
        assert_eq!(
            sh("kill -9 $$").check().err().unwrap(),
            "sh failed (signal: 9 (SIGKILL)): it said nothing"
        );
        assert_eq!(sh("echo a; echo b >&2").check().unwrap().text().as_deref(), Some("a\n"));
    }

    #[test]
    fn of_much_output_the_end_is_kept() {
        let ended = sh("seq 100000; exit 1");
        assert_eq!(ended.text(), None);
        assert!(ended.check().err().unwrap().ends_with("99999 / 100000"));
    }

    #[test]
    fn a_daemon_that_holds_the_streams_is_not_waited_for() {
        let ended = sh("sleep 600 & echo $!");
        let pid: i32 = ended.text().unwrap().trim().parse().unwrap();
        assert!(ended.success());
        Command::new("kill").arg(pid.to_string()).status().unwrap();
    }

    #[test]
    fn what_a_daemon_says_later_is_refused_and_fills_no_memory() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().display();
        let daemon = format!("until [ -e {path}/go ]; do sleep 0.01; done; echo x; echo $? > {path}/said");
        sh(&format!("({daemon}; mv {path}/said {path}/done) 2>/dev/null &"));
        fs::write(folder.path().join("go"), "").unwrap();
        assert_ne!(until(&folder.path().join("done")).trim(), "0");
    }

    #[test]
    fn a_script_that_opens_the_stream_anew_is_heard_too() {
        let error = sh("echo first >&2; echo second > /dev/stderr; echo third >&2; exit 1").check().err();
        assert_eq!(error.unwrap(), "sh failed (exit status: 1): second / third");
    }

    /// Set for the caller that is killed.
    const FOLDER: &str = "ASPIRE_TEST_FOLDER_OF_A_CALLER";

    #[test]
    fn a_tool_comes_to_its_end_though_its_caller_is_killed() {
        if let Ok(folder) = std::env::var(FOLDER) {
            let waits = format!("echo > {folder}/begun; until [ -e {folder}/go ]; do sleep 0.01; done");
            sh(&format!("{waits}; for i in 1 2 3; do echo out; echo err >&2; done; echo > {folder}/done"));
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let mut caller = Command::new(std::env::current_exe().unwrap());
        caller.args(["--exact", "tool::tests::a_tool_comes_to_its_end_though_its_caller_is_killed"]);
        let mut caller = caller.env(FOLDER, folder.path()).stdout(Stdio::null()).spawn().unwrap();
        until(&folder.path().join("begun"));
        caller.kill().unwrap();
        caller.wait().unwrap();
        fs::write(folder.path().join("go"), "").unwrap();
        until(&folder.path().join("done"));
    }

    /// What is in a file, once it is there.
    #[expect(clippy::disallowed_methods, reason = "a real shell takes real time")]
    fn until(path: &Path) -> String {
        for _ in 0..3000 {
            if let Ok(text) = fs::read_to_string(path) {
                return text;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("waited 30 s in vain for {}", path.display());
    }

    #[test]
    fn a_tool_that_is_missing_is_named() {
        let error = Tools::in_folders("/nonexistent:/proc".into()).call("rpm").err().unwrap();
        assert!(error.starts_with("rpm is not on this host (looked in /nonexistent:/proc)"), "{error}");
    }

    #[test]
    fn a_tool_has_an_environment_of_its_own() {
        let text = sh("env").text().unwrap();
        assert!(text.contains("DEBIAN_FRONTEND=noninteractive"), "{text}");
        assert!(!text.contains("CARGO"), "{text}");
    }
}
