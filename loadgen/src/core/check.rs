//! `--check`: every message received is read by `rsip` too and must say the same as our scanner read.
//!
//! Neither is the appliance's parser, so that no mistake of one is hidden by the same mistake of another. `rsip` knows
//! no compact names, no folded lines and no IPv6 hosts: short names are looked up, a fold is read as it stands, and an
//! IPv6 reference is exchanged for a name of its length before `rsip` sees it.

use rsip::headers::{ToTypedHeader, UntypedHeader};
use rsip::message::HasHeaders;
use rsip::{Header, SipMessage};

use super::scan::{self, Fields, Start};

/// Says what differs.
pub fn compare(bytes: &[u8], fields: &Fields<'_>) -> Result<(), String> {
    let named = without_ipv6(bytes);
    let message = SipMessage::try_from(named.as_slice()).map_err(|error| format!("rsip cannot read it: {error}"))?;
    let differs = |what: &str, ours: &[u8], theirs: &str| {
        if ours == theirs.trim().as_bytes() {
            return Ok(());
        }
        Err(format!("{what}: '{}' here, '{theirs}' for rsip", String::from_utf8_lossy(ours)))
    };
    match (&message, fields.start) {
        (SipMessage::Request(request), Start::Request { method, uri }) => {
            differs("method", method, &request.method.to_string())?;
            // rsip prints what it understood: the transport parameter in capitals.
            differs("request URI", &without_ipv6(uri).to_ascii_lowercase(), &request.uri.to_string().to_lowercase())?;
        }
        (SipMessage::Response(response), Start::Response { status, .. }) => {
            let theirs = u16::from(response.status_code.clone());
            differs("status", status.to_string().as_bytes(), &theirs.to_string())?;
        }
        _ => return Err("one reads a request, the other a response".into()),
    }
    differs("Call-ID", fields.call_id, &value(&message, "Call-ID", "i")?)?;
    let from = rsip::headers::From::new(value(&message, "From", "f")?);
    let from = from.typed().map_err(|error| format!("From: {error}"))?;
    differs("From tag", scan::tag(fields.from).unwrap_or_default(), from.tag().map_or("", |tag| tag.value()))?;
    let to = rsip::headers::To::new(value(&message, "To", "t")?);
    let to = to.typed().map_err(|error| format!("To: {error}"))?;
    differs("To tag", scan::tag(fields.to).unwrap_or_default(), to.tag().map_or("", |tag| tag.value()))?;
    let via = rsip::headers::Via::new(value(&message, "Via", "v")?);
    let via = via.typed().map_err(|error| format!("Via: {error}"))?;
    differs("branch", fields.branch().unwrap_or_default(), via.branch().map_or("", |branch| branch.value()))?;
    let cseq = rsip::headers::CSeq::new(value(&message, "CSeq", "")?);
    let cseq = cseq.typed().map_err(|error| format!("CSeq: {error}"))?;
    differs("CSeq", fields.cseq.to_string().as_bytes(), &cseq.seq.to_string())?;
    differs("CSeq method", fields.cseq_method, &cseq.method.to_string())?;
    let body = match &message {
        SipMessage::Request(request) => &request.body,
        SipMessage::Response(response) => &response.body,
    };
    if fields.body != body.as_slice() {
        return Err(format!("body: {} octets here, {} for rsip", fields.body.len(), body.len()));
    }
    match fields.content_length {
        Some(length) if length != body.len() => Err(format!("Content-Length {length}, body {}", body.len())),
        _ => Ok(()),
    }
}

/// `[::1]` becomes `vxxxx`; in the head only, so that bodies compare.
fn without_ipv6(bytes: &[u8]) -> Vec<u8> {
    let mut out = bytes.to_vec();
    let head = memchr::memmem::find(bytes, b"\r\n\r\n").unwrap_or(bytes.len());
    let mut at = 0;
    while let Some(open) = memchr::memchr(b'[', &bytes[at..head]).map(|open| at + open) {
        at = open + 1;
        let Some(close) = memchr::memchr(b']', &bytes[at..head]).map(|close| at + close) else { break };
        if bytes[at..close].iter().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.')) {
            out[open..=close].fill(b'x');
            out[open] = b'v';
        }
    }
    out
}

fn value(message: &SipMessage, long: &str, short: &str) -> Result<String, String> {
    let found = message.headers().iter().find_map(|header| {
        let text = match header {
            Header::Other(name, value) if name.eq_ignore_ascii_case(short) => return Some(value.clone()),
            Header::Other(..) => return None,
            known => known.to_string(),
        };
        let (name, value) = text.split_once(':')?;
        name.eq_ignore_ascii_case(long).then(|| value.trim().to_string())
    });
    found.ok_or_else(|| format!("no {long} for rsip"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "SIP/2.0 200 OK\r\nv: SIP/2.0/UDP a:5060;branch=z9hG4bKx\r\nFrom: <sip:a@x>;tag=1\r\n\
        To: \"b\" <sip:b@x>;tag=2\r\ni: one@two\r\nCSeq: 7 INVITE\r\nContent-Length: 3\r\n\r\nabc";

    #[test]
    fn both_readings_agree_and_a_difference_is_named() {
        let fields = scan::scan(TEXT.as_bytes()).unwrap();
        assert_eq!(compare(TEXT.as_bytes(), &fields), Ok(()));
        let other = TEXT.replace("tag=2", "tag=3");
        assert!(compare(other.as_bytes(), &fields).unwrap_err().starts_with("To tag"));
        assert!(compare(b"nonsense", &fields).unwrap_err().starts_with("rsip cannot"));
        let long = TEXT.replace("Length: 3", "Length: 2");
        let fields = scan::scan(long.as_bytes()).unwrap();
        assert!(compare(long.as_bytes(), &fields).unwrap_err().starts_with("body"));
    }
}
