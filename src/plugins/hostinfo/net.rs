//! `net`: interfaces with their addresses, routes, and who listens.

mod interfaces;
mod routes;
mod sockets;

use aspire_plugin::args::{self, Part};
use aspire_plugin::{Failure, Root, json};
use getopts::Options;
use serde::Serialize;
use std::net::IpAddr;

pub use interfaces::{Address, Interface};
pub use routes::Route;
pub use sockets::{Listener, Process};

/// `-i` the interfaces, `-r` the routes, `-l` who listens, and all three where none
/// of them is given. `-n`, `-o`: a part of each list.
pub fn answer(args: &str) -> Result<String, Failure> {
    let mut options = Options::new();
    options.optflag("i", "", "interfaces");
    options.optflag("r", "", "routes");
    options.optflag("l", "", "who listens");
    Part::options(&mut options);
    let matches = args::matches(&options, args)?;
    let part = Part::of(&matches)?;
    let all = !["i", "r", "l"].iter().any(|list| matches.opt_present(list));
    let wanted = |list: &str| all || matches.opt_present(list);
    let mut net = Net::default();
    if wanted("i") || wanted("r") {
        net.ask(wanted("i"), wanted("r"), part);
    }
    if wanted("l") {
        net.ask_who_listens(&Root::default(), part);
    }
    json(&net)
}

/// The answer, of the network namespace of whoever asks. What the kernel
/// refuses to tell is null, as is a list that is not asked for.
#[derive(Debug, Default, Serialize)]
pub struct Net {
    /// By index; rtnetlink(7).
    pub interfaces: Option<Vec<Interface>>,
    /// Of the main table, in the kernel's order; rtnetlink(7).
    pub routes: Option<Vec<Route>>,
    /// By protocol, family, port and address; /proc/net/tcp and its like.
    pub listening: Option<Vec<Listener>>,
    pub counts: Counts,
}

/// How many there are, shown or not; null where the list is.
#[derive(Debug, Default, Serialize)]
pub struct Counts {
    pub interfaces: Option<usize>,
    pub routes: Option<usize>,
    pub listening: Option<usize>,
}

impl Net {
    /// Routes have the names of interfaces, which are found for both.
    fn ask(&mut self, with_interfaces: bool, with_routes: bool, part: Part) {
        let Ok(interfaces) = interfaces::list() else { return };
        if with_routes && let Ok(listed) = routes::list(&interfaces, part) {
            self.counts.routes = Some(listed.count);
            self.routes = Some(listed.routes);
        }
        if with_interfaces {
            self.counts.interfaces = Some(interfaces.len());
            self.interfaces = Some(part.take(interfaces));
        }
    }

    fn ask_who_listens(&mut self, root: &Root, part: Part) {
        if let Some((listening, count)) = sockets::list(root, part) {
            self.counts.listening = Some(count);
            self.listening = Some(listening);
        }
    }
}

/// The interfaces, and the routes to everywhere.
pub fn reach() -> Option<(Vec<Interface>, Vec<Route>)> {
    let interfaces = interfaces::list().ok()?;
    let defaults = routes::defaults(&interfaces).unwrap_or_default();
    Some((interfaces, defaults))
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
