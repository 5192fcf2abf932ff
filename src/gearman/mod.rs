//! gearman, the basic agent: keeps the link and runs what comes by it.

mod config;

pub use config::{Config, ConfigError};

use crate::exec::{self, Done, Exec};
use crate::link::{self, Link};
use crate::machine::{ConnId, Effect, Effects, Event, Identity, Instant, Machine, Now, Signal, earliest};
use crate::store::{Answered, Seen};
use crate::wire::frame::encode;
use crate::wire::session::{Frame, Init, Output};
use crate::wire::{Call, JobName, Outcome, Reply, Request, Retcode};
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
    /// By the request that is to end: the requests that wait for this.
    cancels: HashMap<String, Vec<String>>,
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
            cancels: HashMap::new(),
            stopping: false,
            host,
            source,
        }
    }

    fn link_fact(&mut self, now: Now, fact: link::Fact, fx: &mut Effects, news: &mut Vec<exec::Fact>) {
        match fact {
            link::Fact::Up { server, heartbeat } => {
                info!("link=ready server={server} heartbeat={}s", heartbeat.as_secs());
            }
            link::Fact::Tried { server, reason } => warn!("link=tried server={server} reason={reason:?}"),
            link::Fact::Redirected { to } => info!("link=redirected to={to:?}"),
            link::Fact::Down { reason, wait } => {
                warn!("link=down reason={reason:?} next_try={:.1}s", wait.as_secs_f64());
            }
            link::Fact::Request(request) => self.request(now, request, fx, news),
            link::Fact::Acknowledged(_) => {}
            link::Fact::Rejected(rejected) => {
                warn!("request=refused id={:?} reason={:?}", rejected.id, rejected.error.to_string());
                if let Some(conn) = self.link.ready() {
                    self.link.send(conn, encode(&Reply::from(rejected)), fx);
                }
            }
        }
    }

    fn request(&mut self, now: Now, request: Request, fx: &mut Effects, news: &mut Vec<exec::Fact>) {
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
                debug!("request=begins id={id:?} method=sync.bash cmd={:?}", command.cmd);
                self.exec.submit(now, id, command, fx, news);
            }
            Call::JobCancel(JobName { job }) => self.cancel(now, id, job, fx, news),
            Call::AsyncBash(_)
            | Call::JobList(_)
            | Call::JobStatus(_)
            | Call::CronSet(_)
            | Call::CronRemove(_)
            | Call::CronList(_) => {
                let outcome = Outcome::with_detail(Retcode::UnknownMethod, "method: not in this version");
                news.push(exec::Fact::done(id, outcome));
            }
            Call::AgentInfo => {
                let outcome = Outcome::new(Retcode::NormalTermination).with_data(&self.info(now));
                news.push(exec::Fact::done(id, outcome));
            }
        }
    }

    /// Answered when the command has ended.
    fn cancel(&mut self, now: Now, id: String, job: String, fx: &mut Effects, news: &mut Vec<exec::Fact>) {
        debug!("request=begins id={id:?} method=job.cancel job={job:?}");
        if self.exec.cancel(now, &job, "cancelled by a request", fx, news) {
            self.cancels.entry(job).or_default().push(id);
            return;
        }
        let detail = match self.answered.seen(&job) {
            Seen::Answered(_) => "job: it has ended already",
            _ => "job: no command of this id runs or waits here",
        };
        news.push(exec::Fact::done(id, Outcome::with_detail(Retcode::NotFound, detail)));
    }

    fn exec_fact(&mut self, fact: exec::Fact, fx: &mut Effects) {
        match fact {
            exec::Fact::Output(output) => self.pass_on(&output, fx),
            exec::Fact::Done(done) => {
                let Done { id, outcome } = done;
                let waiting = self.cancels.remove(&id).unwrap_or_default();
                let data = json!({"job": id, "retcode": outcome.retcode});
                self.finish(Done { id, outcome }, fx);
                for id in waiting {
                    let outcome = Outcome::new(Retcode::NormalTermination).with_data(&data);
                    self.finish(Done { id, outcome }, fx);
                }
            }
        }
    }

    /// Where nobody listens it is lost: the reply has it all.
    fn pass_on(&mut self, output: &Output, fx: &mut Effects) {
        if let Some(conn) = self.asked_by.get(&output.id) {
            self.link.send(*conn, encode(&Frame::Output(output)), fx);
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

    fn signal(&mut self, now: Now, signal: Signal, fx: &mut Effects, news: &mut Vec<exec::Fact>) {
        match signal {
            // It is under way; beginning anew would put off the end of what does not obey.
            Signal::Stop if self.stopping => {}
            Signal::Stop => {
                info!("agent=stopping running={} waiting={}", self.exec.running(), self.exec.waiting());
                self.stopping = true;
                self.exec.close(now, "the agent is stopping", fx, news);
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
        news: &mut Vec<exec::Fact>,
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
                self.exec.configure(now, config.exec, fx, news);
            }
        }
    }
}

impl Machine for Gearman {
    fn handle(&mut self, now: Now, event: Event<'_>, fx: &mut Effects) {
        let (mut facts, mut news) = (Vec::new(), Vec::new());
        match event {
            Event::Signal(signal) => self.signal(now, signal, fx, &mut news),
            Event::FileRead(file) => self.reload(now, file, fx, &mut news),
            event => {
                self.link.handle(now, &event, fx, &mut facts);
                self.exec.handle(now, &event, fx, &mut news);
            }
        }
        for fact in facts {
            self.link_fact(now, fact, fx, &mut news);
        }
        for fact in news {
            self.exec_fact(fact, fx);
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
