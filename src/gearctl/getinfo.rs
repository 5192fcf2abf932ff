//! `getinfo.NAME`: asks a plugin, without an agent. A one-time machine, so that a
//! plugin which crashes or hangs is one here, too.

use super::client::AskError;
use super::{CommandLine, GearctlError, config};
use crate::getinfo::{Progress, Query};
use crate::machine::limits::{DRAIN, LOCAL_DOCUMENT_BYTES};
use crate::machine::{Effect, Effects, Event, Instant, Machine, Now, Signal};
use crate::wire::getinfo::{GetInfoParams, MAX_ARGS_BYTES, MAX_QUERY_BYTES, is_query};
use crate::wire::{GetInfo, Outcome};
use std::path::PathBuf;

/// One question, from the command line to the answer.
#[derive(Debug)]
pub struct Asking {
    dir: PathBuf,
    state: State,
    answer: Option<Result<String, GearctlError>>,
}

#[derive(Debug)]
enum State {
    Begin(GetInfo),
    Waiting(Query),
    /// The plugin's process has a moment to end, so that nothing of it is left behind.
    Answered(Query, Instant),
    Ended,
}

impl Asking {
    pub(super) fn new(query: &str, line: &CommandLine) -> Result<Self, GearctlError> {
        if !is_query(query) {
            let reason = format!("1 to {MAX_QUERY_BYTES} lower-case letters, digits, \"_\", \"-\" and \".\"");
            return Err(GearctlError::Command(format!("a query's name is {reason}, not {query:?}")));
        }
        let args = line.arguments.clone().unwrap_or_default();
        if args.len() > MAX_ARGS_BYTES || args.contains('\0') {
            return Err(GearctlError::Arguments(format!(
                "must be at most {MAX_ARGS_BYTES} bytes without a NUL"
            )));
        }
        let params = GetInfoParams { args, ..GetInfoParams::default() };
        let question = GetInfo { query: query.to_owned(), params };
        Ok(Asking { dir: config(line)?.plugins, state: State::Begin(question), answer: None })
    }

    /// Once the loop has ended.
    ///
    /// # Errors
    /// [`GearctlError`], for people.
    pub fn answer(self) -> Result<String, GearctlError> {
        self.answer.unwrap_or(Err(GearctlError::Interrupted))
    }

    /// Whether there is nothing more to be waited for.
    fn step(&mut self, now: Now, event: &Event<'_>, fx: &mut Effects) -> bool {
        let (State::Waiting(query) | State::Answered(query, _)) = &mut self.state else { return false };
        let Progress { outcome, over } = query.handle(now, event, fx);
        if let Some(outcome) = outcome {
            self.answer = Some(document(outcome));
        }
        over
    }
}

impl Machine for Asking {
    fn handle(&mut self, now: Now, event: Event<'_>, fx: &mut Effects) {
        let over = self.step(now, &event, fx);
        let interrupted = matches!(event, Event::Signal(Signal::Stop));
        self.state = match std::mem::replace(&mut self.state, State::Ended) {
            State::Begin(question) if !interrupted => {
                State::Waiting(Query::bounded(now, &self.dir, question, LOCAL_DOCUMENT_BYTES, fx))
            }
            State::Waiting(query) if self.answer.is_some() && !over => {
                State::Answered(query, now.mono + DRAIN)
            }
            State::Waiting(query) if !over && !interrupted => State::Waiting(query),
            State::Answered(query, until) if !over && now.mono < until => State::Answered(query, until),
            State::Waiting(query) | State::Answered(query, _) if !over => {
                query.cancel(fx);
                fx.push(Effect::Stop);
                State::Ended
            }
            _ => {
                fx.push(Effect::Stop);
                State::Ended
            }
        };
    }

    fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Begin(_) => Some(Instant::default()),
            State::Waiting(query) => Some(query.deadline()),
            State::Answered(_, until) => Some(*until),
            State::Ended => None,
        }
    }
}

fn document(outcome: Outcome) -> Result<String, GearctlError> {
    match outcome {
        Outcome { data: Some(data), .. } => Ok(data.get().to_owned()),
        Outcome { retcode, message, detail, .. } => Err(AskError::Failed { retcode, message, detail }.into()),
    }
}
