//! Reads `WWW-Authenticate`, `Proxy-Authenticate`, `Authorization` and `Proxy-Authorization` with the Digest scheme
//! (RFC 3261 §20.7, §20.44, §25.1; RFC 7616 §3.3, §3.4), in place.

use super::Algorithm;
use std::borrow::Cow;

/// More parameters than any header needs; beyond it the header is refused.
const PARAMETERS_MAX: usize = 32;

/// Why a header is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderError {
    /// Another scheme.
    NotDigest,
    /// Not of the grammar; the parameter that is missing, twice there or wrong.
    Malformed(&'static str),
    /// An algorithm or quality of protection that this room does not know.
    Unsupported,
}

/// A server's challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Challenge<'a> {
    /// As it stands between the quotes.
    pub realm: &'a [u8],
    /// As it stands between the quotes.
    pub nonce: &'a [u8],
    /// To be returned unchanged.
    pub opaque: Option<&'a [u8]>,
    /// How to compute.
    pub algorithm: Algorithm,
    /// `qop` offers `auth`; without any `qop` the form of RFC 2069 is used.
    pub auth: bool,
    /// Only the nonce was too old.
    pub stale: bool,
}

/// A client's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credentials<'a> {
    /// As it stands between the quotes; see [`username_unescaped`](Self::username_unescaped).
    pub username: &'a [u8],
    /// As it stands between the quotes.
    pub realm: &'a [u8],
    /// As it stands between the quotes.
    pub nonce: &'a [u8],
    /// As it stands between the quotes. Proxies change request URIs, so it need not equal the request's.
    pub uri: &'a [u8],
    /// The proof.
    pub response: &'a [u8],
    /// How it was computed.
    pub algorithm: Algorithm,
    /// Nonce count, its eight digits, and cnonce: present with `qop=auth`.
    pub auth: Option<(u32, &'a [u8], &'a [u8])>,
}

impl<'a> Challenge<'a> {
    /// Reads a header's value.
    ///
    /// # Errors
    /// See [`HeaderError`].
    pub fn parse(value: &'a [u8]) -> Result<Self, HeaderError> {
        let fields = Fields::parse(value)?;
        let algorithm = fields.algorithm()?;
        let auth = match fields.get("qop")? {
            None => false,
            Some(options) => {
                let auth = options.split(|&byte| byte == b',').any(|token| is(token.trim_ascii(), "auth"));
                if !auth {
                    return Err(HeaderError::Unsupported);
                }
                true
            }
        };
        Ok(Self {
            realm: fields.required("realm")?,
            nonce: fields.required("nonce")?,
            opaque: fields.get("opaque")?,
            algorithm,
            auth,
            stale: fields.get("stale")?.is_some_and(|value| is(value, "true")),
        })
    }
}

impl<'a> Credentials<'a> {
    /// Reads a header's value.
    ///
    /// # Errors
    /// See [`HeaderError`].
    pub fn parse(value: &'a [u8]) -> Result<Self, HeaderError> {
        let fields = Fields::parse(value)?;
        let algorithm = fields.algorithm()?;
        if fields.get("userhash")?.is_some_and(|value| is(value, "true")) {
            return Err(HeaderError::Unsupported);
        }
        let auth = match fields.get("qop")? {
            None => None,
            Some(qop) if is(qop, "auth") => {
                let digits = fields.required("nc")?;
                let count = count(digits).ok_or(HeaderError::Malformed("nc"))?;
                Some((count, digits, fields.required("cnonce")?))
            }
            Some(_) => return Err(HeaderError::Unsupported),
        };
        Ok(Self {
            username: fields.required("username")?,
            realm: fields.required("realm")?,
            nonce: fields.required("nonce")?,
            uri: fields.required("uri")?,
            response: fields.required("response")?,
            algorithm,
            auth,
        })
    }

