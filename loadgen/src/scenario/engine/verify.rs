//! `verifyauth`: whether the credentials in a request are those of a user and a password. RFC 7616 §3.4, RFC 2617.

use md5::Md5;
use sha2::{Digest, Sha256};

use super::header;
use crate::core::digest::parameters;

/// True if a digest in `request` is right.
pub fn is_right(request: &[u8], user: &[u8], password: &[u8]) -> bool {
    let method = header::word(request, 0);
    let both = ["Authorization", "Proxy-Authorization"];
    both.iter().flat_map(|name| header::values(request, name)).any(|value| fits(value, method, user, password))
}

fn fits(value: &[u8], method: &[u8], user: &[u8], password: &[u8]) -> bool {
    let value = value.trim_ascii();
    let Some(rest) = value.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case(b"digest ")).map(|_| &value[7..])
    else {
        return false;
    };
    let mut given: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    parameters(rest, |name, value| given.push((name.to_ascii_lowercase(), value)));
    let get = |name: &[u8]| given.iter().find(|(known, _)| known == name).map_or(&b""[..], |(_, value)| value);
    let algorithm = get(b"algorithm");
    let hash = |parts: &[&[u8]]| match algorithm {
        known if known.is_empty() || known.eq_ignore_ascii_case(b"md5") => Some(hex::<Md5>(parts)),
        known if known.eq_ignore_ascii_case(b"sha-256") => Some(hex::<Sha256>(parts)),
        _ => None,
    };
    let secret = hash(&[user, b":", get(b"realm"), b":", password]);
    let asked = hash(&[method, b":", get(b"uri")]);
    let (Some(secret), Some(asked)) = (secret, asked) else { return false };
    let expected = match get(b"qop") {
        b"" => hash(&[&secret, b":", get(b"nonce"), b":", &asked]),
        qop => hash(&[&secret, b":", get(b"nonce"), b":", get(b"nc"), b":", get(b"cnonce"), b":", qop, b":", &asked]),
    };
    get(b"username") == user && expected.is_some_and(|expected| get(b"response").eq_ignore_ascii_case(&expected))
}

fn hex<D: Digest>(parts: &[&[u8]]) -> Vec<u8> {
    let mut hash = D::new();
    parts.iter().for_each(|part| hash.update(part));
    hash.finalize().iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::digest::{Asked, Challenge, Secret};

    #[test]
    fn what_our_own_client_answers_is_right_and_another_password_is_not() {
        for algorithm in ["MD5", "SHA-256"] {
            for qop in ["", ", qop=\"auth\""] {
                let challenge = format!("Digest realm=\"r\", nonce=\"n\", algorithm={algorithm}{qop}");
                let mut challenge = Challenge::choose([(true, challenge.as_bytes())]).unwrap();
                let mut request = b"INVITE sip:x SIP/2.0\r\n".to_vec();
                let secret = Secret { user: "me".into(), password: "trunk secret".into() };
                let asked = Asked { method: b"INVITE", uri: b"sip:x", cnonce: b"c" };
                challenge.answer(&secret, asked, &mut request);
                request.extend_from_slice(b"\r\n");
                assert!(is_right(&request, b"me", b"trunk secret"), "{algorithm}{qop}");
                assert!(!is_right(&request, b"me", b"other") && !is_right(&request, b"you", b"trunk secret"));
            }
        }
        assert!(!is_right(b"INVITE x SIP/2.0\r\n\r\n", b"", b""));
        assert!(!is_right(b"INVITE x SIP/2.0\r\nAuthorization: Basic eA==\r\n\r\n", b"", b""));
    }
}
