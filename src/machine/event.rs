//! What may happen to a machine.

use super::{ChildId, ConnId, Process};
use std::path::Path;
use std::time::Duration;

/// One thing that happened. Bytes are borrowed from the reactor's buffer.
#[derive(Debug)]
pub enum Event<'a> {
    /// The deadline that the machine asked for has come.
    Tick,
    /// The connection is up, TLS included.
    Connected(ConnId),
    /// Somebody on this host has connected to where [`super::Effect::Listen`] said.
    Accepted(ConnId),
    Received(ConnId, &'a [u8]),
    /// The connection ended without having been asked to. Nothing follows.
    Closed(ConnId, ConnectionEnd),
    /// The child's process runs, from now on. Which that is, where this was asked for.
    Started(ChildId, Option<Process>),
    /// The child could not be started. Nothing follows.
    NotStarted(ChildId, StartError),
    /// The child wrote something.
    Output(ChildId, Stream, &'a [u8]),
    /// Every holder of the stream's write end has closed it.
    OutputEnded(ChildId, Stream),
    /// Reading the stream failed; it is closed.
    OutputFailed(ChildId, Stream, String),
    /// The child itself ended. Output may still follow.
    Exited(ChildId, Exit),
    Signal(Signal),
    /// Who is left of this family, and what it uses.
    Surveyed(&'a str, &'a Survey),
    /// A datagram for this path.
    Heard(&'a Path, &'a [u8]),
    /// The answer to [`super::Effect::ReadFile`] and [`super::Effect::ReadEnd`].
    /// `None` where there is no such file.
    FileRead(&'a Path, Result<Option<&'a [u8]>, String>),
}

/// A family of processes as it is now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Survey {
    /// Whoever has not ended, the oldest first; at most [`super::limits::FAMILY_SHOWN`].
    pub processes: Vec<Process>,
    /// Processor time that they have used, and as far as this can be known those that have ended.
    pub cpu: Duration,
    /// Bytes that they have in memory.
    pub memory: u64,
    /// Bytes in the file that they write to.
    pub written: u64,
}

/// A child's standard output or standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    Out,
    Err,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Code(i32),
    Signal(i32),
    /// It was another's child.
    Unknown,
}

/// Signals to the daemon, by what they ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM, SIGINT or SIGQUIT: end cleanly.
    Stop,
    /// SIGHUP: read the configuration again.
    Reload,
    /// SIGUSR1: log the state.
    Status,
}

/// Why a connection ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectionEnd {
    #[error("the peer closed the connection")]
    ByPeer,
    #[error("{0}")]
    Io(String),
    #[error("TLS: {0}")]
    Tls(String),
    #[error("its certificate is of another CA")]
    OtherCa,
    /// The files of the host's own identity cannot be used.
    #[error("{0}")]
    Identity(String),
    #[error("the peer does not read: {0} bytes are waiting")]
    Congested(usize),
}

/// Why a child was not started: the step, and the system's reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{step}: {reason}")]
pub struct StartError {
    /// A system call, or what it was for: `cwd /nowhere`, `execve /bin/bash`.
    pub step: String,
    pub reason: String,
}
