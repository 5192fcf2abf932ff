//! What a program finds out of the host that it runs on.

use crate::machine::{Identity, Task};
use crate::reactor;
use crate::wire::Account;

/// What the host calls itself, for where nobody named it otherwise.
///
/// # Errors
/// The system's reason.
pub fn node_name() -> Result<String, String> {
    let name = nix::unistd::gethostname().map_err(|errno| format!("the host's name: {errno}"))?;
    Ok(name.to_string_lossy().into_owned())
}

/// What the kernel calls the time since it was started; empty where it does not say.
pub fn boot_id() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
    id.map(|id| id.trim().to_owned()).unwrap_or_default()
}

/// Who the program runs as. A user without an entry in the user database is known by its number.
///
/// # Errors
/// The user database cannot be read.
pub fn own_identity() -> Result<Identity, String> {
    let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
    // Aside: libraries that the name service loads for this would stay in our memory.
    let task = Task::Identify { user: Account::Id(uid), group: None };
    let known = reactor::run_aside(&task).map_err(|reason| format!("who are we? {reason}"))?;
    let known: Option<Identity> = serde_json::from_slice(&known).map_err(|e| e.to_string())?;
    Ok(known.unwrap_or_else(|| Identity {
        uid,
        gid,
        groups: vec![gid],
        name: uid.to_string(),
        group_name: gid.to_string(),
        home: "/".into(),
    }))
}
