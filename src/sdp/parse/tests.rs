//! Session descriptions, well and badly formed (RFC 8866).

use super::super::FORMATS_MAX;
use super::*;
use crate::base::Direction;

const AUDIO_AND_VIDEO: &[u8] = b"v=0\r\n\
    o=alice 2890844526 2890844527 IN IP4 host.atlanta.example.com\r\n\
    s=\r\n\
    c=IN IP4 192.0.2.1\r\n\
    t=0 0\r\n\
    a=sendonly\r\n\
    m=audio 49170 RTP/AVP 0 8 97 101\r\n\
    a=rtpmap:97 opus/48000/2\r\n\
    a=rtpmap:101 telephone-event/8000\r\n\
    a=fmtp:101 0-15\r\n\
    a=ptime:20\r\n\
    a=rtcp:53020 IN IP4 192.0.2.9\r\n\
    m=video 51372/2 RTP/SAVPF 31\r\n\
    c=IN IP6 2001:db8::5\r\n\
    a=inactive\r\n\
    a=rtcp-mux\r\n\
    m=image 0 udptl t38\r\n";

fn parse(text: &[u8]) -> Session<'_> {
    Session::parse(text).unwrap()
}

fn error(text: &[u8]) -> SdpError {
    Session::parse(text).unwrap_err()
}

/// A minimal description with these lines behind its head.
fn with(lines: &str) -> Vec<u8> {
    format!("v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\n{lines}").into_bytes()
}

#[test]
fn sections_inherit_from_the_session() {
    let session = parse(AUDIO_AND_VIDEO);
    assert_eq!((session.origin.user, session.origin.version), (&b"alice"[..], &b"2890844527"[..]));
    let [audio, video, fax] = &session.media[..] else { panic!() };
    assert_eq!((audio.kind, video.kind, fax.kind), (MediaKind::Audio, MediaKind::Video, MediaKind::Image));
    assert_eq!(audio.rtp().unwrap().to_string(), "192.0.2.1:49170");
    assert_eq!(audio.rtcp().unwrap().to_string(), "192.0.2.9:53020");
    assert_eq!((audio.direction, video.direction), (Direction::SendOnly, Direction::Inactive));
    assert_eq!(video.rtp().unwrap().to_string(), "[2001:db8::5]:51372");
    assert_eq!(video.rtcp().unwrap().port(), 51_373);
    assert_eq!((audio.encrypted, video.encrypted, video.rtcp_mux), (false, true, true));
    assert!(fax.is_rejected() && fax.is_relayable() && !fax.is_rtp());
    assert!(session.is_hold());
}

#[test]
fn codecs_are_named_by_the_description_or_by_rfc_3551() {
    let audio = &parse(AUDIO_AND_VIDEO).media[0];
    let names: Vec<_> = audio
        .codecs()
        .map(|codec| format!("{}/{}/{}", String::from_utf8_lossy(codec.name), codec.clock_rate, codec.channels))
        .collect();
    assert_eq!(names, ["PCMU/8000/1", "PCMA/8000/1", "opus/48000/2", "telephone-event/8000/1"]);
    assert_eq!(audio.codec(101).unwrap().fmtp, Some(&b"0-15"[..]));
    assert_eq!((audio.telephone_event(), audio.ptime_ms), (Some(101), Some(20)));
    assert_eq!(audio.clock_rates()[2], (97, 48_000));
}

#[test]
fn several_telephone_events_prefer_the_narrow_clock() {
    let text = with(
        "c=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/AVP 96 110 101\r\na=rtpmap:96 opus/48000/2\r\n\
         a=rtpmap:110 telephone-event/48000\r\na=rtpmap:101 telephone-event/8000\r\n",
    );
    assert_eq!(parse(&text).media[0].telephone_event(), Some(101));
}

#[test]
fn peers_differ_in_line_ends_and_leave_things_out() {
    let text = b"v=0\no=- 1 1\nc=IN IP4 192.0.2.1\nm=audio 4000 RTP/AVP 0 \n\n";
    let session = parse(text);
    assert_eq!(session.media[0].formats, b"0");
    assert_eq!(parse(b"v=0\r\no=- 99999999999999999999999 1 IN IP4 x\r\ns=-").media.len(), 0);
}

