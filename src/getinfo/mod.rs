//! Queries: what is asked of a host about itself, and which plugin's answer is
//! waited for.
//!
//! A plugin runs in a child process of its own, with a deadline and a bound on
//! its memory and its answer: whatever it does costs its own reply and nothing
//! else.

mod facts;
mod query;

pub use facts::{Changes, HostFacts};
pub use query::{Progress, Query};

use crate::machine::limits::{QUERIES, WAITING_QUERIES, WAITING_QUERIES_BYTES};
use crate::machine::{Effects, Event, Instant, Now, earliest};
use crate::wire::{GetInfo, Outcome, Retcode};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The table of queries.
#[derive(Debug)]
pub struct Queries {
    dir: PathBuf,
    /// By the request's id.
    running: Vec<(String, Query)>,
    waiting: VecDeque<Waiting>,
    /// How many were asked.
    asked: u64,
    /// Why no more are taken, once that is so.
    closed: Option<String>,
}

#[derive(Debug)]
struct Waiting {
    id: String,
    question: GetInfo,
    /// When it must have begun.
    until: Instant,
}

/// The end of a query: the request's id, and what became of it.
pub type Answered = (String, Outcome);

impl Queries {
    /// `dir` is the plugin folder.
    pub fn new(dir: PathBuf) -> Self {
        Queries { dir, running: Vec::new(), waiting: VecDeque::new(), asked: 0, closed: None }
    }

    /// Where the plugins of queries are that begin from now on.
    pub fn configure(&mut self, dir: PathBuf) {
        self.dir = dir;
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn running(&self) -> usize {
        self.running.len()
    }

    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// How many were asked since the agent's start.
    pub fn asked(&self) -> u64 {
        self.asked
    }

    pub fn deadline(&self) -> Option<Instant> {
        let waiting = self.waiting.iter().map(|waiting| Some(waiting.until));
        earliest(self.running.iter().map(|(_, query)| Some(query.deadline())).chain(waiting))
    }

    /// Takes a question in. `Some` is its refusal.
    pub fn submit(&mut self, now: Now, id: String, question: GetInfo, fx: &mut Effects) -> Option<Answered> {
        if let Some(reason) = &self.closed {
            return Some((id, Outcome::with_detail(Retcode::Cancelled, reason.clone())));
        }
        let held: usize = self.waiting.iter().map(|waiting| waiting.question.params.args.len()).sum();
        let bytes = held + question.params.args.len();
        if self.waiting.len() >= WAITING_QUERIES || bytes > WAITING_QUERIES_BYTES {
            let (running, waiting) = (self.running.len(), self.waiting.len());
            let detail = format!("{running} queries run and {waiting} wait; try again later");
            return Some((id, Outcome::with_detail(Retcode::Busy, detail)));
        }
        self.asked += 1;
        let until = now.mono + Duration::from_secs(question.params.timeout);
        self.waiting.push_back(Waiting { id, question, until });
        self.fill_places(now, fx);
        None
    }

    /// Takes in an event of a child, or a tick. Queries that came to their end go into `answered`.
    pub fn handle(&mut self, now: Now, event: &Event<'_>, fx: &mut Effects, answered: &mut Vec<Answered>) {
        for (id, mut query) in std::mem::take(&mut self.running) {
            let Progress { outcome, over } = query.handle(now, event, fx);
            answered.extend(outcome.map(|outcome| (id.clone(), outcome)));
            if !over {
                self.running.push((id, query));
            }
        }
        self.fill_places(now, fx);
        self.waiting.retain_mut(|Waiting { id, question, until }| {
            if now.mono >= *until {
                let detail = format!("no place was free within {} seconds", question.params.timeout);
                answered.push((std::mem::take(id), Outcome::with_detail(Retcode::Expired, detail)));
            }
            now.mono < *until
        });
    }

    /// Ends a query. `None` where none of this id waits for its answer.
    pub fn cancel(&mut self, id: &str, reason: &str, fx: &mut Effects) -> Option<Answered> {
        let running = self.running.iter().position(|(own, query)| own == id && !query.is_answered());
        let id = if let Some(place) = running {
            let (id, query) = self.running.swap_remove(place);
            query.cancel(fx);
            id
        } else {
            let place = self.waiting.iter().position(|waiting| waiting.id == id)?;
            self.waiting.remove(place)?.id
        };
        Some((id, Outcome::with_detail(Retcode::Cancelled, reason)))
    }

    /// Ends all of them, and takes no more.
    pub fn close(&mut self, reason: &str, fx: &mut Effects) -> Vec<Answered> {
        self.closed = Some(reason.to_owned());
        let mut unanswered: Vec<String> = self.waiting.drain(..).map(|waiting| waiting.id).collect();
        for (id, query) in self.running.drain(..) {
            query.cancel(fx);
            unanswered.extend(Some(id).filter(|_| !query.is_answered()));
        }
        let cancelled = |id| (id, Outcome::with_detail(Retcode::Cancelled, reason));
        unanswered.into_iter().map(cancelled).collect()
    }

    fn fill_places(&mut self, now: Now, fx: &mut Effects) {
        while self.running.len() < QUERIES
            && let Some(Waiting { id, question, .. }) = self.waiting.pop_front()
        {
            self.running.push((id, Query::start(now, &self.dir, question, fx)));
        }
    }
}

#[cfg(test)]
#[path = "getinfo_tests.rs"]
mod tests;
