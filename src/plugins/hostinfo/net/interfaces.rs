//! The interfaces and their addresses.

use super::{Family, address};
use crate::netlink::{attributes, dump, u16_at, u32_at};
use aspire_plugin::Text;
use nix::errno::Errno;
use serde::Serialize;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// The lengths of `struct ifinfomsg` and `struct ifaddrmsg`.
const LINK_HEADER: usize = 16;
const ADDRESS_HEADER: usize = 8;
/// Of linux/if_arp.h.
const ARPHRD_IP6GRE: u16 = 823;

/// One of the interfaces.
#[derive(Debug, Clone, Serialize)]
pub struct Interface {
    pub name: Text,
    pub index: u32,
    /// The hardware's address: 52:54:00:12:34:56; null where it has none, as tunnels.
    pub mac: Option<String>,
    /// Bytes of the largest packet.
    pub mtu: Option<u32>,
    /// unknown, notpresent, down, lowerlayerdown, testing, dormant or up (RFC 2863).
    pub state: Option<String>,
    /// UP, LOOPBACK and the like: the names of netdevice(7).
    pub flags: Vec<&'static str>,
    /// In the kernel's order.
    pub addresses: Vec<Address>,
}

/// One of an interface's addresses.
#[derive(Debug, Clone, Serialize)]
pub struct Address {
    pub address: IpAddr,
    /// Bits of the network's part.
    pub prefix: u8,
    /// inet or inet6.
    pub family: Family,
    /// global, site, link, host or nowhere; others are numbers.
    pub scope: String,
    /// Whether it is one of those that IPv6 makes up and throws away (RFC 8981).
    pub temporary: bool,
}

/// All of them, by index.
pub fn list() -> Result<Vec<Interface>, Errno> {
    let mut interfaces =
        dump(libc::RTM_GETLINK, &[0; LINK_HEADER], |found: &mut BTreeMap<u32, Interface>, message| {
            found.extend(interface(message).map(|link| (link.index, link)));
        })?;
    let assigned = dump(libc::RTM_GETADDR, &[0; ADDRESS_HEADER], |found: &mut Vec<_>, message| {
        found.extend(assigned(message));
    })?;
    for (index, address) in assigned {
        // One that came in between has no interface yet.
        if let Some(interface) = interfaces.get_mut(&index) {
            interface.addresses.push(address);
        }
    }
    Ok(interfaces.into_values().collect())
}

/// `struct ifinfomsg`: family (1 byte), padding (1), type (2), index (4), flags (4), changed flags (4).
fn interface(message: &[u8]) -> Option<Interface> {
    let (kind, index, flags) = (u16_at(message, 2)?, u32_at(message, 4)?, u32_at(message, 8)?);
    let (mut name, mut mac, mut mtu, mut state) = (None, None, None, None);
    for (attribute, value) in attributes(message, LINK_HEADER) {
        match attribute {
            libc::IFLA_IFNAME => name = Some(Text::from(value.strip_suffix(b"\0").unwrap_or(value))),
            libc::IFLA_ADDRESS => mac = hardware_address(kind, value),
            libc::IFLA_MTU => mtu = u32_at(value, 0),
            libc::IFLA_OPERSTATE => state = value.first().map(|&state| state_name(state)),
            _ => {}
        }
    }
    Some(Interface { name: name?, index, mac, mtu, state, flags: flag_names(flags), addresses: Vec::new() })
}

/// Of a tunnel it is the near end of that, which is not the hardware's.
fn hardware_address(kind: u16, address: &[u8]) -> Option<String> {
    let tunnels =
        [libc::ARPHRD_TUNNEL, libc::ARPHRD_TUNNEL6, libc::ARPHRD_SIT, libc::ARPHRD_IPGRE, ARPHRD_IP6GRE];
    let is_hardware = !address.is_empty() && !tunnels.contains(&kind);
    let bytes: Vec<String> = address.iter().map(|byte| format!("{byte:02x}")).collect();
    is_hardware.then(|| bytes.join(":"))
}

