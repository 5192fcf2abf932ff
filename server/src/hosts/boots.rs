//! Whether two machines share one identity. A kernel's boot id never comes
//! back, so a host whose links say A, then B, then A again is two machines: a
//! reboot or a link that was lost never looks like that.

use crate::clock::{self, EpochMs};
use crate::limits;
use std::collections::VecDeque;
use std::net::SocketAddr;

/// What is known of one host's boots, in memory only.
#[derive(Debug, Default)]
pub struct Boots {
    current: String,
    /// The oldest first.
    replaced: VecDeque<String>,
    last_peer: Option<SocketAddr>,
    conflict: Option<Conflict>,
}

/// Two machines, one identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    pub since: EpochMs,
    /// When it was last seen to be so.
    pub evidence: EpochMs,
    /// The two links of the last evidence.
    pub peers: [SocketAddr; 2],
}

impl Boots {
    /// `current` is the last one known, or empty.
    pub fn new(current: &str) -> Boots {
        Boots { current: current.to_owned(), ..Boots::default() }
    }

    /// A link says that the machine runs since `boot`. Answers a conflict that is new or has moved.
    pub fn linked(&mut self, boot: &str, peer: SocketAddr, now: EpochMs) -> Option<Conflict> {
        let before = self.last_peer.replace(peer);
        if boot.is_empty() || boot == self.current {
            return None;
        }
        let known = self.replaced.iter().position(|old| old == boot);
        let old = std::mem::replace(&mut self.current, boot.to_owned());
        if let Some(position) = known {
            self.replaced.remove(position);
        }
        if !old.is_empty() {
            self.replaced.push_back(old);
        }
        if self.replaced.len() > limits::KEPT_BOOT_IDS {
            self.replaced.pop_front();
        }
        known.and_then(|_| self.conflicting([before.unwrap_or(peer), peer], now))
    }

    /// Two links were proved alive at the same time. Answers as [`Boots::linked`].
    pub fn conflicting(&mut self, peers: [SocketAddr; 2], now: EpochMs) -> Option<Conflict> {
        let shown = self.conflict(now).cloned();
        let since = shown.as_ref().map_or(now, |conflict| conflict.since);
        let conflict = Conflict { since, evidence: now, peers };
        self.conflict = Some(conflict.clone());
        let same_machines = shown.is_some_and(|shown| machines(&shown) == machines(&conflict));
        (!same_machines).then_some(conflict)
    }

    /// The conflict, while it is not over.
    pub fn conflict(&self, now: EpochMs) -> Option<&Conflict> {
        self.conflict.as_ref().filter(|c| now - c.evidence < clock::ms(limits::CONFLICT_SHOWN))
    }
}

/// The two addresses, whichever came first; ports change with each link.
fn machines(conflict: &Conflict) -> [std::net::IpAddr; 2] {
    let mut machines = conflict.peers.map(|peer| peer.ip());
    machines.sort();
    machines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(host: u8, port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, host], port))
    }

    #[test]
    fn reconnects_and_reboots_are_no_conflict() {
        let mut boots = Boots::new("a");
        for (now, boot) in [(1, "a"), (2, "a"), (3, "b"), (4, "b"), (5, "c"), (6, ""), (7, "c")] {
            assert_eq!(boots.linked(boot, peer(1, 1), now), None, "{now} {boot}");
        }
        assert_eq!(boots.conflict(8), None);
    }

    #[test]
    fn a_boot_id_that_comes_back_is_two_machines_and_is_told_once() {
        let mut boots = Boots::default();
        assert_eq!(boots.linked("a", peer(1, 1), 1), None);
        assert_eq!(boots.linked("b", peer(2, 2), 2), None);
        let found = boots.linked("a", peer(1, 3), 3).unwrap();
        assert_eq!((found.since, found.peers), (3, [peer(2, 2), peer(1, 3)]));
        assert_eq!(boots.linked("b", peer(2, 4), 4), None, "the same two machines");
        assert_eq!(boots.conflict(5).unwrap().since, 3);
        assert_eq!(boots.conflict(5).unwrap().evidence, 4);
        let moved = boots.linked("a", peer(3, 5), 5).unwrap();
        assert_eq!((moved.since, moved.peers), (3, [peer(2, 4), peer(3, 5)]));
        assert_eq!(boots.conflict(5 + clock::ms(limits::CONFLICT_SHOWN)), None, "it is over");
    }

    #[test]
    fn only_so_many_boot_ids_are_kept() {
        let mut boots = Boots::default();
        for n in 0..100 {
            assert_eq!(boots.linked(&n.to_string(), peer(1, 1), n), None);
        }
        assert_eq!(boots.replaced.len(), limits::KEPT_BOOT_IDS);
    }
}
