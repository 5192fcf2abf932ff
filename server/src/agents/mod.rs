//! The agents' port: connections ([`listener`]), the task of each link
//! ([`session`]), who holds which link ([`hub`]), and requests to many
//! ([`dispatch`]), to some of them at a time ([`rollout`]), with their end before
//! the time ([`cancel`]). Who speaks HTTP here is a [`Caller`].

mod caller;
mod cancel;
mod crowd;
pub mod dispatch;
mod entry;
mod facts;
pub mod hub;
pub mod link;
pub mod listener;
mod pace;
pub mod renewal;
pub mod rollout;
#[cfg(test)]
pub(crate) mod samples;
pub mod session;

pub use caller::Caller;

use crate::limits;
use aspire_wire::FrameError;

/// Why a link ended.
#[derive(Debug, thiserror::Error)]
pub enum LinkEnd {
    /// The agent's own wish.
    #[error("closed by the agent")]
    Closed,
    #[error("connection failed: {0}")]
    Connection(#[from] std::io::Error),
    #[error("nothing heard for {0} s")]
    Silent(u64),
    #[error("no init within {} s", limits::INIT_LIMIT.as_secs())]
    NoInit,
    /// The agent broke the protocol.
    #[error("{0}")]
    Protocol(String),
    #[error("the first frame must be init, and no other")]
    Unexpected,
    /// The server's own wish, as the agent was told.
    #[error("{0}")]
    Told(String),
}

impl LinkEnd {
    /// What ends are told apart by where they are counted.
    pub const KINDS: [&str; 6] = ["closed", "connection", "silent", "no_init", "protocol", "server"];

    /// The place in [`LinkEnd::KINDS`].
    pub fn kind(&self) -> usize {
        match self {
            LinkEnd::Closed => 0,
            LinkEnd::Connection(_) => 1,
            LinkEnd::Silent(_) => 2,
            LinkEnd::NoInit => 3,
            LinkEnd::Protocol(_) | LinkEnd::Unexpected => 4,
            LinkEnd::Told(_) => 5,
        }
    }
}

impl From<FrameError> for LinkEnd {
    fn from(error: FrameError) -> LinkEnd {
        LinkEnd::Protocol(shown(&error.to_string()))
    }
}

/// What may quote an agent, for the log and for every request that waits: it is cut short, and nothing
/// in it ends a line or drives a terminal.
fn shown(text: &str) -> String {
    let short: String = text.chars().take(limits::MAX_REASON_CHARS).collect();
    short.escape_debug().to_string()
}
