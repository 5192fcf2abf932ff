//! As whom a program runs.

use super::Credentials;
use crate::wire::Account;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A user of this host, with one group for its own and those beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    pub uid: u32,
    pub gid: u32,
    /// Supplementary groups, as initgroups(3) would set them.
    pub groups: Vec<u32>,
    pub name: String,
    pub group_name: String,
    pub home: String,
}

/// As whom a program is to run, as far as this is known without asking.
#[derive(Debug, PartialEq, Eq)]
pub enum AsWhom {
    /// As the agent's own user.
    Own,
    /// To be looked up.
    Other { user: Account, group: Option<Account> },
    /// Begins with the field that asks for it.
    NotPermitted(String),
}

impl Identity {
    /// Decides from what a request says, of an agent that runs as this; only root may run as others.
    pub fn as_whom(&self, user: Option<&Account>, group: Option<&Account>) -> AsWhom {
        let same = |account: &Account, id: u32, name: &str| match account {
            Account::Id(number) => *number == id,
            Account::Name(text) => text == name,
        };
        let user_is_own = user.is_none_or(|user| same(user, self.uid, &self.name));
        let group_is_own = group.is_none_or(|group| same(group, self.gid, &self.group_name));
        if user_is_own && group_is_own {
            AsWhom::Own
        } else if self.uid == 0 {
            let user = user.cloned().unwrap_or(Account::Id(self.uid));
            AsWhom::Other { user, group: group.cloned() }
        } else {
            let (field, wanted) = if user_is_own { ("group", group) } else { ("user", user) };
            let wanted = wanted.map(Account::to_string).unwrap_or_default();
            AsWhom::NotPermitted(format!(
                "{field}: the agent runs as {} ({}) and cannot run commands as {wanted}; only root can",
                self.name, self.uid
            ))
        }
    }

    /// The documented environment, which is all that a program gets beside what its request adds.
    pub fn environment(&self, shell: &str) -> BTreeMap<String, String> {
        [
            ("PATH", PATH),
            ("HOME", &self.home),
            ("USER", &self.name),
            ("LOGNAME", &self.name),
            ("SHELL", shell),
            ("LANG", "C"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    }

    /// What a child of an agent of `own` is to take on. `None` where it could not.
    pub fn credentials(&self, own: &Identity) -> Option<Credentials> {
        (own.uid == 0).then(|| Credentials { uid: self.uid, gid: self.gid, groups: self.groups.clone() })
    }
}
