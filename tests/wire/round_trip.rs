//! What is written is read as it was meant; what is edited keeps the rest octet by octet.

use proptest::prelude::*;
use strowger::sip::wire::{Builder, Framing, HeaderName, Index, Message, Method, NameAddr, Rewrite, parse};

use crate::generate::{Address, Generated, Style, generate};

fn text(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

fn read<T>(bytes: &[u8], check: impl FnOnce(Message<'_>) -> T) -> T {
    match parse(bytes, &mut Index::new(), Framing::Stream) {
        Ok(message) => check(message),
        Err(error) => panic!("{error}:\n{}", text(bytes)),
    }
}

fn addresses<'a>(found: impl Iterator<Item = NameAddr<'a>>) -> Vec<String> {
    found.map(|address| text(address.uri_raw()).into_owned()).collect()
}

fn uris(expected: &[Address]) -> Vec<String> {
    expected.iter().map(|address| address.uri.clone()).collect()
}

/// Everything the generated message says is what the parser reads.
fn check(message: &Message<'_>, expected: &Generated) {
    let context = text(&expected.bytes);
    assert_eq!(message.is_request(), expected.request, "{context}");
    assert_eq!(text(message.method_bytes()), expected.method, "{context}");
    assert_eq!(message.method(), Method::from_token(expected.method.as_bytes()));
    if expected.request {
        assert_eq!(text(message.uri().raw()), expected.uri, "{context}");
    } else {
        assert_eq!(message.status(), expected.status);
    }
    let vias: Vec<_> = message
        .vias()
        .map(|via| (text(via.host()).into_owned(), via.port(), text(via.branch().unwrap()).into_owned()))
        .collect();
    assert_eq!(vias, expected.vias, "{context}");
    assert_eq!(message.via().branch(), Some(expected.vias[0].2.as_bytes()));
    for (found, expected) in [(message.from(), &expected.from), (message.to(), &expected.to)] {
        assert_eq!(text(found.uri_raw()), expected.uri, "{context}");
        assert_eq!(found.tag().map(text).as_deref(), expected.tag.as_deref(), "{context}");
    }
    assert_eq!(text(message.call_id()), expected.call_id, "{context}");
    assert_eq!(message.cseq().0, expected.cseq, "{context}");
    assert_eq!(message.max_forwards(), expected.max_forwards, "{context}");
    assert_eq!(addresses(message.contacts()), uris(&expected.contacts), "{context}");
    assert_eq!(addresses(message.routes()), uris(&expected.routes), "{context}");
    assert_eq!(message.contact().is_some(), !expected.contacts.is_empty());
    assert_eq!(unknown(message), expected.unknown, "{context}");
    assert_eq!(message.body(), expected.body, "{context}");
}

fn unknown(message: &Message<'_>) -> Vec<(String, String)> {
    message
        .headers()
        .filter(|header| header.name == HeaderName::Other)
        .map(|header| (text(header.raw_name).into_owned(), text(header.value).into_owned()))
        .collect()
}

/// The header lines as they stand in the message, names and blanks included.
fn raw_lines(bytes: &[u8]) -> Vec<Vec<u8>> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 2;
    let mut lines: Vec<Vec<u8>> = Vec::new();
    for line in bytes[..end].split_inclusive(|octet| *octet == b'\n').skip(1) {
        match lines.last_mut() {
            Some(last) if matches!(line[0], b' ' | b'\t') => last.extend_from_slice(line),
            _ => lines.push(line.to_vec()),
        }
    }
    lines
}

