//! From an id or a name to the host.

use super::{Facts, Host, Settings, Status};
use crate::clock;
use crate::store::hosts::HostRow;
use std::collections::HashMap;
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::sync::Notify;
use uuid::Uuid;

/// All hosts that were enrolled and not revoked.
#[derive(Debug, Default)]
pub struct Directory {
    index: RwLock<Index>,
    /// Something is to be written to the database.
    pub(super) changed: Notify,
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
        index.name(host.id, "", &host.state().facts.name);
        index.by_id.insert(host.id, host.clone());
        host
    }

    /// Forgets the host, so that no request and no link finds it.
    pub fn remove(&self, host: &Host) {
        host.revoke();
        let mut index = self.write();
        let name = host.state().facts.name.clone();
        index.name(host.id, &name, "");
        index.by_id.remove(&host.id);
        index.dirty.remove(&host.id);
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
        let mut hosts: Vec<_> = self.read().by_id.values().cloned().collect();
        hosts.sort_by_cached_key(|host| (host.state().facts.name.clone(), host.id));
        hosts
    }

    /// The host has a link, whose agent says this of it.
    pub fn online(&self, host: &Arc<Host>, facts: Facts) {
        let mut index = self.write();
        if host.is_revoked() {
            return;
        }
        let mut state = host.state();
        index.name(host.id, &state.facts.name, &facts.name);
        state.facts = facts;
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
mod tests {
    use super::*;

    fn row(n: u128, name: &str) -> HostRow {
        HostRow {
            id: Uuid::from_u128(n),
            settings: Settings::default(),
            facts: Facts { name: name.into(), ..Facts::default() },
            status: Status::Unknown,
            last_seen: None,
            created: 0,
        }
    }

    #[test]
    fn hosts_are_found_by_id_and_by_name_and_names_may_collide() {
        let directory = Directory::new(vec![row(1, "a"), row(2, "b"), row(3, "b"), row(4, "")]);
        let id = |n: u128| Uuid::from_u128(n).to_string();
        assert!(matches!(directory.find("a"), Found::One(host) if host.id == Uuid::from_u128(1)));
        assert!(matches!(directory.find(&id(4)), Found::One(host) if host.name().is_none()));
        assert!(matches!(directory.find("b"), Found::Several(ids) if ids.len() == 2));
        for text in ["", "c", &id(9)] {
            assert!(matches!(directory.find(text), Found::Nothing), "{text}");
        }
    }

    #[test]
    fn a_new_name_takes_the_place_of_the_old_and_a_revoked_host_is_gone() {
        let directory = Directory::new(vec![row(1, "a")]);
        let host = directory.by_id(Uuid::from_u128(1)).unwrap();
        directory.online(&host, Facts { name: "z".into(), ..Facts::default() });
        assert!(matches!(directory.find("a"), Found::Nothing));
        assert!(matches!(directory.find("z"), Found::One(_)));
        assert_eq!(directory.take_dirty(false).len(), 1);
        assert_eq!(directory.take_dirty(false).len(), 0);
        directory.remove(&host);
        directory.offline(&host);
        assert!(matches!(directory.find("z"), Found::Nothing));
        assert_eq!(directory.take_dirty(true).len(), 0);
    }

    #[test]
    fn the_operators_word_wins_over_the_agents() {
        let directory = Directory::new(vec![row(1, "a")]);
        let host = directory.by_id(Uuid::from_u128(1)).unwrap();
        assert_eq!(host.state().region(), "unknown");
        let own = |key: &str| (key.to_owned(), "agent".to_owned());
        let facts = Facts { region: "r1".into(), tags: [own("a"), own("b")].into(), ..Facts::default() };
        directory.online(&host, facts);
        assert_eq!(host.state().region(), "r1");
        let tags = [("b".to_owned(), "operator".to_owned())].into();
        directory.settle(&host, Settings { region: Some("r2".into()), tags: Some(tags) });
        assert_eq!(host.state().region(), "r2");
        assert_eq!(host.state().tags()["a"], "agent");
        assert_eq!(host.state().tags()["b"], "operator");
    }
}
