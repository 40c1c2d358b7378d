//! Against `rsip` and `sipx-sip`: the same fields where the message is plain, and the written list where we differ
//! (`docs/parser-differences.md`), which has to name every torture message the three do not agree on, and no other.

use bytes::Bytes;
use proptest::prelude::*;
use rsip::headers::{ToTypedHeader as _, UntypedHeader as _};
use rsip::message::{HasHeaders as _, HeadersExt as _};
use sipx_sip::headers::{CSeq, CallId, From, MaxForwards, To, Via};
use sipx_sip::message::Message as SipxMessage;
use sipx_sip::parser::{Limits, parse_datagram};
use strowger::sip::wire::{ErrorKind, Framing, HeaderName, Index, Message, parse};

use crate::generate::{Seeded, Style, generate};
use crate::torture::{rfc4475, rfc5118};

const LIST: &str = include_str!("../../docs/parser-differences.md");

fn ours(bytes: &[u8]) -> bool {
    parse(bytes, &mut Index::new(), Framing::Datagram).is_ok()
}

fn rsip(bytes: &[u8]) -> bool {
    rsip::SipMessage::try_from(bytes).is_ok()
}

/// sipx-sip splits the work: a message may be read with a fault in a header, which validation then finds.
fn sipx(bytes: &[u8]) -> bool {
    parse_datagram(Bytes::copy_from_slice(bytes), &Limits::datagram())
        .is_ok_and(|message| sipx_sip::validate::validate(&message).is_empty())
}

const fn word(accepted: bool) -> &'static str {
    if accepted { "accept" } else { "refuse" }
}

#[test]
fn the_list_is_complete_and_true() {
    let mut rows: Vec<Vec<&str>> = LIST
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.strip_suffix(" |"))
        .map(|line| line.split(" | ").map(|cell| cell.trim_matches('`')).collect())
        .collect();
    let cases = rfc4475::CASES.iter().map(|case| (case.name, Bytes::from_static(case.bytes)));
    let cases = cases.chain(rfc5118::CASES.iter().map(|case| (case.name, Bytes::from_static(case.bytes))));
    for (name, bytes) in cases {
        let found = [ours(&bytes), rsip(&bytes), sipx(&bytes)].map(word);
        let at = rows.iter().position(|row| row[0] == name);
        let agreed = found.iter().all(|verdict| *verdict == found[0]);
        assert_eq!(at.is_some(), !agreed, "{name}: {found:?}");
        if let Some(at) = at {
            let row = rows.remove(at);
            assert_eq!(row[1..4], found, "{name}");
            assert!(row.get(4).is_some_and(|why| why.len() > 10), "{name}: why?");
        }
    }
    assert!(rows.is_empty(), "no such message: {rows:?}");
}

/// What all three parsers are asked.
#[derive(Debug, PartialEq)]
struct Fields {
    method: Vec<u8>,
    uri: Vec<u8>,
    status: u16,
    branch: Vec<u8>,
    tags: [Option<Vec<u8>>; 2],
    call_id: Vec<u8>,
    cseq: u32,
    max_forwards: Option<u8>,
    headers: usize,
    body: Vec<u8>,
}

fn our_fields(message: Message<'_>) -> Fields {
    let tag = |tag: Option<&[u8]>| tag.map(<[u8]>::to_vec);
    Fields {
        method: if message.is_request() { message.method_bytes().to_vec() } else { Vec::new() },
        uri: message.uri().raw().to_vec(),
        status: message.status(),
        branch: message.via().branch().unwrap_or_default().to_vec(),
        tags: [tag(message.from().tag()), tag(message.to().tag())],
        call_id: message.call_id().to_vec(),
        cseq: message.cseq().0,
        max_forwards: message.max_forwards(),
        headers: message.headers().count(),
        body: message.body().to_vec(),
    }
}

fn sipx_fields(bytes: &[u8]) -> Fields {
    let message = parse_datagram(Bytes::copy_from_slice(bytes), &Limits::datagram()).expect("sipx-sip reads it");
    let headers = message.headers();
    let tag = |tag: Option<&[u8]>| tag.map(<[u8]>::to_vec);
    let (method, uri, status) = match &message {
        SipxMessage::Request(request) => (request.method.as_bytes().to_vec(), request.uri.to_bytes().to_vec(), 0),
        SipxMessage::Response(response) => (Vec::new(), Vec::new(), response.status.code()),
    };
    Fields {
        method,
        uri,
        status,
        branch: headers.typed::<Via>().unwrap().unwrap().branch().unwrap_or_default().to_vec(),
        tags: [
            tag(headers.typed::<From>().unwrap().unwrap().tag()),
            tag(headers.typed::<To>().unwrap().unwrap().tag()),
        ],
        call_id: headers.typed::<CallId>().unwrap().unwrap().0,
        cseq: headers.typed::<CSeq>().unwrap().unwrap().sequence,
        max_forwards: headers.typed::<MaxForwards>().map(|hops| hops.unwrap().0),
        headers: headers.len(),
        body: message.body().to_vec(),
    }
}

