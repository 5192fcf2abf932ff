//! What a machine may ask for.

use super::{ChildId, ConnId, Task};
use crate::wire::Limits;
use std::net::SocketAddr;
use std::path::PathBuf;

/// One thing to be done by the reactor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Answered by `Connected` or `Closed`.
    Connect {
        conn: ConnId,
        to: SocketAddr,
        security: Security,
    },
    /// Takes connections from this host at this path, and no longer at another:
    /// each is an `Accepted`. Where it does already nothing is changed. Why it
    /// cannot is logged, and the agent goes on with what it has.
    Listen {
        path: PathBuf,
    },
    Send {
        conn: ConnId,
        bytes: Vec<u8>,
    },
    /// Closes once what was sent has gone, or a short time later. No event follows.
    Close {
        conn: ConnId,
    },
    /// Answered by `NotStarted`, or by `Started`, output and `Exited`.
    Spawn {
        child: ChildId,
        program: Program,
    },
    /// Watches a process that an earlier agent started. Answered by `Exited`, at once where it is
    /// gone already. It has no streams.
    Adopt {
        child: ChildId,
        process: Process,
        /// It is of a [`Lasting`] family.
        lasting: bool,
    },
    /// Sends a signal to the child's process group. When the child has ended,
    /// what is left of its descendants is killed. Of a [`Lasting`] family the child alone is
    /// signalled, and nobody is killed.
    Signal {
        child: ChildId,
        signal: i32,
    },
    /// Looks at who is left of a family, and what it uses. Answered by `Surveyed`.
    Survey(Kin),
    /// Sends a signal to everybody who is left of a family. None gets away from SIGKILL by forking.
    SignalFamily {
        kin: Kin,
        signal: i32,
    },
    /// Takes datagrams from this host at this path. Each is a `Heard`. Why it cannot is logged.
    Hear {
        path: PathBuf,
        /// The one user who may send them, beside root.
        uid: u32,
    },
    /// Does so no longer, and removes the path.
    Unhear {
        path: PathBuf,
    },
    /// Closes the reactor's ends of the child's pipes. No output follows.
    Release {
        child: ChildId,
    },
    /// Answered by `FileRead`.
    ReadFile {
        path: PathBuf,
    },
    /// Answered by `FileRead` with the last bytes of the file, however long it is.
    ReadEnd {
        path: PathBuf,
        most_bytes: usize,
    },
    ReopenLog,
    /// Takes no more connections, and ends the loop once closing ones are flushed.
    Stop,
}

/// How a connection to a server is secured: TLS 1.3 in any case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Security {
    /// Both sides show a certificate of the CA in this folder.
    Mutual { dir: PathBuf, protocol: Protocol },
    /// Enrolment, over HTTP: the server's chain must hold the CA with this SHA-256.
    Pinned { fingerprint: [u8; 32] },
}

/// What is spoken inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// The link's frames.
    Link,
    /// Short exchanges.
    Http,
}

/// What runs in a child process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Program {
    Exec(Box<Launch>),
    /// A function of our own that may block. It answers with JSON on its
    /// standard output, or with a reason on its standard error and exit code 1.
    Task(Task),
}

/// A program to be executed, with nothing left to look up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// Absolute path, then the arguments.
    pub argv: Vec<String>,
    /// The whole environment.
    pub env: Vec<(String, String)>,
    pub cwd: String,
    /// `None` stays with the agent's own.
    pub credentials: Option<Credentials>,
    pub limits: Limits,
    /// Whether `Started` is to tell its process.
    pub remembered: bool,
    /// What only daemons have.
    pub lasting: Option<Lasting>,
}

/// The variable that names a process's family.
pub const FAMILY_VARIABLE: &str = "ASPIRE_DAEMON";

/// For processes that outlive the agent. They have no pipes: `Started` and `Exited` are all that is
/// heard of the first of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lasting {
    /// Names them all, whoever started whom and whatever agent asks: another one at each start. A
    /// plain name of a file.
    pub family: String,
    /// Both streams go to the end of this file. It is made where it is not there.
    pub output: PathBuf,
    /// Of one processor, in percent, for all of them together: the kernel's to keep, where it can.
    pub cpu_max: Option<u32>,
    /// In bytes, likewise.
    pub memory_max: Option<u64>,
}

/// A family and what helps to find it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kin {
    /// As in [`Lasting`].
    pub family: String,
    /// Whoever is known to be of it.
    pub main: Option<Process>,
    pub output: PathBuf,
}

/// A process of this boot, told from a later one with the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    pub pid: i32,
    /// When it began, in ticks since the boot: field 22 of proc_pid_stat(5).
    pub start: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    pub uid: u32,
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
}

/// The queue of what is to be done, and the source of new ids.
#[derive(Debug, Default)]
pub struct Effects {
    queue: Vec<Effect>,
    last_id: u64,
}

impl Effects {
    pub fn push(&mut self, effect: Effect) {
        self.queue.push(effect);
    }

    pub fn push_all(&mut self, effects: impl IntoIterator<Item = Effect>) {
        self.queue.extend(effects);
    }

    pub fn connect(&mut self, to: SocketAddr, security: Security) -> ConnId {
        let conn = self.new_conn();
        self.push(Effect::Connect { conn, to, security });
        conn
    }

    /// The id of a connection that another has begun.
    pub fn new_conn(&mut self) -> ConnId {
        ConnId(self.next_id())
    }

    pub fn spawn(&mut self, program: Program) -> ChildId {
        let child = ChildId(self.next_id());
        self.push(Effect::Spawn { child, program });
        child
    }

    pub fn adopt(&mut self, process: Process, lasting: bool) -> ChildId {
        let child = ChildId(self.next_id());
        self.push(Effect::Adopt { child, process, lasting });
        child
    }

    /// Empties the queue.
    pub fn take(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.queue)
    }

    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }
}
