//! The client's side of digest authentication: reads a challenge, writes the credentials. RFC 7616, RFC 8760, RFC 3261 §22.

use md5::Md5;
use sha2::{Digest, Sha256};

use super::scan::trim;

/// The hash of a challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// RFC 2617 and everything old.
    Md5,
    /// RFC 8760.
    Sha256,
}

/// One challenge, kept while its nonce is in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// True for Proxy-Authenticate.
    pub proxy: bool,
    algorithm: Algorithm,
    realm: Vec<u8>,
    nonce: Vec<u8>,
    opaque: Option<Vec<u8>>,
    qop_auth: bool,
    /// The nonce was too old, the password right (RFC 7616 §3.3).
    pub stale: bool,
    count: u32,
}

/// Name and password.
#[derive(Clone, Debug)]
pub struct Secret {
    /// Digest user.
    pub user: String,
    /// In clear: a generator needs it for any realm.
    pub password: String,
}

/// What the credentials cover.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Request method.
    pub method: &'a [u8],
    /// Request-URI.
    pub uri: &'a [u8],
    /// Fresh and random.
    pub cnonce: &'a [u8],
}

impl Challenge {
    /// The first challenge we can answer, in the server's order of preference (RFC 8760 §2.4).
    pub fn choose<'a>(offered: impl IntoIterator<Item = (bool, &'a [u8])>) -> Option<Self> {
        offered.into_iter().find_map(|(proxy, value)| Self::parse(proxy, value))
    }

    fn parse(proxy: bool, value: &[u8]) -> Option<Self> {
        let value = trim(value);
        let rest = value.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case(b"digest ")).map(|_| &value[7..])?;
        let mut challenge = Self {
            proxy,
            algorithm: Algorithm::Md5,
            realm: Vec::new(),
            nonce: Vec::new(),
            opaque: None,
            qop_auth: false,
            stale: false,
            count: 0,
        };
        let (mut known, mut qop_seen) = (true, false);
        parameters(rest, |name, value| match name.to_ascii_lowercase().as_slice() {
            b"realm" => challenge.realm = value,
            b"nonce" => challenge.nonce = value,
            b"opaque" => challenge.opaque = Some(value),
            b"stale" => challenge.stale = value.eq_ignore_ascii_case(b"true"),
            b"qop" => {
                qop_seen = true;
                challenge.qop_auth =
                    value.split(|&byte| byte == b',').any(|qop| trim(qop).eq_ignore_ascii_case(b"auth"));
            }
            b"algorithm" if value.eq_ignore_ascii_case(b"md5") => {}
            b"algorithm" if value.eq_ignore_ascii_case(b"sha-256") => challenge.algorithm = Algorithm::Sha256,
            b"algorithm" => known = false,
            _ => {}
        });
        (known && (challenge.qop_auth || !qop_seen) && !challenge.nonce.is_empty()).then_some(challenge)
    }

    /// Appends the whole header line with its CRLF; counts the nonce's uses.
    pub fn answer(&mut self, secret: &Secret, asked: Asked<'_>, out: &mut Vec<u8>) {
        self.count += 1;
        let count = format!("{:08x}", self.count);
        let ha1 = self.hash(&[secret.user.as_bytes(), b":", &self.realm, b":", secret.password.as_bytes()]);
        let ha2 = self.hash(&[asked.method, b":", asked.uri]);
        let response = if self.qop_auth {
            let parts: [&[u8]; 9] =
                [&ha1, b":", &self.nonce, b":", count.as_bytes(), b":", asked.cnonce, b":auth:", &ha2];
            self.hash(&parts)
        } else {
            self.hash(&[&ha1, b":", &self.nonce, b":", &ha2]) // RFC 2069 form, RFC 7616 §3.4.1
        };
        out.extend_from_slice(if self.proxy { b"Proxy-Authorization" } else { b"Authorization" });
        let name = match self.algorithm {
            Algorithm::Md5 => &b"MD5"[..],
            Algorithm::Sha256 => b"SHA-256",
        };
        let quoted: [(&[u8], &[u8]); 5] = [
            (b": Digest username=", secret.user.as_bytes()),
            (b", realm=", &self.realm),
            (b", nonce=", &self.nonce),
            (b", uri=", asked.uri),
            (b", response=", &response),
        ];
        for (name, value) in quoted {
            out.extend_from_slice(name);
            quote(out, value);
        }
        out.extend_from_slice(b", algorithm=");
        out.extend_from_slice(name);
        if self.qop_auth {
            out.extend_from_slice(b", qop=auth, nc=");
            out.extend_from_slice(count.as_bytes());
            out.extend_from_slice(b", cnonce=");
            quote(out, asked.cnonce);
        }
        if let Some(opaque) = &self.opaque {
            out.extend_from_slice(b", opaque=");
            quote(out, opaque);
        }
        out.extend_from_slice(b"\r\n");
    }

    fn hash(&self, parts: &[&[u8]]) -> Vec<u8> {
        fn run<D: Digest>(parts: &[&[u8]]) -> Vec<u8> {
            let mut state = D::new();
            parts.iter().for_each(|part| state.update(part));
            let mut hex = Vec::with_capacity(64);
            for byte in state.finalize() {
                hex.extend([byte >> 4, byte & 15].map(|nibble| b"0123456789abcdef"[usize::from(nibble)]));
            }
            hex
        }
        match self.algorithm {
            Algorithm::Md5 => run::<Md5>(parts),
            Algorithm::Sha256 => run::<Sha256>(parts),
        }
    }
}

