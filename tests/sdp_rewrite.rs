//! Any description we accept, rewritten by any plan: it can be read again, says what the plan said, keeps what was not
//! ours to change, and rewriting it once more the same way changes nothing.

use proptest::prelude::*;
use std::net::{IpAddr, SocketAddr};
use strowger::sdp::{CodecFilter, Media, MediaPlan, OwnOrigin, Session, rewrite};

const SESSION_LINES: [&str; 12] = [
    "i=info",
    "u=http://example.com",
    "c=IN IP4 10.0.0.5",
    "c=IN IP6 2001:db8::5",
    "c=IN IP4 0.0.0.0",
    "c=IN IP4 host.example.com",
    "b=AS:64",
    "t=0 0",
    "a=sendonly",
    "a=group:BUNDLE 0 1",
    "a=ice-ufrag:x",
    "a=X-own:kept",
];

const MEDIA_HEADS: [&str; 7] = [
    "m=audio 4000 RTP/AVP 0 8 18 96 101 13",
    "m=audio 0 RTP/AVP 0",
    "m=audio 4000/2 RTP/SAVPF 96 97 101 102",
    "m=video 5000 RTP/AVP 31 34 98 99",
    "m=image 6000 udptl t38",
    "m=application 7000 UDP/DTLS/SCTP webrtc-datachannel",
    "m=AUDIO 65535  RTP/AVP  8\t0",
];

const MEDIA_LINES: [&str; 22] = [
    "i=voice",
    "c=IN IP4 10.0.0.9",
    "c=IN IP4 0.0.0.0",
    "c=IN IP6 2001:db8::9",
    "b=AS:64",
    "t=1 1",
    "a=rtpmap:96 opus/48000/2",
    "a=rtpmap:97 telephone-event/48000",
    "a=rtpmap:101 telephone-event/8000",
    "a=rtpmap:98 H264/90000",
    "a=rtpmap:99 rtx/90000",
    "a=fmtp:99 apt=98",
    "a=fmtp:96 useinbandfec=1",
    "a=rtcp-fb:98 nack",
    "a=rtcp:4001 IN IP4 10.0.0.5",
    "a=rtcp-mux",
    "a=candidate:1 1 UDP 1 10.0.0.5 4000 typ host",
    "a=sendrecv",
    "a=inactive",
    "a=mid:0",
    "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:xyz",
    "a=X-own:kept",
];

fn lines(from: &'static [&'static str], most: usize) -> impl Strategy<Value = Vec<&'static str>> {
    prop::collection::vec(prop::sample::select(from), 0..most)
}

prop_compose! {
    fn description()(
        session in lines(&SESSION_LINES, 6),
        media in prop::collection::vec((prop::sample::select(&MEDIA_HEADS[..]), lines(&MEDIA_LINES, 10)), 0..5),
        end in prop::sample::select(&["\r\n", "\n"][..]),
        noise in prop::option::weighted(0.2, (any::<prop::sample::Index>(), any::<u8>())),
    ) -> (bytes::Bytes, bool) {
        let mut all = vec!["v=0", "o=alice 5 6 IN IP4 10.0.0.5", "s=secret"];
        all.extend(session);
        for (head, lines) in media {
            all.push(head);
            all.extend(lines);
        }
        let mut text: Vec<u8> = all.iter().flat_map(|line| [line.as_bytes(), end.as_bytes()].concat()).collect();
        if let Some((at, byte)) = noise {
            let at = at.index(text.len());
            text[at] = byte;
        }
        (bytes::Bytes::from(text), noise.is_some())
    }
}

#[derive(Clone, Debug)]
struct Planned {
    v6: bool,
    port: u16,
    rtcp_apart: bool,
    mux: bool,
    filter: usize,
}

fn planned() -> impl Strategy<Value = Vec<Planned>> {
    let one = (any::<bool>(), prop_oneof![1 => Just(0u16), 4 => 1u16..65_000], any::<bool>(), any::<bool>(), 0usize..4)
        .prop_map(|(v6, port, rtcp_apart, mux, filter)| Planned { v6, port, rtcp_apart, mux, filter });
    prop::collection::vec(one, 0..6)
}

