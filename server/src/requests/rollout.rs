//! A rollout: a request that only so many hosts have at once. Its hosts are
//! begun in their order, each when another has ended, and never because time
//! has passed. Every host is first waiting, then under way, then over; one that
//! could not be sent anything, and one that is not begun any more, goes from
//! the first to the last.
//!
//! This says who is next and what has run out, and does nothing itself. Times
//! are those since the rollout's begin.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;
use utoipa::ToSchema;

/// What was asked for. Counts are hosts of this request, whether they were given as a percentage or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The most that are under way at once.
    pub batch: u32,
    /// Whether one host is begun first, then two at once, then four, and so on up to the batch: as many
    /// as can stand for what has succeeded.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ramp: bool,
    /// The most that may fail for others to be begun; any number where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_errors: Option<u32>,
    /// Seconds from the end of one host to the begin of the next in its place.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub pause: u32,
    /// Seconds after which no host is begun any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u64>,
}

/// Why hosts were not begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = StopReason)]
pub enum Reason {
    /// More hosts failed than `max_errors`.
    Errors,
    /// Their turn did not come within the `ttl`.
    Ttl,
    /// The request's deadline came first.
    Deadline,
    /// Somebody cancelled the request.
    Cancelled,
    /// The server was told to end.
    Shutdown,
    /// The server ended without that.
    Restart,
    /// The database did not take what must be on disk before a host is begun.
    Storage,
}

/// What is said where somebody cancels it.
pub const CANCELLED: &str = "the request was cancelled";

/// A rollout that ended before all of its hosts were begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Stopped {
    pub reason: Reason,
    /// The same as a sentence.
    pub detail: String,
    /// Hosts that were not begun.
    pub not_begun: usize,
}

/// See the module.
#[derive(Debug)]
pub struct Rollout {
    plan: Plan,
    hosts: Vec<State>,
    /// The first that is waiting: those after it are, too.
    next: u32,
    under_way: u32,
    succeeded: u32,
    errors: u32,
    /// When the places are free again whose hosts have ended; the earliest first.
    resting: VecDeque<Duration>,
    /// Until when hosts that are under way have to answer.
    due: BTreeSet<(Duration, u32)>,
    /// When all of it has to be over.
    deadline: Duration,
    stopped: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    /// It has to answer by then; not yet known while it is being sent.
    UnderWay(Option<Duration>),
    Over,
}

impl Plan {
    /// How many hosts the rollout takes one after the other, where none fails.
    pub fn rounds(&self, hosts: usize) -> u64 {
        let batch = u64::from(self.batch.max(1));
        let doublings = if self.ramp { u64::from(batch.ilog2()) } else { 0 };
        (hosts as u64).div_ceil(batch) + doublings
    }
}

impl Rollout {
    /// `deadline` is since the begin, as all times are.
    pub fn new(plan: Plan, hosts: u32, deadline: Duration) -> Rollout {
        Rollout {
            plan,
            hosts: vec![State::Waiting; hosts as usize],
            next: 0,
            under_way: 0,
            succeeded: 0,
            errors: 0,
            resting: VecDeque::new(),
            due: BTreeSet::new(),
            deadline,
            stopped: false,
        }
    }

    /// The hosts to begin now, in their order: from here on they are under way.
    pub fn begin(&mut self, now: Duration) -> std::ops::Range<u32> {
        let first = self.next;
        if self.stopped || self.why_to_stop(now).is_some() {
            return first..first;
        }
        while self.resting.front().is_some_and(|free| *free <= now) {
            self.resting.pop_front();
        }
        while self.is_waiting(self.next) && self.free() > 0 {
            self.hosts[self.next as usize] = State::UnderWay(None);
            self.under_way += 1;
            self.next += 1;
        }
        first..self.next
    }

    /// The host has been sent it and has to answer by `due`.
    pub fn sent(&mut self, host: u32, due: Duration) {
        let state = &mut self.hosts[host as usize];
        if *state == State::UnderWay(None) {
            let due = due.min(self.deadline);
            *state = State::UnderWay(Some(due));
            self.due.insert((due, host));
        }
    }