fn named(line: &[u8]) -> HeaderName {
    let name = line.split(|octet| *octet == b':').next().unwrap();
    HeaderName::from_token(name.trim_ascii_end())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read(seed: u64) {
        for style in [Style::Free, Style::Plain] {
            let expected = generate(seed, style);
            read(&expected.bytes, |message| check(&message, &expected));
        }
    }

    #[test]
    fn without_edits_nothing_changes(seed: u64) {
        let expected = generate(seed, Style::Free);
        let mut out = Vec::new();
        read(&expected.bytes, |message| Rewrite::new(message).write(&mut out));
        prop_assert_eq!(out, expected.bytes);
    }

    #[test]
    fn edits_leave_other_lines_as_they_came(seed: u64, value in "[ -~]{0,30}", hops: u8) {
        let expected = generate(seed, Style::Free);
        let hops = hops.to_string();
        let mut out = Vec::new();
        read(&expected.bytes, |message| {
            let mut rewrite = Rewrite::new(message);
            rewrite
                .set(HeaderName::MaxForwards, hops.as_bytes())
                .remove(HeaderName::Route)
                .prepend(HeaderName::Via, &b"SIP/2.0/UDP own.example;branch=z9hG4bKown"[..])
                .append(HeaderName::UserAgent, value.as_bytes())
                .body(Some(b"text/plain"), &b"new body"[..]);
            rewrite.write(&mut out);
        });
        read(&out, |message| {
            assert_eq!(message.via().branch(), Some(&b"z9hG4bKown"[..]));
            assert_eq!(message.vias().count(), expected.vias.len() + 1);
            assert_eq!(message.max_forwards().map(|hops| hops.to_string()).as_deref(), Some(&*hops));
            assert_eq!(message.header(HeaderName::UserAgent), Some(value.trim_ascii().as_bytes()));
            assert_eq!((message.route().is_none(), message.body()), (true, &b"new body"[..]));
            assert_eq!(unknown(&message), expected.unknown);
        });
        const EDITED: [HeaderName; 5] = [
            HeaderName::MaxForwards, HeaderName::Route, HeaderName::UserAgent, HeaderName::ContentType, HeaderName::ContentLength,
        ];
        let kept = |bytes: &[u8]| -> Vec<Vec<u8>> {
            raw_lines(bytes).into_iter().filter(|line| !EDITED.contains(&named(line)) && !line.ends_with(b"bKown\r\n")).collect()
        };
        prop_assert_eq!(kept(&out), kept(&expected.bytes));
    }

    #[test]
    fn a_response_carries_what_it_must(seed: u64, status in 100u16..700) {
        let expected = generate(seed, Style::Free);
        if !expected.request {
            return Ok(());
        }
        let mut out = Vec::new();
        read(&expected.bytes, |message| {
            let source = "203.0.113.5:7777".parse().unwrap();
            Builder::response_to(&mut out, &message, source, status, "Any", Some(b"ours"))
                .copy(HeaderName::Route, &message)
                .number(HeaderName::Expires, 77)
                .header_named(b"X-Own", b"a\r\nb")
                .body(b"text/plain", b"body");
        });
        read(&out, |message| {
            assert_eq!((message.status(), message.cseq().0, message.expires()), (status, expected.cseq, Some(77)));
            assert_eq!(text(message.call_id()), expected.call_id);
            let branches: Vec<_> = message.vias().map(|via| text(via.branch().unwrap()).into_owned()).collect();
            let sent: Vec<_> = expected.vias.iter().map(|via| via.2.clone()).collect();
            assert_eq!(branches, sent);
            assert_eq!(message.via().received_ip(), Some("203.0.113.5".parse().unwrap()));
            assert_eq!(message.to().tag().map(text).as_deref(), Some(expected.to.tag.as_deref().unwrap_or("ours")));
            assert_eq!(addresses(message.routes()), uris(&expected.routes));
            assert_eq!((message.header_named(b"x-own"), message.body()), (Some(&b"a b"[..]), &b"body"[..]));
        });
    }

    #[test]
    fn no_octets_make_it_panic(seed: u64, at: usize, octets in proptest::collection::vec(any::<u8>(), 0..6), cut: usize) {
        let mut bytes = generate(seed, Style::Free).bytes;
        let at = at % bytes.len();
        let end = (at + octets.len()).min(bytes.len());
        bytes.splice(at..end, octets);
        bytes.truncate(cut % (bytes.len() * 4));
        for framing in [Framing::Datagram, Framing::Stream] {
            if let Ok(message) = parse(&bytes, &mut Index::new(), framing) {
                let mut out = Vec::new();
                Rewrite::new(message).pop(HeaderName::Via).stamp_via("[::1]:1".parse().unwrap()).write(&mut out);
                out.clear();
                Rewrite::new(message).write(&mut out);
                let again = OwnedLines::of(message);
                prop_assert_eq!(read(&out, OwnedLines::of), again);
            }
        }
    }
}

/// What a message says, to be compared after its index is gone.
#[derive(Debug, PartialEq)]
struct OwnedLines {
    start: Vec<u8>,
    lines: Vec<(HeaderName, Vec<u8>)>,
    body: Vec<u8>,
}

impl OwnedLines {
    fn of(message: Message<'_>) -> Self {
        let lines = message.headers().map(|header| (header.name, header.value.to_vec()));
        let lines = lines.filter(|(name, _)| *name != HeaderName::ContentLength).collect();
        Self { start: message.start_line().to_vec(), lines, body: message.body().to_vec() }
    }
}
