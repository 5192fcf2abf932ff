//! boot, the agent that installs the others and keeps them running. It asks for no link: it reports
//! what is there every now and then, and the answer may have jobs.

mod config;
mod held;
mod job;
mod jobs;
mod judge;
mod kept;
mod log;
mod report;
mod taken;
mod talk;

pub use crate::config::ConfigSource;
pub use config::Config;
pub use kept::Kept;

use crate::daemon::{self, Daemons};
use crate::handover::{self, Own, SelfUpgrade};
use crate::machine::{Effect, Effects, Event, Identity, Instant, Machine, Now, Signal, earliest};
use crate::store::{KeptResult, Store, StoreError};
use crate::wire::Retcode;
use crate::wire::boot::{MAX_BOOT_JOBS, OK};
use crate::wire::server_list::Server;
use held::Held;
use jobs::{Jobs, Reach};
use talk::{Due, Heard, Servers, Talk};

/// Program, version and architecture, as `-V` and reports say it.
pub fn version() -> String {
    format!("bootagent-{}-{}", env!("CARGO_PKG_VERSION"), std::env::consts::ARCH)
}

/// What is known of this host and stays so while boot runs.
#[derive(Debug, Clone)]
pub struct Host {
    pub node_name: String,
    /// The kernel's boot id.
    pub boot_id: String,
    /// Boot's own user.
    pub own: Identity,
    /// Kinds of packages that the host takes, as reports name them.
    pub packages: Vec<String>,
    /// Boot itself.
    pub program: Own,
}

#[derive(Debug)]
pub struct Boot {
    host: Host,
    source: ConfigSource,
    config: Config,
    started: Instant,
    store: Store,
    kept: Kept,
    daemons: Daemons,
    jobs: Jobs,
    held: Held,
    talk: Talk,
    /// From the first event on.
    upgrade: Option<SelfUpgrade>,
    stopping: bool,
}

/// What the parts have told, and nobody has taken in yet.
#[derive(Debug, Default)]
struct News {
    daemons: Vec<daemon::Fact>,
    jobs: Vec<jobs::Fact>,
}

impl Boot {
    /// `seed` is for the spread of reports, and for names that no other run of boot gives.
    ///
    /// # Errors
    /// The database's: without what it keeps nothing can be done for good.
    pub fn new(
        now: Now,
        host: Host,
        source: ConfigSource,
        config: Config,
        mut store: Store,
        seed: u64,
    ) -> Result<Self, StoreError> {
        let kept = Kept::load(&store)?;
        let jobs = Jobs::restore(&mut store, now)?;
        let settings = config.agents.clone();
        let daemons = Daemons::restore(now, settings, host.own.clone(), &host.boot_id, &store, seed)?;
        let step = kept.step.unwrap_or(config.step);
        let mut boot = Boot {
            started: now.mono,
            daemons: daemons.untold(),
            talk: Talk::new(now, step, seed),
            upgrade: None,
            stopping: false,
            host,
            source,
            config,
            store,
            kept,
            jobs,
            held: Held::default(),
        };
        log::restored(&boot.daemons, boot.jobs.len());
        boot.configure_daemons();
        boot.look_for_results(now);
        Ok(boot)
    }

    /// What a boot that is killed leaves. For tests.
    #[must_use]
    pub fn into_store(self) -> Store {
        self.store
    }

    /// Those of jobs, then those of enrolment, then those of the configuration.
    fn servers(&self) -> Vec<Server> {
        let mut servers = self.kept.servers.clone();
        for server in self.kept.enrolled.iter().chain(&self.config.servers) {
            if !servers.contains(server) {
                servers.push(server.clone());
            }
        }
        servers
    }

    fn whom_to_ask(&self) -> Servers {
        let mut servers = self.servers().into_iter();
        let first = servers.next().expect("a configuration names one at least");
        Servers { first, others: servers.collect(), tls_dir: self.config.tls_dir.clone() }
    }

