//! gearman, the basic agent: keeps the link and runs what comes by it.

mod config;

pub use config::{Config, ConfigError};

use crate::exec::{Done, Exec};
use crate::link::{Fact, Link};
use crate::machine::{ConnId, Effect, Effects, Event, Identity, Instant, Machine, Now, Signal, earliest};
use crate::store::{Answered, Seen};
use crate::wire::frame::encode;
use crate::wire::session::Init;
use crate::wire::{Call, Outcome, Reply, Request, Retcode};
use log::{debug, error, info, warn};
use serde_json::json;
use std::collections::HashMap;
use std::path::PathBuf;

/// Program, version and architecture, as `-V` and `init` say it.
pub fn version() -> String {
    format!("gearman-{}-{}", env!("CARGO_PKG_VERSION"), std::env::consts::ARCH)
}

/// What is known of this host and stays so while the agent runs.
#[derive(Debug, Clone)]
pub struct Host {
    /// The certificate's common name.
    pub id: String,
    pub node_name: String,
    pub boot_id: String,
    /// The agent's own user.
    pub own: Identity,
}

/// Where the configuration came from, to read it again.
#[derive(Debug, Clone)]
pub struct ConfigSource {
    pub path: PathBuf,
    /// `-C` named it, so it must be there.
    pub was_named: bool,
    /// `-S`.
    pub servers: Option<String>,
}

#[derive(Debug)]
pub struct Gearman {
    host: Host,
    source: ConfigSource,
    started: Instant,
    link: Link,
    exec: Exec,
    answered: Answered,
    /// The connection that each request under way came by.
    asked_by: HashMap<String, ConnId>,
    stopping: bool,
}

impl Gearman {
    /// `seed` is for the spread of reconnects.
    pub fn new(now: Now, host: Host, source: ConfigSource, config: Config, seed: u64) -> Self {
        let init = init(&host, &config);
        Gearman {
            started: now.mono,
            link: Link::new(now, config.link, init, seed),
            exec: Exec::new(config.exec, host.own.clone()),
            answered: Answered::default(),
            asked_by: HashMap::new(),
            stopping: false,
            host,
            source,
        }
    }

    fn fact(&mut self, now: Now, fact: Fact, fx: &mut Effects, done: &mut Vec<Done>) {
        match fact {
            Fact::Up { server, heartbeat } => {
                info!("link=ready server={server} heartbeat={}s", heartbeat.as_secs());
            }
            Fact::Tried { server, reason } => warn!("link=tried server={server} reason={reason:?}"),
            Fact::Redirected { to } => info!("link=redirected to={to:?}"),
            Fact::Down { reason, wait } => {
                warn!("link=down reason={reason:?} next_try={:.1}s", wait.as_secs_f64());
            }
            Fact::Request(request) => self.request(now, request, fx, done),
            Fact::Rejected(rejected) => {
                warn!("request=refused id={:?} reason={:?}", rejected.id, rejected.error.to_string());
                if let Some(conn) = self.link.ready() {
                    self.link.send(conn, encode(&Reply::from(rejected)), fx);
                }
            }
        }
    }

    fn request(&mut self, now: Now, request: Request, fx: &mut Effects, done: &mut Vec<Done>) {
        let Request { id, call } = request;
        let asked_by = self.link.ready();
        match self.answered.seen(&id) {
            Seen::Never => {}
            Seen::Running => {
                info!("request=repeated id={id:?} state=running");
                self.asked_by.extend(asked_by.map(|conn| (id, conn)));
                return;
            }
            Seen::Answered(frame) => {
                info!("request=repeated id={id:?} state=answered");
                if let Some(conn) = asked_by {
                    self.link.send(conn, frame.to_vec(), fx);
                }
                return;
            }
        }
        self.answered.begin(&id);
        self.asked_by.extend(asked_by.map(|conn| (id.clone(), conn)));
        match call {
            Call::SyncBash(command) => {
                info!("request=begins id={id:?} method=sync.bash");
                debug!("request=begins id={id:?} cmd={:?}", command.cmd);
                self.exec.submit(now, id, command, fx, done);
            }
            Call::JobCancel(_) => done.push(Done { id, outcome: Outcome::new(Retcode::UnknownMethod) }),
            Call::AgentInfo => {
                let outcome = Outcome::new(Retcode::NormalTermination).with_data(&self.info(now));
                done.push(Done { id, outcome });
            }
        }
    }