#[test]
fn a_hold_by_address_does_not_listen() {
    let text = with("c=IN IP4 0.0.0.0\r\nm=audio 4000 RTP/AVP 0\r\n");
    let session = parse(&text);
    let audio = &session.media[0];
    assert!(audio.is_held_by_address() && session.is_hold());
    assert_eq!((audio.rtp(), audio.effective_direction()), (None, Direction::SendOnly));
}

#[test]
fn a_name_is_no_address() {
    let text = with("c=IN IP4 media.example.com\r\nm=audio 4000 RTP/AVP 0\r\n");
    let audio = parse(&text).media[0];
    assert_eq!((audio.rtp(), audio.connection.unwrap().host), (None, &b"media.example.com"[..]));
    assert!(!audio.is_held_by_address());
}

#[test]
fn keys_are_seen_wherever_they_stand() {
    let text = with("c=IN IP4 192.0.2.1\r\na=fingerprint:sha-256 AB\r\nm=audio 4000 RTP/AVP 0\r\n");
    assert!(parse(&text).media[0].encrypted);
    let text = with("c=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/AVP 0\r\na=crypto:1 AES inline:x\r\n");
    assert!(parse(&text).media[0].encrypted);
}

#[test]
fn what_cannot_be_read_is_refused_by_name() {
    assert_eq!(error(b""), SdpError::Version);
    assert_eq!(error(b"v=1\r\n"), SdpError::Version);
    assert_eq!(error(b"o=- 1 1 IN IP4 x\r\nv=0\r\n"), SdpError::Version);
    assert_eq!(error(b"v=0\r\ns=-\r\n"), SdpError::Origin);
    assert_eq!(error(b"v=0\r\no=- x 1 IN IP4 x\r\n"), SdpError::Origin);
    assert_eq!(error(&with("o=- 2 2 IN IP4 x\r\n")), SdpError::Origin);
    assert_eq!(error(&with("hello\r\n")), SdpError::Line);
    assert_eq!(error(&with("i=a\rc=IN IP4 192.0.2.2\r\n")), SdpError::Line);
    assert_eq!(error(&with("m=audio 4000 RTP/AVP 0\r\n")), SdpError::Connection);
    assert_eq!(error(&with("c=IN IP4 192.0.2.1\r\nc=IN IP4 192.0.2.2\r\n")), SdpError::Connection);
    for line in
        ["c=IN IP6 192.0.2.1", "c=IN IP4 2001:db8::1", "c=ATM NSAP x", "c=IN IP4", "c=IN IP4 a b", "c=IN IP4 <>"]
    {
        assert_eq!(error(&with(&format!("{line}\r\n"))), SdpError::Connection, "{line}");
    }
    assert_eq!(error(&with("c=IN IP4 224.2.1.1/127\r\n")), SdpError::Multicast);
    for line in ["m=audio", "m=audio 4000", "m=audio 4000 RTP/AVP", "m=audio x RTP/AVP 0", "m=audio 70000 RTP/AVP 0"] {
        assert_eq!(error(&with(&format!("c=IN IP4 192.0.2.1\r\n{line}\r\n"))), SdpError::Media, "{line}");
    }
    assert_eq!((SdpError::Media.status(), SdpError::Multicast.status()), (400, 488));
}

#[test]
fn bounds_are_kept() {
    assert_eq!(error(&with(&"m=audio 0 RTP/AVP 0\r\n".repeat(MEDIA_MAX + 1))), SdpError::TooManyMedia);
    assert_eq!(parse(&with(&"m=audio 0 RTP/AVP 0\r\n".repeat(MEDIA_MAX))).media.len(), MEDIA_MAX);
    let formats = " 0".repeat(FORMATS_MAX + 1);
    assert_eq!(error(&with(&format!("m=audio 0 RTP/AVP{formats}\r\n"))), SdpError::TooManyMedia);
    assert_eq!(error(&with(&"a=x\r\n".repeat(LINES_MAX))), SdpError::TooLong);
    assert_eq!(error(&with(&"i=xxxxxxxxxxxxxxx\r\n".repeat(4000))), SdpError::TooLong);
}
