//! One outgoing connection: a socket, its TLS session, and what waits to be sent.

use super::tls::{Received, Session};
use crate::machine::limits::{LINGER, SEND_CAP_BYTES, SEND_HIGH_WATER_BYTES};
use crate::machine::{ConnId, ConnectionEnd, Instant, Now, Security};
use mio::net::TcpStream;
use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;

#[derive(Debug)]
pub(super) struct Connection {
    pub id: ConnId,
    pub socket: TcpStream,
    session: Session,
    phase: Phase,
    /// Plain bytes that the session has not taken yet.
    unsent: VecDeque<u8>,
    readable: bool,
    writable: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Connecting,
    Handshaking,
    Open,
    /// Asked to close; what is unsent may go until then.
    Closing {
        until: Instant,
    },
}

/// What one step brought.
pub(super) enum Step {
    /// Nothing more until the socket is ready again.
    Idle,
    Connected,
    /// This many bytes are in the buffer.
    Bytes(usize),
    Ended(ConnectionEnd),
    /// The close that was asked for is done.
    Closed,
}

impl Connection {
    pub fn new(id: ConnId, to: SocketAddr, security: &Security) -> Result<Self, ConnectionEnd> {
        let session = Session::new(security, to.ip())?;
        let socket = TcpStream::connect(to).map_err(|e| ConnectionEnd::Io(e.to_string()))?;
        Ok(Connection {
            id,
            socket,
            session,
            phase: Phase::Connecting,
            unsent: VecDeque::new(),
            readable: false,
            writable: false,
        })
    }

    pub fn became_ready(&mut self, readable: bool, writable: bool) {
        self.readable |= readable;
        self.writable |= writable;
    }

    /// Queues bytes and sends what goes at once.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), ConnectionEnd> {
        self.unsent.extend(bytes);
        self.flush()?;
        match self.unsent.len() {
            waiting if waiting > SEND_CAP_BYTES => Err(ConnectionEnd::Congested(waiting)),
            _ => Ok(()),
        }
    }

    pub fn close(&mut self, now: Now) {
        self.phase = match self.phase {
            Phase::Open => Phase::Closing { until: now.mono + LINGER },
            _ => Phase::Closing { until: now.mono },
        };
    }

    /// When the connection is to be dropped, whatever is unsent.
    pub fn deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Closing { until } => Some(until),
            _ => None,
        }
    }

    /// Does a bounded piece of work. Anything but `Idle` and an end asks for another step.
    pub fn step(&mut self, now: Now, buffer: &mut [u8]) -> Step {
        if self.phase == Phase::Connecting {
            match self.connected() {
                Ok(true) => self.phase = Phase::Handshaking,
                Ok(false) => return Step::Idle,
                Err(error) => return Step::Ended(ConnectionEnd::Io(error.to_string())),
            }
        }
        let step = self.advance(now, buffer);
        step.unwrap_or_else(Step::Ended)
    }

    fn advance(&mut self, now: Now, buffer: &mut [u8]) -> Result<Step, ConnectionEnd> {
        if let Phase::Closing { until } = self.phase {
            let flushed = self.flush();
            let over = flushed.is_err() || now.mono >= until || (self.unsent.is_empty() && self.finish());
            return Ok(if over { Step::Closed } else { Step::Idle });
        }
        self.flush()?;
        // A peer that does not take its answers gets no more work done.
        if !self.readable || self.unsent.len() > SEND_HIGH_WATER_BYTES {
            return Ok(Step::Idle);
        }
        let received = self.session.receive(&mut self.socket, buffer)?;
        self.flush()?;
        match received {
            Received::Bytes(length) => Ok(Step::Bytes(length)),
            Received::Handshaken => {
                self.phase = Phase::Open;
                Ok(Step::Connected)
            }
            Received::WouldBlock => {
                self.readable = false;
                Ok(Step::Idle)
            }
            Received::Ended => Err(ConnectionEnd::ByPeer),
        }
    }

    /// False while the system still tries.
    fn connected(&mut self) -> io::Result<bool> {
        if !self.writable {
            return Ok(false);
        }
        if let Some(error) = self.socket.take_error()? {
            return Err(error);
        }
        match self.socket.peer_addr() {
            Ok(_) => self.socket.set_nodelay(true).map(|()| true),
            Err(error) if error.kind() == ErrorKind::NotConnected => {
                self.writable = false;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    fn flush(&mut self) -> Result<(), ConnectionEnd> {
        while self.phase != Phase::Connecting {
            if self.phase != Phase::Handshaking && !self.unsent.is_empty() {
                let taken = self.session.encrypt(self.unsent.as_slices().0);
                self.unsent.drain(..taken);
            }
            if !self.session.wants_write() {
                if self.unsent.is_empty() {
                    self.unsent = VecDeque::new();
                }
                return Ok(());
            }
            if !self.writable {
                return Ok(());
            }
            match self.session.write_to(&mut self.socket) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.writable = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(ConnectionEnd::Io(error.to_string())),
            }
        }
        Ok(())
    }

    /// Says goodbye; true once that has gone too.
    fn finish(&mut self) -> bool {
        self.session.close();
        self.flush().is_err() || !self.session.wants_write()
    }
}
