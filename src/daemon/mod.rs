//! Daemons: the host is brought to what the database says of each, and kept there.
//!
//! A request changes what is wanted, and that is on disk when it is answered. Each [`one::Daemon`]
//! compares this with what it is at, and goes on by its [`table`] until they agree. What it comes to
//! is on disk before it is acted upon, so that a later agent takes up each process where this one
//! left it.

mod end;
mod health;
mod hits;
mod launch;
mod one;
mod package;
mod restarts;
mod settings;
mod start;
mod table;
mod told;
mod wish;
mod work;

pub use settings::DaemonSettings;
pub use told::Seen;

use crate::machine::limits::STORE_RETRY;
use crate::machine::{AsWhom, Effects, Event, Identity, Instant, Now, earliest};
use crate::store::{Store, StoreError, UnreadableDaemon};
use crate::wire::daemon::{MAX_DAEMONS, Wanted};
use crate::wire::frame::encode;
use crate::wire::session::Frame;
use crate::wire::{DaemonEvent, DaemonInit, DaemonStatus, DaemonTold, Outcome, Retcode};
use one::{Daemon, Place, Turn};
use serde_json::json;
use std::collections::BTreeMap;

/// The table of daemons.
#[derive(Debug)]
pub struct Daemons {
    place: Place,
    by_name: BTreeMap<String, Supervised>,
    /// What an earlier agent supervised, and nobody knows how: it is ended when one of its name comes.
    unreadable: Vec<UnreadableDaemon>,
    chance: fastrand::Rng,
    /// The store failed: it is left alone until then.
    pause: Option<Instant>,
    /// The agent is stopping: they are left to the next.
    is_closed: bool,
}

#[derive(Debug)]
struct Supervised {
    /// In a place of its own: where many are kept in order some places are free.
    daemon: Box<Daemon>,
    /// What was told last.
    told: Option<Told>,
}

/// What others are told of at once when it changes: the status, the version, and what is wanted.
type Told = (DaemonStatus, String, Wanted);

/// What the daemons tell their machine.
#[derive(Debug)]
pub enum Fact {
    /// It has come to another status, or failed; the outbox has an event of so many bytes, where
    /// events are kept.
    Changed { told: DaemonTold, outcome: Outcome, bytes: Option<usize> },
    /// The store failed; what was to be written is tried again.
    StoreFailed(StoreError),
}

impl Daemons {
    /// Takes up what an earlier agent left.
    pub fn restore(
        now: Now,
        settings: DaemonSettings,
        own: Identity,
        boot: &str,
        store: &Store,
        seed: u64,
    ) -> Result<Daemons, StoreError> {
        let (rows, unreadable) = store.daemons()?;
        let place = Place { settings, own, boot: boot.to_owned(), tells: true };
        let restored = |row: crate::store::DaemonRow| {
            let daemon = Box::new(Daemon::restored(now, row, &place));
            (daemon.init.name.clone(), Supervised { told: Some(news(&daemon)), daemon })
        };
        let daemons = Daemons {
            unreadable,
            by_name: rows.into_iter().map(restored).collect(),
            place,
            chance: fastrand::Rng::with_seed(seed),
            pause: None,
            is_closed: false,
        };
        Ok(daemons)
    }

    /// What becomes of them is told to their machine alone: no event of it waits for a server.
    #[must_use]
    pub fn untold(mut self) -> Daemons {
        self.place.tells = false;
        self
    }

    /// The names of those whose definitions cannot be read.
    pub fn unreadable(&self) -> impl Iterator<Item = &str> {
        self.unreadable.iter().map(|unreadable| unreadable.name.as_str())
    }

    /// New settings, for what begins from now on. Where files are stays as it is, which is returned as
    /// false where it was to change: what runs has them there.
    pub fn configure(&mut self, settings: DaemonSettings) -> bool {
        let DaemonSettings { dir, log, run, .. } = self.place.settings.clone();
        let is_same = (&dir, &log, &run) == (&settings.dir, &settings.log, &settings.run);
        self.place.settings = DaemonSettings { dir, log, run, ..settings };
        is_same
    }

    /// Those that hold from now on.
    pub fn settings(&self) -> &DaemonSettings {
        &self.place.settings
    }

    pub fn count(&self) -> usize {
        self.by_name.len()
    }

