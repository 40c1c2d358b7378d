//! Digest authentication: RFC 7616 with MD5 and SHA-256 as RFC 8760 brings it to SIP, `qop=auth` only.
//!
//! [`header`] reads challenges and credentials, [`server`] challenges and verifies (registrar, calls), [`client`]
//! answers (trunks, phones). Owned by the shard. A password is never kept, only [`Ha1`]. `auth-int` is not offered:
//! it would bind a body that a B2BUA on the path rewrites. The `-sess` forms are answered as a client and refused as a
//! server, which never offers them; `SHA-512-256` and `userhash` likewise are not supported.

use serde::{Deserialize, Serialize};

pub mod client;
pub mod header;
mod hmac;
mod replay;
pub mod server;

pub use client::{Login, answer, first_supported};
pub use header::{Challenge, Credentials, HeaderError};
pub use server::{Frozen, Server, ServerOptions, Verdict};

use arrayvec::ArrayVec;
use md5::{Digest, Md5};
use sha2::Sha256;

/// A hash in lower-case hexadecimal: 32 or 64 digits.
pub type Hex = ArrayVec<u8, 64>;

/// How a digest is computed (RFC 7616 §3.3, RFC 8760 §2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// `MD5`; also what a header without the parameter means.
    #[default]
    Md5,
    /// `MD5-sess`.
    Md5Session,
    /// `SHA-256`.
    Sha256,
    /// `SHA-256-sess`.
    Sha256Session,
}

impl Algorithm {
    /// The token in the header.
    #[must_use]
    pub const fn token(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Md5Session => "MD5-sess",
            Self::Sha256 => "SHA-256",
            Self::Sha256Session => "SHA-256-sess",
        }
    }

    /// Reads the token, in any case.
    #[must_use]
    pub fn from_token(token: &[u8]) -> Option<Self> {
        [Self::Md5, Self::Md5Session, Self::Sha256, Self::Sha256Session]
            .into_iter()
            .find(|algorithm| token.eq_ignore_ascii_case(algorithm.token().as_bytes()))
    }

    /// True for the forms whose A1 includes nonce and cnonce.
    #[must_use]
    pub const fn is_session(self) -> bool {
        matches!(self, Self::Md5Session | Self::Sha256Session)
    }

    /// H() of RFC 7616 §3.3 over the parts with a colon between each two.
    fn hash(self, parts: &[&[u8]]) -> Hex {
        match self {
            Self::Md5 | Self::Md5Session => hex(&joined::<Md5>(parts)),
            Self::Sha256 | Self::Sha256Session => hex(&joined::<Sha256>(parts)),
        }
    }
}

fn joined<H: Digest>(parts: &[&[u8]]) -> md5::digest::Output<H> {
    let mut hash = H::new();
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            hash.update(b":");
        }
        hash.update(part);
    }
    hash.finalize()
}

fn hex(bytes: &[u8]) -> Hex {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]).collect()
}

/// What is stored instead of a password: H(username:realm:password) for each algorithm. Whoever holds it can
/// authenticate, so it is not printed.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ha1 {
    /// The MD5 form.
    pub md5: [u8; 16],
    /// The SHA-256 form.
    pub sha256: [u8; 32],
}

impl Ha1 {
    /// From the password.
    #[must_use]
    pub fn new(username: &[u8], realm: &[u8], password: &[u8]) -> Self {
        let parts = [username, realm, password];
        Self { md5: joined::<Md5>(&parts).into(), sha256: joined::<Sha256>(&parts).into() }
    }

    /// H(A1) of RFC 7616 §3.4.2.
    fn hex(&self, algorithm: Algorithm, nonce: &[u8], cnonce: &[u8]) -> Hex {
        let plain = match algorithm {
            Algorithm::Md5 | Algorithm::Md5Session => hex(&self.md5),
            Algorithm::Sha256 | Algorithm::Sha256Session => hex(&self.sha256),
        };
        if algorithm.is_session() { algorithm.hash(&[&plain, nonce, cnonce]) } else { plain }
    }
}

impl std::fmt::Debug for Ha1 {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Ha1(…)")
    }
}

/// What a response is computed from besides the secret (RFC 7616 §3.4.1).
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// How.
    pub algorithm: Algorithm,
    /// As it stands between the quotes.
    pub nonce: &'a [u8],
    /// Nonce count and cnonce where `qop=auth`; `None` is the form of RFC 2069, for servers that offer no qop.
    pub auth: Option<(&'a [u8], &'a [u8])>,
    /// The request's method.
    pub method: &'a [u8],
    /// `digest-uri`, as it stands between the quotes.
    pub uri: &'a [u8],
}

impl Inputs<'_> {
    /// The value of `response`.
    #[must_use]
    pub fn response(&self, ha1: &Ha1) -> Hex {
        let a2 = self.algorithm.hash(&[self.method, self.uri]);
        match self.auth {
            Some((count, cnonce)) => {
                let a1 = ha1.hex(self.algorithm, self.nonce, cnonce);
                self.algorithm.hash(&[&a1, self.nonce, count, cnonce, b"auth", &a2])
            }
            None => self.algorithm.hash(&[&ha1.hex(self.algorithm, self.nonce, b""), self.nonce, &a2]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(algorithm: Algorithm) -> Inputs<'static> {
        Inputs {
            algorithm,
            nonce: b"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
            auth: Some((b"00000001", b"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ")),
            method: b"GET",
            uri: b"/dir/index.html",
        }
    }

    #[test]
    fn rfc_7616_section_3_9_1() {
        let ha1 = Ha1::new(b"Mufasa", b"http-auth@example.org", b"Circle of Life");
        assert_eq!(&inputs(Algorithm::Md5).response(&ha1)[..], b"8ca523f5e9506fed4657c9700eebdbec");
        let sha256 = b"753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1";
        assert_eq!(&inputs(Algorithm::Sha256).response(&ha1)[..], sha256);
    }

    #[test]
    fn rfc_2617_section_3_5() {
        let ha1 = Ha1::new(b"Mufasa", b"testrealm@host.com", b"Circle Of Life");
        let inputs = Inputs {
            nonce: b"dcd98b7102dd2f0e8b11d0f600bfb0c093",
            auth: Some((b"00000001", b"0a4f113b")),
            ..inputs(Algorithm::Md5)
        };
        assert_eq!(&inputs.response(&ha1)[..], b"6629fae49393a05397450978507c4ef1");
    }

    #[test]
    fn a_session_key_binds_nonce_and_cnonce() {
        let ha1 = Ha1::new(b"Mufasa", b"http-auth@example.org", b"Circle of Life");
        let (plain, session) = (inputs(Algorithm::Md5).response(&ha1), inputs(Algorithm::Md5Session).response(&ha1));
        assert_ne!(plain, session);
        assert_eq!(inputs(Algorithm::Sha256Session).response(&ha1).len(), 64);
        assert_eq!(format!("{ha1:?}"), "Ha1(…)");
    }
}
