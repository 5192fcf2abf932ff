//! What the group and shadow databases say about accounts.

use crate::nss::{Account, Group, NameService, Shadow};
use aspire_plugin::{Failure, Text};
use std::collections::{HashMap, HashSet};
use std::iter;

#[derive(Debug, Default)]
pub struct Known {
    /// Where several groups have one gid, the first one's name.
    group_names: HashMap<u32, Text>,
    memberships: HashMap<Text, Vec<u32>>,
    shadow: HashMap<Text, Shadow>,
}

impl Known {
    /// About all accounts: each database is read once, however many there are.
    pub fn about_all(service: &mut NameService) -> Result<Self, Failure> {
        let mut known = Known::default();
        for group in service.entries::<Group>() {
            let group = group?;
            for member in group.members {
                known.memberships.entry(member).or_default().push(group.gid);
            }
            known.group_names.entry(group.gid).or_insert(group.name);
        }
        for shadow in service.entries::<Shadow>() {
            let shadow = shadow?;
            known.shadow.entry(shadow.name.clone()).or_insert(shadow);
        }
        Ok(known)
    }

    /// About one account. A directory that does not show its lists answers this, too.
    pub fn about(service: &mut NameService, account: &Account) -> Result<Self, Failure> {
        let mut known = Known::default();
        let gids = service.group_ids(account)?;
        for &gid in &gids {
            if let Some(group) = service.numbered::<Group>(gid)? {
                known.group_names.insert(gid, group.name);
            }
        }
        known.memberships.insert(account.name.clone(), gids);
        if let Some(shadow) = service.named::<Shadow>(account.name.as_bytes())? {
            known.shadow.insert(account.name.clone(), shadow);
        }
        Ok(known)
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
