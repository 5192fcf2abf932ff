//! The other caller of a machine: fake time, a fake network with a fake
//! Polaris at its end, fake children. No socket, no process, no sleep.

#![allow(dead_code, reason = "each test binary uses its own part")]

pub mod agent;
pub mod child;
pub mod server;
pub mod world;

use aspire::gearman::{Config, ConfigSource, Gearman, Host};
use aspire::machine::{Effect, Effects, Event, Identity, Instant, Machine, Now};
use aspire::store::Store;
use std::path::Path;
use std::time::{Duration, SystemTime};

const STATM: &str = "/proc/self/statm";

pub const HOST_ID: &str = "edd6c192-52cb-4133-a17a-e7d8aec03de7";

pub const BEGIN: Now = Now { mono: Instant(Duration::ZERO), wall: SystemTime::UNIX_EPOCH };

/// A machine, the time, and what it asked for.
#[derive(Debug)]
pub struct Rig<M> {
    pub machine: M,
    pub now: Now,
    fx: Effects,
}

impl<M: Machine> Rig<M> {
    pub fn new(make: impl FnOnce(Now) -> M) -> Self {
        Rig::at(BEGIN, make)
    }

    pub fn at(now: Now, make: impl FnOnce(Now) -> M) -> Self {
        Rig { machine: make(now), now, fx: Effects::default() }
    }

    /// Hands in an event and takes what the machine asks for. Its own size it learns at once, as
    /// from the reactor.
    pub fn event(&mut self, event: Event<'_>) -> Vec<Effect> {
        self.machine.handle(self.now, event, &mut self.fx);
        let mut effects = self.fx.take();
        let is_size =
            |effect: &Effect| matches!(effect, Effect::ReadFile { path } if path == Path::new(STATM));
        if let Some(place) = effects.iter().position(is_size) {
            let size = Event::FileRead(Path::new(STATM), Ok(Some(b"2000 1500 600 300 0 250 0\n")));
            self.machine.handle(self.now, size, &mut self.fx);
            effects.splice(place..=place, self.fx.take());
        }
        effects
    }

    /// Lets time pass until the machine's deadline, and ticks.
    pub fn tick(&mut self) -> Vec<Effect> {
        let deadline = self.machine.deadline().expect("the machine waits for nothing");
        self.set_time(deadline.max(self.now.mono));
        self.event(Event::Tick)
    }

    pub fn set_time(&mut self, mono: Instant) {
        let passed = mono.since(self.now.mono);
        self.now = Now { mono, wall: self.now.wall + passed };
    }

    pub fn pass(&mut self, time: Duration) {
        self.set_time(self.now.mono + time);
    }
}

pub fn root() -> Identity {
    Identity {
        uid: 0,
        gid: 0,
        groups: vec![0],
        name: "root".into(),
        group_name: "root".into(),
        home: "/root".into(),
    }
}

pub fn host(own: Identity) -> Host {
    Host { id: HOST_ID.into(), node_name: "web-1".into(), boot_id: "boot".into(), own }
}

/// gearman with this configuration, as this user, without a database.
pub fn gearman(config: &str, own: Identity, seed: u64) -> Rig<Gearman> {
    gearman_with(config, own, seed, Err("a test that keeps nothing".into()))
}

pub fn gearman_with(config: &str, own: Identity, seed: u64, store: Result<Store, String>) -> Rig<Gearman> {
    gearman_at(BEGIN, config, own, seed, store)
}

pub fn gearman_at(
    begin: Now,
    config: &str,
    own: Identity,
    seed: u64,
    store: Result<Store, String>,
) -> Rig<Gearman> {
    let named = config.contains("[store]");
    let mut config = Config::parse(config, None).expect("the test's configuration is right");
    if !named {
        // Where none is and none can be made.
        config.store = "/dev/null/gearman.db".into();
    }
    let source = ConfigSource { path: "/etc/cargo/gearman.conf".into(), was_named: true, servers: None };
    Rig::at(begin, |now| Gearman::new(now, host(own), source, config, store, seed))
}
