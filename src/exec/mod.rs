//! Commands: which run now, which wait, and what became of them.
//!
//! A command goes from [`Exec::submit`] through the queue, perhaps a look-up
//! of its user, and its [`run::Run`] to a [`Done`].

mod cancel;
mod launch;
mod live;
mod output;
mod run;
mod settings;

pub use settings::{AllowList, ExecSettings};

use crate::machine::limits::{WAITING_BYTES, WAITING_COMMANDS};
use crate::machine::{
    AsWhom, ChildId, Effects, Event, Identity, Instant, Now, Process, Program, Task, earliest,
};
use crate::task::PendingTask;
use crate::wire::session::Output;
use crate::wire::{Account, Command, Outcome, Retcode};
use launch::launch;
use run::Run;
use std::borrow::Cow;
use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::time::Duration;

/// The table of commands.
#[derive(Debug)]
pub struct Exec {
    settings: ExecSettings,
    /// The agent's own user.
    own: Identity,
    waiting: VecDeque<Waiting>,
    active: Vec<Active>,
    /// Why no more commands are taken, once that is so.
    closed: Option<String>,
}

/// What the table tells its machine.
#[derive(Debug)]
pub enum Fact {
    /// The command of this request has a process, which is told of one that is remembered.
    Started(String, Option<Process>),
    /// More of what a command writes that is wanted while it runs.
    Output(Output),
    Done(Done),
}

/// A command that came to its end, and the id of its request.
#[derive(Debug)]
pub struct Done {
    pub id: String,
    pub outcome: Outcome,
}

impl Fact {
    pub fn done(id: String, outcome: Outcome) -> Self {
        Fact::Done(Done { id, outcome })
    }
}

/// What is to be run.
#[derive(Debug)]
pub struct Wanted {
    pub command: Command,
    /// Whether a later agent is to find its process.
    pub remembered: bool,
}

#[derive(Debug)]
struct Waiting {
    id: String,
    wanted: Wanted,
    bytes: usize,
}

#[derive(Debug)]
struct Active {
    id: String,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    Identifying(Box<Identifying>),
    Reaching(Box<Reaching>),
    Running(Box<Run>),
}

/// The command's user is being looked up.
#[derive(Debug)]
struct Identifying {
    task: PendingTask<Option<Identity>>,
    wanted: Wanted,
}

/// Its directory is being looked at, in a child that a dead mount may keep:
/// the start of the command itself would hold up the loop there.
#[derive(Debug)]
struct Reaching {
    task: PendingTask<()>,
    wanted: Wanted,
    identity: Identity,
}

impl Phase {
    fn child(&self) -> ChildId {
        match self {
            Phase::Identifying(pending) => pending.task.child(),
            Phase::Reaching(pending) => pending.task.child(),
            Phase::Running(run) => run.child(),
        }
    }

    fn deadline(&self) -> Instant {
        match self {
            Phase::Identifying(pending) => pending.task.deadline(),
            Phase::Reaching(pending) => pending.task.deadline(),
            Phase::Running(run) => run.deadline(),
        }
    }
}

impl Exec {
    pub fn new(settings: ExecSettings, own: Identity) -> Self {
        Exec { settings, own, waiting: VecDeque::new(), active: Vec::new(), closed: None }
    }

    /// New settings, for commands that start from now on. Those that wait were permitted already.
    pub fn configure(&mut self, now: Now, settings: ExecSettings, fx: &mut Effects, facts: &mut Vec<Fact>) {
        self.settings = settings;
        self.fill_places(now, fx, facts);
    }

    /// Commands that have a process.
    pub fn running(&self) -> usize {
        self.active.len()
    }

