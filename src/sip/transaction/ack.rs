//! The ACK to a final response other than 2xx, which belongs to the INVITE's transaction (RFC 3261 §17.1.1.3).

use crate::sip::wire::{Builder, HeaderName, Message, Method};

/// Appends the ACK. Everything is the INVITE's but To, which has the response's tag. Credentials are repeated (§22.1).
pub(super) fn write(invite: &Message<'_>, response: &Message<'_>, out: &mut Vec<u8>) {
    Builder::request(out, Method::Ack, invite.uri().raw())
        .header(HeaderName::Via, invite.via().raw())
        .number(HeaderName::MaxForwards, 70)
        .copy(HeaderName::Route, invite)
        .header(HeaderName::From, invite.from().raw())
        .header(HeaderName::To, response.to().raw())
        .header(HeaderName::CallId, invite.call_id())
        .cseq(invite.cseq().0, Method::Ack)
        .copy(HeaderName::Authorization, invite)
        .copy(HeaderName::ProxyAuthorization, invite)
        .finish();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::wire::{Framing, Index, parse};

    #[test]
    fn the_example_of_section_17_1_1_3() {
        let invite = b"INVITE sip:bob@biloxi.com SIP/2.0\r\n\
            Via: SIP/2.0/UDP pc33.atlanta.com;branch=z9hG4bKkjshdyff, SIP/2.0/UDP other;branch=z9hG4bKx\r\n\
            Route: <sip:p1;lr>, <sip:p2;lr>\r\nProxy-Authorization: Digest username=\"a\"\r\n\
            To: Bob <sip:bob@biloxi.com>\r\nFrom: Alice <sip:alice@atlanta.com>;tag=88sja8x\r\n\
            Max-Forwards: 3\r\nCall-ID: 987asjd97y7atg\r\nCSeq: 986759 INVITE\r\nContent-Length: 2\r\n\r\nhi";
        let response = b"SIP/2.0 486 Busy Here\r\nVia: SIP/2.0/UDP pc33.atlanta.com;branch=z9hG4bKkjshdyff\r\n\
            To: Bob <sip:bob@biloxi.com>;tag=99sa0xk\r\nFrom: Alice <sip:alice@atlanta.com>;tag=88sja8x\r\n\
            Call-ID: 987asjd97y7atg\r\nCSeq: 986759 INVITE\r\nContent-Length: 0\r\n\r\n";
        let (mut one, mut two) = (Index::new(), Index::new());
        let invite = parse(invite, &mut one, Framing::Datagram).unwrap();
        let response = parse(response, &mut two, Framing::Datagram).unwrap();
        let mut out = Vec::new();
        write(&invite, &response, &mut out);
        let text = String::from_utf8(out).unwrap();
        assert_eq!(
            text,
            "ACK sip:bob@biloxi.com SIP/2.0\r\nVia: SIP/2.0/UDP pc33.atlanta.com;branch=z9hG4bKkjshdyff\r\n\
             Max-Forwards: 70\r\nRoute: <sip:p1;lr>, <sip:p2;lr>\r\nFrom: Alice <sip:alice@atlanta.com>;tag=88sja8x\r\n\
             To: Bob <sip:bob@biloxi.com>;tag=99sa0xk\r\nCall-ID: 987asjd97y7atg\r\nCSeq: 986759 ACK\r\n\
             Proxy-Authorization: Digest username=\"a\"\r\nContent-Length: 0\r\n\r\n"
        );
        let mut index = Index::new();
        assert_eq!(parse(text.as_bytes(), &mut index, Framing::Datagram).unwrap().method(), Method::Ack);
    }
}