fn rsip_fields(bytes: &[u8]) -> Result<Fields, rsip::Error> {
    let message = rsip::SipMessage::try_from(bytes)?;
    let (method, uri, status) = match &message {
        rsip::SipMessage::Request(request) => (request.method.to_string(), request.uri.to_string(), 0),
        rsip::SipMessage::Response(response) => (String::new(), String::new(), response.status_code.code()),
    };
    let branch = message.via_header()?.typed()?.branch().map(|branch| branch.value().as_bytes().to_vec());
    let tag = |tag: Option<&rsip::param::Tag>| tag.map(|tag| tag.value().as_bytes().to_vec());
    Ok(Fields {
        method: method.into_bytes(),
        uri: uri.into_bytes(),
        status,
        branch: branch.unwrap_or_default(),
        tags: [tag(message.from_header()?.typed()?.tag()), tag(message.to_header()?.typed()?.tag())],
        call_id: message.call_id_header()?.value().as_bytes().to_vec(),
        cseq: message.cseq_header()?.seq()?,
        max_forwards: message
            .max_forwards_header()
            .ok()
            .and_then(|hops| hops.num().ok())
            .and_then(|hops| hops.try_into().ok()),
        headers: message.headers().iter().count(),
        body: message.body().clone(),
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn three_parsers_read_a_plain_message_alike(seed: u64) {
        let generated = generate(seed, Style::Plain);
        let mut index = Index::new();
        let mut found = our_fields(parse(&generated.bytes, &mut index, Framing::Datagram).unwrap());
        prop_assert_eq!(&found, &sipx_fields(&generated.bytes));
        // rsip prints URIs anew, and a known transport in capitals.
        let mut theirs = rsip_fields(&generated.bytes).unwrap();
        found.uri.make_ascii_lowercase();
        theirs.uri.make_ascii_lowercase();
        prop_assert_eq!(&found, &theirs);
    }

    #[test]
    fn two_parsers_read_a_free_message_alike(seed: u64) {
        let generated = generate(seed, Style::Shared);
        let mut index = Index::new();
        let message = parse(&generated.bytes, &mut index, Framing::Datagram).unwrap();
        prop_assert_eq!(our_fields(message), sipx_fields(&generated.bytes));
        let theirs = parse_datagram(Bytes::from(generated.bytes.clone()), &Limits::datagram()).unwrap();
        for (ours, theirs) in message.headers().zip(theirs.headers().iter()) {
            let known = HeaderName::from_token(theirs.name().canonical());
            prop_assert!(ours.name == known);
        }
    }
}

/// Any octet changed: where one accepts and the other refuses, it is for one of the reasons the list gives.
#[test]
fn mutations_part_them_only_where_listed() {
    for seed in 0..8_000 {
        let mut bytes = generate(seed, Style::Plain).bytes;
        let mut numbers = Seeded::new(!seed);
        let at = numbers.below(bytes.len());
        let octet = numbers.below(256) as u8;
        bytes[at] = octet;
        let mut index = Index::new();
        let found = parse(&bytes, &mut index, Framing::Datagram).map(|_| ());
        if found.is_ok() == sipx(&bytes) {
            continue;
        }
        let start = bytes[..at].iter().rposition(|octet| *octet == b'\n').map_or(0, |end| end + 1);
        let name = HeaderName::from_token(bytes[start..].split(|octet| *octet == b':').next().unwrap());
        let listed = match found {
            Err(error) => match error.header {
                None if error.kind == ErrorKind::RequestUri => !octet.is_ascii_alphabetic(),
                None => error.kind == ErrorKind::Line && octet < b' ',
                Some(HeaderName::Via | HeaderName::Contact | HeaderName::Route) => true,
                // A tag without a value; a scheme that does not begin with a letter.
                Some(HeaderName::From | HeaderName::To) => !octet.is_ascii_alphabetic(),
                Some(HeaderName::CallId) => octet <= b' ' || octet == 0x7f,
                Some(_) => false,
            },
            Ok(()) => {
                start == 0
                    || matches!(name, HeaderName::Via | HeaderName::From | HeaderName::To | HeaderName::CSeq)
                    // Max-Forwards under another name, or beyond 255.
                    || !sipx_reads_max_forwards(&bytes)
            }
        };
        assert!(listed, "{found:?}, {octet:?} at {at}:\n{}", String::from_utf8_lossy(&bytes));
    }
}

fn sipx_reads_max_forwards(bytes: &[u8]) -> bool {
    parse_datagram(Bytes::copy_from_slice(bytes), &Limits::datagram())
        .is_ok_and(|message| message.headers().typed::<MaxForwards>().is_some_and(|hops| hops.is_ok()))
}
