//! Where traffic comes from, as lists of sources count it: an IPv4 host, or the /64 that an IPv6 host has to itself.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// See the head of this file. An IPv4-mapped IPv6 address is the IPv4 host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Source(IpAddr);

/// The bits of an IPv6 address that name a network.
const NETWORK: u128 = !(u64::MAX as u128);

impl Source {
    /// The source that an address belongs to.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(host) => Ipv6Addr::from_bits(host.to_bits() & NETWORK).into(),
            v4 => v4,
        })
    }

    /// Reads an address, or what [`Display`](fmt::Display) wrote.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let address: IpAddr = match text.rsplit_once('/') {
            None => text.parse().ok()?,
            Some((network, "64")) => IpAddr::V6(network.parse().ok()?),
            Some((host, "32")) => IpAddr::V4(host.parse().ok()?),
            Some(_) => return None,
        };
        Some(Self::of(address))
    }

    /// Its IPv4 address, or the first address of its /64.
    #[must_use]
    pub fn address(self) -> IpAddr {
        self.0
    }

    /// Sixteen octets that no other source has.
    #[must_use]
    pub fn octets(self) -> [u8; 16] {
        match self.0 {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            IpAddr::V6(v6) => v6.octets(),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(v4) => v4.fmt(out),
            IpAddr::V6(v6) => write!(out, "{v6}/64"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Source {
        Source::of(text.parse().unwrap())
    }

    #[test]
    fn a_host_of_ipv4_and_a_network_of_ipv6() {
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_eq!(of("192.0.2.1"), of("::ffff:192.0.2.1"));
        assert_eq!(of("2001:db8:0:7::1"), of("2001:db8:0:7:ffff::9"));
        assert_ne!(of("2001:db8:0:7::1"), of("2001:db8:0:8::1"));
    }

    #[test]
    fn what_is_written_is_read() {
        for (text, written) in [("192.0.2.7", "192.0.2.7"), ("2001:db8::9", "2001:db8::/64")] {
            assert_eq!(of(text).to_string(), written);
            assert_eq!(Source::parse(written), Some(of(text)));
        }
        assert_eq!(Source::parse("192.0.2.7/32"), Some(of("192.0.2.7")));
        for wrong in ["", "host", "192.0.2.0/24", "2001:db8::/32", "192.0.2.7/64"] {
            assert_eq!(Source::parse(wrong), None, "{wrong}");
        }
    }
}
