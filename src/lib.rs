//! Aspire's agents.
//!
//! The data's way: bytes come in through [`reactor`] and TLS, become frames
//! and requests in [`wire`], reach a machine's one match ([`gearman`]) by way
//! of its [`link`] or of a socket for programs on its host, start a child in
//! [`exec`], and what the child writes goes back the same way as a reply.
//! Everything between the reactor and the binaries is a pure machine
//! ([`machine`]): it is handed events and the time, and answers with effects.
//! What runs at its time begins in [`cron`], and [`gearctl`] is what a host's
//! own people ask.
//!
//! The other agent, [`boot`], has no link: by short exchanges ([`http`]) it
//! reports the agents that it looks after ([`daemon`]), and has its jobs in the
//! answers. It makes room for another version of itself by [`handover`].

pub use aspire_metrics as metrics;
pub use aspire_wire as wire;

pub mod machine;
pub mod reactor;

pub mod config;
pub mod cron;
pub mod daemon;
pub mod exec;
pub mod getinfo;
pub mod http;
pub mod job;
pub mod link;
pub mod store;
pub mod task;

pub mod handover;

pub mod boot;
pub mod enroll;
pub mod gearman;

pub mod cli;
pub mod gearctl;
