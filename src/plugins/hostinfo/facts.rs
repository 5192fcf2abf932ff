//! `facts`: what a host is, without what changes by itself: the same host gives
//! the same bytes, so whoever keeps them sees a change by comparing.

use crate::cpu::Kind;
use crate::kernel::Identity;
use crate::memory::Memory;
use crate::net::{Family, Interface, Net, Route};
use crate::os::Os;
use aspire_plugin::{Failure, Root, Text, args, json};
use serde::Serialize;
use std::net::IpAddr;

/// Takes no arguments.
pub fn answer(args: &str) -> Result<String, Failure> {
    args::none(args)?;
    json(&Facts::of(&Root::default()))
}

/// The answer: parts of the queries of these names. One that fails is null.
#[derive(Debug, Serialize)]
pub struct Facts {
    /// The whole of it.
    pub os: Os,
    pub kernel: Option<Identity>,
    pub cpu: Kind,
    pub memory: Option<Amounts>,
    pub net: Option<Reach>,
}

/// How much memory there is: bytes.
#[derive(Debug, Serialize)]
pub struct Amounts {
    pub total: Option<u64>,
    pub swap_total: Option<u64>,
}

/// How the host is reached.
#[derive(Debug, Serialize)]
pub struct Reach {
    /// The interfaces with an address for others, by name.
    pub interfaces: Vec<Endpoint>,
    /// Where packets go that no other route is for: the route with the lowest
    /// metric, of IPv4 if there is one.
    pub default_gateway: Option<IpAddr>,
    pub default_interface: Option<Text>,
}

/// An interface's name, and where it is reached.
#[derive(Debug, Serialize)]
pub struct Endpoint {
    pub name: Text,
    pub mac: Option<String>,
    /// Sorted. Without those of the link and the host itself, and without temporary ones.
    pub addresses: Vec<Place>,
}

/// An address.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Place {
    pub address: IpAddr,
    pub prefix: u8,
    pub family: Family,
}

impl Facts {
    pub fn of(root: &Root) -> Facts {
        let (interfaces, routes) = Net::lasting();
        Facts {
            os: Os::of(root),
            kernel: Identity::read().ok(),
            cpu: Kind::of(root),
            memory: Memory::of(root)
                .ok()
                .map(|memory| Amounts { total: memory.total, swap_total: memory.swap_total }),
            net: interfaces.map(|interfaces| Reach::of(interfaces, &routes.unwrap_or_default())),
        }
    }
}

impl Reach {
    fn of(interfaces: Vec<Interface>, routes: &[Route]) -> Reach {
        let mut interfaces: Vec<Endpoint> = interfaces.into_iter().filter_map(Endpoint::of).collect();
        interfaces.sort_by(|one, other| one.name.cmp(&other.name));
        let defaults =
            routes.iter().filter(|route| route.destination == "default" && route.interface.is_some());
        // Of equal ones the kernel's order says nothing.
        let best = defaults.min_by_key(|route| (route.family, route.metric, route.gateway, &route.interface));
        Reach {
            interfaces,
            default_gateway: best.and_then(|route| route.gateway),
            default_interface: best.and_then(|route| route.interface.clone()),
        }
    }
}

impl Endpoint {
    fn of(interface: Interface) -> Option<Endpoint> {
        let for_others = |scope: &str| !["link", "host", "nowhere"].contains(&scope);
        let mut addresses: Vec<Place> = interface
            .addresses
            .into_iter()
            .filter(|address| {
                for_others(&address.scope) && !address.temporary && !address.address.is_loopback()
            })
            .map(|address| Place { address: address.address, prefix: address.prefix, family: address.family })
            .collect();
        addresses.sort();
        let endpoint = Endpoint { name: interface.name, mac: interface.mac, addresses };
        Some(endpoint).filter(|endpoint| !endpoint.addresses.is_empty())
    }
}