    pub fn handle(
        &mut self,
        now: Now,
        event: &Event<'_>,
        fx: &mut Effects,
        store: &mut Store,
        facts: &mut Vec<Fact>,
    ) {
        if self.is_closed {
            return;
        }
        let Daemons { place, by_name, chance, .. } = self;
        if let Event::Surveyed(family, _) = event {
            if let Some(known) = by_name.get_mut(launch::name_in(family)) {
                known.daemon.handle(&mut Turn { now, place, chance, fx }, event);
            }
        } else {
            for Supervised { daemon, .. } in by_name.values_mut() {
                daemon.handle(&mut Turn { now, place, chance, fx }, event);
            }
        }
        if matches!(event, Event::Tick) {
            self.pause.take_if(|pause| now.mono >= *pause);
        }
        self.save(now, fx, store, facts);
    }

    /// Leaves them to the next agent. What only finds out something is ended; what ends a daemon may
    /// come to its end, and so may the system's tool where it is installing something.
    pub fn close(&mut self, fx: &mut Effects) {
        self.is_closed = true;
        for Supervised { daemon, .. } in self.by_name.values_mut() {
            daemon.leave(fx);
        }
    }

    pub fn deadline(&self) -> Option<Instant> {
        if self.is_closed {
            return None;
        }
        let daemons = self.by_name.values().map(|supervised| supervised.daemon.deadline());
        earliest(daemons.chain([self.pause]))
    }

    /// `daemon.init`: when the answer is Accepted, the definition is on disk.
    pub fn init(&mut self, now: Now, init: DaemonInit, store: &mut Store) -> Outcome {
        match self.refusal(&init) {
            Some(refusal) => refusal,
            None => self.take_on(now, init, store),
        }
    }

    /// Brings back a definition that was good when it was taken on: that its package came from the
    /// agent's own server then is not asked again.
    pub fn bring_back(&mut self, now: Now, init: DaemonInit, store: &mut Store) -> Outcome {
        self.take_on(now, init, store)
    }

    fn take_on(&mut self, now: Now, init: DaemonInit, store: &mut Store) -> Outcome {
        let name = init.name.clone();
        if let Some(known) = self.by_name.get_mut(&name) {
            if !known.daemon.define(now, init) && !known.daemon.is_changed {
                return accepted(&known.daemon);
            }
        } else {
            let mut daemon = Box::new(Daemon::new(now, init));
            if let Some(place) = self.unreadable.iter().position(|unreadable| unreadable.name == name) {
                daemon.replaces(self.unreadable.remove(place), &self.place.boot);
            }
            self.by_name.insert(name.clone(), Supervised { daemon, told: None });
        }
        self.promise(&name, store)
    }

    /// Why such a daemon would not be taken on.
    fn refusal(&self, init: &DaemonInit) -> Option<Outcome> {
        let own = &self.place.own;
        if let AsWhom::NotPermitted(reason) = own.as_whom(init.user.as_ref(), init.group.as_ref()) {
            return Some(Outcome::with_detail(Retcode::NotPermitted, reason));
        }
        if let Some(refusal) = self.refusal_of_package(init) {
            return Some(refusal);
        }
        let is_new = !self.by_name.contains_key(&init.name);
        (is_new && self.by_name.len() >= MAX_DAEMONS).then(|| {
            let detail = format!("there are {MAX_DAEMONS} daemons already; remove some");
            Outcome::with_detail(Retcode::Busy, detail)
        })
    }

    /// Why its package would not be taken, as far as its definition says.
    pub fn refusal_of_package(&self, init: &DaemonInit) -> Option<Outcome> {
        if let Err(reason) = aspire_package::check_url(&init.url) {
            return Some(Outcome::with_detail(Retcode::InvalidParams, reason));
        }
        (init.checksum.is_none() && !self.place.settings.is_own_server(&init.url)).then(|| {
            let detail = "checksum: missing; only a package that comes from the agent's own server by https \
                          may be without";
            Outcome::with_detail(Retcode::InvalidParams, detail)
        })
    }

    /// `daemon.start`, `daemon.stop` and `daemon.remove`.
    pub fn want(&mut self, name: &str, wanted: Wanted, store: &mut Store) -> Outcome {
        let Some(known) = self.by_name.get_mut(name) else { return no_daemon() };
        if !known.daemon.want(wanted) && !known.daemon.is_changed {
            return accepted(&known.daemon);
        }
        self.promise(name, store)
    }

    /// `daemon.restart`.
    pub fn restart(&mut self, name: &str, store: &mut Store) -> Outcome {
        let Some(known) = self.by_name.get_mut(name) else { return no_daemon() };
        known.daemon.restart();
        self.promise(name, store)
    }

