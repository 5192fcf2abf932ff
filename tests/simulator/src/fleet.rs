//! All hosts together.

use crate::host::Host;
use crate::{Fault, Identity, Profile, Tally, Traits};
use aspire_wire::server_list::{self, Server, ServerListError};
use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::sync::Arc;
use tokio::task::JoinSet;

/// Hosts that live until this is dropped.
pub struct Fleet {
    pub tally: Arc<Tally>,
    /// What was drawn for each, in the order of the identities.
    pub traits: Vec<Traits>,
    _hosts: JoinSet<()>,
}

/// What the host at this place of a fleet calls itself.
pub fn host_name(n: usize) -> String {
    format!("sim-{n:05}")
}

impl Fleet {
    /// Starts a host with each of the identities. All of them dial `servers`, a server list, at once.
    pub fn start(
        servers: &str,
        identities: &[Identity],
        profile: &Profile,
    ) -> Result<Fleet, ServerListError> {
        let servers: Arc<[Server]> = server_list::parse(servers)?.into();
        let here =
            servers.iter().all(|server| server.address().is_some_and(|a| a.is_loopback() && a.is_ipv4()));
        let tally = Arc::new(Tally::default());
        let traits = profile.draw(identities.len());
        let mut hosts = JoinSet::new();
        for (n, (identity, traits)) in identities.iter().zip(&traits).enumerate() {
            let config = match traits.fault {
                Some(Fault::WrongCa) => identity.forged().config,
                _ => identity.config.clone(),
            };
            let mut start = |boot: &str, seed| {
                let host = Host {
                    id: identity.id.clone(),
                    name: host_name(n),
                    boot: format!("{boot}-{n}"),
                    config: config.clone(),
                    servers: servers.clone(),
                    source: here.then(|| source(n)),
                    traits: Traits { seed, ..traits.clone() },
                    tally: tally.clone(),
                    ids: VecDeque::new(),
                };
                hosts.spawn(host.live());
            };
            start("boot", traits.seed);
            if traits.fault == Some(Fault::Duplicate) {
                start("clone", !traits.seed);
            }
        }
        Ok(Fleet { tally, traits, _hosts: hosts })
    }

    /// The places of the hosts that this is true of.
    pub fn which(&self, test: impl Fn(&Traits) -> bool) -> Vec<usize> {
        self.traits.iter().enumerate().filter(|(_, traits)| test(traits)).map(|(n, _)| n).collect()
    }
}

/// An address of its own for each host, as far as they go: one address has too few ports.
fn source(n: usize) -> Ipv4Addr {
    let byte = |n: usize| u8::try_from(n % 250 + 1).expect("at most 250");
    Ipv4Addr::new(127, 0, byte(n / 250), byte(n))
}
