//! The agents' port: connections ([`listener`]), the task of each link
//! ([`session`]), who holds which link ([`hub`]), and requests to many
//! ([`dispatch`]).

pub mod dispatch;
pub mod hub;
pub mod link;
pub mod listener;
pub mod session;

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
    #[error("no init within {} s", crate::limits::INIT_LIMIT.as_secs())]
    NoInit,
    /// The agent broke the protocol.
    #[error("{0}")]
    Protocol(#[from] FrameError),
    #[error("the first frame must be init, and no other")]
    Unexpected,
    /// The server's own wish, as the agent was told.
    #[error("{0}")]
    Told(String),
}
