//! A task without the loop: for what a program has to know before it has one.

use super::spawn::Ignored;
use super::task;
use crate::machine::Task;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use std::fs::File;
use std::io::{self, Read as _, pipe};
use std::os::fd::AsFd as _;

/// Does a task in a child process, as the loop does, and waits for its end: what the task needs stays
/// in that child. It is not for one that may say on its standard error more than a pipe holds.
///
/// # Errors
/// The task's own reason, or why there was no child. The process must have one thread.
pub fn run_aside(task: &Task) -> Result<Vec<u8>, String> {
    let no_child = |error: io::Error| format!("no child process: {error}");
    let nothing = File::open("/dev/null").map_err(no_child)?;
    let (mut answer, answer_end) = pipe().map_err(no_child)?;
    let (mut words, words_end) = pipe().map_err(no_child)?;
    let stdio = [nothing.as_fd(), answer_end.as_fd(), words_end.as_fd()];
    let child = task::spawn(task, stdio, Ignored::look(), None).map_err(|error| error.to_string())?;
    drop((answer_end, words_end));
    let (mut answered, mut said) = (Vec::new(), String::new());
    let read = answer.read_to_end(&mut answered).and_then(|_| words.read_to_string(&mut said));
    let status = waitpid(Pid::from_raw(child.pid), None).map_err(|errno| no_child(errno.into()))?;
    match status {
        WaitStatus::Exited(_, 0) => read.map(|_| answered).map_err(|error| error.to_string()),
        WaitStatus::Exited(..) => Err(said.trim().to_owned()),
        other => Err(format!("the child process did not come to its end: {other:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Probe;
    use std::path::PathBuf;

    #[test]
    fn a_task_answers_without_a_loop_or_says_why_not() {
        assert_eq!(run_aside(&Task::Reach("/".into())), Ok(b"null".to_vec()));
        let nobody = Probe::Unix(PathBuf::from("/nonexistent/socket"));
        let reason = run_aside(&Task::Probe(nobody)).unwrap_err();
        assert!(reason.starts_with("/nonexistent/socket: "), "{reason}");
    }
}
