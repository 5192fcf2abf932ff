//! Waiting for a task: a child process that runs a function of ours and
//! answers with JSON.

use crate::machine::limits::{TASK_ANSWER_BYTES, TASK_TIMEOUT};
use crate::machine::{ChildId, Effect, Effects, Event, Exit, Instant, Now, Program, Stream, Task};
use serde::de::DeserializeOwned;
use std::marker::PhantomData;

/// A task under way, whose answer is a `T`.
#[derive(Debug)]
pub struct PendingTask<T> {
    child: ChildId,
    deadline: Instant,
    answer: Vec<u8>,
    reason: Vec<u8>,
    open_streams: u8,
    exit: Option<Exit>,
    answer_type: PhantomData<T>,
}

impl<T: DeserializeOwned> PendingTask<T> {
    pub fn start(now: Now, task: Task, fx: &mut Effects) -> Self {
        PendingTask {
            child: fx.spawn(Program::Task(task)),
            deadline: now.mono + TASK_TIMEOUT,
            answer: Vec::new(),
            reason: Vec::new(),
            open_streams: 2,
            exit: None,
            answer_type: PhantomData,
        }
    }

    pub fn child(&self) -> ChildId {
        self.child
    }

    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Takes in an event of its child, or a tick. `Some` is the end: the answer,
    /// or why there is none.
    pub fn handle(&mut self, now: Now, event: &Event<'_>, fx: &mut Effects) -> Option<Result<T, String>> {
        match event {
            Event::NotStarted(_, error) => return Some(Err(error.to_string())),
            Event::Output(_, stream, bytes) => {
                let buffer = if *stream == Stream::Out { &mut self.answer } else { &mut self.reason };
                let room = TASK_ANSWER_BYTES - buffer.len();
                buffer.extend_from_slice(&bytes[..bytes.len().min(room)]);
            }
            Event::OutputEnded(..) | Event::OutputFailed(..) => self.open_streams -= 1,
            Event::Exited(_, exit) => self.exit = Some(*exit),
            Event::Tick if now.mono >= self.deadline => {
                self.cancel(fx);
                return Some(Err(format!("no answer within {} seconds", TASK_TIMEOUT.as_secs())));
            }
            _ => {}
        }
        match self.exit {
            Some(exit) if self.open_streams == 0 => Some(self.conclusion(exit)),
            _ => None,
        }
    }

    /// Ends the task; nothing more is heard of it.
    pub fn cancel(&self, fx: &mut Effects) {
        fx.push(Effect::Signal { child: self.child, signal: libc::SIGKILL });
        fx.push(Effect::Release { child: self.child });
    }

    fn conclusion(&self, exit: Exit) -> Result<T, String> {
        match exit {
            Exit::Code(0) => serde_json::from_slice(&self.answer).map_err(|e| format!("damaged answer: {e}")),
            Exit::Code(_) => Err(String::from_utf8_lossy(&self.reason).trim().to_owned()),
            Exit::Signal(signal) => Err(format!("the child process was killed by signal {signal}")),
            Exit::Unknown => Err("nobody knows how the child process ended".into()),
        }
    }
}
