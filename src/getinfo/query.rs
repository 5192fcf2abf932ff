//! One question and its plugin's child, from its start to its answer.

use crate::machine::limits::DOCUMENT_BYTES;
use crate::machine::{
    END_OF_ANSWER, Effects, Event, Exit, Instant, Now, PluginAnswer, Program, Question, Task,
};
use crate::task::{End, UnderWay};
use crate::wire::{GetInfo, Outcome, Retcode};
use serde_json::value::RawValue;
use std::path::Path;
use std::time::Duration;

/// See the module.
#[derive(Debug)]
pub struct Query {
    name: String,
    timeout: Duration,
    task: UnderWay,
    /// Its plugin has said all that is waited for.
    answered: bool,
}

/// What an event leads to.
#[derive(Debug, Default)]
pub struct Progress {
    /// The answer, as soon as it is there, or why there is none.
    pub outcome: Option<Outcome>,
    /// Its process has ended, or nothing more is heard of it.
    pub over: bool,
}

impl Query {
    /// Asks what goes back in a frame.
    pub fn start(now: Now, dir: &Path, question: GetInfo, fx: &mut Effects) -> Self {
        Query::bounded(now, dir, question, DOCUMENT_BYTES, fx)
    }

    /// As [`Query::start`], for a document of this size at most.
    pub fn bounded(now: Now, dir: &Path, question: GetInfo, most_bytes: usize, fx: &mut Effects) -> Self {
        let GetInfo { query: name, params } = question;
        let timeout = Duration::from_secs(params.timeout);
        let question = Question { dir: dir.to_owned(), query: name.clone(), args: params.args, most_bytes };
        // Beside the document there is little: a retcode, or a reason.
        let task = UnderWay::start(now, Program::Task(Task::Ask(question)), timeout, most_bytes + 1024, fx);
        Query { name, timeout, task, answered: false }
    }

    pub fn deadline(&self) -> Instant {
        self.task.deadline()
    }

    /// Takes in an event; what is another's is passed over.
    pub fn handle(&mut self, now: Now, event: &Event<'_>, fx: &mut Effects) -> Progress {
        let mine = match event {
            Event::Tick => true,
            Event::NotStarted(child, _)
            | Event::Output(child, ..)
            | Event::OutputEnded(child, _)
            | Event::OutputFailed(child, ..)
            | Event::Exited(child, _) => *child == self.task.child(),
            _ => false,
        };
        if !mine {
            return Progress::default();
        }
        let end = self.task.handle(now, event, fx);
        let before = self.answered;
        // Its process has a moment more to live, which is nobody's to wait for.
        self.answered |= self.task.answer().last() == Some(&END_OF_ANSWER);
        let outcome = match &end {
            _ if before => None,
            _ if self.answered => Some(self.answer()),
            end => end.as_ref().map(|end| self.outcome(end)),
        };
        Progress { outcome, over: end.is_some() }
    }

    pub fn is_answered(&self) -> bool {
        self.answered
    }

    /// Ends it; nothing more is heard of it.
    pub fn cancel(&self, fx: &mut Effects) {
        self.task.cancel(fx);
    }

    fn outcome(&self, end: &End) -> Outcome {
        match end {
            End::NotStarted(error) => self.failed(Retcode::CouldNotStart, &error.to_string()),
            End::TimedOut => {
                let reason = format!("no answer within {} seconds", self.timeout.as_secs());
                let failed = self.failed(Retcode::TimedOutForceKilled, &reason);
                Outcome { signal: Some(libc::SIGKILL), ..failed }
            }
            End::Exited(Exit::Signal(signal)) => {
                let failed = self.failed(Retcode::KilledByASignal, &format!("killed by signal {signal}"));
                Outcome { signal: Some(*signal), ..failed }
            }
            End::Exited(Exit::Code(0)) => self.answer(),
            End::Exited(Exit::Code(code)) => {
                let reason = format!("its process ended with exit code {code} before the answer was whole");
                let failed = self.failed(Retcode::ExitedWithAnError, &reason);
                Outcome { exitcode: Some(*code), ..failed }
            }
            End::Exited(Exit::Unknown) => self.failed(Retcode::Lost, "nobody knows how it ended"),
        }
    }

    fn answer(&self) -> Outcome {
        let answer = self.task.answer();
        match serde_json::from_slice(answer.strip_suffix(&[END_OF_ANSWER]).unwrap_or(answer)) {
            Ok(PluginAnswer { data: Some(data), detail: None, .. }) => {
                Outcome { data: Some(on_one_line(data)), ..Outcome::new(Retcode::NormalTermination) }
            }
            Ok(PluginAnswer { data: None, detail: Some(detail), retcode }) => {
                let known = Retcode::ALL.iter().find(|known| known.code() == retcode && !known.is_success());
                Outcome::with_detail(*known.unwrap_or(&Retcode::ExitedWithAnError), detail)
            }
            Ok(_) => self.failed(Retcode::ExitedWithAnError, "neither a document nor a reason came back"),
            // It ended as if all were well, and was not: a plugin may end the process itself.
            Err(_) => {
                let failed =
                    self.failed(Retcode::ExitedWithAnError, "its process ended before the answer was whole");
                Outcome { exitcode: Some(0), ..failed }
            }
        }
    }

    /// What became of the plugin, its name first, and what it said of that itself.
    fn failed(&self, retcode: Retcode, reason: &str) -> Outcome {
        let words = self.task.words();
        let (plugin, words) = words.split_once('\n').unwrap_or((&words, ""));
        let plugin = if plugin.is_empty() { format!("getinfo.{}", self.name) } else { plugin.to_owned() };
        let detail = match words.trim() {
            "" => format!("{plugin}: {reason}"),
            words => format!("{plugin}: {reason}; it said: {words}"),
        };
        Outcome::with_detail(retcode, detail)
    }
}

/// A frame is one line. Between the words of a JSON document a line feed is as good as a blank,
/// and within them there is none.
fn on_one_line(document: Box<RawValue>) -> Box<RawValue> {
    if !document.get().contains('\n') {
        return document;
    }
    RawValue::from_string(document.get().replace('\n', " ")).expect("it was JSON before")
}
