//! The loop: owns the poll, the clock, every descriptor, every child process
//! and every TLS session, and knows nothing about any agent.
//!
//! A turn: sleep until something is ready or the machine's deadline; give each
//! ready source one bounded step; hand each result to the machine as an event
//! and carry out the effects that it asks for ([`apply`]).

mod apply;
mod aside;
mod cgroup;
mod channel;
mod children;
mod clock;
mod connection;
mod ends;
mod family;
mod files;
mod hearing;
mod lasting;
mod listener;
mod loopless;
mod place;
mod plugin;
mod probe;
mod process;
mod renew;
mod rotate;
mod sources;
mod spawn;
mod sys;
mod task;
mod tls;

pub use aside::run_aside;
pub use clock::{Clock, wall_clock};
pub use loopless::{end_group, look, reap, signal, start};
pub use place::place;
pub use renew::finish as finish_renewal;
pub use tls::identity::{certificate_end, common_name, fingerprint, identity_fits};

use crate::machine::limits::{LONG_SLEEP, READ_BUDGET_BYTES, TRIM_AFTER_BYTES, WATCH_STDERR_AFTER};
use crate::machine::{
    ChildId, ConnId, ConnectionEnd, Effects, Event, Exit, Instant, Kin, Machine, Now, Process, StartError,
    Stream, Survey, earliest,
};
use children::Children;
use connection::Step;
use mio::unix::pipe::Receiver;
use mio::{Events, Poll, Token};
use mio_signals::{SignalSet, Signals};
use sources::{Source, Sources};
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read as _};
use std::path::PathBuf;
use std::time::Duration;

/// Events taken from the poll at once.
const EVENTS_A_TURN: usize = 128;

pub struct Reactor {
    poll: Poll,
    clock: Clock,
    /// When the poll returned.
    turn: Now,
    sources: Sources,
    /// Pipes that the poll is told of when the time has come, the earliest first.
    unwatched: VecDeque<(Instant, Token)>,
    children: Children,
    /// Where programs on this host connect to.
    listener: Option<Token>,
    /// When those are accepted for whom there was no descriptor.
    accept_again: Option<Instant>,
    /// Adopted processes of whose end nothing would tell us, families at which we cannot look, and
    /// when they are looked at.
    unwatchable: Vec<ChildId>,
    unsurveyed: Vec<Kin>,
    look_again: Option<Instant>,
    fx: Effects,
    /// What an effect brought about at once, not yet handed to the machine.
    outcomes: VecDeque<AtOnce>,
    /// What is read goes through here.
    buffer: Vec<u8>,
    reopen_log: Box<dyn FnMut()>,
    stopping: bool,
    /// Bytes read, and what the starts of children took, since freed memory was last given back.
    work_since_trim: usize,
    is_frugal: bool,
}

/// The answer to an effect that did not have to be waited for.
enum AtOnce {
    Closed(ConnId, ConnectionEnd),
    Started(ChildId, Option<Process>, Now),
    /// An adopted process is not there any more.
    Gone(ChildId),
    NotStarted(ChildId, StartError),
    Surveyed(String, Survey),
    FileRead(PathBuf, Result<Option<Vec<u8>>, String>),
}

