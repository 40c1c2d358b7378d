//! What makes two messages one transaction (RFC 3261 §17.1.3, §17.2.3) or one request twice (§8.2.2.2), as bytes to
//! compare.

use crate::base::Keyed;
use crate::sip::wire::{BRANCH_COOKIE, Message, Method};
use sha2::{Digest, Sha256};

/// A longer key is replaced by its SHA-256, so that a peer cannot fill memory with long branches.
const KEY_BYTES_MAX: usize = 256;

/// The kinds of keys, so that none can be mistaken for one of another kind.
const BY_BRANCH: u8 = b'b';
const BY_FIELDS: u8 = b'f';
const BY_DIGEST: u8 = b'd';
const END: u8 = 0;

/// True if the topmost branch is one by which RFC 3261 matches (§8.1.1.7); else RFC 2543's way is taken.
pub(super) fn has_cookie(message: &Message<'_>) -> bool {
    let prefix = message.via().branch().and_then(|branch| branch.get(..BRANCH_COOKIE.len()));
    prefix.is_some_and(|prefix| prefix.eq_ignore_ascii_case(BRANCH_COOKIE))
}

/// The key of the server transaction that a request with `method` instead of its own would belong to (§17.2.3). An ACK
/// and a CANCEL look for their INVITE with it.
pub(super) fn server_key(message: &Message<'_>, method: &[u8], out: &mut Vec<u8>) {
    out.clear();
    let via = message.via();
    if has_cookie(message) {
        out.push(BY_BRANCH);
        lowercase(via.branch().unwrap_or_default(), out);
        lowercase(via.host(), out);
        out.extend_from_slice(&via.port().unwrap_or(0).to_be_bytes());
    } else {
        // The To tag is compared apart from the key: an ACK has that of the response.
        out.push(BY_FIELDS);
        for field in [message.uri().raw(), message.from().tag().unwrap_or_default(), message.call_id(), via.raw()] {
            out.extend_from_slice(field);
            out.push(END);
        }
        out.extend_from_slice(&message.cseq().0.to_be_bytes());
    }
    out.extend_from_slice(method);
    if out.len() > KEY_BYTES_MAX {
        let digest = Sha256::digest(&out[..]);
        out.clear();
        out.push(BY_DIGEST);
        out.extend_from_slice(&digest);
    }
}

/// The key of a client transaction: branch and CSeq method (§17.1.3).
pub(super) fn client_key(branch: &[u8], method: &[u8], out: &mut Vec<u8>) {
    out.clear();
    lowercase(branch, out);
    out.extend_from_slice(method);
}

/// From tag, Call-ID and CSeq (§8.2.2.2), as 128 bits of keyed hashes: the same request by two paths. The method is
/// taken apart, so that an ACK can look for its INVITE.
pub(super) fn request_id(message: &Message<'_>, method: Method, hashers: &[Keyed; 2]) -> [u64; 2] {
    let own = if method == Method::Other { message.method_bytes() } else { method.as_bytes() };
    let fields = (message.from().tag().unwrap_or_default(), message.call_id(), message.cseq().0, own);
    [hashers[0].hash_one(fields), hashers[1].hash_one(fields)]
}

/// Parameter values and hosts are compared without regard to case (§7.3.1).
fn lowercase(text: &[u8], out: &mut Vec<u8>) {
    out.extend(text.iter().map(u8::to_ascii_lowercase));
    out.push(END);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::wire::{Framing, Index, parse};

    fn key(via: &str, method: &str, to: &str, as_method: &[u8]) -> Vec<u8> {
        let text = format!(
            "{method} sip:bob@b.example SIP/2.0\r\nVia: {via}\r\nFrom: <sip:a@a.example>;tag=1\r\nTo: {to}\r\n\
             Call-ID: x\r\nCSeq: 1 {method}\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
        );
        let mut index = Index::new();
        let message = parse(text.as_bytes(), &mut index, Framing::Datagram).unwrap();
        let mut out = Vec::new();
        server_key(&message, as_method, &mut out);
        out
    }

    #[test]
    fn branch_host_port_and_method_make_the_key() {
        let via = "SIP/2.0/UDP a.example:5060;branch=z9hG4bKabc";
        let invite = key(via, "INVITE", "<sip:b>", b"INVITE");
        assert_eq!(invite, key(via, "ACK", "<sip:b>;tag=2", b"INVITE"));
        assert_eq!(invite, key("SIP/2.0/UDP A.Example:5060;branch=Z9HG4BKABC;rport", "INVITE", "<sip:c>", b"INVITE"));
        assert_ne!(invite, key(via, "CANCEL", "<sip:b>", b"CANCEL"));
        assert_ne!(invite, key("SIP/2.0/UDP a.example:5061;branch=z9hG4bKabc", "INVITE", "<sip:b>", b"INVITE"));
        assert_ne!(invite, key("SIP/2.0/UDP b.example:5060;branch=z9hG4bKabc", "INVITE", "<sip:b>", b"INVITE"));
        assert_ne!(invite, key("SIP/2.0/UDP a.example:5060;branch=z9hG4bKabd", "INVITE", "<sip:b>", b"INVITE"));
    }

    #[test]
    fn without_the_cookie_the_fields_make_the_key() {
        for via in ["SIP/2.0/UDP a.example", "SIP/2.0/UDP a.example;branch=1.2.3"] {
            let invite = key(via, "INVITE", "<sip:b>", b"INVITE");
            assert_eq!(invite, key(via, "ACK", "<sip:b>;tag=2", b"INVITE"));
            assert_ne!(invite, key(&format!("{via};x"), "INVITE", "<sip:b>", b"INVITE"));
            assert_ne!(invite, key(via, "OPTIONS", "<sip:b>", b"OPTIONS"));
        }
    }

    #[test]
    fn a_long_branch_takes_no_more_memory_than_a_short_one() {
        let long = |last: char| format!("SIP/2.0/UDP a;branch=z9hG4bK{}{last}", "x".repeat(2_000));
        let (one, two) =
            (key(&long('1'), "INVITE", "<sip:b>", b"INVITE"), key(&long('2'), "INVITE", "<sip:b>", b"INVITE"));
        assert_ne!(one, two);
        assert!(one.len() <= KEY_BYTES_MAX);
    }
}
