//! Numbers and addresses as they stand in messages, written without `core::fmt`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use bytes::BufMut;

/// Text of at most so many octets, appended as one piece: `255.255.255.255:65535`, or a number.
const SHORT_BYTES: usize = 21;

#[derive(Default)]
struct Short {
    bytes: [u8; SHORT_BYTES],
    len: usize,
}

impl Short {
    fn octet(&mut self, octet: u8) {
        self.bytes[self.len] = octet;
        self.len += 1;
    }

    fn number(&mut self, value: u32) {
        let digits = value.checked_ilog10().map_or(1, |log| log as usize + 1);
        let (mut left, start) = (value, self.len);
        self.len += digits;
        for place in self.bytes[start..self.len].iter_mut().rev() {
            *place = b'0' + (left % 10) as u8;
            left /= 10;
        }
    }

    fn v4(&mut self, ip: Ipv4Addr) {
        let [first, rest @ ..] = ip.octets();
        self.number(first.into());
        for octet in rest {
            self.octet(b'.');
            self.number(octet.into());
        }
    }

    fn append(&self, out: &mut impl BufMut) {
        out.put_slice(&self.bytes[..self.len]);
    }
}

/// Appends a number in decimal.
pub fn decimal(out: &mut impl BufMut, value: u32) {
    let mut text = Short::default();
    text.number(value);
    text.append(out);
}

/// Appends an address as it stands in a session description.
pub fn ip(out: &mut impl BufMut, ip: IpAddr) {
    match ip {
        IpAddr::V4(v4) => {
            let mut text = Short::default();
            text.v4(v4);
            text.append(out);
        }
        IpAddr::V6(v6) => out.put_slice(v6.to_string().as_bytes()),
    }
}

/// Appends `host:port` as it stands in Via and in URIs.
pub fn address(out: &mut impl BufMut, address: SocketAddr) {
    let mut text = Short::default();
    match address {
        SocketAddr::V4(v4) => text.v4(*v4.ip()),
        SocketAddr::V6(v6) => {
            out.put_slice(b"[");
            out.put_slice(v6.ip().to_string().as_bytes());
            out.put_slice(b"]");
        }
    }
    text.octet(b':');
    text.number(address.port().into());
    text.append(out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_as_everywhere() {
        for text in ["0.0.0.0:0", "127.0.0.1:5060", "192.0.2.255:65535", "[::1]:9", "[2001:db8::a]:5061"] {
            let mut out = Vec::new();
            address(&mut out, text.parse().unwrap());
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
    }

    #[test]
    fn numbers_have_as_many_digits_as_they_need() {
        for value in [0, 1, 9, 10, 99, 100, 65_535, 999_999_999, 1_000_000_000, u32::MAX] {
            let mut out = b"x".to_vec();
            decimal(&mut out, value);
            assert_eq!(out, format!("x{value}").as_bytes());
        }
    }
}