impl Reactor {
    /// A loop with nothing to do yet. Blocks the signals that it will report,
    /// and makes the process the reaper of orphaned descendants.
    ///
    /// # Errors
    /// The system refuses a descriptor that every loop needs.
    pub fn new(clock: Clock, reopen_log: Box<dyn FnMut()>) -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut sources = Sources::new(poll.registry().try_clone()?);
        sources.insert(Source::Signals(Signals::new(SignalSet::all())?))?;
        sources.insert(Source::MoreSignals(ends::more_signals()?))?;
        sources.insert(Source::ClockSet(clock::when_set()?))?;
        Ok(Reactor {
            poll,
            turn: clock.now(),
            clock,
            sources,
            unwatched: VecDeque::new(),
            children: Children::new()?,
            listener: None,
            accept_again: None,
            unwatchable: Vec::new(),
            unsurveyed: Vec::new(),
            look_again: None,
            fx: Effects::default(),
            outcomes: VecDeque::new(),
            buffer: vec![0; READ_BUDGET_BYTES],
            reopen_log,
            stopping: false,
            // What start-up freed is given back before the first sleep.
            work_since_trim: TRIM_AFTER_BYTES,
            is_frugal: false,
        })
    }

    /// Before each longer sleep all memory that is not needed for it is given back, that of code as
    /// well: for an agent that seldom has something to do, and then is in no hurry.
    #[must_use]
    pub fn frugal(mut self) -> Self {
        self.is_frugal = true;
        self
    }

    /// Runs the machine until it asks to stop.
    ///
    /// # Errors
    /// The poll itself fails.
    pub fn run(mut self, machine: &mut impl Machine) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS_A_TURN);
        loop {
            self.tick(machine);
            self.watch_pipes(machine);
            if self.stopping && self.sources.connections().next().is_none() {
                return Ok(());
            }
            self.children.families.forget_census();
            self.trim(machine);
            match self.poll.poll(&mut events, self.timeout(machine)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                other => other?,
            }
            self.turn = self.clock.now();
            for event in &events {
                if let Some(Source::Connection(connection)) = self.sources.by_token(event.token()) {
                    connection.became_ready(
                        event.is_readable() || event.is_read_closed() || event.is_error(),
                        event.is_writable() || event.is_write_closed() || event.is_error(),
                    );
                }
                self.sources.make_ready(event.token());
            }
            for token in self.sources.take_ready() {
                self.step(token, machine);
            }
        }
    }

    fn timeout(&self, machine: &impl Machine) -> Option<Duration> {
        if self.sources.any_ready() {
            return Some(Duration::ZERO);
        }
        let unwatched = self.unwatched.front().map(|(until, _)| *until);
        let own = [self.linger_deadline(), unwatched, self.accept_again, self.look_again];
        let deadline = earliest(own.into_iter().chain([machine.deadline()]))?;
        Some(deadline.since(self.clock.now().mono))
    }

    fn linger_deadline(&self) -> Option<Instant> {
        earliest(self.sources.connections().map(connection::Connection::deadline))
    }

    /// By the time at which the poll returned: after a turn that took long, what
    /// became ready meanwhile is looked at before any deadline.
    fn tick(&mut self, machine: &mut impl Machine) {
        if machine.deadline().is_some_and(|deadline| self.turn.mono >= deadline) {
            self.hand_over_at(self.turn, machine, Event::Tick);
        }
        if self.linger_deadline().is_some_and(|deadline| self.turn.mono >= deadline) {
            self.drop_lingering();
        }
        if self.look_again.is_some_and(|again| self.turn.mono >= again) {
            self.look_again(machine);
        }
        if self.accept_again.is_some_and(|again| self.turn.mono >= again) {
            self.listener.into_iter().for_each(|token| self.sources.make_ready(token));
        }
    }

    /// One bounded piece of work for one source.
    fn step(&mut self, token: Token, machine: &mut impl Machine) {
        match self.sources.by_token(token) {
            None => {}
            Some(Source::Listener(_)) => self.step_listener(token, machine),
            Some(Source::Connection(_)) => self.step_connection(token, machine),
            Some(Source::Pipe { .. }) => self.step_pipe(token, machine),
            Some(Source::Hearing(_)) => self.step_hearing(token, machine),
            Some(Source::Adopted { .. }) => self.step_adopted(token, machine),
            Some(Source::ClockSet(timer)) => {
                // It is read to be armed again. What follows from it the machine sees by itself.
                let _ = timer.wait();
                self.hand_over(machine, Event::Tick);
            }
            Some(Source::Signals(_) | Source::MoreSignals(_)) => self.step_signals(token, machine),
        }
    }

    fn step_connection(&mut self, token: Token, machine: &mut impl Machine) {
        let mut buffer = std::mem::take(&mut self.buffer);
        if let Some(Source::Connection(connection)) = self.sources.by_token(token) {
            let (id, step) = (connection.id, connection.step(self.turn, &mut buffer));
            match step {
                Step::Idle => {}
                Step::Busy => self.sources.make_ready(token),
                Step::Connected => {
                    self.sources.make_ready(token);
                    self.hand_over(machine, Event::Connected(id));
                }
                Step::Bytes(length) => {
                    self.sources.make_ready(token);
                    self.work_since_trim += length;
                    self.hand_over(machine, Event::Received(id, &buffer[..length]));
                }
                Step::Ended(end) => {
                    self.sources.remove(token);
                    self.hand_over(machine, Event::Closed(id, end));
                }
                Step::Closed => self.sources.remove(token),
            }
        }
        self.buffer = buffer;
    }

    fn step_pipe(&mut self, token: Token, machine: &mut impl Machine) {
        let mut buffer = std::mem::take(&mut self.buffer);
        if let Some(Source::Pipe { child, stream, pipe }) = self.sources.by_token(token) {
            let (child, stream) = (*child, *stream);
            match read(pipe, &mut buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => {
                    self.sources.remove(token);
                    self.hand_over(machine, Event::OutputFailed(child, stream, error.to_string()));
                }
                Ok(0) => {
                    self.sources.remove(token);
                    self.hand_over(machine, Event::OutputEnded(child, stream));
                }
                Ok(length) => {
                    self.sources.make_ready(token);
                    self.work_since_trim += length;
                    self.hand_over(machine, Event::Output(child, stream, &buffer[..length]));
                }
            }
        }
        self.buffer = buffer;
    }

    /// Gives the machine an event and does what it asks for, and so on with
    /// what that brings about at once.
    fn hand_over(&mut self, machine: &mut impl Machine, event: Event<'_>) {
        self.hand_over_at(self.clock.now(), machine, event);
    }

    fn hand_over_at(&mut self, now: Now, machine: &mut impl Machine, event: Event<'_>) {
        machine.handle(now, event, &mut self.fx);
        self.apply();
        while let Some(outcome) = self.outcomes.pop_front() {
            let (now, event) = match &outcome {
                AtOnce::Started(child, process, at) => (*at, Event::Started(*child, *process)),
                AtOnce::Gone(child) => (now, Event::Exited(*child, Exit::Unknown)),
                AtOnce::Closed(conn, end) => (now, Event::Closed(*conn, end.clone())),
                AtOnce::NotStarted(child, error) => (now, Event::NotStarted(*child, error.clone())),
                AtOnce::Surveyed(family, survey) => (now, Event::Surveyed(family, survey)),
                AtOnce::FileRead(path, answer) => {
                    (now, Event::FileRead(path, answer.as_ref().map(Option::as_deref).map_err(Clone::clone)))
                }
            };
            machine.handle(now, event, &mut self.fx);
            self.apply();
        }
    }

    fn drop_lingering(&mut self) {
        let due = |c: &&connection::Connection| c.deadline().is_some_and(|at| self.turn.mono >= at);
        let ids: Vec<ConnId> = self.sources.connections().filter(due).map(|c| c.id).collect();
        for id in ids {
            if let Some((token, _)) = self.sources.connection(id) {
                self.sources.remove(token);
            }
        }
    }

    /// Before an idle agent sleeps, memory that a burst of work freed goes
    /// back to the system; the allocator would keep it.
    fn trim(&mut self, machine: &impl Machine) {
        let idle = self.children.are_quiet() && !self.sources.any_ready();
        let rests = self.is_frugal && self.timeout(machine).is_none_or(|sleep| sleep >= LONG_SLEEP);
        if idle && (rests || self.work_since_trim >= TRIM_AFTER_BYTES) {
            self.work_since_trim = 0;
            sys::give_back_free_memory();
        }
        if idle && rests {
            sys::give_back_code();
        }
    }

    fn take_pipes(&mut self, now: Now, child: ChildId, pipes: [(Stream, Receiver); 2]) {
        for (stream, pipe) in pipes {
            let token = self.sources.insert_unwatched(Source::Pipe { child, stream, pipe });
            // The end of the first stream comes just before the process's, and wakes us in good
            // time for that; another wake-up for the second would bring nothing new.
            let watched = stream == Stream::Out && self.sources.watch(token).is_ok();
            if !watched {
                self.unwatched.push_back((now.mono + WATCH_STDERR_AFTER, token));
            }
        }
    }

    /// Tells the poll of the pipes whose time has come.
    fn watch_pipes(&mut self, machine: &mut impl Machine) {
        let now = self.turn.mono;
        // For one that is gone already nobody need wake up.
        while let Some((_, token)) = self
            .unwatched
            .pop_front_if(|(until, token)| now >= *until || self.sources.by_token(*token).is_none())
        {
            let Err(error) = self.sources.watch(token) else { continue };
            if let Some(Source::Pipe { child, stream, .. }) = self.sources.by_token(token) {
                let failed = Event::OutputFailed(*child, *stream, error.to_string());
                self.sources.remove(token);
                self.hand_over(machine, failed);
            }
        }
    }
}

fn read(pipe: &mut Receiver, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match pipe.read(buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

#[cfg(test)]
#[path = "reactor_tests.rs"]
mod tests;
