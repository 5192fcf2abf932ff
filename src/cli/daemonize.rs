//! Going to the background, with word to the foreground of how that went.

use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, umask};
use nix::unistd::{ForkResult, chdir, dup2_stderr, dup2_stdin, dup2_stdout, fork, pipe2, setsid};
use std::fs::File;
use std::io::{self, Read as _, Write as _};

/// What the starter sees when all is well; any other word is the reason why not.
const READY: &[u8] = b"\0";

/// The daemon's duty to tell its starter that it is ready, or why it is not.
/// In the foreground there is nobody to tell but standard error.
#[derive(Debug)]
pub struct Readiness {
    starter: Option<File>,
}

impl Readiness {
    pub fn foreground() -> Self {
        Readiness { starter: None }
    }

    /// The starter exits 0, and the daemon lets go of the terminal.
    ///
    /// # Errors
    /// /dev/null cannot take the terminal's place.
    pub fn ready(self) -> io::Result<()> {
        let Some(mut starter) = self.starter else { return Ok(()) };
        let null = File::options().read(true).write(true).open("/dev/null")?;
        dup2_stdin(&null)?;
        dup2_stdout(&null)?;
        dup2_stderr(&null)?;
        starter.write_all(READY)
    }

    /// The starter prints the reason and exits with 1.
    pub fn failed(self, reason: &str) {
        // Where nobody listens any more there is nobody left to tell.
        let _ = match self.starter {
            Some(mut starter) => starter.write_all(reason.as_bytes()),
            None => writeln!(io::stderr(), "{reason}"),
        };
    }
}

/// On which side of the fork the program goes on.
#[derive(Debug)]
pub enum Side {
    Daemon(Readiness),
    /// The process that was started: the daemon is ready, or why it is not.
    Starter(Result<(), String>),
}

/// Makes a daemon with a session of its own. The process that was started
/// waits for its [`Readiness`].
///
/// # Errors
/// The system refuses a process or a pipe.
pub fn daemonize() -> io::Result<Side> {
    let (word, daemon_end) = pipe2(OFlag::O_CLOEXEC)?;
    // SAFETY: this runs at start, before there is any other thread.
    if let ForkResult::Parent { .. } = unsafe { fork() }? {
        drop(daemon_end);
        return Ok(Side::Starter(wait_for_word(word.into())));
    }
    drop(word);
    setsid()?;
    // The second child is no session leader, so it can never acquire a terminal.
    // SAFETY: as above.
    if let ForkResult::Parent { .. } = unsafe { fork() }? {
        // SAFETY: nothing of the process is to be torn down twice.
        unsafe { libc::_exit(0) }
    }
    chdir("/")?;
    Ok(Side::Daemon(Readiness { starter: Some(daemon_end.into()) }))
}

/// Whatever the starter's umask, nobody else may write the files made from now on.
pub fn tighten_umask() {
    let others_write = Mode::S_IWGRP | Mode::S_IWOTH;
    let inherited = umask(others_write);
    umask(inherited | others_write);
}

fn wait_for_word(mut word: File) -> Result<(), String> {
    let mut heard = Vec::new();
    let read = word.read_to_end(&mut heard);
    if read.is_ok() && heard == READY {
        Ok(())
    } else if heard.is_empty() {
        Err("the daemon ended before it was ready; its log may say why".into())
    } else {
        Err(String::from_utf8_lossy(&heard).into_owned())
    }
}
