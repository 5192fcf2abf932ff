//! Connections to servers that are given up when they fall silent.

use crate::tls::{Tls, TlsStream};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use ureq::Error;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport,
};

/// Connects to the first of these addresses that answers.
pub(crate) fn connect(addresses: &[SocketAddr], silence: Duration) -> io::Result<TcpStream> {
    let mut end = io::Error::new(ErrorKind::NotFound, "the host has no address");
    for address in addresses {
        match TcpStream::connect_timeout(address, silence) {
            Ok(stream) => {
                stream.set_read_timeout(Some(silence))?;
                stream.set_write_timeout(Some(silence))?;
                return Ok(stream);
            }
            Err(error) => end = words(error, silence),
        }
    }
    Err(end)
}

/// A socket's time limit shows as "would block", which tells nobody anything. And
/// what was cut must not pass for what has ended: for some of these kinds ureq
/// takes a body of unknown length for complete.
pub(crate) fn words(error: io::Error, silence: Duration) -> io::Error {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            io::Error::new(ErrorKind::TimedOut, format!("the server was silent for {silence:?}"))
        }
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset => {
            io::Error::other("the connection was cut")
        }
        _ => error,
    }
}

/// Makes the connections of one download.
#[derive(Debug)]
pub(crate) struct Dial {
    identity: Option<PathBuf>,
    silence: Duration,
    /// Once there was TLS, a redirect does not lead back to none.
    secure: AtomicBool,
}

impl Dial {
    pub fn new(identity: Option<&Path>, silence: Duration) -> Self {
        Dial { identity: identity.map(Path::to_owned), silence, secure: AtomicBool::new(false) }
    }
}

impl Connector for Dial {
    type Out = Line;

    fn connect(&self, details: &ConnectionDetails<'_>, _: Option<()>) -> Result<Option<Line>, Error> {
        let before = self.secure.fetch_or(details.needs_tls(), Ordering::Relaxed);
        if before && !details.needs_tls() {
            return Err(refused("the server redirects from https to http"));
        }
        let tcp = connect(&details.addrs, self.silence)?;
        let stream = if details.needs_tls() {
            let host = details.uri.host().unwrap_or_default();
            let tls = Tls::new(self.identity.as_deref()).map_err(|reason| refused(&reason))?;
            Stream::Tls(Box::new(tls.handshake(host, tcp).map_err(|error| words(error, self.silence))?))
        } else {
            Stream::Plain(tcp)
        };
        let buffers =
            LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size());
        Ok(Some(Line { stream, buffers, silence: self.silence }))
    }
}

fn refused(reason: &str) -> Error {
    Error::Io(io::Error::other(reason))
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Line {
    stream: Stream,
    buffers: LazyBuffers,
    silence: Duration,
}

#[derive(Debug)]
enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream>),
}

impl Transport for Line {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, _: NextTimeout) -> Result<(), Error> {
        let bytes = &self.buffers.output()[..amount];
        let sent = match &mut self.stream {
            Stream::Plain(stream) => stream.write_all(bytes),
            Stream::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
        };
        sent.map_err(|error| Error::Io(words(error, self.silence)))
    }

    fn await_input(&mut self, _: NextTimeout) -> Result<bool, Error> {
        let buffer = self.buffers.input_append_buf();
        let read = match &mut self.stream {
            Stream::Plain(stream) => stream.read(buffer),
            Stream::Tls(stream) => stream.read(buffer),
        };
        let bytes = read.map_err(|error| Error::Io(words(error, self.silence)))?;
        self.buffers.input_appended(bytes);
        Ok(bytes > 0)
    }

    /// Each download has an agent of its own: a connection is not used again.
    fn is_open(&mut self) -> bool {
        false
    }

    fn is_tls(&self) -> bool {
        matches!(self.stream, Stream::Tls(_))
    }
}
