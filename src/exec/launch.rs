//! From a request's command to a program with nothing left to look up.

use super::{ExecSettings, Wanted};
use crate::machine::{Credentials, Identity, Launch};
use crate::wire::{Account, Command};
use std::collections::BTreeMap;

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// As whom a command is to run, as far as this is known without asking.
#[derive(Debug, PartialEq, Eq)]
pub enum AsWhom {
    /// As the agent's own user.
    Own,
    /// To be looked up.
    Other {
        user: Account,
        group: Option<Account>,
    },
    NotPermitted(String),
}

/// Decides from what the request says; only root may run as others.
pub fn as_whom(command: &Command, own: &Identity) -> AsWhom {
    let same = |account: &Account, id: u32, name: &str| match account {
        Account::Id(number) => *number == id,
        Account::Name(text) => text == name,
    };
    let user_is_own = command.user.as_ref().is_none_or(|user| same(user, own.uid, &own.name));
    let group_is_own = command.group.as_ref().is_none_or(|group| same(group, own.gid, &own.group_name));
    if user_is_own && group_is_own {
        AsWhom::Own
    } else if own.uid == 0 {
        let user = command.user.clone().unwrap_or(Account::Id(own.uid));
        AsWhom::Other { user, group: command.group.clone() }
    } else {
        let (field, wanted) = if user_is_own { ("group", &command.group) } else { ("user", &command.user) };
        let wanted = wanted.as_ref().map(Account::to_string).unwrap_or_default();
        AsWhom::NotPermitted(format!(
            "{field}: the agent runs as {} ({}) and cannot run commands as {wanted}; only root can",
            own.name, own.uid
        ))
    }
}

/// The program: `bash -c CMD` with the documented environment.
pub fn launch(wanted: Wanted, identity: &Identity, own: &Identity, settings: &ExecSettings) -> Launch {
    let Wanted { command, remembered } = wanted;
    let mut env: BTreeMap<String, String> = [
        ("PATH", PATH),
        ("HOME", &identity.home),
        ("USER", &identity.name),
        ("LOGNAME", &identity.name),
        ("SHELL", &settings.shell),
        ("LANG", "C"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    env.extend(command.env);
    Launch {
        argv: vec![settings.shell.clone(), "-c".into(), command.cmd],
        env: env.into_iter().collect(),
        limits: command.limits,
        remembered,
        lasting: None,
        cwd: command.cwd.unwrap_or_else(|| "/".into()),
        credentials: (own.uid == 0).then(|| Credentials {
            uid: identity.uid,
            gid: identity.gid,
            groups: identity.groups.clone(),
        }),
    }
}
