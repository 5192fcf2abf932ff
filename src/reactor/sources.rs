//! What the poll watches, and the ready list.
//!
//! The poll reports edges. Each is kept in its source until the source itself
//! has said that there is nothing more; a source with something left stays on
//! the ready list, and the poll does not sleep while that list is not empty.

use super::connection::Connection;
use super::hearing::Hearing;
use super::listener::Listener;
use crate::machine::{ChildId, ConnId, Stream};
use mio::event::Source as _;
use mio::unix::SourceFd;
use mio::unix::pipe::Receiver;
use mio::{Interest, Registry, Token};
use mio_signals::Signals;
use nix::sys::signalfd::SignalFd;
use nix::sys::timerfd::TimerFd;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::Path;

#[derive(Debug)]
pub(super) enum Source {
    /// SIGINT, SIGTERM, SIGQUIT, SIGUSR1.
    Signals(Signals),
    /// SIGCHLD and SIGHUP, which mio-signals does not know.
    MoreSignals(SignalFd),
    /// Readable when the wall clock was set, or the machine slept.
    ClockSet(TimerFd),
    Listener(Box<Listener>),
    Hearing(Box<Hearing>),
    Connection(Box<Connection>),
    Pipe {
        child: ChildId,
        stream: Stream,
        pipe: Receiver,
    },
    /// Readable once a process has ended that we have not started.
    Adopted {
        child: ChildId,
        watch: OwnedFd,
    },
}

impl Source {
    fn interest(&self) -> Interest {
        match self {
            Source::Connection(_) => Interest::READABLE | Interest::WRITABLE,
            _ => Interest::READABLE,
        }
    }

    fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let interest = self.interest();
        match self {
            Source::Signals(signals) => signals.register(registry, token, interest),
            Source::MoreSignals(fd) => SourceFd(&fd.as_raw_fd()).register(registry, token, interest),
            Source::ClockSet(timer) => {
                SourceFd(&timer.as_fd().as_raw_fd()).register(registry, token, interest)
            }
            Source::Adopted { watch, .. } => SourceFd(&watch.as_raw_fd()).register(registry, token, interest),
            Source::Listener(listener) => listener.socket.register(registry, token, interest),
            Source::Hearing(hearing) => hearing.socket.register(registry, token, interest),
            Source::Connection(connection) => connection.channel.source().register(registry, token, interest),
            Source::Pipe { pipe, .. } => pipe.register(registry, token, interest),
        }
    }
}

/// The sources by token. A token is never used twice, so an event of a source
/// that is gone finds nothing.
#[derive(Debug)]
pub(super) struct Sources {
    registry: Registry,
    by_token: HashMap<Token, Source>,
    last_token: usize,
    ready: VecDeque<Token>,
}

impl Sources {
    pub fn new(registry: Registry) -> Self {
        Sources { registry, by_token: HashMap::new(), last_token: 0, ready: VecDeque::new() }
    }

    pub fn insert(&mut self, source: Source) -> io::Result<Token> {
        let token = self.insert_unwatched(source);
        self.watch(token).inspect_err(|_| self.remove(token))?;
        Ok(token)
    }

    /// As [`Sources::insert`], but the poll does not know it before [`Sources::watch`].
    pub fn insert_unwatched(&mut self, source: Source) -> Token {
        self.last_token = self.last_token.wrapping_add(1);
        let token = Token(self.last_token);
        self.by_token.insert(token, source);
        token
    }

    /// What is there already when this is called is an edge of its own.
    pub fn watch(&mut self, token: Token) -> io::Result<()> {
        match self.by_token.get_mut(&token) {
            Some(source) => source.register(&self.registry, token),
            None => Ok(()),
        }
    }

    /// Closes it, by which it leaves the poll. Where a child that is just being started
    /// has a copy, an edge may still come and find nothing.
    pub fn remove(&mut self, token: Token) {
        self.by_token.remove(&token);
    }

    pub fn by_token(&mut self, token: Token) -> Option<&mut Source> {
        self.by_token.get_mut(&token)
    }

    pub fn connection(&mut self, id: ConnId) -> Option<(Token, &mut Connection)> {
        self.by_token.iter_mut().find_map(|(token, source)| match source {
            Source::Connection(connection) if connection.id == id => Some((*token, &mut **connection)),
            _ => None,
        })
    }

    pub fn connections(&self) -> impl Iterator<Item = &Connection> {
        self.by_token.values().filter_map(|source| match source {
            Source::Connection(connection) => Some(&**connection),
            _ => None,
        })
    }

    pub fn pipes_of(&self, id: ChildId) -> Vec<Token> {
        let of_child = |(token, source): (&Token, &Source)| match source {
            Source::Pipe { child, .. } if *child == id => Some(*token),
            _ => None,
        };
        self.by_token.iter().filter_map(of_child).collect()
    }

    pub fn watch_over(&self, id: ChildId) -> Option<Token> {
        self.by_token.iter().find_map(|(token, source)| match source {
            Source::Adopted { child, .. } if *child == id => Some(*token),
            _ => None,
        })
    }

    pub fn hearing(&mut self, at: &Path) -> Option<(Token, &mut Hearing)> {
        self.by_token.iter_mut().find_map(|(token, source)| match source {
            Source::Hearing(hearing) if hearing.path == at => Some((*token, &mut **hearing)),
            _ => None,
        })
    }

    /// Puts a source on the ready list, once.
    pub fn make_ready(&mut self, token: Token) {
        if !self.ready.contains(&token) {
            self.ready.push_back(token);
        }
    }

    /// The sources that are ready now; what becomes ready meanwhile waits for the next turn.
    pub fn take_ready(&mut self) -> VecDeque<Token> {
        std::mem::take(&mut self.ready)
    }

    pub fn any_ready(&self) -> bool {
        !self.ready.is_empty()
    }
}
