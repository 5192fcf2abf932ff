//! One connection: its channel, and what waits to be sent.

use super::channel::Channel;
use super::tls::Received;
use crate::machine::limits::{GOODBYE, LINGER, SEND_CAP_BYTES, SEND_HIGH_WATER_BYTES};
use crate::machine::{ConnId, ConnectionEnd, Instant, Now, Security};
use mio::net::UnixStream;
use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;

#[derive(Debug)]
pub(super) struct Connection {
    pub id: ConnId,
    pub channel: Channel,
    phase: Phase,
    /// Plain bytes that the channel has not taken yet.
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
    /// Everything was sent, the end too; the peer may close its side until then.
    Parting {
        until: Instant,
    },
}

/// What one step brought.
pub(super) enum Step {
    /// Nothing more until the socket is ready again.
    Idle,
    /// There is more to do at once.
    Busy,
    Connected,
    /// This many bytes are in the buffer.
    Bytes(usize),
    Ended(ConnectionEnd),
    /// The close that was asked for is done.
    Closed,
}

impl Connection {
    /// One to a server.
    pub fn to(id: ConnId, to: SocketAddr, security: &Security) -> Result<Self, ConnectionEnd> {
        Channel::connect(to, security).map(|channel| Self::new(id, channel, Phase::Connecting))
    }

    /// One from this host, which is up.
    pub fn local(id: ConnId, socket: UnixStream) -> Self {
        Self::new(id, Channel::Plain(socket), Phase::Open)
    }

    fn new(id: ConnId, channel: Channel, phase: Phase) -> Self {
        Connection { id, channel, phase, unsent: VecDeque::new(), readable: false, writable: false }
    }

    pub fn is_local(&self) -> bool {
        matches!(self.channel, Channel::Plain(_))
    }

    pub fn became_ready(&mut self, readable: bool, writable: bool) {
        self.readable |= readable;
        self.writable |= writable;
    }

    /// Queues bytes; the next step sends them.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), ConnectionEnd> {
        self.unsent.extend(bytes);
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
            Phase::Closing { until } | Phase::Parting { until } => Some(until),
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
        match self.phase {
            Phase::Closing { until } if now.mono >= until => return Ok(Step::Closed),
            Phase::Closing { until } => return Ok(self.take_leave(now, until).unwrap_or(Step::Closed)),
            Phase::Parting { .. } => return Ok(self.hear_out(buffer)),
            _ => {}
        }
        self.flush()?;
        // A peer that does not take its answers gets no more work done.
        if !self.readable || self.unsent.len() > SEND_HIGH_WATER_BYTES {
            return Ok(Step::Idle);
        }
        let received = self.channel.receive(buffer)?;
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
            // A program that has asked its last question still reads the answers.
            Received::Ended if self.is_local() && !self.unsent.is_empty() => Ok(Step::Idle),
            Received::Ended => Err(ConnectionEnd::ByPeer),
        }
    }

    /// False while the system still tries.
    fn connected(&mut self) -> io::Result<bool> {
        self.writable = self.writable && self.channel.connected()?;
        Ok(self.writable)
    }

    fn flush(&mut self) -> Result<(), ConnectionEnd> {
        while self.phase != Phase::Connecting {
            if self.phase != Phase::Handshaking {
                self.channel.prepare(&mut self.unsent);
            }
            if !self.channel.wants_write(&self.unsent) {
                if self.unsent.is_empty() {
                    self.unsent = VecDeque::new();
                }
                return Ok(());
            }
            if !self.writable {
                return Ok(());
            }
            match self.channel.write(&mut self.unsent) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.writable = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(ConnectionEnd::Io(error.to_string())),
            }
        }
        Ok(())
    }

    /// Sends what is left, and the end.
    fn take_leave(&mut self, now: Now, until: Instant) -> Result<Step, ConnectionEnd> {
        self.flush()?;
        if self.unsent.is_empty() {
            self.channel.say_goodbye();
            self.flush()?;
            if !self.channel.wants_write(&self.unsent) {
                self.channel.shut_down().map_err(|e| ConnectionEnd::Io(e.to_string()))?;
                self.phase = Phase::Parting { until: until.min(now.mono + GOODBYE) };
                return Ok(Step::Busy);
            }
        }
        Ok(Step::Idle)
    }

    /// Throws away what the peer still says, up to its end. A socket that is
    /// closed with bytes unread is reset, and what the system has not sent yet
    /// would be lost.
    fn hear_out(&mut self, buffer: &mut [u8]) -> Step {
        match self.channel.read_raw(buffer) {
            Ok(length) if length > 0 => Step::Busy,
            Err(error) if error.kind() == ErrorKind::WouldBlock => Step::Idle,
            Err(error) if error.kind() == ErrorKind::Interrupted => Step::Busy,
            _ => Step::Closed,
        }
    }
}
