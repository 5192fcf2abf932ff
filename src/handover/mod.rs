//! Boot makes room for another version of itself.
//!
//! [`SelfUpgrade`] is boot's part, pure as every other: it brings the package here, writes a [`Plan`],
//! says that it may go on ([`Fact::Accepted`]), and starts a helper once the server knows that. The
//! helper ([`take_over`]) is a copy of the program that runs, in a session, and where there are any a
//! cgroup and a scope of its own, so that neither the package's scripts nor the service manager end it
//! with boot. It goes through the [`stages`], each of which can be begun again, and writes down where
//! it is, so that whoever is killed at whatever moment, the next one goes on: the new version proves
//! itself by a report that a server answers, or the old one comes back. How it ended is in the plan,
//! from where the boot that then runs has it.

mod fetching;
mod hands;
mod helper;
mod manager;
mod own;
mod plan;
mod search;
mod stages;
mod stamp;
mod under_way;
mod upgrade;

pub use helper::take_over;
pub use own::Own;
pub use plan::{Confirmed, Job, Life, Paths, Plan, Release, Stage};
pub use stages::{Died, Hands, Which, carry_out};
pub use stamp::Stamp;
pub use upgrade::{Fact, SelfUpgrade};

use crate::machine::{ChildId, Event};

/// Whether an event is for whoever waits for this child, or for everybody.
fn is_for(event: &Event<'_>, waited_for: ChildId) -> bool {
    match event {
        Event::Tick => true,
        Event::Started(child, _)
        | Event::NotStarted(child, _)
        | Event::Output(child, ..)
        | Event::OutputEnded(child, _)
        | Event::OutputFailed(child, ..)
        | Event::Exited(child, _) => *child == waited_for,
        _ => false,
    }
}
