//! Work that may block, done by a function of ours in a child process, and
//! the types of its answers.

use crate::wire::Account;
use crate::wire::server_list::Server;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// All addresses of a server, in the name service's order. Answered by a
    /// list of [`std::net::SocketAddr`].
    Resolve(Server),
    /// The user database's entry, as the system's name service has it; a group
    /// replaces the user's own primary group. Answered by [`Identity`], or by
    /// `null` where there is no such user or group.
    Identify { user: Account, group: Option<Account> },
    /// Looks at a path, be it there or not: on a dead mount nobody comes back
    /// from that. Answered by `null`.
    Reach(String),
}

/// As whom a command runs.
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
