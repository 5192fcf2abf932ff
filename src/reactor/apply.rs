//! From effects to system calls.

use super::children::{Begun, Watch};
use super::connection::Connection;
use super::sources::Source;
use super::{AtOnce, Reactor, files};
use crate::machine::limits::{START_BYTES, SURVEY_BYTES};
use crate::machine::{ChildId, ConnId, ConnectionEnd, Effect, Kin, Process, Program, Security};
use std::net::SocketAddr;

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
                Effect::Adopt { child, process, lasting } => self.adopt(child, process, lasting),
                Effect::Signal { child, signal } => self.children.signal(child, signal),
                Effect::Survey(kin) => self.survey(kin),
                Effect::SignalFamily { kin, signal } => self.children.families.signal(&kin, signal),
                Effect::Hear { path, uid } => self.hear(&path, uid),
                Effect::Unhear { path } => self.unhear(&path),
                Effect::ReadEnd { path, most_bytes } => {
                    let answer = files::read_end(&path, most_bytes);
                    self.outcomes.push_back(AtOnce::FileRead(path, answer));
                }
                Effect::Release { child } => self.release(child),
                Effect::ReadFile { path } => {
                    let answer = files::read_whole(&path);
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
        self.work_since_trim += START_BYTES;
        // Before it is: on a busy machine it may run a while before we do again.
        let now = self.clock.now();
        let outcome = match self.children.start(child, program) {
            Ok(Begun { pipes, process }) => {
                if let Some(pipes) = pipes {
                    self.take_pipes(now, child, pipes);
                }
                AtOnce::Started(child, process, now)
            }
            Err(error) => AtOnce::NotStarted(child, error),
        };
        self.outcomes.push_back(outcome);
    }

    fn survey(&mut self, kin: Kin) {
        self.work_since_trim += SURVEY_BYTES;
        match self.children.survey(&kin) {
            Some(survey) => self.outcomes.push_back(AtOnce::Surveyed(kin.family, survey)),
            None => self.survey_later(kin),
        }
    }

    fn adopt(&mut self, child: ChildId, process: Process, lasting: bool) {
        match self.children.adopt(child, process, lasting) {
            Watch::Gone => self.outcomes.push_back(AtOnce::Gone(child)),
            watch => self.watch_over(child, watch),
        }
    }

    fn release(&mut self, child: ChildId) {
        for token in self.sources.pipes_of(child) {
            self.sources.remove(token);
        }
    }
}