fn filters() -> [CodecFilter; 3] {
    [CodecFilter::default(), CodecFilter::new(&["PCMA", "opus"]), CodecFilter::new(&["H264", "G722"])]
}

fn plan_of<'a>(planned: &Planned, filters: &'a [CodecFilter]) -> MediaPlan<'a> {
    let address: IpAddr = if planned.v6 { "2001:db8::1" } else { "203.0.113.1" }.parse().unwrap();
    let rtcp = planned.port + if planned.rtcp_apart { 7 } else { 1 };
    let plan = MediaPlan::relayed(SocketAddr::new(address, planned.port), SocketAddr::new(address, rtcp));
    MediaPlan { codecs: filters.get(planned.filter), ..plan.with_mux(planned.mux) }
}

fn check_live(before: &Media<'_>, after: &Media<'_>, plan: &MediaPlan<'_>) {
    assert_eq!(after.rtp(), Some(SocketAddr::new(plan.address, plan.port)));
    assert_eq!(after.rtcp(), Some(SocketAddr::new(plan.address, plan.rtcp_port)));
    assert_eq!(after.rtcp_mux, plan.rtcp_mux);
    assert_eq!(after.effective_direction(), before.effective_direction());
    assert_eq!(after.encrypted, before.encrypted);
    for attribute in ["candidate", "ice-ufrag", "source-filter"] {
        assert_eq!(after.attribute(attribute), None);
    }
    for attribute in ["crypto", "X-own", "mid"] {
        assert_eq!(after.attribute(attribute), before.attribute(attribute));
    }
    let formats = |media: &Media<'_>| -> Vec<String> {
        String::from_utf8_lossy(media.formats).split_ascii_whitespace().map(str::to_owned).collect()
    };
    let offered = formats(before);
    assert!(formats(after).iter().all(|format| offered.contains(format)));
    match plan.codecs {
        Some(filter) if !filter.is_empty() => assert!(filter.accepts(before)),
        _ => assert_eq!(formats(after), offered),
    }
    for codec in after.codecs() {
        assert_eq!(before.codec(codec.payload_type), Some(codec), "what passes keeps its attributes");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn what_we_write_says_what_was_planned((text, is_noisy) in description(), planned in planned()) {
        let Ok(before) = Session::parse(&text) else { return Ok(()) };
        let filters = filters();
        let plan: Vec<_> = planned.iter().map(|planned| plan_of(planned, &filters)).collect();
        let origin = OwnOrigin { id: 9, version: 3, address: "203.0.113.1".parse().unwrap() };
        let mut out = Vec::new();
        let rewritten = rewrite(&before, &plan, origin, &mut out);

        let after = Session::parse(&out).expect("what we write can be read");
        prop_assert_eq!((after.origin.user, after.origin.id, after.origin.version), (&b"-"[..], &b"9"[..], &b"3"[..]));
        if !is_noisy {
            prop_assert!(!String::from_utf8_lossy(&out).contains("10.0.0."), "no address of the peer is left");
        }
        prop_assert_eq!(after.media.len(), before.media.len());
        prop_assert_eq!(after.attribute("X-own"), before.attribute("X-own"));
        let mut live = 0;
        for (index, (before, after)) in before.media.iter().zip(&after.media).enumerate() {
            prop_assert_eq!((before.kind, before.protocol), (after.kind, after.protocol));
            if after.is_rejected() {
                let plan = plan.get(index).filter(|plan| plan.port != 0 && !before.is_rejected());
                let refused = plan.is_none_or(|plan| plan.codecs.is_some_and(|filter| !filter.accepts(before)));
                prop_assert!(refused, "rejected only where the peer, the plan or the filter did");
                continue;
            }
            live += 1;
            check_live(before, after, &plan[index]);
        }
        prop_assert_eq!(rewritten.live, live);

        let mut twice = Vec::new();
        rewrite(&after, &plan, origin, &mut twice);
        prop_assert_eq!(String::from_utf8_lossy(&twice), String::from_utf8_lossy(&out));
    }
}
