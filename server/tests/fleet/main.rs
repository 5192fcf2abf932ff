//! The real program with a thousand agents, each of them simulated in this
//! process with a certificate and a TLS link of its own.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "what the other tests use besides")]

#[path = "../server/common.rs"]
mod common;
#[path = "../server/database.rs"]
mod database;
#[path = "../server/documented.rs"]
mod documented;
#[path = "../server/mariadb.rs"]
mod mariadb;
#[path = "../server/program.rs"]
mod program;

mod answers;
mod faults;
mod herd;

use common::{Answer, PATIENCE};
use program::Program;
use serde_json::{Value, json};
use simulator::{Fleet, Identity, Profile, enroll_all, host_name};
use std::collections::BTreeMap;
use std::future::Future;
use std::process::Stdio;
use tempfile::TempDir;
use tokio::time::timeout;

/// A server and its hosts, all of them linked.
struct Rig {
    program: Program,
    fleet: Fleet,
    /// Host ids, in the order of the fleet.
    ids: Vec<String>,
    dir: TempDir,
}

impl Rig {
    /// `up` of the `hosts` are expected to get a link.
    async fn start(toml: &str, hosts: usize, profile: &Profile, up: usize) -> Rig {
        // A link is a descriptor.
        rlimit::increase_nofile_limit(u64::MAX).unwrap();
        let dir = TempDir::new().unwrap();
        let program = Program::configured(dir.path(), toml, Stdio::null()).await;
        let identities = enrolled(&program, hosts).await;
        let fleet = Fleet::start(&program.agents.to_string(), &identities, profile).unwrap();
        soon(fleet.tally.are_up(up)).await;
        let ids = identities.iter().map(|identity| identity.id.clone()).collect();
        Rig { program, fleet, ids, dir }
    }

    fn body(&self, more: &Value) -> Value {
        let mut body = json!({"hosts": self.ids, "method": "sync.bash", "cmd": "true"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    }

    /// The ids of the hosts at these places.
    fn ids_of(&self, places: &[usize]) -> Vec<&str> {
        places.iter().map(|n| self.ids[*n].as_str()).collect()
    }
}

async fn enrolled(program: &Program, hosts: usize) -> Vec<Identity> {
    let token = program.rest.post("/api/v1/tokens", &json!({"uses": hosts})).await.text("token");
    enroll_all(program.agents, &token, (0..hosts).map(host_name)).await.unwrap()
}

/// Waits with [`PATIENCE`] for the worst machine.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("sooner")
}

/// How many hosts ended so.
fn counts(answer: &Answer) -> BTreeMap<u64, usize> {
    let mut counts = BTreeMap::new();
    for (_, retcode) in answer.retcodes() {
        *counts.entry(retcode).or_default() += 1;
    }
    counts
}
