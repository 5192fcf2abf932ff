//! `net`: interfaces with their addresses, routes, and who listens.

mod interfaces;
mod routes;
mod sockets;

use aspire_plugin::{Failure, Root, args, json};
use serde::Serialize;
use std::net::IpAddr;

pub use interfaces::{Address, Interface};
pub use routes::Route;
pub use sockets::{Listener, Process};

/// Takes no arguments.
pub fn answer(args: &str) -> Result<String, Failure> {
    args::none(args)?;
    json(&Net::of(&Root::default()))
}

/// The answer, of the network namespace of whoever asks. What the kernel
/// refuses to tell is null.
#[derive(Debug, Serialize)]
pub struct Net {
    /// By index; rtnetlink(7).
    pub interfaces: Option<Vec<Interface>>,
    /// Of the main table, in the kernel's order; rtnetlink(7).
    pub routes: Option<Vec<Route>>,
    /// By protocol, family, port and address; /proc/net/tcp and its like.
    pub listening: Option<Vec<Listener>>,
}

impl Net {
    pub fn of(root: &Root) -> Net {
        Net { listening: sockets::list(root), ..Net::without_listeners() }
    }

    /// They take the longest to find, and come and go.
    pub fn without_listeners() -> Net {
        let interfaces = interfaces::list().ok();
        let routes = interfaces.as_deref().and_then(|interfaces| routes::list(interfaces).ok());
        Net { interfaces, routes, listening: None }
    }
}

/// The kind of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    Inet,
    Inet6,
}

impl Family {
    fn of(address: IpAddr) -> Family {
        if address.is_ipv4() { Family::Inet } else { Family::Inet6 }
    }
}

/// As it is in messages: 4 bytes or 16.
fn address(bytes: &[u8]) -> Option<IpAddr> {
    <[u8; 4]>::try_from(bytes)
        .map(IpAddr::from)
        .or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from))
        .ok()
}
