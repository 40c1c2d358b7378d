//! Addresses in a description: the `c=` line (RFC 8866 §5.7) and the one in `a=rtcp` (RFC 3605).

use super::super::line::{self, number, words};
use super::SdpError;
use std::net::IpAddr;

/// A `c=` line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection<'a> {
    /// The host as written.
    pub host: &'a [u8],
    /// The address; none where a name was given, which we do not resolve.
    pub address: Option<IpAddr>,
}

impl Connection<'_> {
    /// `0.0.0.0` or `::`: the old way to hold (RFC 3264 §8.4), and where a late party has no address yet.
    #[must_use]
    pub fn is_unspecified(&self) -> bool {
        self.address.is_some_and(|address| address.is_unspecified())
    }
}

pub(super) fn parse_connection(value: &[u8]) -> Result<Connection<'_>, SdpError> {
    let mut words = words(value);
    let (network, family, host) = (words.next(), words.next(), words.next().ok_or(SdpError::Connection)?);
    let (Some(network), Some(family), None) = (network, family, words.next()) else {
        return Err(SdpError::Connection);
    };
    if !network.eq_ignore_ascii_case(b"IN") {
        return Err(SdpError::Connection);
    }
    let (host, _ttl) = line::split_at(host, b'/');
    let address = parse_address(family, host)?;
    if address.is_some_and(|address| address.is_multicast()) {
        return Err(SdpError::Multicast);
    }
    Ok(Connection { host, address })
}

fn parse_address(family: &[u8], host: &[u8]) -> Result<Option<IpAddr>, SdpError> {
    let text = std::str::from_utf8(host).map_err(|_| SdpError::Connection)?;
    let address: Option<IpAddr> = text.parse().ok();
    let (v4, v6) = (family.eq_ignore_ascii_case(b"IP4"), family.eq_ignore_ascii_case(b"IP6"));
    match address {
        Some(IpAddr::V4(_)) if v4 => Ok(address),
        Some(IpAddr::V6(_)) if v6 => Ok(address.map(|address| address.to_canonical())),
        None if (v4 || v6) && is_host_name(host) => Ok(None),
        _ => Err(SdpError::Connection),
    }
}

fn is_host_name(host: &[u8]) -> bool {
    !host.is_empty() && host.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
}

/// The value of `a=rtcp`: a port and, where given, an address.
pub(super) fn parse_rtcp(value: &[u8]) -> Option<(u16, Option<IpAddr>)> {
    let mut words = words(value);
    let port = words.next().and_then(number).filter(|port| *port != 0)?;
    let address = match (words.next(), words.next(), words.next()) {
        (Some(_), Some(family), Some(host)) => parse_address(family, host).ok()?,
        _ => None,
    };
    Some((port, address.filter(|address| !address.is_unspecified() && !address.is_multicast())))
}
