//! Frames by hand, and checksums by the book: nothing here knows the program or its rules.

use std::net::{IpAddr, SocketAddr};

/// A frame to be built.
#[derive(Clone, Debug)]
pub struct Frame {
    pub tag: Option<u16>,
    pub from: SocketAddr,
    pub to: SocketAddr,
    pub payload: Vec<u8>,
    pub class: u8,
    pub ttl: u8,
    pub with_checksum: bool,
    /// Octets behind the datagram, as short frames have them.
    pub padding: usize,
}

impl Frame {
    pub fn new(from: SocketAddr, to: SocketAddr, payload: Vec<u8>) -> Self {
        Self { tag: None, from, to, payload, class: 0xb9, ttl: 57, with_checksum: true, padding: 0 }
    }

    pub fn build(&self) -> Vec<u8> {
        let mut out = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
        if let Some(tag) = self.tag {
            out.extend([0x81, 0]);
            out.extend(tag.to_be_bytes());
        }
        let head = out.len() + 2;
        let udp_len = (8 + self.payload.len()) as u16;
        match (self.from.ip(), self.to.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                out.extend([8, 0, 0x45, self.class]);
                out.extend((udp_len + 20).to_be_bytes());
                out.extend([0x12, 0x34, 0x40, 0, self.ttl, 17, 0, 0]);
                out.extend(from.octets());
                out.extend(to.octets());
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                out.extend([0x86, 0xdd, 0x60 | self.class >> 4, self.class << 4 | 0xa, 0xbc, 0xde]);
                out.extend(udp_len.to_be_bytes());
                out.extend([17, self.ttl]);
                out.extend(from.octets());
                out.extend(to.octets());
            }
            _ => panic!("one family"),
        }
        out.extend(self.from.port().to_be_bytes());
        out.extend(self.to.port().to_be_bytes());
        out.extend(udp_len.to_be_bytes());
        out.extend([0, 0]);
        out.extend(&self.payload);
        fill_checksums(&mut out[head..], self.with_checksum);
        out.extend(std::iter::repeat_n(0xee, self.padding));
        out
    }
}

/// An RTP packet of 20 ms of G.711.
pub fn voice(payload_type: u8, ssrc: u32, sequence: u16) -> Vec<u8> {
    let mut out = vec![0x80, payload_type];
    out.extend(sequence.to_be_bytes());
    out.extend((u32::from(sequence) * 160).to_be_bytes());
    out.extend(ssrc.to_be_bytes());
    out.extend((0..160).map(|n| n as u8 ^ 0x5a));
    out
}

/// The sum of all 16-bit words modulo 65,535, from which every Internet checksum follows (RFC 1071).
pub fn sum(octets: &[u8]) -> u32 {
    let words = octets.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    words.fold(0, |sum, word| (sum + word) % 65_535)
}

/// Of the pseudo-header and the UDP datagram of a plain IP packet, its checksum field included.
pub fn udp_sum(ip: &[u8]) -> u32 {
    let (addresses, udp) = if ip[0] >> 4 == 4 { (&ip[12..20], 20) } else { (&ip[8..40], 40) };
    let length = u16::from_be_bytes([ip[udp + 4], ip[udp + 5]]);
    let datagram = &ip[udp..udp + usize::from(length)];
    (sum(addresses) + 17 + u32::from(length) + sum(datagram)) % 65_535
}

fn fill_checksums(ip: &mut [u8], with_udp: bool) {
    let udp = if ip[0] >> 4 == 4 {
        let check = 65_535 - sum(&ip[..20]);
        ip[10..12].copy_from_slice(&(if check == 65_535 { 0 } else { check as u16 }).to_be_bytes());
        20
    } else {
        40
    };
    if with_udp {
        let check = 65_535 - udp_sum(ip);
        ip[udp + 6..udp + 8].copy_from_slice(&(check as u16).to_be_bytes());
    }
}

/// What is wrong with the checksums of a frame whose lengths are right.
pub fn check(frame: &[u8]) -> Result<(), String> {
    let head = if frame[12..14] == [0x81, 0] { 18 } else { 14 };
    let ip = &frame[head..];
    let udp = if ip[0] >> 4 == 4 {
        if sum(&ip[..20]) != 0 {
            return Err("IPv4 header checksum".into());
        }
        20
    } else {
        40
    };
    if ip[udp + 6..udp + 8] == [0, 0] {
        return if udp == 20 { Ok(()) } else { Err("no UDP checksum over IPv6".into()) };
    }
    if udp_sum(ip) == 0 { Ok(()) } else { Err("UDP checksum".into()) }
}
