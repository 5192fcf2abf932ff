//! One execution of one command, from the start of its process to its answer.

use super::ExecSettings;
use super::live::{Live, Piece};
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
    /// Why it was cancelled.
    reason: Option<String>,
    out: Capture,
    err: Capture,
    /// Where whoever asked wants the output while it is written.
    live: Option<Live>,
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
    pub fn new(now: Now, child: ChildId, timeout: Duration, stream: bool, settings: &ExecSettings) -> Self {
        Run {
            child,
            grace: settings.grace,
            started: now.mono,
            stage: Stage::Running,
            until: now.mono + timeout,
            verdict: Verdict::ByItself,
            reason: None,
            out: Capture::new(settings.output_limit),
            err: Capture::new(settings.output_limit),
            live: stream.then(Live::default),
            open_streams: 2,
            ended: None,
        }
    }

    /// Watches on over a child that an earlier agent started and whose output is lost; it has
    /// this much time left.
    pub fn adopted(now: Now, child: ChildId, left: Duration, settings: &ExecSettings) -> Self {
        Run { open_streams: 0, ..Run::new(now, child, left, false, settings) }
    }

    pub fn child(&self) -> ChildId {
        self.child
    }

    pub fn deadline(&self) -> Instant {
        let live = self.live.as_ref().and_then(|live| live.deadline([&self.out, &self.err]));
        live.map_or(self.until, |live| live.min(self.until))
    }

    /// Output that is to be sent now.
    pub fn pieces(&mut self, now: Now) -> Vec<Piece<'_>> {
        let captures = [&self.out, &self.err];
        self.live.as_mut().map(|live| live.pieces(now.mono, captures)).unwrap_or_default()
    }

    /// The command has come to its end: output that was not sent yet.
    pub fn last_pieces(&mut self) -> Vec<Piece<'_>> {
        self.out.end();
        self.err.end();
        let captures = [&self.out, &self.err];
        self.live.as_mut().map(|live| live.rest(captures)).unwrap_or_default()
    }

    /// Takes in an event of its child, or a tick. True is the end:
    /// [`Run::last_pieces`] and [`Run::outcome`] have the answer.
    pub fn handle(&mut self, now: Now, event: &Event<'_>, fx: &mut Effects) -> bool {
        match event {
            // Many may have been started before it.
            Event::Started(..) => {
                self.until = self.until + now.mono.since(self.started);
                self.started = now.mono;
            }
            Event::Output(_, stream, bytes) => {
                let capture = if *stream == Stream::Out { &mut self.out } else { &mut self.err };
                if capture.push(bytes).is_err() {
                    self.out.give_up();
                    self.err.give_up();
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
    /// the grace time SIGKILL. The first reason stays.
    pub fn cancel(&mut self, now: Now, reason: &str, fx: &mut Effects) {
        let under_way = self.verdict == Verdict::Cancelled;
        if self.ended.is_none() && self.stage != Stage::Killed && !under_way {
            self.verdict = Verdict::Cancelled;
            self.reason = Some(reason.to_owned());
            self.signal(libc::SIGTERM, fx);
            self.enter(Stage::InterruptedAgain, now.mono + self.grace);
        }
    }

    /// The answer.
    pub fn outcome(self, now: Now) -> Outcome {
        let retcode = match (self.verdict, self.ended) {
            (Verdict::ByItself, Some((Exit::Code(0), _))) => Retcode::NormalTermination,
            (Verdict::ByItself, Some((Exit::Code(_), _))) => Retcode::ExitedWithAnError,
            (Verdict::ByItself, Some((Exit::Unknown, _))) => Retcode::Lost,
            (Verdict::ByItself, _) => Retcode::KilledByASignal,
            (Verdict::TimedOut, _) => Retcode::TimedOut,
            (Verdict::TimedOutForceKilled, _) => Retcode::TimedOutForceKilled,
            (Verdict::OutOfMemory, _) => Retcode::OutOfMemoryForceKilled,
            (Verdict::ReadFailed, _) => Retcode::ReadFailedForceKilled,
            (Verdict::Cancelled, _) => Retcode::Cancelled,
        };
        let (exit, end) = self.ended.unwrap_or((Exit::Signal(libc::SIGKILL), now.mono));
        let still_there = || format!("the process has not ended {} s after SIGKILL", KILL_WAIT.as_secs());
        let mut outcome = Outcome::new(retcode).with_output(self.out.kept(), self.err.kept());
        match exit {
            Exit::Code(code) => outcome.exitcode = Some(code),
            Exit::Signal(signal) => outcome.signal = Some(signal),
            Exit::Unknown => {
                let detail = "the agent was restarted while it ran; it has ended since, nobody knows how";
                return Outcome {
                    detail: Some(self.reason.unwrap_or(detail.into())),
                    ..Outcome::new(retcode)
                };
            }
        }
        outcome.detail = self.reason.or_else(|| self.ended.is_none().then(still_there));
        outcome.dropped = Some(self.out.dropped() + self.err.dropped());
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
