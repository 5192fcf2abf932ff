//! gearman, the basic agent: keeps the link and runs what comes by it.

mod answered;
mod calls;
mod config;
mod control;
mod cron;
mod daemons;
mod ends;
mod kept;
mod status;
mod trouble;

pub use crate::config::ConfigSource;
pub use config::Config;

use crate::daemon::{self, DaemonSettings};
use crate::exec::{self, Exec};
use crate::getinfo::{HostFacts, Queries};
use crate::job::{self, Orphan};
use crate::link::{self, Link};
use crate::machine::limits::STORE_REOPEN;
use crate::machine::{ConnId, Effect, Effects, Event, Identity, Instant, Machine, Now, Signal, earliest};
use crate::store::Store;
use crate::wire::frame::encode;
use crate::wire::session::Init;
use crate::wire::{Reply, Request};
use answered::Answered;
use control::Control;
use kept::Kept;
use log::{error, info, warn};
use status::Counters;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// What those are told whose requests end with the agent.
const STOPPING: &str = "the agent is stopping";

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

#[derive(Debug)]
pub struct Gearman {
    host: Host,
    source: ConfigSource,
    started: Instant,
    link: Link,
    exec: Exec,
    answered: Answered,
    /// Or why there is nothing that could survive.
    kept: Result<Kept, String>,
    /// When that was tried last.
    store_tried: Instant,
    /// What an earlier agent started, to be watched on.
    orphans: Vec<Orphan>,
    /// The connection that each request under way came by.
    asked_by: HashMap<String, ConnId>,
    /// By the request that is to end: the requests that wait for this.
    cancels: HashMap<String, Vec<String>>,
    control: Control,
    queries: Queries,
    host_facts: HostFacts,
    /// Requests for the agent's status, which wait for its size.
    infos: Vec<String>,
    counters: Counters,
    stopping: bool,
    store_path: PathBuf,
    daemon_settings: DaemonSettings,
    seed: u64,
}

/// What the parts have told, and nobody has taken in yet.
#[derive(Debug, Default)]
struct News {
    exec: Vec<exec::Fact>,
    jobs: Vec<job::Fact>,
    daemons: Vec<daemon::Fact>,
    /// Jobs that were begun meanwhile.
    begun: usize,
}

impl Gearman {
    /// `store` is the database, or why there is none: then jobs and cron are refused, and commands
    /// run all the same. `seed` is for the spread of reconnects, and for names that no other run
    /// of the agent gives.
    pub fn new(
        now: Now,
        host: Host,
        source: ConfigSource,
        config: Config,
        store: Result<Store, String>,
        seed: u64,
    ) -> Self {
        let init = init(&host, &config);
        let mut gearman = Gearman {
            started: now.mono,
            link: Link::new(now, config.link, init, seed),
            exec: Exec::new(config.exec, host.own.clone()),
            answered: Answered::default(),
            kept: Err(String::new()),
            store_tried: now.mono,
            orphans: Vec::new(),
            asked_by: HashMap::new(),
            cancels: HashMap::new(),
            control: Control::new(seed),
            queries: Queries::new(config.plugins),
            host_facts: HostFacts::default(),
            infos: Vec::new(),
            counters: Counters::default(),
            stopping: false,
            store_path: config.store,
            daemon_settings: config.daemon,
            seed,
            host,
            source,
        };
        gearman.restore(now, store);
        gearman
    }

