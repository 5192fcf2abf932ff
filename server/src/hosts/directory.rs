//! From an id or a name to the host.

use super::{Greeting, Host, Section, Settings, Status};
use crate::clock;
use crate::limits::MAX_FACTS_BYTES;
use crate::pki::Certificate;
use crate::store::facts::FactRow;
use crate::store::hosts::HostRow;
use aspire_wire::Facts as Told;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::sync::Notify;
use uuid::Uuid;

/// All hosts that were enrolled and not revoked.
#[derive(Debug, Default)]
pub struct Directory {
    index: RwLock<Index>,
    /// Something is to be written to the database.
    pub(super) changed: Notify,
    /// A host was removed.
    removed: Notify,
    /// Held by whoever changes what an operator settled, from reading it to writing it.
    pub settling: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Index {
    by_id: HashMap<Uuid, Arc<Host>>,
    /// Hosts without a name are not in it.
    by_name: HashMap<String, Vec<Uuid>>,
    /// Whose rows are behind.
    dirty: HashMap<Uuid, Arc<Host>>,
    /// The sections whose rows are.
    facts_behind: BTreeSet<(Uuid, String)>,
    /// Of the JSON texts of all facts.
    facts_bytes: usize,
}

/// Why what a host tells is not taken.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Untaken {
    /// The agent's fault.
    #[error("{0}")]
    Wrong(String),
    #[error("the hosts' facts are {MAX_FACTS_BYTES} bytes already, as many as may be")]
    NoRoom,
}

/// What a text that should be an id or a name stands for.
#[derive(Debug)]
pub enum Found {
    One(Arc<Host>),
    Nothing,
    /// Several hosts have this name.
    Several(Vec<Uuid>),
}

impl Directory {
    pub fn new(rows: Vec<HostRow>) -> Directory {
        let directory = Directory::default();
        for row in rows {
            directory.insert(row);
        }
        directory
    }

    /// A host has been enrolled.
    pub fn insert(&self, row: HostRow) -> Arc<Host> {
        let host = Arc::new(Host::new(row));
        let mut index = self.write();
        index.name(host.id, "", &host.state().greeting.name);
        index.by_id.insert(host.id, host.clone());
        host
    }

    /// Forgets the host, so that no request and no link finds it.
    pub fn remove(&self, host: &Host) {
        host.revoke();
        let mut index = self.write();
        let name = host.state().greeting.name.clone();
        index.name(host.id, &name, "");
        if index.by_id.remove(&host.id).is_some() {
            index.facts_bytes -= host.state().facts.bytes();
        }
        index.dirty.remove(&host.id);
        index.facts_behind.retain(|(id, _)| *id != host.id);
        drop(index);
        self.removed.notify_waiters();
    }

    /// Returns once the host was removed.
    pub async fn revoked(&self, host: &Host) {
        loop {
            // Before the look: what is removed from then on is heard of.
            let removed = self.removed.notified();
            if host.is_revoked() {
                return;
            }
            removed.await;
        }
    }

    pub fn by_id(&self, id: Uuid) -> Option<Arc<Host>> {
        self.read().by_id.get(&id).cloned()
    }

    /// An id wins over a name of the same text.
    pub fn find(&self, text: &str) -> Found {
        let index = self.read();
        if let Some(host) = Uuid::parse_str(text).ok().and_then(|id| index.by_id.get(&id)) {
            return Found::One(host.clone());
        }
        match index.by_name.get(text).map(Vec::as_slice) {
            None | Some([]) => Found::Nothing,
            Some([id]) => index.by_id.get(id).map_or(Found::Nothing, |host| Found::One(host.clone())),
            Some(several) => Found::Several(several.to_vec()),
        }
    }

    /// Every host, by name and then by id.
    pub fn list(&self) -> Vec<Arc<Host>> {
        self.select(|_| true)
    }

    /// Those that are wanted, as [`Directory::list`] has them.
    pub fn select(&self, wanted: impl Fn(&Host) -> bool) -> Vec<Arc<Host>> {
        let mut hosts: Vec<_> = self.read().by_id.values().cloned().collect();
        hosts.retain(|host| wanted(host));
        hosts.sort_by_cached_key(|host| (host.state().greeting.name.clone(), host.id));
        hosts
    }

    /// Has `look` see every host, in no order. Nobody is enrolled or removed meanwhile.
    pub fn each(&self, mut look: impl FnMut(&Host)) {
        self.read().by_id.values().for_each(|host| look(host));
    }

    /// The host has a link, whose agent says this of it.
    pub fn online(&self, host: &Arc<Host>, greeting: Greeting) {
        let mut index = self.write();
        if host.is_revoked() {
            return;
        }
        let mut state = host.state();
        index.name(host.id, &state.greeting.name, &greeting.name);
        state.greeting = greeting;
        state.status = Status::Online;
        drop(state);
        index.dirty.insert(host.id, host.clone());
        self.changed.notify_one();
    }

    /// The host's link has ended and there is no newer one.
    pub fn offline(&self, host: &Arc<Host>) {
        let mut index = self.write();
        if host.is_revoked() {
            return;
        }
        host.state().status = Status::Offline;
        index.dirty.insert(host.id, host.clone());
        self.changed.notify_one();
    }

