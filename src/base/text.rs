//! Numbers and addresses as text. `core::fmt` takes some hundred instructions for each, and a message has a dozen of them.

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};

/// Digits of the largest `u64`.
const DIGITS_MAX: usize = 20;

/// Appends a number in decimal.
pub fn push_number(out: &mut Vec<u8>, number: impl Into<u64>) {
    let (mut left, mut digits, mut start) = (number.into(), [0; DIGITS_MAX], DIGITS_MAX);
    loop {
        start -= 1;
        digits[start] = b'0' + (left % 10) as u8;
        left /= 10;
        if left == 0 {
            return out.extend_from_slice(&digits[start..]);
        }
    }
}

/// Appends an address as it stands between blanks: an IPv6 one without brackets.
pub fn push_ip(out: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            for (at, octet) in address.octets().into_iter().enumerate() {
                if at > 0 {
                    out.push(b'.');
                }
                push_number(out, octet);
            }
        }
        // Writing to a vector cannot fail.
        IpAddr::V6(address) => drop(write!(out, "{address}")),
    }
}

/// Appends an address and port, as in a URI.
pub fn push_socket(out: &mut Vec<u8>, address: SocketAddr) {
    match address {
        SocketAddr::V4(address) => {
            push_ip(out, (*address.ip()).into());
            out.push(b':');
            push_number(out, address.port());
        }
        SocketAddr::V6(address) => drop(write!(out, "{address}")),
    }
}

/// A number as sixteen lower-case hexadecimal digits.
#[must_use]
pub fn hex(number: u64) -> [u8; 16] {
    std::array::from_fn(|at| b"0123456789abcdef"[(number >> (60 - 4 * at) & 0xf) as usize])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = b"x".to_vec();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_ends_of_the_range() {
        for number in [0, 9, 10, 99, 100, u64::MAX] {
            assert_eq!(written(|out| push_number(out, number)), format!("x{number}"));
        }
    }

    proptest! {
        #[test]
        fn the_same_as_display(number: u64, address: IpAddr, socket: SocketAddr) {
            prop_assert_eq!(written(|out| push_number(out, number)), format!("x{number}"));
            prop_assert_eq!(written(|out| out.extend_from_slice(&hex(number))), format!("x{number:016x}"));
            prop_assert_eq!(written(|out| push_ip(out, address)), format!("x{address}"));
            prop_assert_eq!(written(|out| push_socket(out, socket)), format!("x{socket}"));
        }
    }
}