    /// The username as a person writes it: quoted pairs undone.
    #[must_use]
    pub fn username_unescaped(&self) -> Cow<'a, [u8]> {
        if !self.username.contains(&b'\\') {
            return Cow::Borrowed(self.username);
        }
        let mut out = Vec::with_capacity(self.username.len());
        let mut bytes = self.username.iter();
        while let Some(&byte) = bytes.next() {
            out.push(if byte == b'\\' { *bytes.next().unwrap_or(&byte) } else { byte });
        }
        Cow::Owned(out)
    }
}

fn is(value: &[u8], token: &str) -> bool {
    value.eq_ignore_ascii_case(token.as_bytes())
}

/// `nc-value = 8LHEX`.
fn count(digits: &[u8]) -> Option<u32> {
    if digits.len() != 8 {
        return None;
    }
    digits.iter().try_fold(0u32, |value, &digit| Some(value << 4 | char::from(digit).to_digit(16)?))
}

/// The parameters of one header, in order.
struct Fields<'a>(arrayvec::ArrayVec<(&'a [u8], &'a [u8]), PARAMETERS_MAX>);

impl<'a> Fields<'a> {
    fn parse(value: &'a [u8]) -> Result<Self, HeaderError> {
        const SCHEME: usize = "Digest".len();
        let value = value.trim_ascii();
        match (value.get(..SCHEME), value.get(SCHEME)) {
            (Some(scheme), Some(next)) if is(scheme, "Digest") && next.is_ascii_whitespace() => {}
            _ => return Err(HeaderError::NotDigest),
        }
        let mut fields = Self(arrayvec::ArrayVec::new());
        let mut rest = value[SCHEME..].trim_ascii_start();
        while !rest.is_empty() {
            if rest[0] == b',' {
                rest = rest[1..].trim_ascii_start();
                continue;
            }
            let (name, value, after) = parameter(rest).ok_or(HeaderError::Malformed("parameter"))?;
            fields.0.try_push((name, value)).map_err(|_| HeaderError::Malformed("parameter"))?;
            rest = after;
        }
        Ok(fields)
    }

