//! Digest answers of a phone (RFC 7616, RFC 8760, RFC 3261 §22), written apart from `sip::digest` so that each checks
//! the other.

use super::text::split_outside_quotes;
use md5::Md5;
use sha2::{Digest, Sha256};

/// Hash of a challenge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Algorithm {
    /// RFC 7616, the old default.
    #[default]
    Md5,
    /// RFC 8760.
    Sha256,
}

/// What a server asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Challenge {
    /// Protection space.
    pub realm: String,
    /// The server's nonce.
    pub nonce: String,
    /// Echoed as it came.
    pub opaque: Option<String>,
    /// Hash.
    pub algorithm: Algorithm,
    /// Whether `qop=auth` is offered.
    pub qop: bool,
    /// The nonce was too old; the password was right.
    pub stale: bool,
}

/// Who answers.
#[derive(Clone, Debug, Default)]
pub struct Login {
    /// Digest user.
    pub username: String,
    /// Its password.
    pub password: String,
}

impl Challenge {
    /// Reads one challenge; `None` for other schemes and unknown hashes.
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        let rest = value.trim_start();
        let (scheme, rest) = rest.split_once([' ', '\t'])?;
        if !scheme.eq_ignore_ascii_case("Digest") {
            return None;
        }
        let mut challenge = Self::default();
        for part in split_outside_quotes(rest, b',') {
            let (name, value) = part.split_once('=')?;
            let value = value.trim().trim_matches('"');
            match name.trim().to_ascii_lowercase().as_str() {
                "realm" => challenge.realm = value.to_owned(),
                "nonce" => challenge.nonce = value.to_owned(),
                "opaque" => challenge.opaque = Some(value.to_owned()),
                "stale" => challenge.stale = value.eq_ignore_ascii_case("true"),
                "qop" => challenge.qop = value.split(',').any(|qop| qop.trim() == "auth"),
                "algorithm" => match value.to_ascii_uppercase().as_str() {
                    "MD5" => challenge.algorithm = Algorithm::Md5,
                    "SHA-256" => challenge.algorithm = Algorithm::Sha256,
                    _ => return None,
                },
                _ => {}
            }
        }
        (!challenge.nonce.is_empty()).then_some(challenge)
    }

    /// What a challenger writes.
    #[must_use]
    pub fn value(&self) -> String {
        format!("Digest realm=\"{}\", nonce=\"{}\", algorithm=MD5, qop=\"auth\"", self.realm, self.nonce)
    }

    /// True for credentials that answer this challenge for that login.
    #[must_use]
    pub fn is_answered(&self, login: &Login, method: &str, credentials: &str) -> bool {
        let part = |name: &str| {
            let (_, rest) = credentials.split_once(' ')?;
            let mut parts = split_outside_quotes(rest, b',').filter_map(|part| part.split_once('='));
            parts.find(|(own, _)| own.trim() == name).map(|(_, value)| value.trim().trim_matches('"'))
        };
        let count = part("nc").and_then(|count| u32::from_str_radix(count, 16).ok());
        let (Some(uri), Some(count), Some(cnonce)) = (part("uri"), count, part("cnonce")) else { return false };
        let expected = self.answer(login, method, uri, count, cnonce);
        part("response").is_some_and(|response| expected.contains(&format!("response=\"{response}\"")))
            && part("username") == Some(login.username.as_str())
    }

    /// The credentials for one request.
    #[must_use]
    pub fn answer(&self, login: &Login, method: &str, uri: &str, count: u32, cnonce: &str) -> String {
        let hash = |text: String| match self.algorithm {
            Algorithm::Md5 => hex(&Md5::digest(text)),
            Algorithm::Sha256 => hex(&Sha256::digest(text)),
        };
        let a1 = hash(format!("{}:{}:{}", login.username, self.realm, login.password));
        let a2 = hash(format!("{method}:{uri}"));
        let nonce = &self.nonce;
        let response = if self.qop {
            hash(format!("{a1}:{nonce}:{count:08x}:{cnonce}:auth:{a2}"))
        } else {
            hash(format!("{a1}:{nonce}:{a2}"))
        };
        let algorithm = match self.algorithm {
            Algorithm::Md5 => "MD5",
            Algorithm::Sha256 => "SHA-256",
        };
        let mut out = format!(
            "Digest username=\"{}\", realm=\"{}\", nonce=\"{nonce}\", uri=\"{uri}\", response=\"{response}\", \
             algorithm={algorithm}",
            login.username, self.realm
        );
        if self.qop {
            out.push_str(&format!(", cnonce=\"{cnonce}\", qop=auth, nc={count:08x}"));
        }
        if let Some(opaque) = &self.opaque {
            out.push_str(&format!(", opaque=\"{opaque}\""));
        }
        out
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 7616 §3.9.1: one page, both hashes.
    #[test]
    fn the_examples_of_rfc_7616_hold() {
        let login = Login { username: "Mufasa".into(), password: "Circle of Life".into() };
        let cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
        for (algorithm, expected) in [
            ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
            ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
        ] {
            let challenge = Challenge::parse(&format!(
                "Digest realm=\"http-auth@example.org\", qop=\"auth, auth-int\", algorithm={algorithm}, \
                 nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", opaque=\"FQhe\", stale=FALSE"
            ))
            .unwrap();
            let answer = challenge.answer(&login, "GET", "/dir/index.html", 1, cnonce);
            assert!(answer.contains(&format!("response=\"{expected}\"")), "{answer}");
            assert!(answer.contains("opaque=\"FQhe\"") && answer.contains("nc=00000001"));
            assert!(challenge.is_answered(&login, "GET", &answer) && !challenge.is_answered(&login, "PUT", &answer));
        }
    }

    #[test]
    fn unknown_schemes_and_hashes_are_passed_over() {
        assert_eq!(Challenge::parse("Basic realm=\"x\""), None);
        assert_eq!(Challenge::parse("Digest realm=\"x\", nonce=\"y\", algorithm=SHA-512-256"), None);
    }
}
