//! `getinfo.NAME`: asks a plugin, without an agent. A one-time machine, so that a
//! plugin which crashes or hangs is one here, too.

use super::client::AskError;
use super::{CommandLine, GearctlError, config};
use crate::getinfo::Query;
use crate::machine::limits::LOCAL_DOCUMENT_BYTES;
use crate::machine::{Effect, Effects, Event, Instant, Machine, Now, Signal};
use crate::wire::getinfo::{GetInfoParams, MAX_ARGS_BYTES, MAX_QUERY_BYTES, is_query};
use crate::wire::{GetInfo, Outcome};
use std::path::PathBuf;

/// One question, from the command line to the answer.
#[derive(Debug)]
pub struct Asking {
    dir: PathBuf,
    state: State,
}

#[derive(Debug)]
enum State {
    Begin(GetInfo),
    Waiting(Query),
    Answered(Result<String, GearctlError>),
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
        Ok(Asking { dir: config(line)?.plugins, state: State::Begin(question) })
    }

    /// Once the loop has ended.
    ///
    /// # Errors
    /// [`GearctlError`], for people.
    pub fn answer(self) -> Result<String, GearctlError> {
        match self.state {
            State::Answered(answer) => answer,
            State::Begin(_) | State::Waiting(_) => Err(GearctlError::Interrupted),
        }
    }
}

impl Machine for Asking {
    fn handle(&mut self, now: Now, event: Event<'_>, fx: &mut Effects) {
        match (&mut self.state, &event) {
            (State::Waiting(query), Event::Signal(Signal::Stop)) => {
                query.cancel(fx);
                fx.push(Effect::Stop);
            }
            (State::Begin(question), _) => {
                let question = question.clone();
                let query = Query::bounded(now, &self.dir, question, LOCAL_DOCUMENT_BYTES, fx);
                self.state = State::Waiting(query);
            }
            (State::Waiting(query), event) => {
                if let Some(outcome) = query.handle(now, event, fx).outcome {
                    query.cancel(fx);
                    self.state = State::Answered(document(outcome));
                    fx.push(Effect::Stop);
                }
            }
            (State::Answered(_), _) => {}
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Begin(_) => Some(Instant::default()),
            State::Waiting(query) => Some(query.deadline()),
            State::Answered(_) => None,
        }
    }
}

fn document(outcome: Outcome) -> Result<String, GearctlError> {
    match outcome {
        Outcome { data: Some(data), .. } => Ok(data.get().to_owned()),
        Outcome { retcode, message, detail, .. } => Err(AskError::Failed { retcode, message, detail }.into()),
    }
}