fn quote(out: &mut Vec<u8>, value: &[u8]) {
    out.push(b'"');
    for &byte in value {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
}

/// Calls `each` with every name and unquoted value of a challenge or credentials.
pub fn parameters(mut text: &[u8], mut each: impl FnMut(&[u8], Vec<u8>)) {
    while let Some(equals) = text.iter().position(|&byte| byte == b'=') {
        let name = trim(text[..equals].trim_ascii_start());
        let name = name.strip_prefix(b",").map_or(name, trim);
        text = text[equals + 1..].trim_ascii_start();
        let mut value = Vec::new();
        if text.first() == Some(&b'"') {
            let mut at = 1;
            while at < text.len() && text[at] != b'"' {
                at += usize::from(text[at] == b'\\' && at + 1 < text.len());
                value.push(text[at]);
                at += 1;
            }
            text = text.get(at + 1..).unwrap_or_default();
        } else {
            let end = text.iter().position(|&byte| byte == b',').unwrap_or(text.len());
            value.extend_from_slice(trim(&text[..end]));
            text = &text[end..];
        }
        each(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: Asked<'_> =
        Asked { method: b"GET", uri: b"/dir/index.html", cnonce: b"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ" };

    fn response_of(algorithm: &str) -> String {
        let value = format!(
            "Digest realm=\"http-auth@example.org\", qop=\"auth, auth-int\", algorithm={algorithm}, \
             nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\""
        );
        let mut challenge = Challenge::choose([(false, value.as_bytes())]).unwrap();
        let mut out = Vec::new();
        let secret = Secret { user: "Mufasa".into(), password: "Circle of Life".into() };
        challenge.answer(&secret, ASKED, &mut out);
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with("Authorization: Digest ") && text.contains("nc=00000001"));
        text.split("response=\"").nth(1).unwrap().split('"').next().unwrap().to_string()
    }

    #[test]
    fn the_examples_of_rfc_7616_section_3_9_1() {
        assert_eq!(response_of("MD5"), "8ca523f5e9506fed4657c9700eebdbec");
        assert_eq!(response_of("SHA-256"), "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1");
    }

    #[test]
    fn what_we_cannot_answer_is_passed_over() {
        let offered: [(bool, &[u8]); 4] = [
            (true, b"Basic realm=\"x\""),
            (true, b"Digest realm=\"x\", nonce=\"n\", algorithm=SHA-512-256"),
            (true, b"Digest realm=\"x\", nonce=\"n\", qop=\"auth-int\""),
            (true, b"Digest realm=\"a \\\"q\\\", b\",nonce=n,stale=TRUE"),
        ];
        let challenge = Challenge::choose(offered).unwrap();
        assert_eq!(
            (challenge.realm.as_slice(), challenge.stale, challenge.qop_auth),
            (&b"a \"q\", b"[..], true, false)
        );
    }
}