    fn restore(&mut self, now: Now, store: Result<Store, String>) {
        self.store_tried = now.mono;
        let restored = store.and_then(|store| {
            let mut facts = Vec::new();
            self.answered.restore(&store).map_err(|error| error.to_string())?;
            let (mut kept, orphans) =
                Kept::restore(now, &self.host, self.daemon_settings.clone(), self.seed, store, &mut facts)
                    .map_err(|error| error.to_string())?;
            for fact in facts {
                if let job::Fact::Ended { id, outcome, bytes, .. } = fact {
                    warn!("job=ended id={id:?} retcode={} reason={:?}", outcome.retcode, outcome.detail);
                    kept.result_added(now, bytes);
                }
            }
            Ok((kept, orphans))
        });
        match restored {
            Ok((mut kept, orphans)) => {
                info!(
                    "store=open requests={} jobs={} running={} results={}",
                    self.answered.len(),
                    kept.jobs.unfinished(),
                    orphans.len(),
                    kept.outbox.weight().results
                );
                info!("daemons=ready count={}", kept.daemons.count());
                info!("cron=ready entries={} zone={:?}", kept.cron.len(), kept.cron.local_zone());
                (self.kept, self.orphans) = (Ok(kept), orphans);
            }
            Err(reason) => {
                if self.kept.as_ref().err() != Some(&reason) {
                    error!("store=closed reason={reason:?} without=\"jobs, cron, daemons\" next_try=60s");
                }
                self.kept = Err(reason);
            }
        }
    }

    /// The reason why there is none may have gone.
    fn open_store_again(&mut self, now: Now, fx: &mut Effects) {
        self.restore(now, open_store(&self.store_path, now));
        self.adopt_orphans(now, fx);
        self.tell_of_jobs(fx);
        self.tell_of_daemons(fx);
    }

    fn configure_store(&mut self, now: Now, path: PathBuf, fx: &mut Effects) {
        if self.kept.is_err() {
            self.store_path = path;
            self.open_store_again(now, fx);
        } else if self.store_path != path {
            let kept = self.store_path.display();
            warn!("store=kept file={kept} reason=\"another takes effect at the next start\"");
        }
    }

    /// Watches over what an earlier agent started.
    fn adopt_orphans(&mut self, now: Now, fx: &mut Effects) {
        for Orphan { id, process, timeout, ran } in std::mem::take(&mut self.orphans) {
            info!("job=found id={id:?} pid={} ran={}s", process.pid, ran.as_secs());
            self.exec.adopt(now, id, process, ran, timeout, fx);
        }
    }

    fn link_fact(&mut self, now: Now, fact: link::Fact, fx: &mut Effects, news: &mut News) {
        match fact {
            link::Fact::Up { server, heartbeat, held } => {
                info!("link=ready server={server} heartbeat={}s", heartbeat.as_secs());
                self.counters.links += 1;
                self.host_facts.link_up(now, held, self.queries.dir(), fx);
                self.tell_of_jobs(fx);
                self.tell_of_daemons(fx);
            }
            link::Fact::Tried { server, reason } => warn!("link=tried server={server} reason={reason:?}"),
            link::Fact::Redirected { to } => info!("link=redirected to={to:?}"),
            link::Fact::Down { reason, wait } => {
                warn!("link=down reason={reason:?} next_try={:.1}s", wait.as_secs_f64());
                self.host_facts.link_down(fx);
            }
            link::Fact::Request(request) => self.request(now, request, fx, news),
            link::Fact::Acknowledged(seq) => {
                if let Ok(kept) = &mut self.kept {
                    kept.outbox.acknowledged(seq);
                }
            }
            link::Fact::Renewed { expires } => info!("certificate=renewed expires={expires}"),
            link::Fact::NotRenewed { reason } => warn!("certificate=kept reason={reason:?}"),
            link::Fact::Rejected(rejected) => {
                warn!("request=refused id={:?} reason={:?}", rejected.id, rejected.error.to_string());
                if let Some(conn) = self.link.ready() {
                    self.link.send(conn, encode(&Reply::from(rejected)), fx);
                }
            }
        }
    }

