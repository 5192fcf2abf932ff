//! A handover that the helper is at, seen from a boot: the one that is to go, or the one that came.

use super::manager;
use super::own::Own;
use super::plan::{Confirmed, Paths, Plan, Stage};
use crate::machine::limits::{HANDOVER_LOOK, HELPER_AGAIN, HELPER_TRIES};
use crate::machine::{
    ChildId, Content, Effect, Effects, Event, Exit, Instant, Lasting, Launch, Now, Placed, Program, Task,
    earliest,
};
use crate::task::PendingTask;
use crate::wire::Limits;

const FILE_MODE: u32 = 0o600;

#[derive(Debug)]
pub(super) struct UnderWay {
    /// As it was when it was last looked at.
    pub plan: Plan,
    look: Instant,
    helper: Option<ChildId>,
    next_helper: Instant,
    failed_helpers: u32,
    started_helpers: u32,
    confirming: Option<PendingTask<()>>,
    /// A server has answered this boot, and it could not be written down.
    is_unwritten: bool,
    /// Why the last helper came to nothing; that it could not be executed says most.
    trouble: Option<Trouble>,
    /// That the plan cannot be read was said.
    pub is_unreadable: bool,
}

#[derive(Debug)]
enum Trouble {
    Ended(String),
    NotStarted(String),
}

impl UnderWay {
    /// Where nobody is at work, a helper is started at `next_helper`.
    pub fn new(now: Now, plan: Plan, next_helper: Instant) -> UnderWay {
        UnderWay {
            plan,
            look: now.mono,
            helper: None,
            next_helper,
            failed_helpers: 0,
            started_helpers: 0,
            confirming: None,
            is_unwritten: false,
            trouble: None,
            is_unreadable: false,
        }
    }

    /// This boot works, and says so.
    pub fn confirm(&mut self, now: Now, own: &Own, paths: &Paths, fx: &mut Effects) {
        // Whoever is to make room proves nothing.
        if self.plan.old == own.life || self.confirming.is_some() {
            return;
        }
        self.is_unwritten = false;
        let Own { life, program, version, .. } = own.clone();
        let confirmed = Confirmed { life, program, version };
        let text = serde_json::to_string(&confirmed).expect("texts and numbers always serialise");
        let file = Placed { to: paths.confirmed(), content: Content::Text(text), mode: FILE_MODE };
        self.confirming = Some(PendingTask::start(now, Task::Place(vec![file]), fx));
    }

    /// What could not be written before is written again: servers may be long in answering the next.
    pub fn confirm_again(&mut self, now: Now, own: &Own, paths: &Paths, fx: &mut Effects) {
        if self.is_unwritten {
            self.confirm(now, own, paths, fx);
        }
    }

    pub fn deadline(&self) -> Option<Instant> {
        earliest([Some(self.look), self.confirming.as_ref().map(PendingTask::deadline)])
    }

    pub fn handle(&mut self, now: Now, event: &Event<'_>, paths: &Paths, fx: &mut Effects) {
        if let Some(task) = &mut self.confirming
            && super::is_for(event, task.child())
            && let Some(written) = task.handle(now, event, fx)
        {
            self.confirming = None;
            match written {
                Ok(()) => log::info!("upgrade=confirmed version={}", self.plan.wanted.version),
                Err(reason) => {
                    self.is_unwritten = true;
                    log::warn!("upgrade=unconfirmed reason={reason:?}");
                }
            }
        }
        match event {
            Event::Exited(child, exit) if self.helper == Some(*child) => {
                self.helper = None;
                if *exit != Exit::Code(0) {
                    self.failed_helpers += 1;
                    if !matches!(self.trouble, Some(Trouble::NotStarted(_))) {
                        self.trouble = Some(Trouble::Ended(format!("the last {}", how(*exit))));
                    }
                    log::warn!("upgrade=helper_failed exit={exit:?} log={}", self.plan.log.display());
                }
            }
            Event::NotStarted(child, error) if self.helper == Some(*child) => {
                self.helper = None;
                self.failed_helpers += 1;
                self.trouble = Some(Trouble::NotStarted(error.to_string()));
                log::warn!("upgrade=no_helper reason={:?}", error.to_string());
            }
            Event::Tick if now.mono >= self.look => {
                self.look = now.mono + HANDOVER_LOOK;
                fx.push(Effect::ReadFile { path: paths.plan() });
            }
            _ => {}
        }
    }

    /// Nobody wrote down that anything was done, and nobody ever will.
    pub fn is_hopeless(&self) -> bool {
        self.failed_helpers >= HELPER_TRIES && self.plan.stage == Stage::Prepared
    }

    /// Why it is hopeless.
    pub fn trouble(&self) -> String {
        let text = "no helper came to its end";
        match &self.trouble {
            Some(Trouble::Ended(reason) | Trouble::NotStarted(reason)) => format!("{text}: {reason}"),
            None => text.into(),
        }
    }

    /// Starts a helper where this process has none; one that finds another at work ends at once.
    pub fn see_to_helper(&mut self, now: Now, own: &Own, paths: &Paths, fx: &mut Effects) {
        if self.helper.is_some() || now.mono < self.next_helper {
            return;
        }
        self.next_helper = now.mono + HELPER_AGAIN;
        self.started_helpers += 1;
        // Where the service manager makes no scope it has to do without.
        let systemd_run = own.systemd_run.as_deref().filter(|_| self.failed_helpers.is_multiple_of(2));
        let argv = manager::helper(systemd_run, &paths.copy(), &paths.plan());
        log::info!("upgrade=helper version={} argv={argv:?}", self.plan.wanted.version);
        let lasting = Lasting {
            family: format!("boot-upgrade-{}-{}-{}", own.life.pid, own.life.start, self.started_helpers),
            output: self.plan.log.clone(),
            cpu_max: None,
            memory_max: None,
        };
        self.helper = Some(fx.spawn(Program::Exec(Box::new(Launch {
            argv,
            env: own.env.clone(),
            cwd: "/".into(),
            credentials: None,
            limits: Limits::default(),
            remembered: false,
            lasting: Some(lasting),
        }))));
    }

    pub fn cancel(&self, fx: &mut Effects) {
        if let Some(task) = &self.confirming {
            task.cancel(fx);
        }
    }
}

fn how(exit: Exit) -> String {
    match exit {
        Exit::Code(code) => format!("ended with status {code}"),
        Exit::Signal(signal) => format!("was ended by signal {signal}"),
        Exit::Unknown => "ended, and how is not known".into(),
    }
}
