//! A network as `allow_from` names it: an address and a prefix length.

use crate::base::Source;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An IP network. Host bits are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Net {
    address: IpAddr,
    prefix: u8,
}

impl Net {
    /// The network of `address`; `None` when the prefix is too long for its family. Host bits are cleared.
    #[must_use]
    pub fn new(address: IpAddr, prefix: u8) -> Option<Self> {
        if prefix > width(address) {
            return None;
        }
        Some(Self { address: masked(address, prefix), prefix })
    }

    /// Just one host.
    #[must_use]
    pub fn host(address: IpAddr) -> Self {
        Self { address, prefix: width(address) }
    }

    /// Reads `192.0.2.0/24`, `2001:db8::/32` or a bare address. The error says what is wrong.
    ///
    /// # Errors
    /// Not an address, a prefix too long, or host bits set.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let Ok(address) = address.parse::<IpAddr>() else {
            return Err(format!("`{address}` is not an IP address"));
        };
        let Some(prefix) = prefix else { return Ok(Self::host(address)) };
        let net = prefix.parse().ok().and_then(|prefix| Self::new(address, prefix));
        let net = net.ok_or_else(|| format!("`/{prefix}` is not a prefix length of 0 to {}", width(address)))?;
        if net.address != address {
            return Err(format!("host bits are set; the network is `{net}`"));
        }
        Ok(net)
    }

    /// True when `address` lies in it; an IPv4-mapped IPv6 address counts as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.address.is_ipv4() && masked(address, self.prefix) == self.address
    }

    /// True when something of `source` lies in it.
    #[must_use]
    pub fn touches(&self, source: Source) -> bool {
        let narrower = self.address.is_ipv6() && self.prefix > 64;
        if narrower { Source::of(self.address) == source } else { self.contains(source.address()) }
    }

    /// Prefix length: with several nets that contain an address, the longest is the nearest.
    #[must_use]
    pub fn prefix(&self) -> u8 {
        self.prefix
    }
}

impl fmt::Display for Net {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.address, self.prefix)
    }
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            Ipv4Addr::from_bits(v4.to_bits() & mask).into()
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            Ipv6Addr::from_bits(v6.to_bits() & mask).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_net_holds_its_own_and_no_others() {
        let net = Net::parse("198.51.100.0/24").unwrap();
        assert!(net.contains(ip("198.51.100.255")) && net.contains(ip("::ffff:198.51.100.1")));
        assert!(!net.contains(ip("198.51.101.0")) && !net.contains(ip("2001:db8::1")));
        assert!(Net::parse("0.0.0.0/0").unwrap().contains(ip("203.0.113.9")));
        assert!(Net::parse("2001:db8::/32").unwrap().contains(ip("2001:db8:1::1")));
        assert_eq!(Net::parse("192.0.2.7").unwrap().prefix(), 32);
    }

    #[test]
    fn a_net_touches_the_sources_that_share_an_address_with_it() {
        let touches = |net: &str, source: &str| Net::parse(net).unwrap().touches(Source::of(ip(source)));
        assert!(touches("198.51.100.0/24", "198.51.100.7") && !touches("198.51.100.0/24", "198.51.101.7"));
        assert!(touches("2001:db8::/32", "2001:db8:1::1") && touches("2001:db8:1::7", "2001:db8:1::1"));
        assert!(!touches("2001:db8:1::7", "2001:db8:1:1::7") && !touches("0.0.0.0/0", "2001:db8::1"));
    }

    #[test]
    fn what_is_wrong_is_said() {
        assert_eq!(Net::parse("192.0.2.7/24").unwrap_err(), "host bits are set; the network is `192.0.2.0/24`");
        assert_eq!(Net::parse("192.0.2.0/33").unwrap_err(), "`/33` is not a prefix length of 0 to 32");
        assert_eq!(Net::parse("carrier").unwrap_err(), "`carrier` is not an IP address");
    }
}
