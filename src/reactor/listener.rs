//! Where programs on this host reach the agent: a Unix socket that only the
//! agent's own user may connect to. Without it the agent does its work as ever,
//! so that a failure is logged and no more.

use super::Reactor;
use super::connection::Connection;
use super::sources::Source;
use crate::machine::limits::{ACCEPT_AGAIN, LOCAL_CONNECTIONS};
use crate::machine::{Event, Machine};
use log::{info, warn};
use mio::Token;
use mio::net::{UnixListener, UnixStream};
use nix::sys::stat::{Mode, umask};
use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// A socket that listens. Its file goes with it.
#[derive(Debug)]
pub(super) struct Listener {
    pub socket: UnixListener,
    path: PathBuf,
    file: FileId,
}

/// Device and inode: whose file it is that has the name.
pub(super) type FileId = (u64, u64);

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
enum ListenError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("another program listens there; control.socket names another place")]
    Taken,
    #[error("there is something else of this name, which is left alone; control.socket names another place")]
    NotASocket,
}

impl Listener {
    fn open(path: &Path) -> Result<Self, ListenError> {
        path.parent().map_or(Ok(()), fs::create_dir_all)?;
        make_room(path)?;
        // From its first moment on nobody else may connect. One thread: no other file is made meanwhile.
        let before = umask(Mode::S_IRWXG | Mode::S_IRWXO);
        let bound = UnixListener::bind(path);
        umask(before);
        let socket = bound?;
        fs::set_permissions(path, Permissions::from_mode(0o600))?;
        Ok(Listener { socket, path: path.to_owned(), file: file_id(path)? })
    }

    /// Whether whoever connects to this path comes here.
    fn is_at(&self, path: &Path) -> bool {
        file_id(path).is_ok_and(|file| file == self.file)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if self.is_at(&self.path) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes what a program left that did not end cleanly. One that lives shows by
/// taking a connection, which is not waited for. Two agents that start at the same
/// moment are kept apart by the pid file.
fn make_room(path: &Path) -> Result<(), ListenError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Ok(there) if !there.file_type().is_socket() => return Err(ListenError::NotASocket),
        other => other?,
    };
    match UnixStream::connect(path) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(fs::remove_file(path)?),
        Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error.into()),
        // It lives, or it has so many callers that it must.
        _ => Err(ListenError::Taken),
    }
}

pub(super) fn file_id(path: &Path) -> io::Result<FileId> {
    fs::symlink_metadata(path).map(|file| (file.dev(), file.ino()))
}

impl Reactor {
    /// As [`crate::machine::Effect::Listen`] says. Before the loop begins it is for
    /// whoever starts the agent: its file is there when this returns.
    pub fn listen(&mut self, path: &Path) {
        let at_present = self.listener.and_then(|token| self.sources.by_token(token));
        if matches!(at_present, Some(Source::Listener(listener)) if listener.is_at(path)) {
            return;
        }
        let opened = Listener::open(path)
            .and_then(|listener| Ok(self.sources.insert(Source::Listener(Box::new(listener)))?));
        match opened {
            Ok(token) => {
                self.stop_listening();
                self.listener = Some(token);
                info!("control=listening socket=\"{}\"", path.display());
            }
            Err(error) => warn!("control=unreachable socket=\"{}\" reason=\"{error}\"", path.display()),
        }
    }

    pub(super) fn stop_listening(&mut self) {
        self.accept_again = None;
        if let Some(token) = self.listener.take() {
            self.sources.remove(token);
        }
    }

    /// Accepts one caller.
    pub(super) fn step_listener(&mut self, token: Token, machine: &mut impl Machine) {
        let Some(Source::Listener(listener)) = self.sources.by_token(token) else { return };
        match listener.socket.accept() {
            Ok((socket, _)) => {
                self.accept_again = None;
                self.sources.make_ready(token);
                self.welcome(socket, machine);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => self.accept_again = None,
            Err(error) if error.kind() == ErrorKind::Interrupted => self.sources.make_ready(token),
            // No descriptor is free, as a rule. Trying at once would spin, and the
            // poll tells of the next caller only, who may never come.
            Err(error) => {
                if self.accept_again.is_none() {
                    warn!("control=busy reason=\"{error}\"");
                }
                self.accept_again = Some(self.turn.mono + ACCEPT_AGAIN);
            }
        }
    }

    fn welcome(&mut self, socket: UnixStream, machine: &mut impl Machine) {
        if self.sources.connections().filter(|connection| connection.is_local()).count() >= LOCAL_CONNECTIONS
        {
            return;
        }
        let id = self.fx.new_conn();
        let connection = Source::Connection(Box::new(Connection::local(id, socket)));
        match self.sources.insert(connection) {
            Ok(_) => self.hand_over(machine, Event::Accepted(id)),
            Err(error) => warn!("control=refused reason=\"{error}\""),
        }
    }
}

#[cfg(test)]
#[path = "listener_tests.rs"]
mod tests;
