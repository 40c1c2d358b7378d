//! The 49 torture messages of RFC 4475 (and the one in its archive that no section names): each gets the verdict that
//! `data/rfc4475.tsv` writes down, and the accepted ones are read as the RFC says they are.

mod torture;

use strowger::sip::wire::{
    Builder, Framing, HeaderName, Index, Message, Method, Rewrite, Scheme, Uri, parse, reject, unquote,
};
use torture::{rfc4475, rfc5118};

struct Verdict {
    name: &'static str,
    section: &'static str,
    rfc: &'static str,
    ours: &'static str,
}

fn verdicts() -> Vec<Verdict> {
    include_str!("data/rfc4475.tsv")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .skip(1)
        .map(|line| match line.split('\t').collect::<Vec<_>>()[..] {
            [name, section, _, rfc, ours] => Verdict { name, section, rfc, ours },
            _ => panic!("not five columns: {line}"),
        })
        .collect()
}

fn bytes(name: &str) -> &'static [u8] {
    rfc4475::case(name).unwrap_or_else(|| panic!("no message {name}")).bytes
}

/// What we do with these bytes, as the table writes it.
fn ours(bytes: &[u8]) -> String {
    match parse(bytes, &mut Index::new(), Framing::Datagram) {
        Ok(_) => "accept".to_owned(),
        Err(error) if error.status == 0 => "drop".to_owned(),
        Err(error) => format!("{} {}", error.status, error.reason),
    }
}

