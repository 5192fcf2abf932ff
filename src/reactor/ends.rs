//! Signals to the agent, and the ends of processes, which a signal or a descriptor tells of.

use super::children::{Reaped, Watch};
use super::sources::Source;
use super::{Reactor, sys};
use crate::machine::limits::WATCH_AGAIN;
use crate::machine::{ChildId, Event, Exit, Kin, Machine, Signal};
use mio::Token;
use nix::sys::signal::{SigSet, Signal as UnixSignal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::io;
use std::os::fd::AsFd as _;

impl Reactor {
    pub(super) fn step_signals(&mut self, token: Token, machine: &mut impl Machine) {
        let (mut reports, mut child_ended) = (Vec::new(), false);
        match self.sources.by_token(token) {
            Some(Source::Signals(signals)) => {
                while let Ok(Some(signal)) = signals.receive() {
                    match signal {
                        mio_signals::Signal::User1 => reports.push(Signal::Status),
                        mio_signals::Signal::User2 => {}
                        _ => reports.push(Signal::Stop),
                    }
                }
            }
            Some(Source::MoreSignals(fd)) => {
                while let Ok(Some(signal)) = fd.read_signal() {
                    match signal.ssi_signo.cast_signed() {
                        libc::SIGHUP => reports.push(Signal::Reload),
                        _ => child_ended = true,
                    }
                }
            }
            _ => {}
        }
        for report in reports {
            self.hand_over(machine, Event::Signal(report));
        }
        if child_ended {
            self.reap(machine);
        }
    }

    /// A process has ended that we have not started.
    pub(super) fn step_adopted(&mut self, token: Token, machine: &mut impl Machine) {
        let Some(Source::Adopted { watch, .. }) = self.sources.by_token(token) else { return };
        // As an orphan it may be our child all the same: then we learn how it ended.
        if sys::is_to_be_reaped(watch.as_fd()) {
            self.reap(machine);
        }
        if let Some(Source::Adopted { child, .. }) = self.sources.by_token(token) {
            let child = *child;
            self.sources.remove(token);
            self.children.adopted_ended(child);
            self.hand_over(machine, Event::Exited(child, Exit::Unknown));
        }
    }

    /// Learns of the end of a process that we have not started.
    pub(super) fn watch_over(&mut self, child: ChildId, watch: Watch) {
        let watched = match watch {
            Watch::By(watch) => self.sources.insert(Source::Adopted { child, watch }).is_ok(),
            Watch::NotNow | Watch::Gone => false,
        };
        if !watched {
            self.unwatchable.push(child);
            self.look_again.get_or_insert(self.turn.mono + WATCH_AGAIN);
        }
    }

    /// For now nobody knows who is left of a family.
    pub(super) fn survey_later(&mut self, kin: Kin) {
        self.unsurveyed.retain(|other| other.family != kin.family);
        self.unsurveyed.push(kin);
        self.look_again.get_or_insert(self.turn.mono + WATCH_AGAIN);
    }

    /// Looks at those that could not be watched or surveyed.
    pub(super) fn look_again(&mut self, machine: &mut impl Machine) {
        self.look_again = None;
        for kin in std::mem::take(&mut self.unsurveyed) {
            match self.children.survey(&kin) {
                Some(survey) => self.hand_over(machine, Event::Surveyed(&kin.family, &survey)),
                None => self.survey_later(kin),
            }
        }
        for child in std::mem::take(&mut self.unwatchable) {
            match self.children.watch_again(child) {
                Some(Watch::Gone) => {
                    self.children.adopted_ended(child);
                    self.hand_over(machine, Event::Exited(child, Exit::Unknown));
                }
                Some(watch) => self.watch_over(child, watch),
                None => {}
            }
        }
    }

    fn reap(&mut self, machine: &mut impl Machine) {
        while let Some(Reaped { child, adopted, exit }) = self.children.reap() {
            if let Some(id) = child {
                self.hand_over(machine, Event::Exited(id, exit));
                for token in self.sources.pipes_of(id) {
                    self.step_pipe(token, machine);
                }
            }
            for id in adopted {
                self.sources.watch_over(id).into_iter().for_each(|token| self.sources.remove(token));
                self.hand_over(machine, Event::Exited(id, exit));
            }
        }
    }
}

/// SIGCHLD and SIGHUP, which mio-signals does not know.
pub(super) fn more_signals() -> io::Result<SignalFd> {
    let set = SigSet::from_iter([UnixSignal::SIGCHLD, UnixSignal::SIGHUP]);
    set.thread_block()?;
    Ok(SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?)
}