/// As /sys/class/net/*/operstate has them.
fn state_name(state: u8) -> String {
    let names = ["unknown", "notpresent", "down", "lowerlayerdown", "testing", "dormant", "up"];
    names.get(usize::from(state)).map_or_else(|| state.to_string(), ToString::to_string)
}

fn flag_names(flags: u32) -> Vec<&'static str> {
    let names = [
        (libc::IFF_UP, "UP"),
        (libc::IFF_BROADCAST, "BROADCAST"),
        (libc::IFF_DEBUG, "DEBUG"),
        (libc::IFF_LOOPBACK, "LOOPBACK"),
        (libc::IFF_POINTOPOINT, "POINTOPOINT"),
        (libc::IFF_NOTRAILERS, "NOTRAILERS"),
        (libc::IFF_RUNNING, "RUNNING"),
        (libc::IFF_NOARP, "NOARP"),
        (libc::IFF_PROMISC, "PROMISC"),
        (libc::IFF_ALLMULTI, "ALLMULTI"),
        (libc::IFF_MASTER, "MASTER"),
        (libc::IFF_SLAVE, "SLAVE"),
        (libc::IFF_MULTICAST, "MULTICAST"),
        (libc::IFF_PORTSEL, "PORTSEL"),
        (libc::IFF_AUTOMEDIA, "AUTOMEDIA"),
        (libc::IFF_DYNAMIC, "DYNAMIC"),
        (libc::IFF_LOWER_UP, "LOWER_UP"),
        (libc::IFF_DORMANT, "DORMANT"),
        (libc::IFF_ECHO, "ECHO"),
    ];
    names.into_iter().filter(|(flag, _)| flags & flag.cast_unsigned() != 0).map(|(_, name)| name).collect()
}

/// `struct ifaddrmsg`: family, prefix, flags, scope (1 byte each), index (4).
fn assigned(message: &[u8]) -> Option<(u32, Address)> {
    let &[_, prefix, flags, scope, ..] = message else { return None };
    let index = u32_at(message, 4)?;
    let value_of = |wanted| attributes(message, ADDRESS_HEADER).find(|(kind, _)| *kind == wanted);
    // Where the two differ, the second one is the other end's.
    let (_, bytes) = value_of(libc::IFA_LOCAL).or_else(|| value_of(libc::IFA_ADDRESS))?;
    let address = address(bytes)?;
    // For IPv4 the same bit means a second address of a network.
    let temporary = address.is_ipv6() && u32::from(flags) & libc::IFA_F_TEMPORARY != 0;
    let scope = scope_name(scope);
    Some((index, Address { address, prefix, family: Family::of(address), scope, temporary }))
}

fn scope_name(scope: u8) -> String {
    match scope {
        libc::RT_SCOPE_UNIVERSE => "global".into(),
        libc::RT_SCOPE_SITE => "site".into(),
        libc::RT_SCOPE_LINK => "link".into(),
        libc::RT_SCOPE_HOST => "host".into(),
        libc::RT_SCOPE_NOWHERE => "nowhere".into(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_is_cut_is_no_interface() {
        assert!(interface(&[0; 3]).is_none() && interface(&[0; 16]).is_none());
        assert!(assigned(&[0; 3]).is_none() && assigned(&[0; 8]).is_none());
    }

    #[test]
    fn an_address_of_a_tunnel_is_no_hardwares() {
        assert_eq!(
            hardware_address(libc::ARPHRD_ETHER, &[2, 0, 0xfc, 0, 0, 1]).unwrap(),
            "02:00:fc:00:00:01"
        );
        assert_eq!(hardware_address(libc::ARPHRD_SIT, &[0; 4]), None);
        assert_eq!(hardware_address(libc::ARPHRD_NONE, &[]), None);
    }
}