    /// `daemon.list`.
    pub fn list(&self, now: Now, name: Option<&str>) -> Outcome {
        let shown = self.by_name.values().map(|known| &known.daemon);
        let shown = shown.filter(|daemon| name.is_none_or(|name| name == daemon.init.name));
        let daemons: Vec<_> = shown.map(|daemon| daemon.listed(now)).collect();
        if name.is_some() && daemons.is_empty() {
            return no_daemon();
        }
        let data = json!({"count": daemons.len(), "daemons": daemons});
        Outcome::new(Retcode::NormalTermination).with_data(&data)
    }

    /// What those need to know of it who wait for something that it is to come to.
    pub fn seen(&self, name: &str) -> Option<Seen> {
        self.by_name.get(name).map(|known| known.daemon.seen())
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }

    /// Every daemon as it is now.
    pub fn told(&self) -> Vec<DaemonTold> {
        self.by_name.values().map(|known| known.daemon.told()).collect()
    }

    /// What operators want is on disk before they hear that it is accepted.
    fn promise(&mut self, name: &str, store: &mut Store) -> Outcome {
        let Some(known) = self.by_name.get(name) else { return no_daemon() };
        let row = known.daemon.row(&self.place.boot);
        match store.save_daemon(&row, true, None::<fn(u64) -> Vec<u8>>) {
            Ok(_) => accepted(&known.daemon),
            // It is tried again, and may yet be so.
            Err(error) => Outcome::with_detail(Retcode::StorageFailure, error.to_string()),
        }
    }

    /// What has changed goes to the store, and then what waited for that is done.
    fn save(&mut self, now: Now, fx: &mut Effects, store: &mut Store, facts: &mut Vec<Fact>) {
        if self.pause.is_some() {
            return;
        }
        let Daemons { place, by_name, chance, .. } = self;
        for Supervised { daemon, told } in by_name.values_mut().filter(|known| known.daemon.is_changed) {
            if let Err(error) = tell(now, daemon, told, place, store, facts) {
                facts.push(Fact::StoreFailed(error));
                self.pause = Some(now.mono + STORE_RETRY);
                return;
            }
            daemon.is_changed = false;
            daemon.begin(&mut Turn { now, place, chance, fx });
        }
        by_name.retain(|_, known| !known.daemon.is_gone());
    }
}

/// Writes the row, and an event for each failure, and one for another status.
fn tell(
    now: Now,
    daemon: &mut Daemon,
    told: &mut Option<Told>,
    place: &Place,
    store: &mut Store,
    facts: &mut Vec<Fact>,
) -> Result<(), StoreError> {
    let row = daemon.row(&place.boot);
    let news = news(daemon);
    let is_news = told.as_ref() != Some(&news) || daemon.is_gone();
    if daemon.outcomes.is_empty() && is_news {
        daemon.outcomes.push(Outcome::new(Retcode::NormalTermination));
    }
    if daemon.outcomes.is_empty() {
        store.save_daemon(&row, false, None::<fn(u64) -> Vec<u8>>)?;
    }
    while let Some(outcome) = daemon.outcomes.first_mut() {
        outcome.detail = outcome.detail.as_deref().map(told::cut);
        let outcome = outcome.clone();
        let event = |seq: u64| {
            let at = now.wall.duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_millis();
            let id = format!("{}@{at}-{seq}", daemon.init.name);
            encode(&Frame::Event(&DaemonEvent { seq, id, daemon: daemon.told(), outcome: outcome.clone() }))
        };
        let bytes = if daemon.is_gone() {
            store.forget_daemon(&daemon.init.name, place.tells.then_some(event))?
        } else {
            store.save_daemon(&row, false, place.tells.then_some(event))?
        };
        daemon.outcomes.remove(0);
        facts.push(Fact::Changed { told: daemon.told(), outcome, bytes });
    }
    *told = Some(news);
    Ok(())
}

fn news(daemon: &Daemon) -> Told {
    let told = daemon.told();
    (told.status, told.version, told.wanted)
}

fn accepted(daemon: &Daemon) -> Outcome {
    let data = json!({"daemon": daemon.init.name, "status": daemon.status()});
    Outcome::new(Retcode::Accepted).with_data(&data)
}

fn no_daemon() -> Outcome {
    Outcome::with_detail(Retcode::NotFound, "name: there is no daemon of this name")
}

#[cfg(test)]
mod tests;
