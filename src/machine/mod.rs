//! The words that every daemon shares with the reactor: what may happen
//! ([`Event`]), what may be asked for ([`Effect`]), and when ([`Now`]).
//!
//! A machine is plain owned state. It never sees a descriptor, a clock or a
//! process: it is handed events and answers with effects, so that a test can
//! be its caller as well as the reactor. This folder imports
//! nothing of ours but the wire's and the metrics' types.

mod effect;
mod event;
mod id;
mod identity;
pub mod limits;
mod reading;
mod task;
mod time;

pub use effect::{
    Credentials, Effect, Effects, FAMILY_VARIABLE, Kin, Lasting, Launch, Process, Program, Protocol, Security,
};
pub use event::{ConnectionEnd, Event, Exit, Signal, StartError, Stream, Survey};
pub use id::{ChildId, ConnId};
pub use identity::{AsWhom, Identity};
pub use reading::{Planned, Reading, Told};
pub use task::{
    Content, END_OF_ANSWER, NewCertificate, Placed, PluginAnswer, Probe, Question, Rotation, Task,
};
pub use time::{Instant, Now, earliest};

/// A daemon, as the reactor and the tests drive it.
pub trait Machine {
    /// Takes in one event; what is to be done about it goes into `fx`.
    fn handle(&mut self, now: Now, event: Event<'_>, fx: &mut Effects);

    /// When to call [`Machine::handle`] with [`Event::Tick`] if nothing else
    /// happens before; `None` is never.
    fn deadline(&self) -> Option<Instant>;
}