    fn signal(&mut self, now: Now, signal: Signal, fx: &mut Effects, news: &mut News) {
        match signal {
            // It is under way; beginning anew would put off the end of what does not obey.
            Signal::Stop if self.stopping => {}
            Signal::Stop => {
                info!("agent=stopping running={} waiting={}", self.exec.running(), self.exec.waiting());
                self.stopping = true;
                self.exec.close(now, STOPPING, fx, &mut news.exec);
                self.host_facts.link_down(fx);
                if let Ok(kept) = &mut self.kept {
                    kept.daemons.close(fx);
                }
                for (id, outcome) in self.queries.close(STOPPING, fx) {
                    self.request_ended(now, id, outcome, fx);
                }
            }
            // New settings could end the link that the last answers go by.
            Signal::Reload if self.stopping => fx.push(Effect::ReopenLog),
            Signal::Reload => {
                fx.push(Effect::ReopenLog);
                fx.push(Effect::ReadFile { path: self.source.path.clone() });
            }
            Signal::Status => self.log_status(now),
        }
    }

    fn reload(&mut self, now: Now, file: Result<Option<&[u8]>, String>, fx: &mut Effects, news: &mut News) {
        match self.source.again(file, Config::parse) {
            Err(reason) => error!("config=refused reason={reason:?} kept=\"the one before\""),
            Ok(config) => {
                info!("config=reloaded file={:?}", self.source.path.display());
                let init = init(&self.host, &config);
                self.link.configure(now, config.link, init, fx);
                self.configure_store(now, config.store, fx);
                self.exec.configure(now, config.exec, fx, &mut news.exec);
                self.configure_daemons(config.daemon);
                self.queries.configure(config.plugins);
                self.host_facts.look_again(now, self.queries.dir(), fx);
                fx.push(Effect::Listen { path: config.control_socket });
            }
        }
    }
}

impl Machine for Gearman {
    fn handle(&mut self, now: Now, event: Event<'_>, fx: &mut Effects) {
        let (mut facts, mut local, mut news) = (Vec::new(), Vec::new(), News::default());
        let mut answered = Vec::new();
        self.adopt_orphans(now, fx);
        if self.kept.is_err() && !self.stopping && now.mono >= self.store_tried + STORE_REOPEN {
            self.open_store_again(now, fx);
        }
        match &event {
            Event::Signal(signal) => self.signal(now, *signal, fx, &mut news),
            Event::FileRead(path, file) if status::is_size(path) => {
                self.has_size(now, file.as_ref().ok().copied().flatten(), fx);
            }
            Event::FileRead(path, file) if *path == self.source.path => {
                self.reload(now, file.clone(), fx, &mut news);
            }
            event => {
                self.link.handle(now, event, fx, &mut facts);
                self.control.handle(now, event, fx, &mut local);
                self.exec.handle(now, event, fx, &mut news.exec);
                self.queries.handle(now, event, fx, &mut answered);
                let taken = self.host_facts.handle(now, event, self.queries.dir(), fx);
                self.tell_facts(taken, fx);
            }
        }
        for fact in facts {
            self.link_fact(now, fact, fx, &mut news);
        }
        for Request { id, call } in local {
            self.call(now, id, call, fx, &mut news);
        }
        for (id, outcome) in answered {
            self.request_ended(now, id, outcome, fx);
        }
        self.keep(now, &mut news);
        self.supervise(now, &event, fx, &mut news);
        self.settle(now, fx, news);
        self.send_results(now, fx);
        if self.stopping && self.exec.running() == 0 {
            self.save_what_is_left(now, fx);
            self.link.stop(fx);
            self.control.stop(fx);
            fx.push(Effect::Stop);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let kept = self.kept.as_ref().ok();
        let kept = kept.and_then(|kept| earliest([kept.deadline(&self.exec), self.answered.deadline()]));
        let asked = earliest([self.queries.deadline(), self.host_facts.deadline(), self.control.deadline()]);
        earliest([self.link.deadline(), self.exec.deadline(), asked, kept])
    }
}

/// Opens the database of the configuration, or says why it cannot be.
pub fn open_store(path: &Path, now: Now) -> Result<Store, String> {
    Store::open(path, now.wall).map_err(|error| format!("{}: {error}", path.display()))
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
