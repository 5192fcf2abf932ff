//! What carries a connection's bytes: TLS out to a server, or a plain socket
//! in from this host.

use super::tls::{Received, Session};
use crate::machine::{ConnectionEnd, Security};
use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write as _};
use std::net::{Shutdown, SocketAddr};

#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "its connection is in a box, and the few plain ones may be, too"
)]
pub(super) enum Channel {
    Tls(TcpStream, Session),
    Plain(UnixStream),
}

impl Channel {
    pub fn connect(to: SocketAddr, security: &Security) -> Result<Self, ConnectionEnd> {
        let session = Session::new(security, to.ip())?;
        let socket = TcpStream::connect(to).map_err(|e| ConnectionEnd::Io(e.to_string()))?;
        Ok(Channel::Tls(socket, session))
    }

    pub fn source(&mut self) -> &mut dyn Source {
        match self {
            Channel::Tls(socket, _) => socket,
            Channel::Plain(socket) => socket,
        }
    }

    /// False while the system still tries; to be asked when the socket is writable.
    pub fn connected(&self) -> io::Result<bool> {
        let Channel::Tls(socket, _) = self else { return Ok(true) };
        if let Some(error) = socket.take_error()? {
            return Err(error);
        }
        match socket.peer_addr() {
            Ok(_) => socket.set_nodelay(true).map(|()| true),
            Err(error) if error.kind() == ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// What the peer said, in plain.
    pub fn receive(&mut self, buffer: &mut [u8]) -> Result<Received, ConnectionEnd> {
        let socket = match self {
            Channel::Tls(socket, session) => return session.receive(socket, buffer),
            Channel::Plain(socket) => socket,
        };
        loop {
            match socket.read(buffer) {
                Ok(0) => return Ok(Received::Ended),
                Ok(length) => return Ok(Received::Bytes(length)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Received::WouldBlock),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(ConnectionEnd::Io(error.to_string())),
            }
        }
    }

    /// Makes bytes ready to be written, as many as it has room for.
    pub fn prepare(&mut self, unsent: &mut VecDeque<u8>) {
        if let Channel::Tls(_, session) = self
            && !unsent.is_empty()
        {
            let taken = session.encrypt(unsent.as_slices().0);
            unsent.drain(..taken);
        }
    }

    pub fn wants_write(&self, unsent: &VecDeque<u8>) -> bool {
        match self {
            Channel::Tls(_, session) => session.wants_write(),
            Channel::Plain(_) => !unsent.is_empty(),
        }
    }

    /// Writes to the socket, once. Where the bytes need no making ready they are taken from `unsent`.
    pub fn write(&mut self, unsent: &mut VecDeque<u8>) -> io::Result<()> {
        match self {
            Channel::Tls(socket, session) => session.write_to(socket).map(drop),
            Channel::Plain(socket) => {
                let taken = socket.write(unsent.as_slices().0)?;
                unsent.drain(..taken);
                Ok(())
            }
        }
    }

    /// Makes the orderly end ready to be written, where there is one.
    pub fn say_goodbye(&mut self) {
        if let Channel::Tls(_, session) = self {
            session.close();
        }
    }

    /// Ends what the peer hears.
    pub fn shut_down(&self) -> io::Result<()> {
        match self {
            Channel::Tls(socket, _) => socket.shutdown(Shutdown::Write),
            Channel::Plain(socket) => socket.shutdown(Shutdown::Write),
        }
    }

    /// What the peer said, as it comes.
    pub fn read_raw(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Channel::Tls(socket, _) => socket.read(buffer),
            Channel::Plain(socket) => socket.read(buffer),
        }
    }
}
