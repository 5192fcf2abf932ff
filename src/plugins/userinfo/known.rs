//! What the group and shadow databases say about accounts.

use crate::nss::{Account, Group, NameService, Shadow};
use aspire_plugin::{Failure, Text};
use nix::unistd::geteuid;
use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::iter;

/// Questions about single entries after a database was read as a whole. Each may
/// read it as a whole again, or ask a server: thousands would take longer than the
/// host waits, and those that only answer such a question are few.
const MOST_QUESTIONS: usize = 256;

#[derive(Debug, Default)]
pub struct Known {
    /// Where several groups have one gid, the first one's name.
    group_names: HashMap<u32, Text>,
    memberships: HashMap<Text, Vec<u32>>,
    shadow: HashMap<Text, Shadow>,
}

impl Known {
    /// About many accounts: each database is read once, however many they are, and
    /// asked for the first few of what it did not list.
    pub fn about_all(service: &mut NameService, accounts: &[Account]) -> Result<Self, Failure> {
        let mut known = Known::default();
        for group in service.entries::<Group>() {
            let group = group?;
            for member in group.members {
                known.memberships.entry(member).or_default().push(group.gid);
            }
            known.group_names.entry(group.gid).or_insert(group.name);
        }
        let gids = accounts.iter().map(|account| account.gid);
        for gid in first_of(gids.filter(|gid| !known.group_names.contains_key(gid))) {
            known.look_up_group(service, gid)?;
        }
        if geteuid().is_root() {
            for shadow in service.entries::<Shadow>() {
                let shadow = shadow?;
                known.shadow.entry(shadow.name.clone()).or_insert(shadow);
            }
            let shadowed = accounts.iter().filter(|account| account.is_shadowed());
            let names = shadowed.map(|account| &account.name);
            for name in first_of(names.filter(|name| !known.shadow.contains_key(name))) {
                known.look_up_shadow(service, name)?;
            }
        }
        Ok(known)
    }

    /// About one account. A directory that does not show its lists answers this, too.
    pub fn about(service: &mut NameService, account: &Account) -> Result<Self, Failure> {
        let mut known = Known::default();
        let gids = service.group_ids(account)?;
        for &gid in &gids {
            known.look_up_group(service, gid)?;
        }
        known.memberships.insert(account.name.clone(), gids);
        if geteuid().is_root() {
            known.look_up_shadow(service, &account.name)?;
        }
        Ok(known)
    }

    /// Some entries are in no list, and told when they are asked for, such as those
    /// of root where no file has one.
    fn look_up_group(&mut self, service: &mut NameService, gid: u32) -> Result<(), Failure> {
        if !self.group_names.contains_key(&gid)
            && let Some(group) = service.numbered::<Group>(gid)?
        {
            self.group_names.insert(gid, group.name);
        }
        Ok(())
    }

    /// As root only: to others, a service may tell what it makes up of a user whose
    /// entry in the file they may not read.
    fn look_up_shadow(&mut self, service: &mut NameService, name: &Text) -> Result<(), Failure> {
        if !self.shadow.contains_key(name)
            && let Some(shadow) = service.named::<Shadow>(name.as_bytes())?
        {
            self.shadow.insert(name.clone(), shadow);
        }
        Ok(())
    }

    pub fn group_name(&self, gid: u32) -> Option<&Text> {
        self.group_names.get(&gid)
    }

    /// The primary group and then those that list the account, each once.
    pub fn group_names(&self, account: &Account) -> Vec<Text> {
        let listed = self.memberships.get(&account.name).into_iter().flatten();
        let mut seen = HashSet::new();
        let gids = iter::once(&account.gid).chain(listed).filter(|gid| seen.insert(**gid));
        gids.filter_map(|gid| self.group_name(*gid)).cloned().collect()
    }

    pub fn shadow(&self, account: &Account) -> Option<&Shadow> {
        self.shadow.get(&account.name)
    }
}

/// As many as are asked for, each once.
fn first_of<T: Copy + Eq + Hash>(keys: impl Iterator<Item = T>) -> Vec<T> {
    let mut seen = HashSet::new();
    keys.filter(|key| seen.insert(*key)).take(MOST_QUESTIONS).collect()
}