    fn finish(&mut self, done: Done, fx: &mut Effects) {
        let Done { id, outcome } = done;
        info!(
            "request=ended id={id:?} retcode={} elapsed={}",
            outcome.retcode,
            outcome.elapsed.unwrap_or_default()
        );
        let asked_by = self.asked_by.remove(&id);
        let reply = Reply::new(id, outcome);
        let frame = self.answered.finish(&reply);
        if !asked_by.is_some_and(|conn| self.link.send(conn, frame, fx)) {
            info!(
                "request=unsent id={:?} reason=\"its link is gone; kept for a repeated request\"",
                reply.id
            );
        }
    }

    fn info(&self, now: Now) -> serde_json::Value {
        json!({
            "hostname": self.host.id,
            "version": version(),
            "uptime": now.mono.since(self.started).as_secs(),
            "boot": self.host.boot_id,
            "running": self.exec.running(),
            "waiting": self.exec.waiting(),
        })
    }

    fn signal(&mut self, now: Now, signal: Signal, fx: &mut Effects, done: &mut Vec<Done>) {
        match signal {
            // It is under way; beginning anew would put off the end of what does not obey.
            Signal::Stop if self.stopping => {}
            Signal::Stop => {
                info!("agent=stopping running={} waiting={}", self.exec.running(), self.exec.waiting());
                self.stopping = true;
                self.exec.close(now, "the agent is stopping", fx, done);
            }
            // New settings could end the link that the last answers go by.
            Signal::Reload if self.stopping => fx.push(Effect::ReopenLog),
            Signal::Reload => {
                fx.push(Effect::ReopenLog);
                fx.push(Effect::ReadFile { path: self.source.path.clone() });
            }
            Signal::Status => info!(
                "agent=status version={} uptime={}s link={} running={} waiting={} answered={}",
                version(),
                now.mono.since(self.started).as_secs(),
                self.link.state_name(),
                self.exec.running(),
                self.exec.waiting(),
                self.answered.len(),
            ),
        }
    }

    fn reload(
        &mut self,
        now: Now,
        file: Result<Option<&[u8]>, String>,
        fx: &mut Effects,
        done: &mut Vec<Done>,
    ) {
        let shown = self.source.path.display();
        let config = file.and_then(|bytes| {
            let bytes = match bytes {
                None if self.source.was_named => return Err(format!("{shown}: there is no such file")),
                bytes => bytes.unwrap_or_default(),
            };
            let text = std::str::from_utf8(bytes).map_err(|e| format!("{shown}: {e}"))?;
            Config::parse(text, self.source.servers.as_deref()).map_err(|e| format!("{shown}:{e}"))
        });
        match config {
            Err(reason) => error!("config=refused reason={reason:?} kept=\"the one before\""),
            Ok(config) => {
                info!("config=reloaded file={shown:?}");
                let init = init(&self.host, &config);
                self.link.configure(now, config.link, init, fx);
                self.exec.configure(now, config.exec, fx, done);
            }
        }
    }
}

impl Machine for Gearman {
    fn handle(&mut self, now: Now, event: Event<'_>, fx: &mut Effects) {
        let (mut facts, mut done) = (Vec::new(), Vec::new());
        match event {
            Event::Signal(signal) => self.signal(now, signal, fx, &mut done),
            Event::FileRead(file) => self.reload(now, file, fx, &mut done),
            event => {
                self.link.handle(now, &event, fx, &mut facts);
                self.exec.handle(now, &event, fx, &mut done);
            }
        }
        for fact in facts {
            self.fact(now, fact, fx, &mut done);
        }
        for done in done {
            self.finish(done, fx);
        }
        if self.stopping && self.exec.running() == 0 {
            self.link.stop(fx);
            fx.push(Effect::Stop);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        earliest([self.link.deadline(), self.exec.deadline()])
    }
}

fn init(host: &Host, config: &Config) -> Init {
    Init {
        hostname: host.id.clone(),
        name: if config.name.is_empty() { host.node_name.clone() } else { config.name.clone() },
        version: version(),
        region: config.region.clone(),
        tags: config.tags.clone(),
        uptime: 0,
        boot: host.boot_id.clone(),
        timeout: config.exec.timeout.as_secs(),
        grace: config.exec.grace.as_secs(),
    }
}
