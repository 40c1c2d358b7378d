//! Any bytes as a session description: refused, or rewritten into one that reads back and does not change again.

use std::net::SocketAddr;
use strowger::sdp::{BYTES_MAX, CodecFilter, LINES_MAX, MEDIA_MAX, MediaPlan, OwnOrigin, Session, rewrite};

/// One input.
pub fn run(octets: &[u8]) {
    let Ok(session) = Session::parse(octets) else { return };
    for media in &session.media {
        let _ = (media.rtp(), media.rtcp(), media.effective_direction(), media.telephone_event(), media.clock_rates());
        for codec in media.codecs() {
            assert!(codec.payload_type < 128);
        }
    }
    // Near the bounds our own lines may not fit a second time.
    let lines = octets.iter().filter(|byte| **byte == b'\n').count();
    if lines + 4 * MEDIA_MAX > LINES_MAX || octets.len() + lines + 256 * MEDIA_MAX > BYTES_MAX {
        return;
    }
    let rtp: SocketAddr = "203.0.113.1:30000".parse().expect("an address");
    let plain = MediaPlan::relayed(rtp, SocketAddr::new(rtp.ip(), 30_001));
    let filter = CodecFilter::new(&["PCMU", "opus", "H264"]);
    let plan = [plain, plain.with_codecs(&filter), plain.with_mux(true), MediaPlan::rejected()];
    let origin = OwnOrigin { id: 1, version: 1, address: rtp.ip() };
    let mut once = Vec::new();
    let written = rewrite(&session, &plan, origin, &mut once);
    let again = Session::parse(&once).expect("what we write can be read");
    assert_eq!(again.media.len(), session.media.len());
    assert_eq!(again.media.iter().filter(|media| !media.is_rejected()).count(), written.live);
    assert!(again.media.iter().all(|media| media.is_rejected() || media.rtp() == Some(rtp)));
    let mut twice = Vec::new();
    rewrite(&again, &plan, origin, &mut twice);
    assert_eq!(once, twice);
}