    /// The host shows this certificate, or has been given it.
    pub fn certified(&self, host: &Arc<Host>, certificate: Certificate) {
        let mut index = self.write();
        if host.is_revoked() {
            return;
        }
        host.state().certificate = Some(certificate);
        index.dirty.insert(host.id, host.clone());
        self.changed.notify_one();
    }

    /// What is new of what the host tells of itself: all of it is taken, or nothing.
    pub fn told(&self, host: &Host, told: &Told) -> Result<(), Untaken> {
        let parse = |(name, section): (&String, &Option<_>)| {
            let section = section.as_ref().map(Section::parse).transpose();
            section.map(|section| (name.clone(), section)).map_err(|e| Untaken::Wrong(format!("{name}: {e}")))
        };
        let news = told.sections.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        let mut index = self.write();
        if host.is_revoked() {
            return Ok(());
        }
        let mut state = host.state();
        let mut facts = state.facts.clone();
        for (name, section) in news {
            facts.change(&name, section);
        }
        if facts.too_many() {
            return Err(Untaken::Wrong("too many sections".into()));
        }
        let bytes = index.facts_bytes - state.facts.bytes() + facts.bytes();
        if bytes > MAX_FACTS_BYTES && bytes > index.facts_bytes {
            return Err(Untaken::NoRoom);
        }
        index.facts_bytes = bytes;
        state.facts = facts;
        drop(state);
        index.facts_behind.extend(told.sections.keys().map(|name| (host.id, name.clone())));
        self.changed.notify_one();
        Ok(())
    }

    /// Facts as they are in the database.
    pub fn load_facts(&self, rows: Vec<FactRow>) {
        let mut index = self.write();
        for FactRow { host: id, section: name, told } in rows {
            let (Some(host), Some((digest, value))) = (index.by_id.get(&id).cloned(), told) else { continue };
            match Section::new(&digest, &value) {
                Ok(section) => {
                    index.facts_bytes += section.bytes;
                    host.state().facts.change(&name, Some(section));
                }
                // Its host tells it anew, as nobody says that it is known.
                Err(error) => tracing::warn!(host = %id, section = name, %error, "damaged facts left out"),
            }
        }
    }

    /// What the operator settled, once it is in the database.
    pub fn settle(&self, host: &Host, settings: Settings) {
        host.state().settings = settings;
    }

    /// The rows that are behind, and with `seen` those too whose hosts gave a sign of life since.
    pub(super) fn take_dirty(&self, seen: bool) -> Vec<HostRow> {
        let mut index = self.write();
        let mut dirty = std::mem::take(&mut index.dirty);
        if seen {
            let fresh = |host: &&Arc<Host>| host.last_seen().is_some_and(|at| at > host.state().written);
            dirty.extend(index.by_id.values().filter(fresh).map(|host| (host.id, host.clone())));
        }
        drop(index);
        dirty
            .values()
            .map(|host| {
                host.state().written = host.last_seen().unwrap_or_else(clock::now);
                host.row()
            })
            .collect()
    }

    /// The rows could not be written: they are still behind.
    pub(super) fn still_dirty(&self, rows: &[HostRow]) {
        let mut index = self.write();
        for row in rows {
            if let Some(host) = index.by_id.get(&row.id).cloned() {
                index.dirty.insert(row.id, host);
            }
        }
    }

    /// Rows of facts that are behind, at most `most`.
    pub(super) fn take_facts_behind(&self, most: usize) -> Vec<FactRow> {
        let mut index = self.write();
        let behind: Vec<_> = std::iter::from_fn(|| index.facts_behind.pop_first()).take(most).collect();
        let hosts: Vec<_> = behind.iter().map(|(id, _)| index.by_id.get(id).cloned()).collect();
        drop(index);
        let row = |((id, section), host): ((Uuid, String), Option<Arc<Host>>)| {
            let told = host?.state().facts.section(&section).map(Section::texts);
            Some(FactRow { host: id, section, told })
        };
        behind.into_iter().zip(hosts).filter_map(row).collect()
    }

    /// As [`Directory::still_dirty`], of facts.
    pub(super) fn facts_still_behind(&self, rows: Vec<FactRow>) {
        let mut index = self.write();
        for FactRow { host, section, .. } in rows {
            if index.by_id.contains_key(&host) {
                index.facts_behind.insert((host, section));
            }
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().expect("nothing panics while it holds the directory")
    }

    fn write(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().expect("nothing panics while it holds the directory")
    }
}

impl Index {
    /// `id` was called `old` and is called `new`.
    fn name(&mut self, id: Uuid, old: &str, new: &str) {
        if old == new {
            return;
        }
        if let Some(ids) = self.by_name.get_mut(old) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.by_name.remove(old);
            }
        }
        if !new.is_empty() {
            self.by_name.entry(new.to_owned()).or_default().push(id);
        }
    }
}

#[cfg(test)]
#[path = "directory_tests.rs"]
mod tests;
