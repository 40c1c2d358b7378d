//! Whole messages through the index, the accessors and the writers.

use super::*;

const INVITE: &[u8] = b"INVITE sip:bob@biloxi.example.com;transport=udp SIP/2.0\r\n\
    Via: SIP/2.0/UDP client.atlanta.example.com:5060;branch=z9hG4bK74bf9;rport, SIP/2.0/TCP below.example.com\r\n\
    v: SIP/2.0/TLS last.example.com\r\n\
    Max-Forwards: 70\r\n\
    Route: <sip:one;lr>,\r\n <sip:two;lr>\r\n\
    From: \"Alice, A.\" <sip:alice@atlanta.example.com>;tag=9fxced76sl\r\n\
    X-Unknown:   kept,  as is \r\n\
    To: Bob <sip:bob@biloxi.example.com>\r\n\
    Call-ID: 3848276298220188511@atlanta.example.com\r\n\
    CSeq: 1 INVITE\r\n\
    Supported: 100rel , timer\r\n\
    Contact: <sip:alice@client.atlanta.example.com;transport=tcp>;q=0.5;expires=60\r\n\
    Content-Type: application/sdp\r\n\
    Content-Length: 5\r\n\
    \r\n\
    v=0\r\ntrailing";

fn with(edit: impl FnOnce(String) -> String) -> Vec<u8> {
    edit(String::from_utf8(INVITE.to_vec()).unwrap()).into_bytes()
}

fn error(bytes: &[u8]) -> ParseError {
    parse(bytes, &mut Index::new(), Framing::Datagram).unwrap_err()
}

#[test]
fn everything_a_call_needs_is_read() {
    let mut index = Index::new();
    let message = parse(INVITE, &mut index, Framing::Datagram).unwrap();
    assert!(message.is_request());
    assert_eq!((message.method(), message.method_bytes(), message.status()), (Method::Invite, &b"INVITE"[..], 0));
    assert_eq!(message.uri().user(), Some(&b"bob"[..]));
    assert_eq!(message.via().branch(), Some(&b"z9hG4bK74bf9"[..]));
    assert_eq!((message.via().port(), message.via().rport()), (Some(5060), Some(None)));
    let hosts: Vec<_> = message.vias().map(|via| via.host()).collect();
    assert_eq!(hosts, [&b"client.atlanta.example.com"[..], b"below.example.com", b"last.example.com"]);
    assert_eq!(message.max_forwards(), Some(70));
    let routes: Vec<_> = message.routes().map(|route| route.uri_raw()).collect();
    assert_eq!(routes, [&b"sip:one;lr"[..], b"sip:two;lr"]);
    assert_eq!(message.route().unwrap().uri_raw(), b"sip:one;lr");
    assert_eq!((message.from().tag(), message.to().tag()), (Some(&b"9fxced76sl"[..]), None));
    assert_eq!(message.call_id(), b"3848276298220188511@atlanta.example.com");
    assert_eq!(message.cseq(), (1, Method::Invite));
    assert!(message.lists(HeaderName::Supported, b"TIMER") && !message.lists(HeaderName::Supported, b"path"));
    let contact = message.contact().unwrap();
    assert_eq!((contact.q(), contact.expires(), contact.uri().param(b"transport")), (500, Some(60), Some(&b"tcp"[..])));
    assert_eq!(message.header_named(b"x-unknown"), Some(&b"kept,  as is"[..]));
    assert_eq!(message.header_named(b"I"), Some(message.call_id()));
    assert_eq!(message.body(), b"v=0\r\n");
    assert!(message.raw().ends_with(b"\r\n\r\nv=0\r\n"));
    assert_eq!(message.headers().count(), 13);
}

