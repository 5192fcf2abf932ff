//! The system's own tools: found, run with an environment of their own, and heard.

use crate::error::printable;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io::{ErrorKind, Read};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

const FOLDERS: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Of each stream the end is kept: the reason comes last.
const KEPT_BYTES: usize = 64 * 1024;
const TOLD_LINES: usize = 5;
const TOLD_BYTES: usize = 1024;
/// How soon a tool's end is noticed while somebody else holds its streams.
const LOOK_MS: u16 = 50;

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

    /// A call of a program that is on this host.
    pub fn call(&self, program: &str) -> Result<Call, String> {
        let paths = self.folders.split(':').map(|folder| PathBuf::from(folder).join(program));
        let path = paths.into_iter().find(|path| path.is_file());
        let path = path.ok_or_else(|| {
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
    kept_bytes: usize,
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
    pub fn keep(mut self, bytes: usize) -> Self {
        self.kept_bytes = bytes;
        self
    }

    /// Runs it to its own end: a daemon that a package's script started, and that
    /// holds our pipes, is not waited for.
    pub fn run(mut self) -> Result<Ended, String> {
        self.command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let trouble = |error: std::io::Error| format!("{} could not be run: {error}", self.program);
        let mut child = self.command.spawn().map_err(trouble)?;
        let (mut stdout, mut stderr) = (Tail::new(self.kept_bytes), Tail::new(self.kept_bytes));
        let status = hear(&mut child, &mut stdout, &mut stderr).map_err(trouble)?;
        Ok(Ended { program: self.program, status, stdout, stderr })
    }
}

fn hear(child: &mut Child, stdout: &mut Tail, stderr: &mut Tail) -> std::io::Result<ExitStatus> {
    let mut out = Some(child.stdout.take().expect("it is piped"));
    let mut err = Some(child.stderr.take().expect("it is piped"));
    not_blocking(out.as_ref())?;
    not_blocking(err.as_ref())?;
    loop {
        let ended = child.try_wait()?;
        drain(&mut out, stdout);
        drain(&mut err, stderr);
        if let Some(status) = ended {
            return Ok(status);
        }
        let fds = [out.as_ref().map(AsFd::as_fd), err.as_ref().map(AsFd::as_fd)];
        let mut fds: Vec<_> =
            fds.into_iter().flatten().map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        match poll(&mut fds, PollTimeout::from(LOOK_MS)) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn not_blocking(stream: Option<&impl AsFd>) -> std::io::Result<()> {
    let Some(stream) = stream else { return Ok(()) };
    fcntl(stream, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok(())
}

/// Takes in what is there; forgets a stream that has ended.
fn drain(stream: &mut Option<impl Read>, tail: &mut Tail) {
    let Some(open) = stream else { return };
    let mut buffer = [0; 8192];
    loop {
        match open.read(&mut buffer) {
            Ok(0) => break,
            Ok(bytes) => tail.push(&buffer[..bytes]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(_) => break,
        }
    }
    *stream = None;
}

impl Ended {
    pub fn success(&self) -> bool {
        self.status.success()
    }

    /// All that it wrote to its standard output, where that was not too much.
    pub fn text(&self) -> Option<String> {
        (!self.stdout.cut).then(|| String::from_utf8_lossy(&self.stdout.bytes).into_owned())
    }

    /// `Err` says how it failed, in its own last words.
    pub fn check(self) -> Result<Self, String> {
        if self.success() {
            return Ok(self);
        }
        let words = [&self.stderr, &self.stdout].map(Tail::last_lines);
        let words: Vec<&str> = words.iter().map(String::as_str).filter(|words| !words.is_empty()).collect();
        let words = if words.is_empty() { "it said nothing".to_owned() } else { words.join(" | ") };
        Err(format!("{} failed ({}): {words}", self.program, self.status))
    }
}

/// The end of a stream.
struct Tail {
    bytes: Vec<u8>,
    most_bytes: usize,
    cut: bool,
}

impl Tail {
    fn new(most_bytes: usize) -> Self {
        Tail { bytes: Vec::new(), most_bytes, cut: false }
    }

    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        let excess = self.bytes.len().saturating_sub(self.most_bytes);
        if excess > 0 {
            self.bytes.drain(..excess);
            self.cut = true;
        }
    }

    fn last_lines(&self) -> String {
        let text = String::from_utf8_lossy(&self.bytes[self.bytes.len().saturating_sub(TOLD_BYTES)..]);
        let lines: Vec<String> = text.lines().map(printable).filter(|line| !line.is_empty()).collect();
        lines[lines.len().saturating_sub(TOLD_LINES)..].join(" / ")
    }
}

#[cfg(test)]
mod tests {
    use super::Tools;

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
    fn a_daemon_that_holds_the_pipes_is_not_waited_for() {
        let ended = sh("sleep 600 & echo $!");
        let pid: i32 = ended.text().unwrap().trim().parse().unwrap();
        assert!(ended.success());
        std::process::Command::new("kill").arg(pid.to_string()).status().unwrap();
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
