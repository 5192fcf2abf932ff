//! A child process that is waited for, from its start to its end.

use crate::machine::limits::{DRAIN, TASK_REASON_BYTES};
use crate::machine::{ChildId, Effect, Effects, Event, Exit, Instant, Now, Program, StartError, Stream};
use std::time::Duration;

/// A task or a program whose end has not come, and what it has said so far.
#[derive(Debug)]
pub struct UnderWay {
    child: ChildId,
    deadline: Instant,
    answer: Vec<u8>,
    /// What is kept of the answer, in bytes.
    most_bytes: usize,
    words: Vec<u8>,
    open_streams: u8,
    exit: Option<Exit>,
}

/// How it ended.
#[derive(Debug)]
pub enum End {
    NotStarted(StartError),
    /// It was killed for it.
    TimedOut,
    Exited(Exit),
}

impl UnderWay {
    pub fn start(now: Now, program: Program, timeout: Duration, most_bytes: usize, fx: &mut Effects) -> Self {
        UnderWay {
            child: fx.spawn(program),
            deadline: now.mono + timeout,
            answer: Vec::new(),
            most_bytes,
            words: Vec::new(),
            open_streams: 2,
            exit: None,
        }
    }

    pub fn child(&self) -> ChildId {
        self.child
    }

    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// What it wrote on its standard output, where tasks answer.
    pub fn answer(&self) -> &[u8] {
        &self.answer
    }

    /// What it wrote on its standard error.
    pub fn words(&self) -> String {
        String::from_utf8_lossy(&self.words).trim().to_owned()
    }

    /// Takes in an event of its child, or a tick.
    pub fn handle(&mut self, now: Now, event: &Event<'_>, fx: &mut Effects) -> Option<End> {
        match event {
            Event::NotStarted(_, error) => return Some(End::NotStarted(error.clone())),
            Event::Output(_, Stream::Out, bytes) => keep(&mut self.answer, bytes, self.most_bytes),
            Event::Output(_, Stream::Err, bytes) => keep(&mut self.words, bytes, TASK_REASON_BYTES),
            Event::OutputEnded(..) | Event::OutputFailed(..) => self.open_streams -= 1,
            Event::Exited(_, exit) => {
                self.exit = Some(*exit);
                // Something that came from it may hold a pipe for ever.
                self.deadline = self.deadline.min(now.mono + DRAIN);
            }
            Event::Tick if now.mono >= self.deadline => {
                self.cancel(fx);
                return Some(self.exit.map_or(End::TimedOut, End::Exited));
            }
            _ => {}
        }
        self.exit.filter(|_| self.open_streams == 0).map(End::Exited)
    }

    /// Ends the task; nothing more is heard of it.
    pub fn cancel(&self, fx: &mut Effects) {
        fx.push(Effect::Signal { child: self.child, signal: libc::SIGKILL });
        fx.push(Effect::Release { child: self.child });
    }
}

fn keep(buffer: &mut Vec<u8>, bytes: &[u8], most: usize) {
    let room = most.saturating_sub(buffer.len());
    buffer.extend_from_slice(&bytes[..bytes.len().min(room)]);
}
