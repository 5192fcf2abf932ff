//! Where processes of this host leave word of themselves: Unix sockets that take datagrams, each of
//! one user's.

use super::Reactor;
use super::listener::{FileId, file_id};
use super::sources::Source;
use crate::machine::limits::{DATAGRAMS_A_TURN, HEARD_BYTES};
use crate::machine::{Event, Machine};
use log::warn;
use mio::Token;
use mio::net::UnixDatagram;
use nix::sys::stat::{Mode, umask};
use std::fs::{self, DirBuilder};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, lchown};
use std::os::unix::net::UnixDatagram as StdUnixDatagram;
use std::path::{Path, PathBuf};

/// A socket that takes datagrams. Its file goes with it.
#[derive(Debug)]
pub(super) struct Hearing {
    pub socket: UnixDatagram,
    pub path: PathBuf,
    uid: u32,
    file: FileId,
}

impl Hearing {
    fn open(path: &Path, uid: u32) -> io::Result<Self> {
        let folder = path.parent().unwrap_or(Path::new("."));
        DirBuilder::new().recursive(true).mode(0o755).create(folder)?;
        make_room(path)?;
        // From its first moment on nobody else may write. One thread: no other file is made meanwhile.
        let before = umask(Mode::S_IXUSR | Mode::S_IRWXG | Mode::S_IRWXO);
        let bound = UnixDatagram::bind(path);
        umask(before);
        let hearing = Hearing { socket: bound?, path: path.to_owned(), uid, file: file_id(path)? };
        lchown(path, Some(uid), None)?;
        Ok(hearing)
    }

    /// Whether what that user writes there comes here.
    fn is_for(&self, uid: u32) -> bool {
        self.uid == uid && file_id(&self.path).is_ok_and(|file| file == self.file)
    }
}

impl Drop for Hearing {
    fn drop(&mut self) {
        if file_id(&self.path).is_ok_and(|file| file == self.file) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes the socket of an agent that did not end cleanly. Two at a time are kept apart by the pid
/// file.
fn make_room(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Ok(there) if there.file_type().is_socket() => match StdUnixDatagram::unbound()?.connect(path) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path),
            // Another program's, be it for datagrams or not.
            _ => Err(io::Error::new(ErrorKind::AddrInUse, "somebody else listens there")),
        },
        Ok(_) => Err(io::Error::other("there is something else of this name, which is left alone")),
        Err(error) => Err(error),
    }
}

impl Reactor {
    /// As [`crate::machine::Effect::Hear`] says. Where it does already nothing is changed.
    pub(super) fn hear(&mut self, path: &Path, uid: u32) {
        match self.sources.hearing(path) {
            Some((_, hearing)) if hearing.is_for(uid) => return,
            Some((token, _)) => self.sources.remove(token),
            None => {}
        }
        let heard = Hearing::open(path, uid)
            .and_then(|hearing| self.sources.insert(Source::Hearing(Box::new(hearing))));
        if let Err(error) = heard {
            warn!("deaf=\"{}\" uid={uid} reason=\"{error}\"", path.display());
        }
    }

    pub(super) fn unhear(&mut self, path: &Path) {
        if let Some((token, _)) = self.sources.hearing(path) {
            self.sources.remove(token);
        }
    }

    /// Takes a few datagrams.
    pub(super) fn step_hearing(&mut self, token: Token, machine: &mut impl Machine) {
        let mut datagram = [0; HEARD_BYTES];
        for _ in 0..DATAGRAMS_A_TURN {
            // An earlier one may have been the last that the machine wanted.
            let Some(Source::Hearing(hearing)) = self.sources.by_token(token) else { return };
            let path = hearing.path.clone();
            match hearing.socket.recv(&mut datagram) {
                Ok(length) => self.hand_over(machine, Event::Heard(&path, &datagram[..length])),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    warn!("deaf=\"{}\" reason=\"{error}\"", path.display());
                    return self.sources.remove(token);
                }
            }
        }
        self.sources.make_ready(token);
    }
}
