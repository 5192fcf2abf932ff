//! The parts of the server, built once and shared by every task.

use crate::agents::hub::Hub;
use crate::clock::{self, EpochMs};
use crate::config::Config;
use crate::hosts::Directory;
use crate::jobs::Jobs;
use crate::limits::{LOGGED_REFUSALS, LOGGED_REFUSALS_EVERY};
use crate::metrics::Metrics;
use crate::packages::Packages;
use crate::people::audit::Audit;
use crate::people::{People, Sparing};
use crate::pki::{Authority, files};
use crate::queue::Queue;
use crate::requests::Registry;
use crate::store::Store;
use crate::throttle::Throttle;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use subtle::ConstantTimeEq as _;

/// What hosts, links and callers are told at the end.
pub const STOPPING: &str = "polaris is shutting down";

/// See the module.
pub struct App {
    pub config: Config,
    pub store: Store,
    pub directory: Directory,
    pub hub: Hub,
    pub requests: Arc<Registry>,
    pub queue: Arc<Queue>,
    pub jobs: Arc<Jobs>,
    pub authority: Authority,
    pub packages: Arc<Packages>,
    pub metrics: Arc<Metrics>,
    pub throttle: Throttle,
    pub people: People,
    pub audit: Audit,
    /// Calls of nobody that are refused and logged.
    pub refusals: Sparing,
    /// SHA-256 of the administrator's token.
    admin: [u8; 32],
    stopping: AtomicBool,
    heard_since: AtomicI64,
}

impl App {
    /// Brings the database up to date with the fact that nothing runs yet, and loads what is needed of it.
    pub async fn build(config: Config, authority: Authority, admin_token: &str) -> anyhow::Result<App> {
        let metrics = Arc::new(Metrics::default());
        let store = Store::open(&config.database, &config.data.join("polaris.db")).await?;
        let store = store.measured_by(metrics.database.clone());
        let now = clock::now();
        store.mark_all_hosts_offline(now).await?;
        let cut_short = store.complete_unfinished(now).await?;
        if cut_short > 0 {
            tracing::warn!(
                requests = cut_short,
                "requests that ran when polaris ended were completed as lost"
            );
        }
        let directory = Directory::new(store.load_hosts().await?);
        directory.load_facts(store.load_facts().await?);
        let queue = Arc::new(Queue::new(store.load_queue().await?));
        let packages = Arc::new(Packages::open(&config.packages.dir, config.packages.max_size)?);
        let limits = config.limits;
        let people = People::load(&store, config.roles.clone()).await?;
        let audit = Audit::new(store.last_audit().await?);
        Ok(App {
            config,
            store,
            directory,
            hub: Hub::default(),
            requests: Arc::new(Registry::measured_by(metrics.requests.clone())),
            queue,
            jobs: Arc::default(),
            authority,
            packages,
            throttle: Throttle::new(&limits, metrics.clone()),
            metrics,
            people,
            audit,
            refusals: Sparing::new(LOGGED_REFUSALS, LOGGED_REFUSALS_EVERY),
            admin: Sha256::digest(admin_token).into(),
            stopping: AtomicBool::new(false),
            heard_since: AtomicI64::new(now),
        })
    }

    /// Whether this is the administrator's token; takes as long whatever it is.
    pub fn is_admin(&self, token: &str) -> bool {
        let hash: [u8; 32] = Sha256::digest(token).into();
        hash.ct_eq(&self.admin).into()
    }

    /// From now on nothing new is taken.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
    }

    /// The agents' port is open from then on.
    pub fn hears_from(&self, at: EpochMs) {
        self.heard_since.store(at, Ordering::SeqCst);
    }

    /// Since when hosts can report.
    pub fn heard_since(&self) -> EpochMs {
        self.heard_since.load(Ordering::SeqCst)
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }
}

/// The administrator's token in `dir`, made at the first start.
pub fn admin_token(dir: &Path) -> anyhow::Result<String> {
    use anyhow::Context as _;
    let path = dir.join("admin.token");
    let kept = files::read(&path).with_context(|| format!("reading {}", path.display()))?;
    if let Some(token) = kept {
        let token = token.trim();
        anyhow::ensure!(!token.is_empty(), "{} is empty; remove it and start again", path.display());
        return Ok(token.to_owned());
    }
    let token = URL_SAFE_NO_PAD.encode(random_secret());
    files::write(&path, format!("{token}\n").as_bytes(), 0o600)
        .with_context(|| format!("writing {}", path.display()))?;
    Ok(token)
}

/// 256 bits from the kernel.
pub fn random_secret() -> [u8; 32] {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).expect("the kernel has random numbers");
    secret
}
