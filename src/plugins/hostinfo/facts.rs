//! `facts`: what a host is, without what changes by itself: the same host gives
//! the same bytes, so whoever keeps them sees a change by comparing.

use crate::cpu::Kind;
use crate::kernel::Identity;
use crate::memory::Memory;
use crate::net::{self, Family, Interface, Route};
use crate::os::Os;
use aspire_plugin::{Failure, Root, Text, args, json};
use serde::Serialize;
use std::net::IpAddr;

/// Takes no arguments.
pub fn answer(args: &str) -> Result<String, Failure> {
    args::none(args)?;
    json(&Facts::of(&Root::default()))
}

/// More is left out and counted: a cluster's node may have thousands of
/// addresses, which would make of this what nobody keeps.
const MOST_INTERFACES: usize = 16;
const MOST_ADDRESSES: usize = 16;

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
    /// The interfaces with an address for others: at most 16, that of the default
    /// route first, then by name.
    pub interfaces: Vec<Endpoint>,
    /// How many of them are left out.
    pub more: usize,
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
    /// At most 16, sorted. Without those of the link and the host itself, and
    /// without temporary ones.
    pub addresses: Vec<Place>,
    /// How many of them are left out.
    pub more: usize,
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
        Facts {
            os: Os::of(root),
            kernel: Identity::read().ok(),
            cpu: Kind::of(root),
            memory: Memory::of(root)
                .ok()
                .map(|memory| Amounts { total: memory.total, swap_total: memory.swap_total }),
            net: net::reach().map(|(interfaces, defaults)| Reach::of(interfaces, &defaults)),
        }
    }
}

impl Reach {
    fn of(interfaces: Vec<Interface>, defaults: &[Route]) -> Reach {
        // Others say that there is no way: unreachable, blackhole and their like.
        let ways = defaults.iter().filter(|route| route.r#type == "unicast" && route.interface.is_some());
        // Of equal ones the kernel's order says nothing.
        let best = ways.min_by_key(|route| (route.family, route.metric, route.gateway, &route.interface));
        let default_interface = best.and_then(|route| route.interface.clone());
        let mut interfaces: Vec<Endpoint> = interfaces.into_iter().filter_map(Endpoint::of).collect();
        interfaces
            .sort_by_cached_key(|one| (Some(&one.name) != default_interface.as_ref(), one.name.clone()));
        let more = cut(&mut interfaces, MOST_INTERFACES);
        Reach { interfaces, more, default_gateway: best.and_then(|route| route.gateway), default_interface }
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
        let more = cut(&mut addresses, MOST_ADDRESSES);
        let endpoint = Endpoint { name: interface.name, mac: interface.mac, addresses, more };
        Some(endpoint).filter(|endpoint| !endpoint.addresses.is_empty())
    }
}

/// How many were too many.
fn cut<T>(list: &mut Vec<T>, most: usize) -> usize {
    let more = list.len().saturating_sub(most);
    list.truncate(most);
    more
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Address;

    fn address(number: u16, scope: &str, temporary: bool) -> Address {
        let address = IpAddr::from([0x2001, 0xdb8, 0x1234, 0x5678, 0x9abc, 0xdef0, 0x1234, number]);
        Address { address, prefix: 128, family: Family::Inet6, scope: scope.into(), temporary }
    }

    fn interface(name: &str, addresses: Vec<Address>) -> Interface {
        let (index, mtu, state) = (1, None, None);
        Interface { name: name.into(), index, mac: None, mtu, state, flags: Vec::new(), addresses }
    }

    #[test]
    fn thousands_of_addresses_stay_a_few_kilobytes() {
        let addresses = || (0..3000).rev().map(|number| address(number, "global", false)).collect();
        let interfaces = (0..100).map(|number| interface(&format!("br-{number:012x}"), addresses()));
        let default = interface("eth0", addresses());
        let route = Route {
            destination: "default".into(),
            family: Family::Inet6,
            r#type: "unicast".into(),
            gateway: None,
            interface: Some("eth0".into()),
            metric: 1,
            source: None,
        };
        let reach = Reach::of(interfaces.chain([default]).collect(), &[route]);
        assert_eq!((reach.interfaces.len(), reach.more), (16, 85));
        assert_eq!((reach.interfaces[0].addresses.len(), reach.interfaces[0].more), (16, 2984));
        assert_eq!(reach.interfaces[0].name, "eth0".into());
        assert_eq!(reach.interfaces[1].name, "br-000000000000".into());
        let size = json(&reach).unwrap().len();
        assert!(size < 30_000, "{size} bytes");
    }

    #[test]
    fn what_is_for_the_host_alone_or_for_a_while_is_no_fact() {
        let addresses =
            vec![address(1, "link", false), address(2, "host", false), address(3, "global", true)];
        assert!(Endpoint::of(interface("eth0", addresses)).is_none());
        let endpoint = Endpoint::of(interface("eth0", vec![address(4, "site", false)])).unwrap();
        assert_eq!((endpoint.addresses.len(), endpoint.more), (1, 0));
    }
}
