//! Supervised daemons: what is asked for goes to their table, and what becomes of it to the log and
//! the server.

use super::calls::nothing_kept;
use super::{Gearman, News};
use crate::daemon::{DaemonSettings, Fact};
use crate::exec::Exec;
use crate::machine::{Effects, Event, Now};
use crate::wire::daemon::{Check, DaemonName, Stop, Wanted};
use crate::wire::frame::encode;
use crate::wire::session::Frame;
use crate::wire::{Call, DaemonInit, DaemonStatus, DaemonTold, Daemons, Outcome, Retcode};
use log::{error, info, warn};

impl Gearman {
    /// Brings the daemons on.
    pub(super) fn supervise(&mut self, now: Now, event: &Event<'_>, fx: &mut Effects, news: &mut News) {
        let Ok(kept) = &mut self.kept else { return };
        kept.daemons.handle(now, event, fx, &mut kept.store, &mut news.daemons);
        for fact in std::mem::take(&mut news.daemons) {
            match fact {
                Fact::Changed { told, outcome, bytes } => {
                    log_change(&told, &outcome);
                    kept.result_added(now, bytes);
                }
                Fact::StoreFailed(error) => kept.trouble.say(now, "daemons", &error),
            }
        }
    }

    pub(super) fn configure_daemons(&mut self, settings: DaemonSettings) {
        if let Ok(kept) = &mut self.kept
            && !kept.daemons.configure(settings.clone())
        {
            warn!("daemon=settings kept=\"dir, log, run\" reason=\"others take effect at the next start\"");
        }
        self.daemon_settings = settings;
    }

    /// The calls that are about daemons.
    pub(super) fn daemon_call(&mut self, now: Now, call: Call) -> Outcome {
        let kept = match &mut self.kept {
            Ok(kept) => kept,
            Err(reason) => return nothing_kept(reason),
        };
        let (daemons, store) = (&mut kept.daemons, &mut kept.store);
        match call {
            Call::DaemonInit(init) => match forbidden(&self.exec, &init) {
                Some(refusal) => refusal,
                None => daemons.init(now, *init, store),
            },
            Call::DaemonStart(DaemonName { name }) => daemons.want(&name, Wanted::Running, store),
            Call::DaemonStop(DaemonName { name }) => daemons.want(&name, Wanted::Stoped, store),
            Call::DaemonRemove(DaemonName { name }) => daemons.want(&name, Wanted::Removed, store),
            Call::DaemonRestart(DaemonName { name }) => daemons.restart(&name, store),
            Call::DaemonList(filter) => daemons.list(now, filter.name.as_deref()),
            other => unreachable!("no call about daemons: {other:?}"),
        }
    }

    /// The link is new: the server learns what the daemons are at.
    pub(super) fn tell_of_daemons(&mut self, fx: &mut Effects) {
        if let (Ok(kept), Some(conn)) = (&self.kept, self.link.ready()) {
            // What cannot be told for certain counts as older than any event.
            let seq = kept.store.last_result().unwrap_or_default();
            let daemons = Daemons { seq, daemons: kept.daemons.told() };
            self.link.send(conn, encode(&Frame::Daemons(&daemons)), fx);
        }
    }
}

/// Why its commands may not be run on this host.
fn forbidden(exec: &Exec, init: &DaemonInit) -> Option<Outcome> {
    let stop = match &init.stop {
        Stop::Process(command) => Some(command),
        Stop::Kill(_) => None,
    };
    let check = match &init.check {
        Check::Script(command) => Some(command),
        _ => None,
    };
    let commands = [
        ("start", Some(&init.start)),
        ("precheck", init.precheck.as_ref()),
        ("stop", stop),
        ("check", check),
    ];
    let mut forbidden =
        commands.into_iter().filter(|(_, command)| command.is_some_and(|cmd| !exec.permits(cmd)));
    forbidden.next().map(|(field, _)| {
        let detail = format!(
            "{field}: exec.allow of this host's configuration has no expression that matches it whole"
        );
        Outcome::with_detail(Retcode::NotPermitted, detail)
    })
}

fn log_change(told: &DaemonTold, outcome: &Outcome) {
    let DaemonTold { name, version, status, restarts, .. } = told;
    let pid = told.pid.unwrap_or_default();
    let reason = outcome.detail.as_deref().unwrap_or_default();
    match (status, outcome.is_success()) {
        (DaemonStatus::Fatal, _) => error!(
            "daemon=fatal name={name:?} version={version:?} restarts={restarts} reason={reason:?} \
             until=\"it is started, restarted or defined anew\""
        ),
        (_, false) => warn!(
            "daemon={status} name={name:?} version={version:?} restarts={restarts} retcode={} \
             reason={reason:?}",
            outcome.retcode
        ),
        _ if told.removed => info!("daemon=removed name={name:?} version={version:?}"),
        _ => info!("daemon={status} name={name:?} version={version:?} pid={pid} restarts={restarts}"),
    }
}
