//! One Via value in place (RFC 3261 §20.42, RFC 3581).

use std::net::IpAddr;

use super::params::{Params, read_param};
use super::scan::{Text, chunk, decimal};
use super::span::Span;
use super::uri::{host_end, host_ip};
use crate::base::Transport;

/// Offsets into the text a Via value stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ViaParts {
    raw: Span,
    transport: Span,
    host: Span,
    port: Option<u16>,
    params: Span,
    branch: Span,
    received: Span,
    rport: Option<Option<u16>>,
}

impl ViaParts {
    pub const NONE: Self = {
        let none = Span { start: 0, end: 0 };
        Self {
            raw: none,
            transport: none,
            host: none,
            port: None,
            params: none,
            branch: none,
            received: none,
            rport: None,
        }
    };

    /// Reads the value that starts at `at`; it ends at the end of `text` or at the comma whose position is returned. Where it
    /// fails, the offsets mean nothing.
    #[inline(always)]
    pub fn scan(&mut self, text: Text<'_>, at: usize) -> Option<usize> {
        let start = text.skip_space(at);
        let transport =
            if text.has(start, b"SIP/2.0/") { text.skip_space(start + 8) } else { spaced_protocol(text, start)? };
        let transport_end = match chunk(text.bytes(), transport) {
            Some(b"UDP " | b"TCP " | b"TLS ") => transport + 3,
            _ => text.skip_token(transport),
        };
        let host = text.skip_space(transport_end);
        if transport == transport_end || host == transport_end {
            return None;
        }
        let host_end = host_end(text, host)?;
        self.transport = Span::new(transport, transport_end);
        self.host = Span::new(host, host_end);
        self.port = None;
        let mut at = text.skip_space(host_end);
        if text.octet(at) == b':' {
            let (port, end) = text.number(text.skip_space(at + 1))?;
            self.port = Some(u16::try_from(port).ok()?);
            at = text.skip_space(end);
        }
        let end = self.scan_params(text, at)?;
        self.raw = Span::new(start, end);
        Some(end)
    }

    #[inline(always)]
    fn scan_params(&mut self, text: Text<'_>, start: usize) -> Option<usize> {
        (self.branch, self.received, self.rport) = (Span::default(), Span::default(), None);
        let mut at = start;
        while text.octet(at) == b';' {
            let param = read_param(text, at)?;
            if param.is(b"branch") {
                if !self.branch.is_empty() || param.value.is_empty() {
                    return None;
                }
                self.branch = param.value;
            } else if param.is(b"rport") {
                // RFC 3581 §3: without a value in a request. A value that is no port is as good as none.
                let port = decimal(param.value.of(text.bytes()));
                self.rport = Some(port.and_then(|port| u16::try_from(port).ok()));
            } else if param.is(b"received") {
                self.received = param.value;
            }
            at = param.next;
        }
        self.params = Span::new(start, at);
        (at == text.end() || text.octet(at) == b',').then_some(at)
    }
}

/// `SIP / 2.0 /` in any case and with blanks and folds; the position of the transport behind it.
#[cold]
fn spaced_protocol(text: Text<'_>, start: usize) -> Option<usize> {
    let name = text.skip_token(start);
    let slash = text.skip_space(name);
    let version = text.skip_space(slash + 1);
    let version_end = text.skip_token(version);
    let second = text.skip_space(version_end);
    let named = text.bytes().get(start..name)?.eq_ignore_ascii_case(b"SIP");
    let current = text.bytes().get(version..version_end)? == b"2.0";
    let slashed = text.octet(slash) == b'/' && text.octet(second) == b'/';
    (named && current && slashed).then(|| text.skip_space(second + 1))
}

/// One Via value: the protocol, who sent the message, and the parameters.
#[derive(Clone, Copy, Debug)]
pub struct Via<'a> {
    bytes: &'a [u8],
    parts: ViaParts,
}

impl<'a> Via<'a> {
    /// Reads one value, which must be the only one in `text`.
    #[must_use]
    pub fn parse(text: &'a [u8]) -> Option<Self> {
        if text.len() > super::MESSAGE_BYTES_MAX {
            return None;
        }
        let mut parts = ViaParts::NONE;
        let end = parts.scan(Text::new(text), 0)?;
        (end == text.len()).then_some(Self { bytes: text, parts })
    }

