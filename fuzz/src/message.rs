//! Any octets as a message: nothing panics, what is read is written and read again the same, what is refused is answered
//! with something that cannot carry more than it should.

use strowger::sip::wire::{
    Builder, Framing, HeaderName, Index, Message, OwnedMessage, Rewrite, parse, reject_to, unquote,
};

/// Reads, looks at everything, writes.
pub fn run(octets: &[u8]) {
    for framing in [Framing::Datagram, Framing::Stream] {
        match parse(octets, &mut Index::new(), framing) {
            Ok(message) => {
                look(message);
                untouched(message);
                edited(message);
                answered(message);
            }
            Err(error) => refused(octets, &error),
        }
    }
}

fn within(whole: &[u8], part: &[u8]) {
    let (whole, part) = (whole.as_ptr_range(), part.as_ptr_range());
    assert!(part.is_empty() || whole.start <= part.start && part.end <= whole.end);
}

fn look(message: Message<'_>) {
    let raw = message.raw();
    for part in [message.method_bytes(), message.uri().raw(), message.reason(), message.call_id(), message.body()] {
        within(raw, part);
    }
    assert!(raw.ends_with(message.body()));
    assert!(!message.call_id().is_empty() && !message.method_bytes().is_empty());
    assert!(message.is_request() != (100..700).contains(&message.status()));
    let via = message.via();
    within(raw, via.branch().unwrap_or_default());
    assert!(!via.host().is_empty() && message.vias().next().is_some());
    let _ = (via.transport(), via.received_ip(), via.host_ip(), via.port(), via.rport(), via.params().count());
    let first = [message.contact(), message.route()];
    for address in [message.from(), message.to()].into_iter().chain(first.into_iter().flatten()) {
        within(raw, address.uri_raw());
        within(raw, address.tag().unwrap_or_default());
        assert!(!address.uri_raw().is_empty());
        let _ = (address.q(), address.expires(), unquote(address.display()), address.uri().user_unescaped());
    }
    assert_eq!(message.contact().map(|contact| contact.raw()), message.contacts().next().map(|contact| contact.raw()));
    for name in [HeaderName::Via, HeaderName::Contact, HeaderName::Route, HeaderName::Supported] {
        let mut values = message.values(name);
        assert!(values.all(|value| !value.is_empty()));
        assert_eq!(message.header(name), message.lines_of(name).next());
    }
    for header in message.headers() {
        assert!(!header.raw_name.is_empty());
        within(raw, header.value);
        assert!(message.header_named(header.raw_name).is_some());
    }
    let _ = (message.expires(), message.max_forwards(), message.cseq(), message.content_type());
}

type Said = (Vec<u8>, Vec<(HeaderName, Vec<u8>, Vec<u8>)>, Vec<u8>);

fn said(message: Message<'_>) -> Said {
    let lines = message.headers().map(|header| (header.name, header.raw_name.to_vec(), header.value.to_vec()));
    (message.start_line().to_vec(), lines.collect(), message.body().to_vec())
}

fn again<T>(bytes: &[u8], check: impl FnOnce(Message<'_>) -> T) -> T {
    match parse(bytes, &mut Index::new(), Framing::Stream) {
        Ok(message) => check(message),
        Err(error) => panic!("{error}: {}", String::from_utf8_lossy(bytes)),
    }
}

fn untouched(message: Message<'_>) {
    let mut out = Vec::new();
    Rewrite::new(message).write(&mut out);
    let expected = said(message);
    let found = again(&out, said);
    if message.header(HeaderName::ContentLength).is_some() {
        assert_eq!(out, message.raw());
    }
    assert_eq!((&found.0, &found.2), (&expected.0, &expected.2));
    assert_eq!(said(OwnedMessage::from(message).view()), expected);
}

fn edited(message: Message<'_>) {
    let mut out = Vec::new();
    let source = "[2001:db8::7]:5070".parse().expect("an address");
    let mut rewrite = Rewrite::new(message);
    rewrite
        .stamp_via(source)
        .set(HeaderName::MaxForwards, &b"5"[..])
        .remove(HeaderName::Route)
        .append(b"X-Own", message.call_id())
        .append(HeaderName::Subject, message.body())
        .body(Some(b"text/plain"), &b"body"[..]);
    rewrite.write(&mut out);
    // Sixteen bits bound a message; edits may make one longer than that.
    if out.len() > strowger::sip::wire::MESSAGE_BYTES_MAX
        || message.headers().count() + 4 > strowger::sip::wire::HEADERS_MAX
    {
        return;
    }
    again(&out, |edited| {
        assert_eq!(edited.body(), b"body");
        assert_eq!(edited.max_forwards(), Some(5));
        assert_eq!(edited.via().received_ip(), Some(source.ip()).filter(|_| stamped(message)));
        let unknown = |message: Message<'_>| -> Vec<Vec<u8>> {
            let unknown = message.headers().filter(|header| header.name == HeaderName::Other);
            unknown
                .filter(|header| !header.raw_name.eq_ignore_ascii_case(b"X-Own"))
                .map(|header| header.value.to_vec())
                .collect()
        };
        assert_eq!(unknown(edited), unknown(message));
    });
}

/// `received` is written unless sent-by says the same already (RFC 3261 §18.2.1).
fn stamped(message: Message<'_>) -> bool {
    message.via().rport().is_some() || message.via().host_ip() != Some("2001:db8::7".parse().expect("an address"))
}

fn answered(message: Message<'_>) {
    if !message.is_request() {
        return;
    }
    let mut out = Vec::new();
    let source = "192.0.2.1:5060".parse().expect("an address");
    Builder::response_to(&mut out, &message, source, 486, message.call_id(), Some(b"own")).finish();
    if out.len() > strowger::sip::wire::MESSAGE_BYTES_MAX {
        return;
    }
    again(&out, |response| {
        assert_eq!((response.status(), response.call_id(), response.cseq()), (486, message.call_id(), message.cseq()));
        assert_eq!(response.via().branch(), message.via().branch());
        assert_eq!(response.from().tag(), message.from().tag());
        assert_eq!(response.to().tag(), message.to().tag().or(Some(b"own")));
        assert_eq!(response.vias().count(), message.vias().count());
    });
}

fn refused(octets: &[u8], error: &strowger::sip::wire::ParseError) {
    let mut out = b"before".to_vec();
    let source = "192.0.2.1:5060".parse().expect("an address");
    if !reject_to(octets, error, source, b"own", &mut out) {
        assert_eq!(out, b"before");
        return;
    }
    let text = &out[6..];
    assert!(text.starts_with(b"SIP/2.0 ") && text.ends_with(b"\r\nContent-Length: 0\r\n\r\n"));
    // Each line is one of those written on purpose.
    for line in text[..text.len() - 4].split(|octet| *octet == b'\n').skip(1) {
        let name = line.split(|octet| *octet == b':').next().unwrap_or_default();
        assert!([&b"Via"[..], b"From", b"To", b"Call-ID", b"CSeq", b"Content-Length"].contains(&name));
    }
}
