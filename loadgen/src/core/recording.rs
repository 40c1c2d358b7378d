//! Reads what a call may carry from the octets of a file: WAV (RIFF), or a capture of RTP (libpcap's classic format).
//!
//! Nothing is resampled or converted between channels: what does not fit is a sentence that says how to make it fit.

use super::audio::{Codec, FRAME_LEN, Frames};

const WAVE_PCM: u16 = 1;
const WAVE_A_LAW: u16 = 6;
const WAVE_MU_LAW: u16 = 7;
const MAKE_IT_FIT: &str = "make it fit with: sox IN -r 8000 -c 1 -b 16 OUT.wav";
/// Kinds of captured links: <https://www.tcpdump.org/linktypes.html>.
const LINK_ETHERNET: u32 = 1;
const LINK_RAW: u32 = 101;
const LINK_LINUX_COOKED: u32 = 113;

/// Reads a recording of either kind.
pub fn read(bytes: &[u8], codec: Codec) -> Result<Frames, String> {
    match bytes.get(..4) {
        Some(b"RIFF") => wave(bytes, codec),
        Some([0xd4, 0xc3, 0xb2, 0xa1] | [0x4d, 0x3c, 0xb2, 0xa1]) => capture(bytes, codec, u32::from_le_bytes),
        Some([0xa1, 0xb2, 0xc3, 0xd4] | [0xa1, 0xb2, 0x3c, 0x4d]) => capture(bytes, codec, u32::from_be_bytes),
        Some([0x0a, 0x0d, 0x0d, 0x0a]) => Err("is pcapng; convert it with: editcap -F pcap IN OUT.pcap".into()),
        _ => Err(format!("is neither WAV nor pcap; {MAKE_IT_FIT}")),
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn wave(bytes: &[u8], codec: Codec) -> Result<Frames, String> {
    let (mut format, mut at) = (None, 12);
    while let Some(head) = bytes.get(at..at + 8) {
        let size = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        let rest = &bytes[at + 8..];
        let body = &rest[..size.min(rest.len())];
        match &head[..4] {
            b"fmt " => {
                let field = |at| word(body, at).unwrap_or(0);
                format = Some((field(0), field(2), field(4), field(6), field(14)));
            }
            b"data" => {
                let (kind, channels, rate, rate_high, bits) = format.ok_or("has no format before its data")?;
                if (channels, rate, rate_high) != (1, 8000, 0) {
                    return Err(format!("is not mono at 8 kHz; {MAKE_IT_FIT}"));
                }
                return samples(kind, bits, body, codec)
                    .ok_or_else(|| format!("has nothing in it, or more than ten minutes; {MAKE_IT_FIT}"))?;
            }
            _ => {}
        }
        at = at.saturating_add(8).saturating_add(size).saturating_add(size & 1);
    }
    Err(format!("has no data; {MAKE_IT_FIT}"))
}

fn samples(kind: u16, bits: u16, body: &[u8], codec: Codec) -> Option<Result<Frames, String>> {
    Some(Ok(match (kind, bits, codec) {
        (WAVE_PCM, 16, _) => {
            let samples: Vec<i16> = body.chunks_exact(2).map(|two| i16::from_le_bytes([two[0], two[1]])).collect();
            Frames::of_samples(codec, &samples)?
        }
        (WAVE_MU_LAW, 8, Codec::Pcmu) | (WAVE_A_LAW, 8, Codec::Pcma) => {
            let frames = body.chunks_exact(FRAME_LEN).filter_map(|frame| frame.try_into().ok());
            Frames::new(frames.collect())?
        }
        _ => return Some(Err(format!("is neither PCM of 16 bits nor {} already; {MAKE_IT_FIT}", codec.name()))),
    }))
}

/// The payloads of the first stream of the codec, in the order they were captured.
fn capture(bytes: &[u8], codec: Codec, long: fn([u8; 4]) -> u32) -> Result<Frames, String> {
    let long = |at: usize| Some(long(bytes.get(at..at + 4)?.try_into().ok()?));
    let link = long(20).ok_or("ends within its head")?;
    let (mut at, mut source, mut frames, mut other) = (24, None, Vec::new(), 0u32);
    while let Some(length) = long(at + 8) {
        let length = length as usize;
        let Some(packet) = bytes.get(at + 16..(at + 16).saturating_add(length)) else { break };
        at += 16 + length;
        let Some(rtp) = datagram(packet, link).filter(|rtp| rtp.len() > 12 && rtp[0] >> 6 == 2) else { continue };
        let head = 12 + 4 * usize::from(rtp[0] & 0x0f);
        let from = [rtp[8], rtp[9], rtp[10], rtp[11]];
        if rtp[1] & 0x7f != codec.payload_type() || source.is_some_and(|source| source != from) {
            other += 1;
            continue;
        }
        match rtp.get(head..).and_then(|payload| payload.try_into().ok()) {
            Some(frame) => {
                source = Some(from);
                frames.push(frame);
            }
            None => other += 1,
        }
    }
    Frames::new(frames).ok_or_else(|| {
        format!(
            "has no stream of {} in packets of 20 ms (payload type {}, 160 octets), or more than ten minutes of it; {other} \
             other RTP packets are in it",
            codec.name(),
            codec.payload_type()
        )
    })
}

/// The payload of UDP in a captured packet; no fragments.
fn datagram(packet: &[u8], link: u32) -> Option<&[u8]> {
    let ip = match link {
        LINK_ETHERNET => packet.get(if packet.get(12..14)? == [0x81, 0] { 18 } else { 14 }..)?,
        LINK_LINUX_COOKED => packet.get(16..)?,
        LINK_RAW => packet,
        _ => return None,
    };
    let (protocol, udp) = match ip.first()? >> 4 {
        4 => (ip.get(9)?, ip.get(4 * usize::from(ip[0] & 0x0f)..)?),
        6 => (ip.get(6)?, ip.get(40..)?),
        _ => return None,
    };
    let length = usize::from(u16::from_be_bytes(udp.get(4..6)?.try_into().ok()?));
    (*protocol == 17).then(|| udp.get(8..length))?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn riff(kind: u16, channels: u16, rate: u32, bits: u16, data: &[u8]) -> Vec<u8> {
        let mut out = b"RIFF\0\0\0\0WAVELIST\x03\0\0\0abc\0fmt \x10\0\0\0".to_vec();
        for value in [kind, channels, rate as u16, (rate >> 16) as u16, 0, 0, 2, bits] {
            out.extend_from_slice(&value.to_le_bytes());
        }
        out.extend_from_slice(b"data");
        out.extend_from_slice(&(data.len() as u32).to_le_bytes());
        [out, data.to_vec()].concat()
    }

    fn pcap(link: u32, payloads: &[(u8, &[u8])]) -> Vec<u8> {
        let mut out = [0xd4, 0xc3, 0xb2, 0xa1].to_vec();
        out.resize(20, 0);
        out.extend_from_slice(&link.to_le_bytes());
        for (number, (kind, payload)) in payloads.iter().enumerate() {
            let mut packet = vec![0; if link == LINK_ETHERNET { 14 } else { 0 }];
            packet.extend_from_slice(&[0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1]);
            packet.extend_from_slice(&[0, 1, 0, 2]);
            packet.extend_from_slice(&(20 + payload.len() as u16).to_be_bytes());
            packet.extend_from_slice(&[0, 0, 0x80, *kind, 0, number as u8, 0, 0, 0, 0, 1, 2, 3, 4]);
            packet.extend_from_slice(payload);
            out.extend_from_slice(&[0; 8]);
            out.extend_from_slice(&(packet.len() as u32).to_le_bytes());
            out.extend_from_slice(&(packet.len() as u32).to_le_bytes());
            out.extend_from_slice(&packet);
        }
        out
    }

    #[test]
    fn waves_of_each_kind_are_read() {
        let frames = read(&riff(WAVE_PCM, 1, 8000, 16, &[0; 400]), Codec::Pcmu).unwrap();
        assert!(frames.contains(&[0xff; FRAME_LEN]) && frames.get(0) == frames.get(1));
        let frames = read(&riff(WAVE_A_LAW, 1, 8000, 8, &[7; 320]), Codec::Pcma).unwrap();
        assert!(frames.contains(&[7; FRAME_LEN]));
        let error = |bytes: Vec<u8>| read(&bytes, Codec::Pcmu).unwrap_err();
        assert!(error(riff(WAVE_PCM, 2, 8000, 16, &[0; 9])).contains("mono at 8 kHz"));
        assert!(error(riff(WAVE_PCM, 1, 44_100, 16, &[0; 9])).contains("sox"));
        assert!(error(riff(WAVE_A_LAW, 1, 8000, 8, &[0; 320])).contains("PCMU"));
        assert!(error(riff(WAVE_PCM, 1, 8000, 16, &[])).contains("nothing in it"));
        assert!(error(b"OggS....".to_vec()).contains("neither WAV nor pcap"));
    }

    #[test]
    fn a_capture_gives_the_payloads_of_its_first_stream() {
        for link in [LINK_ETHERNET, LINK_RAW] {
            let bytes = pcap(link, &[(8, &[1; 160]), (0, &[2; 160]), (0x80, &[3; 160]), (0, &[4; 80])]);
            let frames = read(&bytes, Codec::Pcmu).unwrap();
            assert_eq!((frames.get(0)[0], frames.get(1)[0], frames.get(2)[0]), (2, 3, 2));
            assert!(read(&pcap(link, &[(8, &[1; 160])]), Codec::Pcmu).unwrap_err().contains("1 other RTP"));
        }
    }

    #[test]
    fn any_truncation_is_survived() {
        let two: [(u8, &[u8]); 2] = [(0, &[2; 160]); 2];
        for whole in [pcap(LINK_ETHERNET, &two), riff(WAVE_PCM, 1, 8000, 16, &[0; 400])] {
            for length in 0..whole.len() {
                let _ = read(&whole[..length], Codec::Pcmu);
            }
        }
    }
}