    /// Servers of jobs that are under way count, whether or not they are still asked.
    fn configure_daemons(&mut self) {
        let mut settings = self.config.agents.clone();
        settings.servers = self.servers();
        settings.servers.extend(self.jobs.servers().cloned());
        if !self.daemons.configure(settings) {
            log::kept_places();
        }
    }

    /// Whether there are results to be told.
    fn look_for_results(&mut self, now: Now) {
        match self.store.boot_results(1) {
            Ok(results) if results.is_empty() => self.talk.has_no_results(),
            Ok(_) => self.talk.has_results(now),
            Err(error) => {
                log::store_failed("results", &error);
                self.talk.results_fail(now);
            }
        }
    }

    fn signal(&mut self, now: Now, signal: Signal, fx: &mut Effects) {
        match signal {
            Signal::Stop if self.stopping => {}
            Signal::Stop => {
                log::stopping(self.jobs.len());
                self.stopping = true;
                self.daemons.close(fx);
                self.talk.cancel(fx);
                fx.push(Effect::Stop);
            }
            Signal::Reload => {
                fx.push(Effect::ReopenLog);
                fx.push(Effect::ReadFile { path: self.source.path.clone() });
            }
            Signal::Status => self.log_status(now),
        }
    }

    fn reload(&mut self, now: Now, file: Result<Option<&[u8]>, String>) {
        match self.source.again(file, Config::parse) {
            Err(reason) => log::config_refused(&reason),
            Ok(config) => {
                log::config_reloaded(&self.source);
                if config.store != self.config.store {
                    log::kept_store(&self.config.store);
                }
                self.config = Config { store: self.config.store.clone(), ..config };
                self.is_configured(now);
            }
        }
    }

    /// Other servers may be there, and another step.
    fn is_configured(&mut self, now: Now) {
        self.configure_daemons();
        self.talk.configure(now, self.step());
        self.talk.begin_anew(now);
    }

    /// Seconds from one report to the next.
    fn step(&self) -> u64 {
        self.kept.step.unwrap_or(self.config.step)
    }

    fn heard(
        &mut self,
        now: Now,
        heard: Heard,
        upgrade: &mut SelfUpgrade,
        fx: &mut Effects,
        news: &mut News,
    ) {
        match heard {
            Heard::Answer(answered, is_new) => {
                let (server, answer) = (answered.server, answered.answer);
                log::answered(&server, &answer, is_new);
                if answer.is_ok() {
                    upgrade.report_answered(now, fx);
                }
                let Boot { jobs, store, daemons, kept, .. } = self;
                let mut reach = Reach { now, store, daemons, kept, upgrade, fx, facts: &mut news.jobs };
                for job in answer.jobs.iter().take(MAX_BOOT_JOBS) {
                    jobs.take(job.get(), &server, &mut reach);
                }
                self.configure_daemons();
            }
            Heard::Taken(results, server) => {
                log::told(&server, &results);
                match self.store.boot_results_told(&results) {
                    Ok(()) => self.look_for_results(now),
                    // They are told again.
                    Err(error) => {
                        log::store_failed("results", &error);
                        self.talk.results_fail(now);
                    }
                }
                for result in results.iter().filter(|result| goes_on(result)) {
                    upgrade.acknowledged(now, &job::upgrade_of(&result.id));
                }
            }
            Heard::Failed(what, reason, wait) => log::not_heard(what, &reason, wait),
        }
    }

    /// Brings the agents and the jobs about them on, until nothing more can be done now.
    fn bring_on(
        &mut self,
        now: Now,
        event: &Event<'_>,
        upgrade: &mut SelfUpgrade,
        fx: &mut Effects,
        news: &mut News,
    ) {
        if let Some(fact) = upgrade.handle(now, event, fx)
            && !self.jobs.handed_over(fact.clone())
            && let handover::Fact::Accepted(job) = fact
        {
            // Nobody is left who would tell it, and it was ordered all the same.
            upgrade.acknowledged(now, &job);
        }
        let mut event = event;
        loop {
            self.daemons.handle(now, event, fx, &mut self.store, &mut news.daemons);
            for fact in std::mem::take(&mut news.daemons) {
                self.daemon_fact(now, fact);
            }
            let Boot { jobs, store, daemons, kept, .. } = self;
            let mut reach = Reach { now, store, daemons, kept, upgrade, fx, facts: &mut news.jobs };
            let has_moved = jobs.advance(&mut reach);
            for fact in std::mem::take(&mut news.jobs) {
                self.job_fact(now, &fact);
            }
            if !has_moved {
                return;
            }
            event = &Event::Tick;
        }
    }

