//! The side that answers a challenge: trunks that want a password, and phones.

use super::{Algorithm, Challenge, Ha1, Inputs};

/// What a client knows of itself.
#[derive(Clone, Copy)]
pub enum Login<'a> {
    /// A password, hashed with whatever realm the server names.
    Password {
        /// As the server knows it.
        username: &'a [u8],
        /// In clear.
        password: &'a [u8],
    },
    /// The hash for one realm.
    Ha1 {
        /// As the server knows it.
        username: &'a [u8],
        /// Made with the server's realm.
        ha1: &'a Ha1,
    },
}

/// Of several challenges, the first that this room can answer: servers list them best first (RFC 8760 §2.4).
#[must_use]
pub fn first_supported<'a>(values: impl Iterator<Item = &'a [u8]>) -> Option<Challenge<'a>> {
    values.into_iter().find_map(|value| Challenge::parse(value).ok())
}

/// Appends the value of an `Authorization` or `Proxy-Authorization` header. `uri` is the request's; `count` says
/// how many requests carried this nonce, this one included; `cnonce` is random and free of quotes. Method names are
/// case-sensitive.
pub fn answer(
    challenge: &Challenge<'_>,
    login: &Login<'_>,
    method: &[u8],
    uri: &[u8],
    cnonce: &[u8],
    count: u32,
    out: &mut Vec<u8>,
) {
    let (username, ha1) = match *login {
        Login::Password { username, password } => (username, Ha1::new(username, challenge.realm, password)),
        Login::Ha1 { username, ha1 } => (username, *ha1),
    };
    let digits = format!("{count:08x}");
    let auth = challenge.auth.then_some((digits.as_bytes(), cnonce));
    // RFC 2069's form has no cnonce to make a session key from; such a challenge gets the plain form.
    let algorithm = match (auth, challenge.algorithm) {
        (None, Algorithm::Md5Session) => Algorithm::Md5,
        (None, Algorithm::Sha256Session) => Algorithm::Sha256,
        (_, algorithm) => algorithm,
    };
    let response = Inputs { algorithm, nonce: challenge.nonce, auth, method, uri }.response(&ha1);

    out.extend_from_slice(b"Digest username=\"");
    for &byte in username {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    let mut quoted = |name: &[u8], value: &[u8]| {
        out.extend_from_slice(b"\", ");
        out.extend_from_slice(name);
        out.extend_from_slice(b"=\"");
        out.extend_from_slice(value);
    };
    quoted(b"realm", challenge.realm);
    quoted(b"nonce", challenge.nonce);
    quoted(b"uri", uri);
    quoted(b"response", &response);
    if let Some(opaque) = challenge.opaque {
        quoted(b"opaque", opaque);
    }
    if auth.is_some() {
        quoted(b"cnonce", cnonce);
    }
    out.extend_from_slice(b"\", algorithm=");
    out.extend_from_slice(algorithm.token().as_bytes());
    if auth.is_some() {
        out.extend_from_slice(b", qop=auth, nc=");
        out.extend_from_slice(digits.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::super::Credentials;
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn whatever_challenge_can_be_read_is_answered_readably(
            values in prop::collection::vec("(\"[ -!#-\\[\\]-~]{0,9}(\\\\.)?\"|[!-~]{1,9})", 5),
            username: Vec<u8>,
        ) {
            let names = ["realm", "nonce", "opaque", "stale", "domain"];
            let fields: Vec<String> = names.iter().zip(&values).map(|(name, value)| format!("{name}={value}")).collect();
            let text = format!("Digest {},qop=auth", fields.join(", "));
            if let Ok(challenge) = Challenge::parse(text.as_bytes()) {
                let login = Login::Password { username: &username, password: b"p" };
                let mut out = Vec::new();
                answer(&challenge, &login, b"REGISTER", b"sip:r", b"c", 1, &mut out);
                let credentials = Credentials::parse(&out).unwrap();
                prop_assert_eq!((credentials.realm, credentials.nonce), (challenge.realm, challenge.nonce));
                prop_assert_eq!(&credentials.username_unescaped()[..], &username[..]);
            }
        }
    }

    #[test]
    fn the_example_of_rfc_7616_is_answered() {
        let values: [&[u8]; 3] = [
            b"Digest realm=\"http-auth@example.org\", nonce=\"x\", qop=\"auth\", algorithm=SHA-512-256",
            b"Digest realm=\"http-auth@example.org\", qop=\"auth, auth-int\", algorithm=SHA-256, \
              nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMA\"",
            b"Digest realm=\"http-auth@example.org\", qop=\"auth, auth-int\", algorithm=MD5, nonce=\"y\"",
        ];
        let challenge = first_supported(values.into_iter()).unwrap();
        let login = Login::Password { username: b"Mufasa", password: b"Circle of Life" };
        let cnonce = b"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
        let mut out = Vec::new();
        answer(&challenge, &login, b"GET", b"/dir/index.html", cnonce, 1, &mut out);
        let credentials = Credentials::parse(&out).unwrap();
        let response = b"753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1";
        assert_eq!(credentials.response, response);
        assert_eq!(credentials.auth, Some((1, &b"00000001"[..], &cnonce[..])));
        assert!(out.windows(8).any(|window| window == b"opaque=\""));
        let ha1 = Ha1::new(b"Mufasa", b"http-auth@example.org", b"Circle of Life");
        let mut again = Vec::new();
        let login = Login::Ha1 { username: b"Mufasa", ha1: &ha1 };
        answer(&challenge, &login, b"GET", b"/dir/index.html", cnonce, 1, &mut again);
        assert_eq!(again, out);
    }

    #[test]
    fn a_server_without_qop_gets_the_form_of_rfc_2069() {
        let challenge = Challenge::parse(b"Digest realm=\"r\", nonce=\"n\"").unwrap();
        let login = Login::Password { username: b"a\"b", password: b"p" };
        let mut out = Vec::new();
        answer(&challenge, &login, b"REGISTER", b"sip:r", b"c", 1, &mut out);
        let credentials = Credentials::parse(&out).unwrap();
        assert_eq!((credentials.auth, &credentials.username_unescaped()[..]), (None, &b"a\"b"[..]));
    }
}