#[test]
fn a_response_is_read_and_a_bad_one_dropped() {
    let mut out = Vec::new();
    let mut index = Index::new();
    let message = parse(INVITE, &mut index, Framing::Datagram).unwrap();
    Builder::response(&mut out, &message, 200, "OK", Some(b"tt")).body(b"application/sdp", b"v=0\r\n");
    let mut index = Index::new();
    let response = parse(&out, &mut index, Framing::Stream).unwrap();
    assert_eq!((response.status(), response.reason(), response.is_request()), (200, &b"OK"[..], false));
    assert_eq!((response.method(), response.to().tag()), (Method::Invite, Some(&b"tt"[..])));
    assert_eq!(response.vias().count(), 3);
    assert_eq!(response.from().raw(), message.from().raw());
    assert_eq!(error(&out[..out.len() - 1]).status, 0);
}

#[test]
fn what_is_wrong_is_named() {
    let reason = |from: &str, to: &str| {
        assert!(std::str::from_utf8(INVITE).unwrap().contains(from), "{from}");
        let error = error(&with(|text| text.replace(from, to)));
        (error.status, error.reason)
    };
    assert_eq!(reason("CSeq: 1", "CSeq: x"), (400, "Bad CSeq"));
    assert_eq!(reason("CSeq: 1 INVITE", "CSeq: 1 ACK"), (400, "CSeq Method Mismatch"));
    assert_eq!(reason("Call-ID", "X-Call-ID"), (400, "Missing Call-ID"));
    assert_eq!(reason("Length: 5", "Length: 500"), (400, "Content-Length Beyond Message"));
    assert_eq!(reason("Length: 5", "Length: -5"), (400, "Bad Content-Length"));
    assert_eq!(reason("X-Unknown", "l"), (400, "More Than One Content-Length"));
    assert_eq!(reason("X-Unknown", "f"), (400, "More Than One From"));
    assert_eq!(reason("SIP/2.0\r\nVia", "SIP/3.0\r\nVia"), (505, "Version Not Supported"));
    assert_eq!(reason("\r\nMax-F", "\nMax-F"), (400, "Bad Header Line"));
    assert_eq!(reason("70\r\n", "70\rX: y\r\n"), (400, "Bad Header Line"));
    assert_eq!(reason("X-Unknown:", "X-Unknown"), (400, "Bad Header Line"));
    assert_eq!(reason("X-Unknown:", "X Unknown:"), (400, "Bad Header Line"));
    assert_eq!(reason("sip:two;lr>", "sip:two;lr"), (400, "Bad Route"));
}

#[test]
fn bounds_hold() {
    let many = with(|text| text.replace("X-Unknown:", &"A: b\r\n".repeat(HEADERS_MAX)));
    assert_eq!(error(&many).kind, ErrorKind::TooManyHeaders);
    let long = with(|text| text.replace("as is", &"x".repeat(MESSAGE_BYTES_MAX)));
    assert_eq!(error(&long).status, 513);
    for keepalive in [&b""[..], b"\r\n\r\n", b"\r\n", b"\0\0\0\0"] {
        assert_eq!((error(keepalive).kind, error(keepalive).status), (ErrorKind::Keepalive, 0));
    }
    let stream = with(|text| text.replace("Content-Length: 5\r\n", ""));
    let error = parse(&stream, &mut Index::new(), Framing::Stream).unwrap_err();
    assert_eq!(error.reason, "Missing Content-Length");
    let mut index = Index::new();
    assert_eq!(parse(&stream, &mut index, Framing::Datagram).unwrap().body(), b"v=0\r\ntrailing");
}

#[test]
fn every_cut_and_every_changed_octet_is_survived() {
    let mut index = Index::new();
    for end in 0..INVITE.len() {
        let _ = parse(&INVITE[..end], &mut index, Framing::Datagram);
    }
    let mut bytes = INVITE.to_vec();
    for at in 0..bytes.len() {
        let old = bytes[at];
        for new in [0, b'\r', b'\n', b' ', b'"', b'\\', b'<', b'>', b';', b',', b':', b'=', b'@', b'9', 0xff] {
            bytes[at] = new;
            let mut index = Index::new();
            let mut out = Vec::new();
            match parse(&bytes, &mut index, Framing::Datagram) {
                Ok(message) => Rewrite::new(message).stamp_via("[::1]:5".parse().unwrap()).write(&mut out),
                Err(error) => _ = reject(&bytes, &error, b"t", &mut out),
            }
        }
        bytes[at] = old;
    }
}

