//! From effects to system calls.

use super::connection::Connection;
use super::sources::Source;
use super::{AtOnce, Reactor};
use crate::machine::limits::FILE_CAP_BYTES;
use crate::machine::{ChildId, ConnId, ConnectionEnd, Effect, Process, Program, Security, Survey};
use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

impl Reactor {
    /// Carries out everything that is queued.
    pub(super) fn apply(&mut self) {
        for effect in self.fx.take() {
            match effect {
                Effect::Connect { conn, to, security } => self.connect(conn, to, &security),
                Effect::Listen { path } => self.listen(&path),
                Effect::Send { conn, bytes } => self.send(conn, &bytes),
                Effect::Close { conn } => self.close(conn),
                Effect::Spawn { child, program } => self.spawn(child, &program),
                Effect::Adopt { child, process, .. } => self.adopt(child, process),
                Effect::Signal { child, signal } => self.children.signal(child, signal),
                Effect::Survey(kin) => {
                    self.outcomes.push_back(AtOnce::Surveyed(kin.family, Survey::default()))
                }
                Effect::SignalFamily { .. } | Effect::Hear { .. } | Effect::Unhear { .. } => {}
                Effect::ReadEnd { path, .. } => self.outcomes.push_back(AtOnce::FileRead(path, Ok(None))),
                Effect::Release { child } => self.release(child),
                Effect::ReadFile { path } => {
                    let answer = read_file(&path).map_err(|e| format!("{}: {e}", path.display()));
                    self.outcomes.push_back(AtOnce::FileRead(path, answer));
                }
                Effect::ReopenLog => (self.reopen_log)(),
                Effect::Stop => {
                    self.stopping = true;
                    self.stop_listening();
                }
            }
        }
    }

    fn connect(&mut self, conn: ConnId, to: SocketAddr, security: &Security) {
        let watched = Connection::to(conn, to, security).and_then(|connection| {
            let source = Source::Connection(Box::new(connection));
            self.sources.insert(source).map_err(|e| ConnectionEnd::Io(e.to_string()))
        });
        if let Err(end) = watched {
            self.outcomes.push_back(AtOnce::Closed(conn, end));
        }
    }

    fn send(&mut self, conn: ConnId, bytes: &[u8]) {
        let Some((token, connection)) = self.sources.connection(conn) else { return };
        match connection.send(bytes) {
            // What a turn brings to be sent leaves together.
            Ok(()) => self.sources.make_ready(token),
            Err(end) => {
                self.sources.remove(token);
                self.outcomes.push_back(AtOnce::Closed(conn, end));
            }
        }
    }

    fn close(&mut self, conn: ConnId) {
        if let Some((token, connection)) = self.sources.connection(conn) {
            connection.close(self.turn);
            self.sources.make_ready(token);
        }
    }

    fn spawn(&mut self, child: ChildId, program: &Program) {
        // Before it is: on a busy machine it may run a while before we do again.
        let now = self.clock.now();
        let outcome = match self.children.start(child, program) {
            Ok((pipes, process)) => {
                self.take_pipes(now, child, pipes);
                AtOnce::Started(child, process, now)
            }
            Err(error) => AtOnce::NotStarted(child, error),
        };
        self.outcomes.push_back(outcome);
    }

    fn adopt(&mut self, child: ChildId, process: Process) {
        let watched = self
            .children
            .adopt(child, process)
            .is_some_and(|watch| self.sources.insert(Source::Adopted { child, watch }).is_ok());
        if !watched {
            self.outcomes.push_back(AtOnce::Gone(child));
        }
    }

    fn release(&mut self, child: ChildId) {
        for token in self.sources.pipes_of(child) {
            self.sources.remove(token);
        }
    }
}

/// `None` where there is no such file.
fn read_file(path: &Path) -> io::Result<Option<Vec<u8>>> {
    // What is no regular file, a FIFO above all, could hold the loop up.
    let file = match File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut content = Vec::new();
    file.take(FILE_CAP_BYTES + 1).read_to_end(&mut content)?;
    if content.len() as u64 > FILE_CAP_BYTES {
        return Err(io::Error::other(format!("larger than {FILE_CAP_BYTES} bytes")));
    }
    Ok(Some(content))
}
