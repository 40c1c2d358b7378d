//! Makes what a call carries from the octets of a file: WAV, or a capture of RTP in G.711.

use super::audio::Frames;
use crate::sound::g711::{Codec, FRAME_LEN};
use crate::sound::{pcap, wav};

/// Reads a recording of either kind; an error is a sentence without the file's name.
pub fn read(bytes: &[u8], codec: Codec) -> Result<Frames, String> {
    if pcap::is_capture(bytes) {
        return first_stream(&pcap::read(bytes)?, codec);
    }
    if !wav::is_wav(bytes) {
        return Err(format!("is neither WAV nor pcap; {}", wav::MAKE_IT_FIT));
    }
    Frames::of_octets(codec, &wav::read(bytes, codec)?)
        .ok_or_else(|| "has nothing in it, or more than ten minutes".into())
}

/// The frames of the first stream of the codec, in the order they were captured.
fn first_stream(packets: &[pcap::Packet], codec: Codec) -> Result<Frames, String> {
    let (mut stream, mut frames, mut other) = (None, Vec::new(), 0u32);
    for (_, packet) in packets {
        let Some((payload_type, source, payload)) = rtp(packet) else { continue };
        let ours = payload_type == codec.payload_type() && stream.is_none_or(|stream| stream == source);
        match <[u8; FRAME_LEN]>::try_from(payload) {
            Ok(frame) if ours => {
                stream = Some(source);
                frames.push(frame);
            }
            _ => other += 1,
        }
    }
    Frames::new(frames).ok_or_else(|| {
        format!(
            "has no stream of {} in packets of 20 ms (payload type {}, {FRAME_LEN} octets), or more than ten minutes of it; \
             {other} other RTP packets are in it",
            codec.name(),
            codec.payload_type()
        )
    })
}

/// Payload type, SSRC and payload of what looks like RTP (RFC 3550 §5.1).
fn rtp(packet: &[u8]) -> Option<(u8, [u8; 4], &[u8])> {
    let (&first, &second) = (packet.first()?, packet.get(1)?);
    let payload = packet.get(12 + 4 * usize::from(first & 0x0f)..)?;
    (first >> 6 == 2).then_some((second & 0x7f, packet[8..12].try_into().ok()?, payload))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sound::pcap::tests::capture;
    use crate::sound::wav::tests::wav_of;

    fn packet(payload_type: u8, ssrc: u8, payload: &[u8]) -> Vec<u8> {
        [&[0x80, payload_type, 0, 0, 0, 0, 0, 0, 1, 2, 3, ssrc], payload].concat()
    }

    #[test]
    fn a_wave_is_cut_into_frames() {
        let frames = read(&wav_of(1, 1, 8000, 16, &[0; 400]), Codec::Pcmu).unwrap();
        assert!(frames.contains(&[0xff; FRAME_LEN]) && frames.get(0) == frames.get(1));
        let error = |bytes: &[u8]| read(bytes, Codec::Pcmu).unwrap_err();
        assert!(error(&wav_of(1, 1, 8000, 16, &[])).contains("nothing in it"));
        assert!(error(b"OggS....").contains("neither WAV nor pcap"));
    }

    #[test]
    fn a_capture_gives_the_payloads_of_its_first_stream() {
        let packets =
            [packet(8, 1, &[1; 160]), packet(0, 2, &[2; 160]), packet(0x80, 2, &[3; 160]), packet(0, 2, &[4; 80])];
        let stranger = packet(0, 9, &[5; 160]);
        let all: Vec<&[u8]> = packets.iter().chain([&stranger]).map(Vec::as_slice).collect();
        let frames = read(&capture(&all), Codec::Pcmu).unwrap();
        assert_eq!((frames.get(0)[0], frames.get(1)[0], frames.get(2)[0]), (2, 3, 2));
        assert!(read(&capture(&all[..1]), Codec::Pcmu).unwrap_err().contains("1 other RTP"));
        assert!(read(&[0x0a, 0x0d, 0x0d, 0x0a, 0, 0], Codec::Pcmu).unwrap_err().contains("editcap"));
    }
}
