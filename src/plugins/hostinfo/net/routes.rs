//! The routes of the main table.

use super::{Family, Interface, address};
use crate::netlink::{attributes, dump, u16_at, u32_at};
use aspire_plugin::Text;
use aspire_plugin::args::Part;
use nix::errno::Errno;
use serde::Serialize;
use std::collections::HashMap;
use std::net::IpAddr;

/// The lengths of `struct rtmsg` and `struct rtnexthop`.
const HEADER: usize = 12;
const HOP_HEADER: usize = 8;

/// One of the routes; one that spreads over several gateways is one for each.
#[derive(Debug, Clone, Serialize)]
pub struct Route {
    /// 10.0.0.0/8, or default.
    pub destination: String,
    /// inet or inet6: the destination's.
    pub family: Family,
    /// unicast, or what else becomes of packets: blackhole, unreachable, prohibit.
    pub r#type: String,
    /// The next host; null where the destination is in reach.
    pub gateway: Option<IpAddr>,
    /// The interface's name; null where packets go nowhere.
    pub interface: Option<Text>,
    /// Of two routes the one with the lower number is taken.
    pub metric: u32,
    /// The address that packets are sent from, where the route says it.
    pub source: Option<IpAddr>,
}

/// Those of a list that are shown, and how many there are.
#[derive(Debug, Default)]
pub struct Listed {
    pub routes: Vec<Route>,
    pub count: usize,
}

/// Part of them, IPv4 first. They name interfaces by their indexes.
pub fn list(interfaces: &[Interface], part: Part) -> Result<Listed, Errno> {
    let end = part.count.map_or(usize::MAX, |count| part.offset.saturating_add(count));
    let names = names(interfaces);
    let (mut all, mut told) = (Listed::default(), Vec::new());
    for family in [Family::Inet, Family::Inet6] {
        let before = all.count;
        let listed = each(family, |listed: &mut Listed, message| {
            add(message, family, &names, &mut told);
            for route in told.drain(..) {
                if (part.offset..end).contains(&(before + listed.count)) {
                    listed.routes.push(route);
                }
                listed.count += 1;
            }
        })?;
        all.count += listed.count;
        all.routes.extend(listed.routes);
    }
    Ok(all)
}

/// Those to everywhere. A router knows a million others, which are not kept.
pub fn defaults(interfaces: &[Interface]) -> Result<Vec<Route>, Errno> {
    let names = names(interfaces);
    let mut all = Vec::new();
    for family in [Family::Inet, Family::Inet6] {
        all.extend(each(family, |found: &mut Vec<Route>, message| {
            // The prefix: see `add`.
            if message.get(1) == Some(&0) {
                add(message, family, &names, found);
            }
        })?);
    }
    Ok(all)
}

fn names(interfaces: &[Interface]) -> HashMap<u32, &Text> {
    interfaces.iter().map(|interface| (interface.index, &interface.name)).collect()
}

/// Hands over what the kernel says of each.
fn each<T: Default>(family: Family, mut take: impl FnMut(&mut T, &[u8])) -> Result<T, Errno> {
    let number = match family {
        Family::Inet => libc::AF_INET,
        Family::Inet6 => libc::AF_INET6,
    };
    let mut header = [0; HEADER];
    header[0] = u8::try_from(number).expect("the field is a byte");
    let told = dump(libc::RTM_GETROUTE, &header, |taken, message| {
        // A kernel without IPv6 may answer for IPv4 again.
        if message.first() == header.first() {
            take(taken, message);
        }
    });
    match told {
        Err(Errno::EAFNOSUPPORT | Errno::EOPNOTSUPP) => Ok(T::default()),
        told => told,
    }
}

/// `struct rtmsg`: family, prefix, source's prefix, service, table, protocol,
/// scope, type (1 byte each), flags (4).
fn add(message: &[u8], family: Family, names: &HashMap<u32, &Text>, routes: &mut Vec<Route>) {
    let (Some(&[_, prefix, _, _, table, _, _, kind]), Some(flags)) =
        (message.first_chunk(), u32_at(message, 8))
    else {
        return;
    };
    let values: HashMap<u16, &[u8]> = attributes(message, HEADER).collect();
    let number = |kind| values.get(&kind).and_then(|value| u32_at(value, 0));
    let ip = |kind| values.get(&kind).and_then(|value| address(value));
    let table = number(libc::RTA_TABLE).unwrap_or(table.into());
    // What is only remembered of earlier packets is no route of the table.
    if table != u32::from(libc::RT_TABLE_MAIN) || flags & libc::RTM_F_CLONED != 0 {
        return;
    }
    let destination = match ip(libc::RTA_DST) {
        Some(destination) => format!("{destination}/{prefix}"),
        None if prefix == 0 => "default".into(),
        None => return,
    };
    let route = Route {
        destination,
        family,
        r#type: type_name(kind),
        gateway: ip(libc::RTA_GATEWAY).or_else(|| via(values.get(&libc::RTA_VIA)?)),
        interface: number(libc::RTA_OIF).and_then(|index| names.get(&index).copied().cloned()),
        metric: number(libc::RTA_PRIORITY).unwrap_or(0),
        source: ip(libc::RTA_PREFSRC),
    };
    let Some(hops) = values.get(&libc::RTA_MULTIPATH) else {
        return routes.push(route);
    };
    routes.extend(hops_of(hops).map(|(index, gateway)| Route {
        gateway,
        interface: names.get(&index).copied().cloned(),
        ..route.clone()
    }));
}

/// A gateway of the other family: that (2 bytes), and its address.
fn via(value: &[u8]) -> Option<IpAddr> {
    address(value.get(2..)?)
}

/// `struct rtnexthop`s, each with attributes: length (2 bytes), flags, weight
/// (1 each), the interface's index (4).
fn hops_of(mut rest: &[u8]) -> impl Iterator<Item = (u32, Option<IpAddr>)> {
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(rest, 0)?);
        let hop = rest.get(..length).filter(|hop| hop.len() >= HOP_HEADER)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        let gateway = attributes(hop, HOP_HEADER).find_map(|(kind, value)| match kind {
            libc::RTA_GATEWAY => address(value),
            libc::RTA_VIA => via(value),
            _ => None,
        });
        Some((u32_at(hop, 4)?, gateway))
    })
}

fn type_name(kind: u8) -> String {
    let names = [
        "none",
        "unicast",
        "local",
        "broadcast",
        "anycast",
        "multicast",
        "blackhole",
        "unreachable",
        "prohibit",
        "throw",
        "nat",
    ];
    names.get(usize::from(kind)).map_or_else(|| kind.to_string(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_is_cut_is_no_route() {
        let mut routes = Vec::new();
        for length in 0..HEADER {
            add(&vec![254; length], Family::Inet, &HashMap::new(), &mut routes);
        }
        assert!(routes.is_empty());
        assert_eq!(hops_of(&[4, 0, 0, 0]).count(), 0);
        assert_eq!(hops_of(&[0; 16]).count(), 0);
    }
}