    /// Commands that wait for a free place.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    pub fn deadline(&self) -> Option<Instant> {
        earliest(self.active.iter().map(|active| Some(active.phase.deadline())))
    }

    /// Takes a command in; what is refused at once, or cannot start, goes into `facts`.
    pub fn submit(&mut self, now: Now, id: String, wanted: Wanted, fx: &mut Effects, facts: &mut Vec<Fact>) {
        let bytes = bytes_of(&wanted.command);
        let refusal = self.refusal(&wanted.command).or_else(|| {
            let detail = format!(
                "{} commands run and {} wait; try again later or raise exec.max_children",
                self.active.len(),
                self.waiting.len()
            );
            self.is_full(bytes).then(|| Outcome::with_detail(Retcode::Busy, detail))
        });
        if let Some(outcome) = refusal {
            facts.push(Fact::done(id, outcome));
            return;
        }
        self.waiting.push_back(Waiting { id, wanted, bytes });
        self.fill_places(now, fx, facts);
    }

    /// Why this command would not be run, however many places are free.
    pub fn refusal(&self, command: &Command) -> Option<Outcome> {
        if let Some(reason) = &self.closed {
            return Some(Outcome::with_detail(Retcode::Cancelled, reason.clone()));
        }
        if !self.settings.allow.permits(&command.cmd) {
            let detail =
                "cmd: exec.allow of this host's configuration has no expression that matches it whole";
            return Some(Outcome::with_detail(Retcode::NotPermitted, detail));
        }
        match self.own.as_whom(command.user.as_ref(), command.group.as_ref()) {
            AsWhom::NotPermitted(reason) => Some(Outcome::with_detail(Retcode::NotPermitted, reason)),
            _ => None,
        }
    }

    /// Whether `exec.allow` lets this command be run here.
    pub fn permits(&self, cmd: &str) -> bool {
        self.settings.allow.permits(cmd)
    }

    /// Whether a command that comes now would begin at once.
    pub fn has_free_place(&self) -> bool {
        self.closed.is_none() && self.waiting.is_empty() && self.active.len() < self.settings.max_children
    }

    /// Takes over a process that an earlier agent started for this request. It began so long ago.
    pub fn adopt(
        &mut self,
        now: Now,
        id: String,
        process: Process,
        ran: Duration,
        timeout: Option<u64>,
        fx: &mut Effects,
    ) {
        let timeout = timeout.map_or(self.settings.timeout, Duration::from_secs);
        let run = Run::adopted(now, fx.adopt(process, false), timeout.saturating_sub(ran), &self.settings);
        self.active.push(Active { id, phase: Phase::Running(Box::new(run)) });
    }

    /// Whether there is no room for one more that has to wait and is this large.
    fn is_full(&self, bytes: usize) -> bool {
        let held: usize = self.waiting.iter().map(|waiting| waiting.bytes).sum();
        self.waiting.len() >= WAITING_COMMANDS || held + bytes > WAITING_BYTES
    }

    /// Takes in an event of a child, or a tick. False where the child is not one of ours.
    pub fn handle(&mut self, now: Now, event: &Event<'_>, fx: &mut Effects, facts: &mut Vec<Fact>) -> bool {
        match event {
            Event::Tick => self.tick(now, fx, facts),
            Event::Started(child, _)
            | Event::NotStarted(child, _)
            | Event::Output(child, ..)
            | Event::OutputEnded(child, _)
            | Event::OutputFailed(child, ..)
            | Event::Exited(child, _) => return self.step(*child, now, event, fx, facts),
            _ => {}
        }
        true
    }

    fn tick(&mut self, now: Now, fx: &mut Effects, facts: &mut Vec<Fact>) {
        let due = |active: &&Active| now.mono >= active.phase.deadline();
        let due: Vec<ChildId> = self.active.iter().filter(due).map(|active| active.phase.child()).collect();
        for child in due {
            self.step(child, now, &Event::Tick, fx, facts);
        }
    }

    /// Hands the event to the active command with this child. False where there is none.
    fn step(
        &mut self,
        child: ChildId,
        now: Now,
        event: &Event<'_>,
        fx: &mut Effects,
        facts: &mut Vec<Fact>,
    ) -> bool {
        let Some(index) = self.active.iter().position(|active| active.phase.child() == child) else {
            return false;
        };
        let Active { id, phase } = self.active.swap_remove(index);
        match self.advance(&id, phase, now, event, fx, facts) {
            ControlFlow::Continue(phase) => self.active.push(Active { id, phase }),
            ControlFlow::Break(outcome) => {
                facts.push(Fact::done(id, outcome));
                self.fill_places(now, fx, facts);
            }
        }
        true
    }

    fn advance(
        &self,
        id: &str,
        phase: Phase,
        now: Now,
        event: &Event<'_>,
        fx: &mut Effects,
        facts: &mut Vec<Fact>,
    ) -> ControlFlow<Outcome, Phase> {
        match (phase, event) {
            (Phase::Identifying(mut pending), _) => match pending.task.handle(now, event, fx) {
                None => ControlFlow::Continue(Phase::Identifying(pending)),
                Some(Ok(Some(identity))) => {
                    ControlFlow::Continue(self.begin(now, pending.wanted, Cow::Owned(identity), fx))
                }
                Some(Ok(None)) => {
                    let detail = unknown_account(&pending.wanted.command);
                    ControlFlow::Break(Outcome::with_detail(Retcode::NoSuchUserOrGroup, detail))
                }
                Some(Err(reason)) => {
                    let detail = format!("user: the user database did not answer: {reason}");
                    ControlFlow::Break(Outcome::with_detail(Retcode::CouldNotStart, detail))
                }
            },
            (Phase::Reaching(mut pending), _) => match pending.task.handle(now, event, fx) {
                None => ControlFlow::Continue(Phase::Reaching(pending)),
                Some(Ok(())) => ControlFlow::Continue(self.start(now, pending.wanted, &pending.identity, fx)),
                Some(Err(reason)) => {
                    let detail = format!("cwd: its file system does not answer: {reason}");
                    ControlFlow::Break(Outcome::with_detail(Retcode::CouldNotStart, detail))
                }
            },
            (Phase::Running(_), Event::NotStarted(_, error)) => {
                ControlFlow::Break(Outcome::with_detail(Retcode::CouldNotStart, error.to_string()))
            }
            (Phase::Running(mut run), _) => {
                if let Event::Started(_, process) = event {
                    facts.push(Fact::Started(id.to_owned(), *process));
                }
                let ended = run.handle(now, event, fx);
                let pieces = if ended { run.last_pieces() } else { run.pieces(now) };
                let output = |(stream, piece)| Fact::Output(Output::new(id, stream, piece));
                facts.extend(pieces.into_iter().map(output));
                if ended {
                    ControlFlow::Break(run.outcome(now))
                } else {
                    ControlFlow::Continue(Phase::Running(run))
                }
            }
        }
    }

    /// Starts waiting commands while there is a free place.
    fn fill_places(&mut self, now: Now, fx: &mut Effects, facts: &mut Vec<Fact>) {
        while self.active.len() < self.settings.max_children {
            let Some(Waiting { id, wanted, .. }) = self.waiting.pop_front() else { return };
            let Command { user, group, .. } = &wanted.command;
            let phase = match self.own.as_whom(user.as_ref(), group.as_ref()) {
                AsWhom::Own => self.begin(now, wanted, Cow::Borrowed(&self.own), fx),
                AsWhom::Other { user, group } => {
                    let task = PendingTask::start(now, Task::Identify { user, group }, fx);
                    Phase::Identifying(Box::new(Identifying { task, wanted }))
                }
                AsWhom::NotPermitted(reason) => {
                    facts.push(Fact::done(id, Outcome::with_detail(Retcode::NotPermitted, reason)));
                    continue;
                }
            };
            self.active.push(Active { id, phase });
        }
    }

    fn begin(&self, now: Now, wanted: Wanted, identity: Cow<'_, Identity>, fx: &mut Effects) -> Phase {
        match &wanted.command.cwd {
            None => self.start(now, wanted, &identity, fx),
            Some(cwd) => {
                let task = PendingTask::start(now, Task::Reach(cwd.clone()), fx);
                let identity = identity.into_owned();
                Phase::Reaching(Box::new(Reaching { task, wanted, identity }))
            }
        }
    }

    fn start(&self, now: Now, wanted: Wanted, identity: &Identity, fx: &mut Effects) -> Phase {
        let timeout = wanted.command.timeout.map_or(self.settings.timeout, Duration::from_secs);
        let stream = wanted.command.stream;
        let launch = launch(wanted, identity, &self.own, &self.settings);
        let child = fx.spawn(Program::Exec(Box::new(launch)));
        Phase::Running(Box::new(Run::new(now, child, timeout, stream, &self.settings)))
    }
}

/// What the parts of a command that may be large take.
fn bytes_of(command: &Command) -> usize {
    let env: usize = command.env.iter().map(|(name, value)| name.len() + value.len()).sum();
    command.cmd.len() + env
}

fn unknown_account(command: &Command) -> String {
    let shown = |account: &Option<Account>| account.as_ref().map_or("root".to_owned(), Account::to_string);
    match &command.group {
        None => format!("user: this host has no user {}", shown(&command.user)),
        Some(group) => {
            format!("user, group: this host has no user {} or no group {group}", shown(&command.user))
        }
    }
}
