//! What connects the members: proxies on loopback, or a namespace of the network for each member.
//!
//! Owns addresses and the disturbing of links. Must not know processes beyond their ids.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use super::{
    links::{Condition, Links},
    namespaces::Namespaces,
    proxy::{Processes, Proxy},
};
use handfast_ports::free_port;

use crate::Result;

/// How members reach each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wiring {
    /// Over loopback, through a proxy before each member's peer port.
    Proxies,
    /// Each in a network namespace of its own; needs root and `ip`.
    Namespaces,
    /// Over loopback without anything between, for measurements: links cannot be disturbed.
    Direct,
}

/// `host:port` of a member's sockets.
#[derive(Clone, Debug)]
pub(super) struct Addresses {
    pub(super) client: String,
    /// Where it listens to its peers.
    pub(super) listening: String,
    /// Where its peers find it.
    pub(super) advertised: String,
}

/// The network of one cluster.
#[derive(Debug)]
pub(super) struct Network {
    pub(super) links: Arc<Links>,
    pub(super) processes: Processes,
    pub(super) addresses: Vec<Addresses>,
    medium: Medium,
}

#[derive(Debug)]
enum Medium {
    /// Kept for their tasks only.
    Proxies(#[expect(dead_code, reason = "owned until the cluster ends")] Vec<Proxy>),
    Namespaces(Namespaces),
    Direct,
}

impl Network {
    /// A network for `size` members.
    ///
    /// # Errors
    /// When there are no free ports, or namespaces cannot be made.
    pub(super) async fn new(wiring: Wiring, size: usize) -> Result<Self> {
        let links = Arc::new(Links::new(size));
        let processes: Processes = Arc::new(parking_lot::Mutex::new(vec![None; size]));
        let mut addresses = Vec::new();
        let medium = match wiring {
            Wiring::Proxies => {
                let mut proxies = Vec::new();
                for to in 0..size {
                    let (client, peer, door) = (free_port(), free_port(), free_port());
                    let target = SocketAddr::from((Ipv4Addr::LOCALHOST, peer));
                    let (links, processes) = (Arc::clone(&links), Arc::clone(&processes));
                    let proxy = Proxy::start(door, to, target, links, processes).await?;
                    addresses.push(Addresses {
                        client: format!("127.0.0.1:{client}"),
                        listening: target.to_string(),
                        advertised: format!("127.0.0.1:{}", proxy.port()),
                    });
                    proxies.push(proxy);
                }
                Medium::Proxies(proxies)
            }
            Wiring::Namespaces => {
                let namespaces = Namespaces::new(size)?;
                addresses.extend((0..size).map(|member| {
                    let host = namespaces.host(member);
                    Addresses {
                        client: format!("{host}:2379"),
                        listening: format!("{host}:2380"),
                        advertised: format!("{host}:2380"),
                    }
                }));
                Medium::Namespaces(namespaces)
            }
            Wiring::Direct => {
                for _ in 0..size {
                    let (client, peer) = (free_port(), free_port());
                    let peer = format!("127.0.0.1:{peer}");
                    addresses.push(Addresses {
                        client: format!("127.0.0.1:{client}"),
                        listening: peer.clone(),
                        advertised: peer,
                    });
                }
                Medium::Direct
            }
        };
        Ok(Self {
            links,
            processes,
            addresses,
            medium,
        })
    }

    /// What a member's command line must begin with.
    pub(super) fn prefix(&self, member: usize) -> Vec<String> {
        match &self.medium {
            Medium::Proxies(_) | Medium::Direct => Vec::new(),
            Medium::Namespaces(namespaces) => namespaces.prefix(member),
        }
    }

    /// Whether links can be in this condition.
    pub(super) fn can(&self, condition: Condition) -> bool {
        match &self.medium {
            Medium::Proxies(_) => true,
            Medium::Namespaces(namespaces) => namespaces.can(condition),
            Medium::Direct => condition == Condition::Open,
        }
    }

    /// Changes the way from one member to another.
    ///
    /// # Errors
    /// When the system refuses.
    pub(super) fn set(&self, from: usize, to: usize, condition: Condition) -> Result<()> {
        let before = self.links.get(from, to);
        if before == condition || from == to {
            return Ok(());
        }
        match &self.medium {
            Medium::Proxies(_) => {}
            Medium::Namespaces(namespaces) => namespaces.change(from, to, before, condition)?,
            Medium::Direct => return Err("these links cannot be disturbed".into()),
        }
        self.links.set(from, to, condition);
        Ok(())
    }

    /// Opens every way.
    ///
    /// # Errors
    /// When the system refuses.
    pub(super) fn heal(&self) -> Result<()> {
        if let Medium::Proxies(_) = self.medium {
            self.links.heal();
            return Ok(());
        }
        let mut pairs = self.links.pairs();
        pairs.try_for_each(|(from, to)| self.set(from, to, Condition::Open))
    }
}
