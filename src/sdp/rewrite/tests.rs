//! What is rewritten, and that everything else stays byte for byte.

use super::*;
use crate::sdp::Session;

fn origin(version: u64) -> OwnOrigin {
    OwnOrigin { id: 77, version, address: "203.0.113.1".parse().unwrap() }
}

fn plan(port: u16) -> MediaPlan<'static> {
    let rtp = SocketAddr::from(([203, 0, 113, 1], port));
    MediaPlan::relayed(rtp, SocketAddr::new(rtp.ip(), port + 1))
}

fn again(text: &str, plan: &[MediaPlan<'_>]) -> (String, Rewritten) {
    let session = Session::parse(text.as_bytes()).unwrap();
    let mut out = Vec::new();
    let rewritten = rewrite(&session, plan, origin(1), &mut out);
    Session::parse(&out).expect("what we write can be read");
    (String::from_utf8(out).unwrap(), rewritten)
}

fn offer(media: &str) -> String {
    format!("v=0\r\no=alice 5 6 IN IP4 10.0.0.5\r\ns=My call\r\nc=IN IP4 10.0.0.5\r\nt=0 0\r\n{media}")
}

const HEAD: &str = "v=0\r\no=- 77 1 IN IP4 203.0.113.1\r\ns=-\r\nc=IN IP4 203.0.113.1\r\nt=0 0\r\n";

#[test]
fn addresses_and_names_are_ours_and_the_rest_is_the_peers() {
    let media = "a=rtpmap:0 PCMU/8000\r\na=X-odd: kept  as it is \r\nb=AS:64\r\na=crypto:1 AES_CM_128 inline:k\r\n";
    let (text, rewritten) = again(&offer(&format!("m=audio 4000/1 RTP/SAVP 0\r\n{media}")), &[plan(30_000)]);
    assert_eq!(text, format!("{HEAD}m=audio 30000 RTP/SAVP 0\r\n{media}"));
    assert_eq!(rewritten.live, 1);
}

#[test]
fn ice_bundle_and_rtcp_of_the_peer_are_taken_out() {
    let session = "a=group:BUNDLE 0\r\na=ice-lite\r\na=group:LS 0\r\na=msid-semantic: WMS\r\n";
    let stream = "a=rtcp:4001 IN IP4 10.0.0.5\r\na=candidate:1 1 UDP 1 10.0.0.5 4000 typ host\r\na=ice-ufrag:x\r\n\
                  a=ice-pwd:y\r\na=end-of-candidates\r\na=rtcp-mux\r\na=mid:0\r\na=fingerprint:sha-256 AB\r\n\
                  a=source-filter: incl IN IP4 * 10.0.0.5\r\na=setup:actpass\r\n";
    let (text, _) = again(&offer(&format!("{session}m=audio 4000 RTP/AVP 0\r\n{stream}")), &[plan(30_000)]);
    let kept = "a=group:LS 0\r\na=msid-semantic: WMS\r\nm=audio 30000 RTP/AVP 0\r\na=mid:0\r\n\
                a=fingerprint:sha-256 AB\r\na=setup:actpass\r\n";
    assert_eq!(text, format!("{HEAD}{kept}"));
}

#[test]
fn mux_and_odd_rtcp_ports_are_said_when_planned() {
    let (text, _) = again(&offer("m=audio 4000 RTP/AVP 0\r\n"), &[plan(30_000).with_mux(true)]);
    assert!(text.ends_with("m=audio 30000 RTP/AVP 0\r\na=rtcp-mux\r\n"));
    let odd = MediaPlan { rtcp_port: 30_009, ..plan(30_000) };
    let (text, _) = again(&offer("m=audio 4000 RTP/AVP 0\r\na=rtcp-mux\r\n"), &[odd]);
    assert!(text.ends_with("m=audio 30000 RTP/AVP 0\r\na=rtcp:30009\r\n"));
}

#[test]
fn a_stream_of_the_other_family_gets_its_own_connection() {
    let v6 = SocketAddr::new("2001:db8::1".parse().unwrap(), 31_000);
    let v6 = MediaPlan::relayed(v6, SocketAddr::new(v6.ip(), 31_001));
    let both = "m=audio 4000 RTP/AVP 0\r\ni=voice\r\na=x\r\nm=video 4002 RTP/AVP 31\r\nc=IN IP4 10.0.0.9\r\n";
    let (text, _) = again(&offer(both), &[plan(30_000), v6]);
    let want = "m=audio 30000 RTP/AVP 0\r\ni=voice\r\na=x\r\nm=video 31000 RTP/AVP 31\r\nc=IN IP6 2001:db8::1\r\n";
    assert_eq!(text, format!("{HEAD}{want}"));
    let (text, _) = again(&offer(both), &[v6, plan(30_000)]);
    assert!(text.contains("c=IN IP6 2001:db8::1\r\nt=0 0\r\nm=audio 31000 RTP/AVP 0\r\ni=voice\r\na=x\r\n"));
    assert!(text.ends_with("m=video 30000 RTP/AVP 31\r\nc=IN IP4 203.0.113.1\r\n"));
}

#[test]
fn without_a_session_connection_each_stream_has_its_own() {
    let text =
        "v=0\r\no=- 1 1 IN IP4 x\r\nm=audio 4000 RTP/AVP 0\r\nc=IN IP4 10.0.0.5\r\na=x\r\nm=video 0 RTP/AVP 31\r\n";
    let (text, _) = again(text, &[plan(30_000)]);
    let want = "v=0\r\no=- 77 1 IN IP4 203.0.113.1\r\ns=-\r\nt=0 0\r\nm=audio 30000 RTP/AVP 0\r\n\
                c=IN IP4 203.0.113.1\r\na=x\r\nm=video 0 RTP/AVP 31\r\n";
    assert_eq!(text, want);
}

#[test]
fn rejected_streams_keep_their_line_and_nothing_else() {
    let both =
        "m=audio 4000 RTP/AVP 0\r\na=x\r\nm=video 4002 RTP/AVP 31 34\r\nc=IN IP4 10.0.0.9\r\na=mid:v\r\na=secret\r\n";
    let (text, rewritten) = again(&offer(both), &[plan(30_000), MediaPlan::rejected()]);
    assert_eq!(text, format!("{HEAD}m=audio 30000 RTP/AVP 0\r\na=x\r\nm=video 0 RTP/AVP 31 34\r\na=mid:v\r\n"));
    assert_eq!(rewritten.live, 1);
    let (text, rewritten) = again(&offer("m=audio 0 RTP/AVP 0\r\n"), &[plan(30_000)]);
    assert!(text.ends_with("m=audio 0 RTP/AVP 0\r\n"), "what the peer rejected stays rejected");
    assert_eq!(rewritten.live, 0);
}

#[test]
fn a_hold_by_address_is_told_as_a_direction() {
    let held = offer("m=audio 4000 RTP/AVP 0\r\na=sendrecv\r\n").replace("c=IN IP4 10.0.0.5", "c=IN IP4 0.0.0.0");
    let (text, _) = again(&held, &[plan(30_000)]);
    assert_eq!(text, format!("{HEAD}m=audio 30000 RTP/AVP 0\r\na=sendonly\r\n"));
    let as_said = offer("m=audio 4000 RTP/AVP 0\r\na=inactive\r\na=y\r\n");
    let (text, _) = again(&as_said, &[plan(30_000)]);
    assert!(text.ends_with("a=inactive\r\na=y\r\n"));
    let changed = MediaPlan { direction: Some(Direction::ReceiveOnly), ..plan(30_000) };
    assert!(again(&as_said, &[changed]).0.ends_with("a=y\r\na=recvonly\r\n"));
}

const CODECS: &str = "m=audio 4000 RTP/AVP 96 0 8 18 101 97 13 63\r\n\
    a=rtpmap:96 opus/48000/2\r\na=fmtp:96 useinbandfec=1\r\na=rtcp-fb:96 transport-cc\r\n\
    a=rtpmap:101 telephone-event/8000\r\na=rtpmap:97 telephone-event/48000\r\na=fmtp:97 0-15\r\n\
    a=rtpmap:63 red/48000/2\r\na=fmtp:63 96/96\r\na=rtcp-fb:* nack\r\n";

#[test]
fn a_filter_orders_and_drops_with_all_that_belongs_to_a_format() {
    let filter = CodecFilter::new(&["pcma", "PCMU"]);
    let (text, _) = again(&offer(CODECS), &[plan(30_000).with_codecs(&filter)]);
    let want = "m=audio 30000 RTP/AVP 8 0 101 13\r\na=rtpmap:101 telephone-event/8000\r\na=rtcp-fb:* nack\r\n";
    assert_eq!(text, format!("{HEAD}{want}"));
}

#[test]
fn companions_stay_with_their_codec() {
    let filter = CodecFilter::new(&["opus/48000", "G729"]);
    let (text, _) = again(&offer(CODECS), &[plan(30_000).with_codecs(&filter)]);
    assert!(text.contains("m=audio 30000 RTP/AVP 96 18 101 97 13 63\r\n"), "{text}");
    let video = "m=video 4000 RTP/AVP 98 99 100\r\na=rtpmap:98 VP8/90000\r\na=rtpmap:99 H264/90000\r\n\
                 a=rtpmap:100 rtx/90000\r\na=fmtp:100 apt=98\r\n";
    let filter = CodecFilter::new(&["PCMU", "H264"]);
    let (text, _) = again(&offer(video), &[plan(30_000).with_codecs(&filter)]);
    assert!(text.ends_with("m=video 30000 RTP/AVP 99\r\na=rtpmap:99 H264/90000\r\n"), "{text}");
    let audio_only = CodecFilter::new(&["PCMU"]);
    let (text, _) = again(&offer(video), &[plan(30_000).with_codecs(&audio_only)]);
    assert!(text.contains("RTP/AVP 98 99 100\r\n"), "an audio list says nothing of video");
}

#[test]
fn a_stream_of_which_no_codec_passes_is_rejected() {
    let filter = CodecFilter::new(&["G722"]);
    let text = offer(CODECS);
    let session = Session::parse(text.as_bytes()).unwrap();
    assert!(!filter.accepts(&session.media[0]));
    let (text, rewritten) = again(&text, &[plan(30_000).with_codecs(&filter)]);
    assert_eq!(rewritten.live, 0);
    assert!(text.contains("m=audio 0 RTP/AVP"));
}

#[test]
fn an_answer_cannot_name_what_was_not_offered() {
    let offered = offer("m=audio 4000 RTP/AVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\n");
    let offered = Session::parse(offered.as_bytes()).unwrap();
    let answer = offer("m=audio 6000 RTP/AVP 18 8 0 101 13\r\na=rtpmap:101 telephone-event/8000\r\n");
    let as_answered = CodecFilter::default().restricted_to(&offered.media[0]);
    let (text, _) = again(&answer, &[plan(30_000).with_codecs(&as_answered)]);
    assert!(text.contains("RTP/AVP 8 0 101\r\n"), "{text}");
    let ordered = CodecFilter::new(&["PCMU", "G729", "PCMA"]).restricted_to(&offered.media[0]);
    let (text, _) = again(&answer, &[plan(30_000).with_codecs(&ordered)]);
    assert!(text.contains("RTP/AVP 0 8 101\r\n"), "{text}");
}

#[test]
fn two_filters_agree_for_audio_and_video_apart() {
    let video = "m=video 4002 RTP/AVP 98 99 100\r\na=rtpmap:98 VP8/90000\r\na=rtpmap:99 H264/90000\r\n";
    let offered = offer(&format!("m=audio 4000 RTP/AVP 0 8 9 96\r\n{video}"));
    let formats = |a: &[&str], b: &[&str]| {
        let filter = CodecFilter::new(a).also(&CodecFilter::new(b));
        let (text, _) = again(&offered, &[plan(30_000).with_codecs(&filter), plan(30_002).with_codecs(&filter)]);
        let lines: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("m=")).map(str::to_owned).collect();
        lines.join(", ")
    };
    assert_eq!(formats(&["PCMU"], &["H264"]), "audio 30000 RTP/AVP 0, video 30002 RTP/AVP 99");
    assert_eq!(
        formats(&["G722", "PCMA/8000"], &["pcma", "PCMU"]),
        "audio 30000 RTP/AVP 8, video 30002 RTP/AVP 98 99 100"
    );
    let none = formats(&["PCMU"], &["PCMA"]);
    assert_eq!(
        none, "audio 0 RTP/AVP 0 8 9 96, video 30002 RTP/AVP 98 99 100",
        "what nothing explains is no agreement"
    );
}