#[test]
fn a_reply_to_what_cannot_be_read() {
    let bad = with(|text| text.replace("CSeq: 1 INVITE", "CSeq: 1 ACK").replace("70", "x"));
    let error = error(&bad);
    let mut out = Vec::new();
    assert!(reject_to(&bad, &error, "192.0.2.9:5099".parse().unwrap(), b"tag", &mut out));
    let text = String::from_utf8(out).unwrap();
    assert_eq!(
        text,
        "SIP/2.0 400 Bad Max-Forwards\r\n\
         Via: SIP/2.0/UDP client.atlanta.example.com:5060;branch=z9hG4bK74bf9;rport=5099;received=192.0.2.9, \
         SIP/2.0/TCP below.example.com\r\n\
         Via: SIP/2.0/TLS last.example.com\r\n\
         From: \"Alice, A.\" <sip:alice@atlanta.example.com>;tag=9fxced76sl\r\n\
         To: Bob <sip:bob@biloxi.example.com>;tag=tag\r\n\
         Call-ID: 3848276298220188511@atlanta.example.com\r\n\
         CSeq: 1 ACK\r\n\
         Content-Length: 0\r\n\r\n"
    );
    let ack = with(|text| text.replace("INVITE", "ACK").replace("70", "x"));
    assert!(!reject(&ack, &super::tests::error(&ack), b"tag", &mut Vec::new()));
    let missing = with(|text| text.replace("To: ", "X-To: "));
    assert!(!reject(&missing, &super::tests::error(&missing), b"tag", &mut Vec::new()));
}

#[test]
fn edits_land_where_they_should_and_the_rest_stays() {
    let mut index = Index::new();
    let message = parse(INVITE, &mut index, Framing::Datagram).unwrap();
    let mut out = Vec::new();
    let mut rewrite = Rewrite::new(message);
    rewrite.write(&mut out);
    assert_eq!(out, message.raw());
    out.clear();
    rewrite
        .request_line(&b"INVITE"[..], &b"sip:carol@chicago.example.com"[..])
        .pop(HeaderName::Route)
        .prepend(HeaderName::Via, &b"SIP/2.0/UDP strowger;branch=z9hG4bK1"[..])
        .stamp_via("192.0.2.9:5099".parse().unwrap())
        .set(HeaderName::MaxForwards, &b"69"[..])
        .remove(HeaderName::Supported)
        .append(HeaderName::RecordRoute, &b"<sip:strowger;lr>"[..])
        .append(b"X-UNKNOWN", &b"more\r\nInjected: no"[..])
        .body(Some(b"text/plain"), &b"hello!"[..]);
    rewrite.write(&mut out);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "INVITE sip:carol@chicago.example.com SIP/2.0\r\n\
         Via: SIP/2.0/UDP strowger;branch=z9hG4bK1\r\n\
         Via: SIP/2.0/UDP client.atlanta.example.com:5060;branch=z9hG4bK74bf9;rport=5099;received=192.0.2.9, \
         SIP/2.0/TCP below.example.com\r\n\
         v: SIP/2.0/TLS last.example.com\r\n\
         Max-Forwards: 69\r\n\
         Route: <sip:two;lr>\r\n\
         From: \"Alice, A.\" <sip:alice@atlanta.example.com>;tag=9fxced76sl\r\n\
         X-Unknown:   kept,  as is \r\n\
         X-UNKNOWN: more Injected: no\r\n\
         To: Bob <sip:bob@biloxi.example.com>\r\n\
         Call-ID: 3848276298220188511@atlanta.example.com\r\n\
         CSeq: 1 INVITE\r\n\
         Contact: <sip:alice@client.atlanta.example.com;transport=tcp>;q=0.5;expires=60\r\n\
         Content-Type: text/plain\r\n\
         Content-Length: 6\r\n\
         Record-Route: <sip:strowger;lr>\r\n\
         \r\n\
         hello!"
    );
}