fn read(name: &str, check: impl FnOnce(Message<'_>)) {
    let mut index = Index::new();
    match parse(bytes(name), &mut index, Framing::Datagram) {
        Ok(message) => check(message),
        Err(error) => panic!("{name}: {error}"),
    }
}

#[test]
fn every_message_gets_its_verdict() {
    let verdicts = verdicts();
    assert_eq!(verdicts.iter().filter(|verdict| verdict.section != "-").count(), 49);
    assert_eq!(verdicts.len(), rfc4475::CASES.len());
    for verdict in &verdicts {
        let found = ours(bytes(verdict.name));
        assert_eq!(found, verdict.ours, "{} ({})", verdict.name, verdict.section);
        let allowed = match verdict.rfc {
            "accept" => found == "accept",
            "reject" => found != "accept",
            "either" | "none" => true,
            other => panic!("{}: unknown verdict {other}", verdict.name),
        };
        assert!(allowed, "{}: the RFC says {}, we {found}", verdict.name, verdict.rfc);
    }
}

#[test]
fn refused_requests_are_answered_and_responses_are_not() {
    for verdict in verdicts().iter().filter(|verdict| verdict.ours != "accept") {
        let bytes = bytes(verdict.name);
        let error = parse(bytes, &mut Index::new(), Framing::Datagram).unwrap_err();
        let mut out = Vec::new();
        let answered = reject(bytes, &error, b"ours", &mut out);
        // Nothing can be answered without From, To, Call-ID, CSeq and Via (insuf; test has no Via and no CSeq).
        assert_eq!(answered, !["drop"].contains(&verdict.ours) && !["insuf", "test"].contains(&verdict.name));
        if answered {
            let start = format!("SIP/2.0 {}\r\n", verdict.ours);
            assert!(out.starts_with(start.as_bytes()), "{}: {}", verdict.name, String::from_utf8_lossy(&out));
            assert!(out.ends_with(b"\r\n\r\n"));
        } else {
            assert!(out.is_empty());
        }
    }
}

#[test]
fn accepted_messages_leave_as_they_came_and_are_read_again() {
    for verdict in verdicts().iter().filter(|verdict| verdict.ours == "accept") {
        read(verdict.name, |message| {
            let mut out = Vec::new();
            Rewrite::new(message).write(&mut out);
            if message.header(HeaderName::ContentLength).is_some() {
                assert_eq!(out, message.raw(), "{}", verdict.name);
            }
            assert_eq!(ours(&out), "accept", "{}", verdict.name);
            if message.is_request() {
                out.clear();
                Builder::response(&mut out, &message, 486, "Busy Here", Some(b"ours")).finish();
                assert_eq!(ours(&out), "accept", "{}: {}", verdict.name, String::from_utf8_lossy(&out));
            }
        });
    }
}

#[test]
fn a_tortuous_invite() {
    read("wsinv", |message| {
        assert_eq!((message.max_forwards(), message.cseq()), (Some(68), (9, Method::Invite)));
        assert_eq!((message.to().tag(), message.from().tag()), (Some(&b"1918181833n"[..]), Some(&b"98asjd8"[..])));
        assert_eq!(&*message.from().display_unquoted(), br#"J Rosenberg \""#);
        assert_eq!(message.header(HeaderName::Subject), Some(&b""[..]));
        assert_eq!(message.header_named(b"unknownheaderwithunusualvalue"), Some(&b";;,,;;,;"[..]));
        let vias: Vec<_> = message.vias().map(|via| (via.host(), via.branch().unwrap())).collect();
        assert_eq!(
            vias,
            [
                (&b"192.0.2.2"[..], &b"390skdjuw"[..]),
                (b"spindle.example.com", b"z9hG4bK9ikj8"),
                (b"192.168.255.111", b"z9hG4bK30239")
            ]
        );
        let contact = message.contact().unwrap();
        assert_eq!((contact.q(), contact.param(b"newparam")), (330, Some(&b"newvalue"[..])));
        assert_eq!(&*contact.display_unquoted(), br#"Quoted string """#);
        assert_eq!(message.route().unwrap().uri().param(b"unknownwith"), Some(&b"value"[..]));
        assert_eq!(message.body().len(), 150);
    });
}

#[test]
fn a_wide_range_of_characters() {
    read("intmeth", |message| {
        assert_eq!(message.method(), Method::Other);
        assert_eq!(message.method_bytes(), b"!interesting-Method0123456789_*+`.%indeed'~");
        assert_eq!(message.uri().host(), b"example.com");
        assert_eq!(message.uri().user(), Some(&b"1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"[..]));
        assert_eq!(message.uri().password(), Some(&b"&it+has=1,weird!*pas$wo~d_too.(doesn't-it)"[..]));
        assert_eq!(&*message.to().display_unquoted(), b"BEL:\x07 NUL:\0 DEL:\x7f");
        assert_eq!(message.from().tag(), Some(&b"_token~1'+`*%!-."[..]));
        assert_eq!(unquote(message.from().param(b"fromParam''~+*_!.-%").unwrap()).len(), 20);
        assert_eq!(message.max_forwards(), Some(255));
    });
}

#[test]
fn escapes_are_read_once_and_only_in_uris() {
    read("esc01", |message| {
        assert_eq!(message.uri().user_unescaped().as_deref(), Some(&b"sips:user@example.com"[..]));
        assert!(message.to().uri().same_as(&Uri::parse(b"sip:user@example.com").unwrap()));
        assert_eq!(message.from().uri().user_unescaped().as_deref(), Some(&b"I have spaces"[..]));
        let contact = message.contact().unwrap().uri();
        assert_eq!((contact.param(b"lr"), contact.param(b"name")), (Some(&b""[..]), Some(&b"v%61lue%25%34%31"[..])));
        assert!(contact.same_as(&Uri::parse(b"sip:caller@host5.example.net;lr;name=value%2541").unwrap()));
        assert!(!contact.same_as(&Uri::parse(b"sip:caller@host5.example.net;lr;name=valueA").unwrap()));
    });
    read("escnull", |message| {
        let users: Vec<_> = message.contacts().map(|contact| contact.uri().user_unescaped().unwrap()).collect();
        assert_eq!(users, [&b"\0"[..], b"\0\0"]);
        assert_eq!(message.to().uri().user_unescaped().unwrap().len(), "null-.-null".len());
    });
    read("esc02", |message| {
        assert_eq!((message.method(), message.method_bytes()), (Method::Other, &b"RE%47IST%45R"[..]));
        let users: Vec<_> = message.contacts().map(|contact| contact.uri().user().unwrap()).collect();
        assert_eq!(users, [&b"alias1"[..], b"alias3"]);
        assert_eq!(&*message.to().display_unquoted(), b"%Z%45");
    });
    read("semiuri", |message| {
        assert_eq!(message.uri().user_unescaped().as_deref(), Some(&b"user;par=u@example.net"[..]));
        assert_eq!(message.uri().param(b"par"), None);
        assert_eq!(message.values(HeaderName::Accept).count(), 6);
    });
}

#[test]
fn long_values_are_whole() {
    read("longreq", |message| {
        assert_eq!(message.vias().count(), 34);
        assert_eq!(message.via().host(), b"sip33.example.com");
        assert_eq!(message.vias().last().unwrap().received_ip(), Some("192.0.2.5".parse().unwrap()));
        let tag = message.from().tag().unwrap();
        assert!(tag.starts_with(b"12982982982") && tag.ends_with(b"982982424") && tag.len() == 155);
        assert_eq!(message.to().uri().port(), Some(6000));
    });
}

#[test]
fn framing_goes_by_content_length() {
    read("dblreq", |message| {
        assert_eq!((message.method(), message.body()), (Method::Register, &b""[..]));
        assert!(message.raw().ends_with(b"\r\n\r\n") && message.raw().len() == bytes("dblreq").len() - 450);
    });
    read("mpart01", |message| {
        assert_eq!(message.body().len(), 553);
        assert!(message.body().contains(&0));
    });
    read("inv2543", |message| {
        assert_eq!((message.body().len(), message.from().tag(), message.max_forwards()), (105, None, None));
        assert_eq!((message.via().branch(), message.to().param(b"user")), (None, Some(&b"phone"[..])));
    });
}

#[test]
fn status_lines() {
    read("unreason", |message| {
        assert_eq!(
            (message.status(), message.reason().len()),
            (200, bytes("unreason").iter().position(|octet| *octet == b'\r').unwrap() - 12)
        );
    });
    read("noreason", |message| assert_eq!((message.status(), message.reason()), (100, &b""[..])));
    read("bcast", |message| assert_eq!(message.vias().nth(1).unwrap().host(), b"255.255.255.255"));
}

#[test]
fn what_the_rooms_above_need_to_decide() {
    read("badbranch", |message| assert_eq!(message.via().branch(), Some(&b"z9hG4bK"[..])));
    read("unkscm", |message| assert_eq!(message.uri().scheme(), Scheme::Other));
    read("novelsc", |message| assert_eq!(message.uri().raw(), b"soap.beep://192.0.2.103:3002"));
    read("unksm2", |message| {
        assert_eq!(message.to().uri_raw(), b"isbn:2983792873");
        assert_eq!(message.from().uri_raw(), b"http://www.example.com");
        assert_eq!(message.contact().unwrap().uri_raw(), b"name:John_Smith");
    });
    read("bext01", |message| {
        assert_eq!(
            message.values(HeaderName::ProxyRequire).collect::<Vec<_>>(),
            [&b"noProxiesSupportThis"[..], b"norDoAnyProxiesSupportThis"]
        );
        assert_eq!(
            message.values(HeaderName::Require).collect::<Vec<_>>(),
            [&b"nothingSupportsThis"[..], b"nothingSupportsThisEither"]
        );
    });
    read("invut", |message| assert_eq!(message.content_type(), Some(&b"application/unknownformat"[..])));
    read("regaut01", |message| {
        assert_eq!(message.header(HeaderName::Authorization), Some(&b"NoOneKnowsThisScheme opaque-data=here"[..]));
    });
    read("zeromf", |message| assert_eq!(message.max_forwards(), Some(0)));
    read("transports", |message| {
        let known: Vec<_> = message.vias().map(|via| via.transport().is_some()).collect();
        assert_eq!(known, [true, false, true, false, true]);
    });
    read("lwsdisp", |message| assert_eq!(message.from().display(), b"caller"));
    read("sdp01", |message| assert!(!message.lists(HeaderName::Accept, b"application/sdp")));
    read("baddate", |message| {
        assert_eq!(message.header(HeaderName::Date), Some(&b"Fri, 01 Jan 2010 16:00:00 EST"[..]))
    });
}

#[test]
fn contact_parameters_and_uri_parameters() {
    read("cparam01", |message| {
        let contact = message.contact().unwrap();
        assert_eq!((contact.param(b"unknownparam"), contact.uri().param(b"unknownparam")), (Some(&b""[..]), None));
    });
    read("cparam02", |message| {
        let contact = message.contact().unwrap();
        assert_eq!((contact.param(b"unknownparam"), contact.uri().param(b"unknownparam")), (None, Some(&b""[..])));
    });
    read("regescrt", |message| {
        let contact = message.contact().unwrap();
        assert_eq!(contact.uri().headers(), b"Route=%3Csip:sip.example.com%3E");
        assert_eq!((contact.params().count(), message.route().is_none()), (0, true));
    });
}

/// RFC 4475 §3.1.2.15 as its text shows it: the archive's file lacks the empty line, which alone would have it refused.
#[test]
fn a_comma_in_an_unquoted_display_name() {
    assert_eq!(ours(&[bytes("baddn"), b"\r\n"].concat()), "400 Bad From");
    assert_eq!(ours(bytes("baddn")), "400 Headers Without End");
}

/// RFC 5118: the same for IPv6. Only §4.2, an address without brackets in the Request-URI, is refused.
#[test]
fn ipv6_addresses() {
    assert_eq!(rfc5118::CASES.len(), 12);
    for case in rfc5118::CASES {
        let verdict = ours(case.bytes);
        assert_eq!(
            verdict == "accept",
            case.name != "ipv6-bad",
            "{}: {verdict}\n{}",
            case.name,
            String::from_utf8_lossy(case.bytes)
        );
    }
    let mut index = Index::new();
    let read = |name: &str| rfc5118::case(name).unwrap().bytes;
    let wire = read("port-ambiguous");
    let message = parse(wire, &mut index, Framing::Datagram).unwrap();
    assert_eq!((message.uri().host(), message.uri().port()), (&b"[2001:db8::10:5070]"[..], None));
    let wire = read("port-unambiguous");
    let message = parse(wire, &mut index, Framing::Datagram).unwrap();
    assert_eq!((message.uri().host_ip(), message.uri().port()), (Some("2001:db8::10".parse().unwrap()), Some(5070)));
    for name in ["via-received-param-with-delim", "via-received-param-no-delim"] {
        let wire = read(name);
        let message = parse(wire, &mut index, Framing::Datagram).unwrap();
        assert_eq!(message.via().received_ip(), Some("2001:db8::9:255".parse().unwrap()), "{name}");
    }
}
