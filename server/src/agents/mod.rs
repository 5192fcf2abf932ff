//! The agents' port: connections ([`listener`]), the task of each link
//! ([`session`]), who holds which link ([`hub`]), and requests to many
//! ([`dispatch`]) with their end before the time ([`cancel`]).

mod cancel;
pub mod dispatch;
mod facts;
pub mod hub;
pub mod link;
pub mod listener;
mod pace;
#[cfg(test)]
pub(crate) mod samples;
pub mod session;

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

impl From<FrameError> for LinkEnd {
    /// The error may quote the agent, and it reaches the log and every request that waits: it is
    /// cut short, and nothing in it ends a line or drives a terminal.
    fn from(error: FrameError) -> LinkEnd {
        let short: String = error.to_string().chars().take(limits::MAX_REASON_CHARS).collect();
        LinkEnd::Protocol(short.escape_debug().to_string())
    }
}