#[test]
fn an_owned_message_reads_the_same() {
    let mut index = Index::new();
    let message = parse(INVITE, &mut index, Framing::Datagram).unwrap();
    let owned = OwnedMessage::from(message);
    let parsed = OwnedMessage::parse(bytes::Bytes::from_static(INVITE), Framing::Datagram).unwrap();
    fn sendable<T: Send + Sync>(_: &T) {}
    sendable(&owned);
    assert_eq!(owned.view().call_id(), message.call_id());
    assert_eq!(owned.bytes(), parsed.bytes());
    assert!(owned.view().headers().eq(parsed.view().headers()));
}

#[test]
fn a_name_of_sixteen_octets_is_compared_whole() {
    for (line, expected) in [
        ("Proxy-Authorizat: x\r\n", HeaderName::Other),
        ("Proxy-Authorization: x\r\n", HeaderName::ProxyAuthorization),
        ("Content-Encoding: x\r\n", HeaderName::ContentEncoding),
        ("Content-Encodin: x\r\n", HeaderName::Other),
    ] {
        let bytes = with(|text| text.replace("X-Unknown:   kept,  as is \r\n", line));
        let mut index = Index::new();
        let message = parse(&bytes, &mut index, Framing::Datagram).unwrap();
        assert_eq!(message.headers().find(|header| header.value == b"x").unwrap().name, expected, "{line}");
    }
    assert_eq!(error(&with(|text| text.replace("X-Unknown:", "Content-EncodingX "))).kind, ErrorKind::Line);
}

#[test]
fn del_is_no_blank_around_a_value_and_begins_no_fold() {
    assert_eq!(error(&with(|text| text.replace("CSeq:", "\x7fCSeq:"))).kind, ErrorKind::Line);
    assert_eq!(error(&with(|text| text.replace("Call-ID: ", "Call-ID:\x7f"))).header, Some(HeaderName::CallId));
}

#[test]
fn the_last_line_there_is_room_for_may_be_folded() {
    let lines = with(|text| text.split("\r\n\r\n").next().unwrap_or_default().to_owned());
    let count = parse(INVITE, &mut Index::new(), Framing::Datagram).unwrap().headers().count();
    let fill = |more: usize, last: &str| {
        [&lines, "\r\nX: y".repeat(more).as_bytes(), last.as_bytes(), b"\r\n\r\nv=0\r\n"].concat()
    };
    let mut index = Index::new();
    let full = fill(HEADERS_MAX - count, "\r\n fold");
    assert_eq!(parse(&full, &mut index, Framing::Datagram).unwrap().headers().last().unwrap().value, b"y\r\n fold");
    assert_eq!(error(&fill(HEADERS_MAX - count, "\r\nX: z")).kind, ErrorKind::TooManyHeaders);
}

#[test]
fn a_star_stands_alone() {
    let contacts = |lines: &'static str| {
        with(|text| {
            text.replace("Contact: <sip:alice@client.atlanta.example.com;transport=tcp>;q=0.5;expires=60\r\n", lines)
        })
    };
    let mut index = Index::new();
    assert!(parse(&contacts("Contact: *\r\n"), &mut index, Framing::Datagram).is_ok());
    for lines in ["Contact: *\r\nm: <sip:a@b>\r\n", "m: <sip:a@b>\r\nContact: *\r\n", "Contact: *\r\nContact: *\r\n"] {
        let why = error(&contacts(lines));
        assert_eq!((why.status, why.header), (400, Some(HeaderName::Contact)), "{lines:?}");
    }
}