    /// A parameter that may be there once.
    fn get(&self, name: &'static str) -> Result<Option<&'a [u8]>, HeaderError> {
        let mut found = self.0.iter().filter(|(other, _)| is(other, name));
        match (found.next(), found.next()) {
            (Some(_), Some(_)) => Err(HeaderError::Malformed(name)),
            (one, _) => Ok(one.map(|&(_, value)| value)),
        }
    }

    fn required(&self, name: &'static str) -> Result<&'a [u8], HeaderError> {
        self.get(name)?.ok_or(HeaderError::Malformed(name))
    }

    fn algorithm(&self) -> Result<Algorithm, HeaderError> {
        match self.get("algorithm")? {
            None => Ok(Algorithm::Md5),
            Some(token) => Algorithm::from_token(token).ok_or(HeaderError::Unsupported),
        }
    }
}

/// One `name=value` or `name="value"`; what follows it begins with a comma or is empty.
fn parameter(text: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let equals = memchr::memchr2(b'=', b',', text).filter(|&at| text[at] == b'=')?;
    let name = text[..equals].trim_ascii();
    if name.is_empty() || name.iter().any(|byte| byte.is_ascii_whitespace() || *byte == b'"') {
        return None;
    }
    let text = text[equals + 1..].trim_ascii_start();
    let (value, rest) = if text.first() == Some(&b'"') {
        let text = &text[1..];
        let end = closing_quote(text)?;
        (&text[..end], text[end + 1..].trim_ascii_start())
    } else {
        let end = memchr::memchr(b',', text).unwrap_or(text.len());
        let value = text[..end].trim_ascii_end();
        if value.is_empty() || value.iter().any(|byte| byte.is_ascii_whitespace() || b"\"\\".contains(byte)) {
            return None;
        }
        (value, &text[end..])
    };
    if rest.first().is_none_or(|&byte| byte == b',') { Some((name, value, rest)) } else { None }
}

fn closing_quote(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let found = at + memchr::memchr2(b'"', b'\\', text.get(at..)?)?;
        if text[found] == b'"' {
            return Some(found);
        }
        at = found + 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn credentials_of_rfc_7616_are_read() {
        let credentials = Credentials::parse(
            b"Digest username=\"Mufasa\",\r\n realm=\"http-auth@example.org\", uri=\"/dir/index.html\",\r\n \
              algorithm=SHA-256, nonce=\"7ypf/xlj\", nc=0000001a, cnonce=\"f2/w\", qop=auth,\r\n response=\"7539\",\
              opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\"",
        )
        .unwrap();
        assert_eq!((credentials.username, credentials.uri), (&b"Mufasa"[..], &b"/dir/index.html"[..]));
        assert_eq!(credentials.algorithm, Algorithm::Sha256);
        assert_eq!(credentials.auth, Some((26, &b"0000001a"[..], &b"f2/w"[..])));
        assert_eq!((credentials.response, credentials.nonce), (&b"7539"[..], &b"7ypf/xlj"[..]));
    }

    #[test]
    fn challenges_of_rfc_8760_are_read() {
        let challenge = Challenge::parse(
            b"Digest realm=\"atlanta.com\", domain=\"sip:ss1.carrier.com\", qop=\"auth,auth-int\", \
              nonce=\"f84f1cec41e6cbe5aea9c8e88d359\", opaque=\"\", stale=FALSE, algorithm=SHA-256",
        )
        .unwrap();
        assert_eq!((challenge.realm, challenge.opaque), (&b"atlanta.com"[..], Some(&b""[..])));
        assert_eq!((challenge.auth, challenge.stale, challenge.algorithm), (true, false, Algorithm::Sha256));
        let bare = Challenge::parse(b"digest nonce=\"n\",realm=\"r\",STALE=true").unwrap();
        assert_eq!((bare.auth, bare.stale, bare.algorithm), (false, true, Algorithm::Md5));
    }

    #[test]
    fn quoted_pairs_do_not_end_a_value() {
        let credentials = Credentials::parse(
            b"Digest username=\"a\\\"b\\\\\", realm=\"x, y=z\", nonce=\"n\", uri=\"sip:a\", response=\"r\"",
        )
        .unwrap();
        assert_eq!((credentials.realm, credentials.auth), (&b"x, y=z"[..], None));
        assert_eq!(&credentials.username_unescaped()[..], b"a\"b\\");
    }

    #[test]
    fn errors_name_what_is_wrong() {
        use HeaderError::{Malformed, NotDigest, Unsupported};
        let base = "Digest username=\"u\",realm=\"r\",nonce=\"n\",uri=\"sip:x\",response=\"0\"";
        let cases: &[(&str, HeaderError)] = &[
            ("Basic dTpw", NotDigest),
            ("Digest", NotDigest),
            ("Digestive a=b", NotDigest),
            ("Digest username", Malformed("parameter")),
            ("Digest username=\"u", Malformed("parameter")),
            ("Digest username=\"u\" realm=\"r\"", Malformed("parameter")),
            ("Digest realm=\"r\"", Malformed("username")),
            (&format!("{base},nonce=\"m\""), Malformed("nonce")),
            (&format!("{base},qop=auth,nc=1,cnonce=\"c\""), Malformed("nc")),
            (&format!("{base},qop=auth,nc=00000001"), Malformed("cnonce")),
            (&format!("{base},qop=auth-int,nc=00000001,cnonce=\"c\""), Unsupported),
            (&format!("{base},algorithm=SHA-512-256"), Unsupported),
            (&format!("{base},userhash=true"), Unsupported),
            (&format!("Digest {}", "a=b,".repeat(33)), Malformed("parameter")),
        ];
        for (text, error) in cases {
            assert_eq!(Credentials::parse(text.as_bytes()), Err(*error), "{text}");
        }
        assert_eq!(Challenge::parse(b"Digest realm=\"r\",nonce=\"n\",qop=\"auth-int\""), Err(Unsupported));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, tail in "[a-z=\", \\\\]{0,60}") {
            for text in [bytes, format!("Digest {tail}").into_bytes()] {
                if let Ok(credentials) = Credentials::parse(&text) {
                    let _ = credentials.username_unescaped();
                }
                let _ = Challenge::parse(&text);
            }
        }
    }
}