#[test]
fn fax_has_no_codecs_to_filter() {
    let filter = CodecFilter::new(&["PCMU"]);
    let (text, _) =
        again(&offer("m=image 4000 udptl t38\r\na=T38FaxVersion:0\r\n"), &[plan(30_000).with_codecs(&filter)]);
    assert!(text.ends_with("m=image 30000 udptl t38\r\na=T38FaxVersion:0\r\n"));
}

#[test]
fn the_version_rises_only_when_something_else_changes() {
    let first = offer("m=audio 4000 RTP/AVP 0\r\n");
    let second = offer("m=audio 4000 RTP/AVP 0\r\na=sendonly\r\n");
    let mut author = Author::new(u64::MAX, "203.0.113.1".parse().unwrap());
    let mut versions = Vec::new();
    for text in [&first, &first, &second, &second, &first] {
        let mut out = b"before".to_vec();
        author.write(&Session::parse(text.as_bytes()).unwrap(), &[plan(30_000)], &mut out);
        let session = Session::parse(&out[6..]).unwrap();
        versions.push(String::from_utf8(session.origin.version.to_vec()).unwrap());
    }
    assert_eq!(versions, ["1", "1", "2", "2", "3"]);
    assert_eq!(author.origin().id, 0x7fff_ffff);
}

/// RFC 3264 §6: whatever the peer left out or added.
#[test]
fn an_answer_has_as_many_streams_as_the_offer() {
    let stream = "m=audio 4000 RTP/AVP 0\r\n";
    let offered = offer(&format!("{stream}m=video 4002 RTP/AVP 99\r\na=rtpmap:99 H264/90000\r\na=mid:2\r\n"));
    let mut author = Author::new(77, "203.0.113.1".parse().unwrap());
    for (answer, media) in [
        (offer(stream), "m=audio 30000 RTP/AVP 0\r\nm=video 0 RTP/AVP 99\r\na=mid:2\r\n"),
        (offer(&stream.repeat(3)), "m=audio 30000 RTP/AVP 0\r\nm=audio 30002 RTP/AVP 0\r\n"),
    ] {
        let (answer, offered) =
            (Session::parse(answer.as_bytes()).unwrap(), Session::parse(offered.as_bytes()).unwrap());
        let mut out = Vec::new();
        author.write_answer(&answer, &offered, &[plan(30_000), plan(30_002), plan(30_004)], &mut out);
        let text = String::from_utf8(out).unwrap();
        assert!(text.ends_with(media), "{text}");
    }
    assert_eq!(author.origin().version, 2);
}
