//! Socket addresses as the kernel lays them out, written and read without a cast.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// Room for a `sockaddr_in` (16 bytes) or a `sockaddr_in6` (28), rounded up.
pub const ADDRESS_BYTES: usize = 32;

const INET: u16 = libc::AF_INET as u16;
const INET6: u16 = libc::AF_INET6 as u16;

/// An address in the kernel's form, at its natural alignment.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(8))]
pub struct RawAddress(pub [u8; ADDRESS_BYTES]);

/// Writes `address` in the kernel's form; returns how many bytes of it count.
pub fn encode(address: SocketAddr, out: &mut [u8; ADDRESS_BYTES]) -> u32 {
    match address {
        SocketAddr::V4(v4) => {
            out[0..2].copy_from_slice(&INET.to_ne_bytes());
            out[2..4].copy_from_slice(&v4.port().to_be_bytes());
            out[4..8].copy_from_slice(&v4.ip().octets());
            out[8..16].fill(0);
            16
        }
        SocketAddr::V6(v6) => {
            out[0..2].copy_from_slice(&INET6.to_ne_bytes());
            out[2..4].copy_from_slice(&v6.port().to_be_bytes());
            out[4..8].copy_from_slice(&v6.flowinfo().to_ne_bytes());
            out[8..24].copy_from_slice(&v6.ip().octets());
            out[24..28].copy_from_slice(&v6.scope_id().to_ne_bytes());
            28
        }
    }
}

/// Reads what [`encode`] or the kernel wrote.
#[must_use]
pub fn decode(raw: &[u8]) -> Option<SocketAddr> {
    let raw: &[u8; 28] = match raw.len() {
        16..28 => {
            let mut whole = [0; ADDRESS_BYTES];
            whole[..raw.len()].copy_from_slice(raw);
            return if family(raw) == INET { decode(&whole) } else { None };
        }
        _ => raw.first_chunk()?,
    };
    let port = u16::from_be_bytes([raw[2], raw[3]]);
    match family(raw) {
        INET => Some(SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(raw[4], raw[5], raw[6], raw[7]), port))),
        INET6 => {
            let ip = Ipv6Addr::from(<[u8; 16]>::try_from(&raw[8..24]).ok()?);
            let flow = u32::from_ne_bytes([raw[4], raw[5], raw[6], raw[7]]);
            let scope = u32::from_ne_bytes([raw[24], raw[25], raw[26], raw[27]]);
            Some(SocketAddr::V6(SocketAddrV6::new(ip, port, flow, scope)))
        }
        _ => None,
    }
}

fn family(raw: &[u8]) -> u16 {
    u16::from_ne_bytes([raw[0], raw[1]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_kernels_form_is_the_c_librarys() {
        let address: SocketAddr = "192.0.2.7:5060".parse().expect("literal");
        let mut raw = [0; ADDRESS_BYTES];
        assert_eq!(encode(address, &mut raw), 16);
        assert_eq!(raw[..8], [2, 0, 0x13, 0xc4, 192, 0, 2, 7]);
        assert_eq!(size_of::<libc::sockaddr_in>(), 16);
        assert_eq!(size_of::<libc::sockaddr_in6>(), 28);
    }

    proptest! {
        #[test]
        fn addresses_read_back(octets: [u8; 16], v6: bool, port: u16, scope: u32) {
            let address = if v6 {
                SocketAddr::V6(SocketAddrV6::new(octets.into(), port, 0, scope))
            } else {
                SocketAddr::from(([octets[0], octets[1], octets[2], octets[3]], port))
            };
            let mut raw = [0xaa; ADDRESS_BYTES];
            let len = encode(address, &mut raw) as usize;
            prop_assert_eq!(decode(&raw), Some(address));
            prop_assert_eq!(decode(&raw[..len]), Some(address));
        }

        #[test]
        fn foreign_bytes_never_panic(raw: Vec<u8>) {
            let _ = decode(&raw);
        }
    }
}