    pub(super) const fn from_parts(bytes: &'a [u8], parts: ViaParts) -> Self {
        Self { bytes, parts }
    }

    /// The whole value as it came, may contain folds.
    #[must_use]
    pub fn raw(&self) -> &'a [u8] {
        self.parts.raw.of(self.bytes)
    }

    /// The transport token as it came.
    #[must_use]
    pub fn transport_token(&self) -> &'a [u8] {
        self.parts.transport.of(self.bytes)
    }

    /// The transport, if it is one we know.
    #[must_use]
    pub fn transport(&self) -> Option<Transport> {
        Transport::from_token(self.transport_token())
    }

    /// The host of sent-by, an IPv6 address with its brackets.
    #[must_use]
    pub fn host(&self) -> &'a [u8] {
        self.parts.host.of(self.bytes)
    }

    /// The host of sent-by as an address, if it is one.
    #[must_use]
    pub fn host_ip(&self) -> Option<IpAddr> {
        host_ip(self.host())
    }

    /// The port of sent-by, if it is written.
    #[must_use]
    pub const fn port(&self) -> Option<u16> {
        self.parts.port
    }

    /// All parameters.
    #[must_use]
    pub fn params(&self) -> Params<'a> {
        Params::new(self.parts.params.of(self.bytes))
    }

    /// The branch; RFC 2543 elements send none, and only what goes on behind [`super::BRANCH_COOKIE`] is unique.
    #[must_use]
    pub fn branch(&self) -> Option<&'a [u8]> {
        (!self.parts.branch.is_empty()).then(|| self.parts.branch.of(self.bytes))
    }

    /// The `received` parameter as it came (RFC 3261 §18.2.1).
    #[must_use]
    pub fn received(&self) -> Option<&'a [u8]> {
        (!self.parts.received.is_empty()).then(|| self.parts.received.of(self.bytes))
    }

    /// The `received` parameter as an address.
    #[must_use]
    pub fn received_ip(&self) -> Option<IpAddr> {
        self.received().and_then(host_ip)
    }

    /// RFC 3581: outer `None`: not there; inner `None`: the sender asks for it; else the port.
    #[must_use]
    pub const fn rport(&self) -> Option<Option<u16>> {
        self.parts.rport
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_and_folds_anywhere() {
        let via = Via::parse(
            b"SIP  /   2.0\r\n /UDP\r\n    [2001:db8::9:1] : 5070 ; branch =\r\n z9hG4bK77 ; rport;received=192.0.2.1",
        )
        .unwrap();
        assert_eq!(via.transport(), Some(Transport::Udp));
        assert_eq!((via.host(), via.port()), (&b"[2001:db8::9:1]"[..], Some(5070)));
        assert_eq!(via.branch(), Some(&b"z9hG4bK77"[..]));
        assert_eq!(via.rport(), Some(None));
        assert_eq!(via.received_ip(), Some("192.0.2.1".parse().unwrap()));
    }

    #[test]
    fn broken_values() {
        for text in [
            &b"SIP/2.0/UDP"[..],
            b"SIP/2.0/UDP ",
            b"SIP/3.0/UDP h",
            b"SIP/2.0 h",
            b"SIP/2.0/UDP h;;",
            b"SIP/2.0/UDP h,",
            b"SIP/2.0/UDP h;branch=a;branch=b",
            b"SIP/2.0/UDP h;branch",
            b"SIP/2.0/UDP h:port",
            b"SIP/2.0/UDPh",
            b"",
            b"SIP/2.0/UDP 192.0.2.15;;,;,,",
            b"SIP/2.0/UDP h x",
        ] {
            assert!(Via::parse(text).is_none(), "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn unknown_transports_are_kept() {
        let via = Via::parse(b"SIP/2.0/UNKNOWN t5.example.com;branch=z9hG4bK2").unwrap();
        assert_eq!((via.transport(), via.transport_token()), (None, &b"UNKNOWN"[..]));
        assert_eq!(via.rport(), None);
    }
}
