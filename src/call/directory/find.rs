//! Who is meant and who it is: accounts by user part and credentials, trunks by number and source, hosts and sockets of our own.

use super::{Directory, Listener, Trunk};
use crate::base::{Instant, SocketKey, Source, Transport};
use crate::sip::digest::Ha1;
use std::net::{IpAddr, SocketAddr};

impl Directory {
    /// The account whose AOR or number this user part is; a number also without its `+`.
    #[must_use]
    pub fn account_of_user(&self, user: &[u8]) -> Option<u32> {
        self.by_name.get(user).copied().or_else(|| {
            let dialled = user.first().is_some_and(u8::is_ascii_digit);
            dialled.then(|| self.by_name.get(&[b"+", user].concat()).copied()).flatten()
        })
    }

    /// The account and HA1 of a digest user.
    #[must_use]
    pub fn device(&self, username: &[u8]) -> Option<(u32, &Ha1)> {
        self.by_device.get(username).map(|(account, ha1)| (*account, ha1))
    }

    /// True for a host that is ours: a served domain or an address we listen on or advertise.
    #[must_use]
    pub fn is_our_host(&self, host: &[u8]) -> bool {
        self.domains.iter().any(|domain| domain.as_bytes().eq_ignore_ascii_case(host))
            || self.listeners.iter().any(|listener| {
                let (advertised, _) = super::split_host_port(&listener.advertise);
                advertised.as_bytes().eq_ignore_ascii_case(host)
                    || std::str::from_utf8(host).is_ok_and(|host| host.parse() == Ok(listener.bind.ip()))
            })
    }

    /// The trunks for a number: longest matching prefix first, the order of the configuration within one prefix, those
    /// that rest last; never `except`.
    #[must_use]
    pub fn route(&self, number: &[u8], except: Option<u32>, now: Instant) -> Vec<u32> {
        let longest = self.prefix_len_max.min(number.len());
        let mut found: Vec<u32> = Vec::new();
        for len in (0..=longest).rev() {
            for &trunk in self.prefixes.get(&number[..len]).into_iter().flatten() {
                if Some(trunk) != except && !found.contains(&trunk) {
                    found.push(trunk);
                }
            }
        }
        found.sort_by_key(|&trunk| self.trunks[trunk as usize].is_resting(now));
        found
    }

    /// The trunk that a request from `source` belongs to. With several trunks at one address the port decides: the
    /// packet's own, or the one the peer names in its Via.
    #[must_use]
    pub fn trunk_of_source(&self, source: SocketAddr, via_port: u16) -> Option<u32> {
        let ip = source.ip().to_canonical();
        let mut by_address = None;
        for (place, trunk) in (0u32..).zip(&self.trunks) {
            if !trunk.allows(ip) {
                continue;
            }
            let port = trunk.address.port();
            if trunk.address.ip() == ip && (port == source.port() || port == via_port) {
                return Some(place);
            }
            by_address = by_address.or(Some(place));
        }
        by_address
    }

    /// True when the request comes from the very address and port that the trunk has in the configuration.
    #[must_use]
    pub fn is_exact_source(&self, trunk: u32, source: SocketAddr, via_port: u16) -> bool {
        let address = self.trunks[trunk as usize].address;
        address.ip() == source.ip().to_canonical() && [source.port(), via_port].contains(&address.port())
    }

    /// True for a source that is never blocked: a trunk, another site, ourselves, or what the configuration allows.
    #[must_use]
    pub fn is_exempt(&self, source: Source) -> bool {
        let is_it = |address: IpAddr| Source::of(address) == source;
        let is_trunk =
            |trunk: &Trunk| is_it(trunk.address.ip()) || trunk.allow_from.iter().any(|net| net.touches(source));
        self.guard.allow.iter().any(|net| net.touches(source))
            || self.sites.iter().copied().any(is_it)
            || self.listeners.iter().any(|listener| is_it(listener.bind.ip()))
            || self.trunks.iter().any(is_trunk)
    }

    /// Our listener for `transport` towards `remote`, preferring the address family of the peer.
    #[must_use]
    pub fn listener_towards(&self, transport: Transport, remote: SocketAddr) -> Option<&Listener> {
        let same_family = |listener: &&Listener| listener.bind.is_ipv4() == remote.is_ipv4();
        let mut candidates = self.listeners.iter().filter(|listener| listener.transport == transport);
        candidates.clone().find(same_family).or_else(|| candidates.find(|listener| listener.bind.ip().is_unspecified()))
    }

    /// The listener with this key.
    #[must_use]
    pub fn listener(&self, socket: SocketKey) -> Option<&Listener> {
        self.listeners.get(socket.0 as usize)
    }
}
