//! One execution of one command, from the start of its process to its answer.

use super::output::Capture;
use crate::machine::limits::{DRAIN, KILL_WAIT};
use crate::machine::{ChildId, Effect, Effects, Event, Exit, Instant, Now, Stream};
use crate::wire::{Outcome, Retcode};
use std::time::Duration;

#[derive(Debug)]
pub struct Run {
    child: ChildId,
    grace: Duration,
    started: Instant,
    stage: Stage,
    /// When the stage ends by itself.
    until: Instant,
    verdict: Verdict,
    out: Capture,
    err: Capture,
    open_streams: u8,
    ended: Option<(Exit, Instant)>,
}

/// How far the command is. Only time leads downwards from line to line; its
/// own end leads to `Draining` from everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Running,
    Interrupted,
    InterruptedAgain,
    Killed,
    /// It has ended; its pipes are still open.
    Draining,
}

/// Who ended it, which decides the retcode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    ByItself,
    TimedOut,
    TimedOutForceKilled,
    OutOfMemory,
    ReadFailed,
    Cancelled,
}

impl Run {
    /// Begins to watch a child that is being started.
    pub fn new(now: Now, child: ChildId, timeout: Duration, grace: Duration, output_limit: usize) -> Self {
        Run {
            child,
            grace,
            started: now.mono,
            stage: Stage::Running,
            until: now.mono + timeout,
            verdict: Verdict::ByItself,
            out: Capture::new(output_limit),
            err: Capture::new(output_limit),
            open_streams: 2,
            ended: None,
        }
    }

    pub fn child(&self) -> ChildId {
        self.child
    }

    pub fn deadline(&self) -> Instant {
        self.until
    }

    /// Takes in an event of its child, or a tick. True is the end:
    /// [`Run::outcome`] has the answer.
    pub fn handle(&mut self, now: Now, event: &Event<'_>, fx: &mut Effects) -> bool {
        match event {
            Event::Output(_, stream, bytes) => {
                let capture = if *stream == Stream::Out { &mut self.out } else { &mut self.err };
                if capture.push(bytes).is_err() {
                    self.kill(now, Verdict::OutOfMemory, fx);
                }
            }
            Event::OutputEnded(..) => self.open_streams -= 1,
            Event::OutputFailed(..) => {
                self.open_streams -= 1;
                self.kill(now, Verdict::ReadFailed, fx);
            }
            Event::Exited(_, exit) => {
                self.ended = Some((*exit, now.mono));
                self.enter(Stage::Draining, now.mono + DRAIN);
            }
            Event::Tick if now.mono >= self.until => return self.time_is_up(now, fx),
            _ => {}
        }
        self.ended.is_some() && self.open_streams == 0
    }

    /// Ends the command because nobody wants it any more: SIGTERM, and after
    /// the grace time SIGKILL.
    pub fn cancel(&mut self, now: Now, fx: &mut Effects) {
        if self.ended.is_none() && self.stage != Stage::Killed {
            self.verdict = Verdict::Cancelled;
            self.signal(libc::SIGTERM, fx);
            self.enter(Stage::InterruptedAgain, now.mono + self.grace);
        }
    }

    /// The answer. `detail` may say more than the retcode.
    pub fn outcome(self, now: Now, detail: Option<String>) -> Outcome {
        let retcode = match (self.verdict, self.ended) {
            (Verdict::ByItself, Some((Exit::Code(0), _))) => Retcode::NormalTermination,
            (Verdict::ByItself, Some((Exit::Code(_), _))) => Retcode::ExitedWithAnError,
            (Verdict::ByItself, _) => Retcode::KilledByASignal,
            (Verdict::TimedOut, _) => Retcode::TimedOut,
            (Verdict::TimedOutForceKilled, _) => Retcode::TimedOutForceKilled,
            (Verdict::OutOfMemory, _) => Retcode::OutOfMemoryForceKilled,
            (Verdict::ReadFailed, _) => Retcode::ReadFailedForceKilled,
            (Verdict::Cancelled, _) => Retcode::Cancelled,
        };
        let (exit, end) = self.ended.unwrap_or((Exit::Signal(libc::SIGKILL), now.mono));
        let still_there = || format!("the process has not ended {} s after SIGKILL", KILL_WAIT.as_secs());
        let (out, out_dropped) = self.out.into_parts();
        let (err, err_dropped) = self.err.into_parts();
        let mut outcome = Outcome::new(retcode).with_output(&out, &err);
        match exit {
            Exit::Code(code) => outcome.exitcode = Some(code),
            Exit::Signal(signal) => outcome.signal = Some(signal),
        }
        outcome.detail = detail.or_else(|| self.ended.is_none().then(still_there));
        outcome.dropped = Some(out_dropped + err_dropped);
        outcome.elapsed = Some(seconds(end.since(self.started)));
        outcome
    }

    /// True where there is nothing more to wait for.
    fn time_is_up(&mut self, now: Now, fx: &mut Effects) -> bool {
        match self.stage {
            Stage::Running => {
                self.verdict = Verdict::TimedOut;
                self.signal(libc::SIGINT, fx);
                self.enter(Stage::Interrupted, now.mono + self.grace);
            }
            Stage::Interrupted => {
                self.signal(libc::SIGINT, fx);
                self.enter(Stage::InterruptedAgain, now.mono + self.grace);
            }
            Stage::InterruptedAgain => {
                let cancelled = self.verdict == Verdict::Cancelled;
                self.kill(now, if cancelled { Verdict::Cancelled } else { Verdict::TimedOutForceKilled }, fx);
            }
            Stage::Killed | Stage::Draining => {
                fx.push(Effect::Release { child: self.child });
                return true;
            }
        }
        false
    }

    /// One that has ended already is past killing, but its output is not whole.
    fn kill(&mut self, now: Now, verdict: Verdict, fx: &mut Effects) {
        if self.stage == Stage::Killed {
            return;
        }
        self.verdict = verdict;
        if self.ended.is_none() {
            self.signal(libc::SIGKILL, fx);
            self.enter(Stage::Killed, now.mono + KILL_WAIT);
        }
    }

    fn signal(&self, signal: i32, fx: &mut Effects) {
        fx.push(Effect::Signal { child: self.child, signal });
    }

    fn enter(&mut self, stage: Stage, until: Instant) {
        self.stage = stage;
        self.until = until;
    }
}

/// To the microsecond, which is finer than the system's scheduler.
fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e6
}
