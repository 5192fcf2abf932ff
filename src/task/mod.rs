//! Waiting for a task: a child process that runs a function of ours and
//! answers with JSON.

mod under_way;

pub use under_way::{End, UnderWay};

use crate::machine::limits::{TASK_ANSWER_BYTES, TASK_TIMEOUT};
use crate::machine::{ChildId, Effects, Event, Exit, Instant, Now, Program, Task};
use serde::de::DeserializeOwned;
use std::marker::PhantomData;
use std::time::Duration;

/// A task under way, whose answer is a `T`.
#[derive(Debug)]
pub struct PendingTask<T> {
    task: UnderWay,
    timeout: Duration,
    answer_type: PhantomData<T>,
}

impl<T: DeserializeOwned> PendingTask<T> {
    pub fn start(now: Now, task: Task, fx: &mut Effects) -> Self {
        Self::start_within(now, task, TASK_TIMEOUT, fx)
    }

    /// One that may take as long as this.
    pub fn start_within(now: Now, task: Task, timeout: Duration, fx: &mut Effects) -> Self {
        let task = UnderWay::start(now, Program::Task(task), timeout, TASK_ANSWER_BYTES, fx);
        PendingTask { task, timeout, answer_type: PhantomData }
    }

    pub fn child(&self) -> ChildId {
        self.task.child()
    }

    pub fn deadline(&self) -> Instant {
        self.task.deadline()
    }

    /// Takes in an event of its child, or a tick. `Some` is the end: the answer,
    /// or why there is none.
    pub fn handle(&mut self, now: Now, event: &Event<'_>, fx: &mut Effects) -> Option<Result<T, String>> {
        Some(match self.task.handle(now, event, fx)? {
            End::NotStarted(error) => Err(error.to_string()),
            End::TimedOut => Err(format!("no answer within {} seconds", self.timeout.as_secs_f64())),
            End::Exited(Exit::Code(0)) => {
                serde_json::from_slice(self.task.answer()).map_err(|e| format!("damaged answer: {e}"))
            }
            End::Exited(Exit::Code(_)) => Err(self.task.words()),
            End::Exited(Exit::Signal(signal)) => {
                Err(format!("the child process was killed by signal {signal}"))
            }
            End::Exited(Exit::Unknown) => Err("nobody knows how the child process ended".into()),
        })
    }

    /// Ends the task; nothing more is heard of it.
    pub fn cancel(&self, fx: &mut Effects) {
        self.task.cancel(fx);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Effect;
    use std::time::SystemTime;

    #[test]
    fn a_task_has_the_time_that_it_is_given_and_is_killed_then() {
        let at = |millis| Now { mono: Instant(Duration::from_millis(millis)), wall: SystemTime::UNIX_EPOCH };
        let mut fx = Effects::default();
        let timeout = Duration::from_millis(2500);
        let mut task = PendingTask::<()>::start_within(at(1000), Task::Reach("/".into()), timeout, &mut fx);
        fx.take();
        assert_eq!(task.deadline(), at(3500).mono);
        assert_eq!(task.handle(at(3499), &Event::Tick, &mut fx), None);
        assert_eq!(fx.take(), []);
        let end = task.handle(at(3500), &Event::Tick, &mut fx);
        assert_eq!(end, Some(Err("no answer within 2.5 seconds".into())));
        assert!(matches!(
            fx.take()[..],
            [Effect::Signal { signal: libc::SIGKILL, .. }, Effect::Release { .. }]
        ));
        let usual = PendingTask::<()>::start(at(0), Task::Reach("/".into()), &mut fx);
        assert_eq!(usual.deadline(), Instant(TASK_TIMEOUT));
    }
}