    fn daemon_fact(&mut self, now: Now, fact: daemon::Fact) {
        match fact {
            daemon::Fact::Changed { told, outcome, .. } => {
                log::agent_changed(&told, &outcome);
                if !outcome.is_success() {
                    self.jobs.heard(&told.name, &outcome, &self.daemons);
                }
                if report::is_news(&told) {
                    self.talk.has_news(now);
                }
            }
            daemon::Fact::StoreFailed(error) => log::store_failed("agents", &error),
        }
    }

    fn job_fact(&mut self, now: Now, fact: &jobs::Fact) {
        log::job(fact);
        match fact {
            jobs::Fact::Ended(key, end) => {
                self.configure_daemons();
                self.talk.has_results(now);
                let is_install = key.action == "install";
                if is_install && end.errcode != OK {
                    self.held.fails(now.mono, &key.name, self.step());
                } else if is_install {
                    self.held.forget(&key.name);
                }
                // Of what is not there nothing is new, and the report would bring the next such job.
                if !is_install || end.errcode == OK || self.daemons.seen(&key.name).is_some() {
                    self.talk.has_news(now);
                }
            }
            jobs::Fact::ToldAgain | jobs::Fact::Accepted(_) => self.talk.has_results(now),
            jobs::Fact::Configured => self.is_configured(now),
            _ => {}
        }
    }

    fn speak(&mut self, now: Now, fx: &mut Effects) {
        if self.talk.due(now) == Some(Due::Results) {
            match self.store.boot_results(MAX_BOOT_JOBS) {
                Ok(results) if results.is_empty() => self.talk.has_no_results(),
                Ok(results) => self.talk.tell(now, results, self.whom_to_ask(), fx),
                Err(error) => {
                    log::store_failed("results", &error);
                    self.talk.results_fail(now);
                }
            }
        }
        if self.talk.due(now) == Some(Due::Report) {
            let status = self.status(now);
            self.talk.report(now, &status, self.whom_to_ask(), fx);
        }
    }
}

impl Machine for Boot {
    fn handle(&mut self, now: Now, event: Event<'_>, fx: &mut Effects) {
        if let Event::Signal(signal) = event {
            self.signal(now, signal, fx);
        }
        if self.stopping {
            return;
        }
        let mut news = News::default();
        let begun = self.upgrade.take();
        let mut upgrade = begun
            .unwrap_or_else(|| SelfUpgrade::restore(self.host.program.clone(), self.daemons.settings(), fx));
        match &event {
            Event::FileRead(path, file) if *path == self.source.path => self.reload(now, file.clone()),
            event => {
                if let Some(heard) = self.talk.handle(now, event, fx) {
                    self.heard(now, heard, &mut upgrade, fx, &mut news);
                }
            }
        }
        self.bring_on(now, &event, &mut upgrade, fx, &mut news);
        self.upgrade = Some(upgrade);
        self.speak(now, fx);
    }

    fn deadline(&self) -> Option<Instant> {
        if self.stopping {
            return None;
        }
        let upgrade = self.upgrade.as_ref().and_then(SelfUpgrade::deadline);
        earliest([Some(self.talk.deadline()), self.daemons.deadline(), self.jobs.deadline(), upgrade])
    }
}

/// Whether another result of the same job follows.
fn goes_on(result: &KeptResult) -> bool {
    result.errcode == u32::from(Retcode::Accepted.code())
}