    /// It could not be sent to the host: neither an error nor a reason to pause.
    pub fn undelivered(&mut self, host: u32) {
        if let State::UnderWay(due) = self.hosts[host as usize] {
            self.over(host, due);
        }
    }

    /// The host has its final state, whoever gave it.
    pub fn ended(&mut self, host: u32, success: bool, now: Duration) {
        match self.hosts[host as usize] {
            State::Over => {}
            // Somebody else has decided that it is not begun.
            State::Waiting => {
                self.hosts[host as usize] = State::Over;
                self.stopped = true;
            }
            State::UnderWay(due) => {
                let before = self.window();
                self.over(host, due);
                if success {
                    self.succeeded += 1;
                } else {
                    self.errors += 1;
                }
                // Places that are new because it succeeded rest as long as its own.
                let places = 1 + self.window() - before;
                let free = now + Duration::from_secs(self.plan.pause.into());
                self.resting.extend((0..places).map(|_| free));
            }
        }
    }

    /// Those that are under way and whose time to answer is over.
    pub fn late(&self, now: Duration) -> Vec<u32> {
        self.due.iter().take_while(|(due, _)| *due <= now).map(|(_, host)| *host).collect()
    }

    /// Why hosts are waiting in vain, where they are.
    pub fn why_to_stop(&self, now: Duration) -> Option<Reason> {
        if self.stopped || !self.is_waiting(self.next) { None } else { self.why_none_is_begun(now) }
    }

    /// Why no host may be begun any more, though its turn had come.
    pub fn why_none_is_begun(&self, now: Duration) -> Option<Reason> {
        if self.plan.max_errors.is_some_and(|most| self.errors > most) {
            Some(Reason::Errors)
        } else if self.deadline <= now {
            Some(Reason::Deadline)
        } else if self.ttl().is_some_and(|ttl| ttl <= now) {
            Some(Reason::Ttl)
        } else {
            None
        }
    }

    /// Begins no more hosts. Those that were waiting, which have their final state by that.
    pub fn stop(&mut self) -> std::ops::Range<u32> {
        let first = self.next;
        self.stopped = true;
        while self.is_waiting(self.next) {
            self.hosts[self.next as usize] = State::Over;
            self.next += 1;
        }
        first..self.next
    }

    /// When something comes to pass though no host ends: one may be begun, is late, or waits in vain.
    pub fn wakes(&self) -> Option<Duration> {
        if self.stopped || !self.is_waiting(self.next) {
            return self.late_first();
        }
        [self.resting.front().copied(), self.runs_out()].into_iter().flatten().min()
    }

    /// The same, where no host can be begun meanwhile.
    pub fn runs_out(&self) -> Option<Duration> {
        [self.late_first(), Some(self.deadline), self.ttl()].into_iter().flatten().min()
    }

    fn late_first(&self) -> Option<Duration> {
        self.due.first().map(|(due, _)| *due)
    }

    fn ttl(&self) -> Option<Duration> {
        self.plan.ttl.map(Duration::from_secs)
    }

    /// Whether every host is over.
    pub fn is_over(&self) -> bool {
        self.under_way == 0 && (self.stopped || !self.is_waiting(self.next))
    }

    /// Hosts that were begun and failed.
    pub fn errors(&self) -> u32 {
        self.errors
    }

    /// As many hosts as may be under way by now.
    fn window(&self) -> u32 {
        if !self.plan.ramp {
            return self.plan.batch;
        }
        // 1 until one has succeeded, 2 until these two have, too, and so on.
        (1 << (self.succeeded + 1).ilog2()).min(self.plan.batch)
    }

    fn free(&self) -> u32 {
        let resting = u32::try_from(self.resting.len()).expect("there are no more places than hosts");
        self.window().saturating_sub(self.under_way + resting)
    }

    fn is_waiting(&self, host: u32) -> bool {
        self.hosts.get(host as usize) == Some(&State::Waiting)
    }

    fn over(&mut self, host: u32, due: Option<Duration>) {
        self.hosts[host as usize] = State::Over;
        self.under_way -= 1;
        if let Some(due) = due {
            self.due.remove(&(due, host));
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

#[cfg(test)]
#[path = "rollout_tests.rs"]
mod tests;
