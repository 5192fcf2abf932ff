//! A fleet in one process: many hosts, each with a certificate, a link and
//! manners of its own.
//!
//! They enrol through the agents' port ([`enroll_all`]), and then live for ever
//! ([`Fleet`]): dial, greet, answer, and come back with the agents' own back-off.
//! To the server they are agents, over real TLS. What each is like is drawn from
//! a [`Profile`], by its seed; what they have done is in the [`Tally`]. Keys are
//! not drawn: they are the kernel's random numbers.

// The agents' own file: a herd comes back as theirs does.
#[path = "../../../src/link/backoff.rs"]
#[allow(dead_code, reason = "what the agents use besides")]
mod backoff;
mod fleet;
mod host;
mod identity;
mod link;
mod profile;
mod tally;

pub use fleet::{Fleet, host_name};
pub use identity::{Identity, builder, config, connect, enroll, enroll_all, exchange, secure};
pub use profile::{Fault, Latency, Profile, Traits};
pub use tally::Tally;
