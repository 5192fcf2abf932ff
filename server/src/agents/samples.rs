//! What the tests of this folder begin with.

use crate::app::App;
use crate::config::{Config, Flags};
use crate::hosts::{Greeting, Host, Patience, Settings, Status};
use crate::pki::{Authority, files};
use crate::requests::rollout::Plan;
use crate::requests::{Head, Live, Registry, Target};
use crate::store::hosts::HostRow;
use std::sync::Arc;
use tempfile::TempDir;
use uuid::Uuid;

/// A server that listens nowhere.
pub async fn app(dir: &TempDir) -> Arc<App> {
    let flags = Flags { data: Some(dir.path().to_owned()), ..Flags::default() };
    let pki = dir.path().join("pki");
    files::private_dir(&pki).unwrap();
    let authority = Authority::open(&pki, None).unwrap();
    Arc::new(App::build(Config::load(flags).unwrap(), authority, "token").await.unwrap())
}

/// A host whose commands have so many seconds from one time-out to the next.
pub fn host(grace: u64) -> Arc<Host> {
    let row = HostRow {
        id: Uuid::new_v4(),
        settings: Settings::default(),
        greeting: Greeting { patience: Patience { timeout: 120, grace }, ..Greeting::default() },
        status: Status::Unknown,
        certificate: None,
        last_seen: None,
        created: 0,
    };
    Arc::new(Host::new(row))
}

/// A request to so many hosts, which has a day.
pub fn begun(registry: &Registry, id: &str, hosts: usize) -> Arc<Live> {
    begun_as(registry, id, hosts, None)
}

/// The same, as a rollout where it is one.
pub fn begun_as(registry: &Registry, id: &str, hosts: usize, rollout: Option<Plan>) -> Arc<Live> {
    let created = crate::clock::now();
    let head = Head {
        id: id.into(),
        who: "ann".into(),
        method: "sync.bash".into(),
        cmd: None,
        target: None,
        rollout,
        params: "{}".into(),
        url: None,
        stream: false,
        follow: None,
        waits: None,
        digest: String::new(),
        created,
        deadline: created + 86_400_000,
    };
    let targets = (0..hosts).map(|n| Target { host: n.to_string(), name: None });
    registry.start(head, targets.collect()).unwrap()
}
