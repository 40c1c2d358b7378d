//! Reads the UDP payloads out of a capture file: the classic format of libpcap, both byte orders, micro- and nanoseconds.

use strowger::base::time::Duration;

/// Most packets taken from one file.
const PACKETS_MAX: usize = 1_000_000;
const PACKET_BYTES_MAX: usize = 65_535;

/// A packet and when it was sent, from the first one on.
pub type Packet = (Duration, Vec<u8>);

struct Reader<'a> {
    bytes: &'a [u8],
    little: bool,
}

impl Reader<'_> {
    fn word(&self, at: usize) -> Option<u32> {
        let bytes: [u8; 4] = self.bytes.get(at..at + 4)?.try_into().ok()?;
        Some(if self.little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
    }
}

/// Does it look like a capture, of whatever format?
pub fn is_capture(bytes: &[u8]) -> bool {
    matches!(
        bytes.get(..4),
        Some(
            [0xd4 | 0x4d, 0xc3 | 0x3c, 0xb2, 0xa1] | [0xa1, 0xb2, 0xc3 | 0x3c, 0xd4 | 0x4d] | [0x0a, 0x0d, 0x0d, 0x0a]
        )
    )
}

/// The UDP payloads of a capture; an error is a sentence without the file's name.
pub fn read(bytes: &[u8]) -> Result<Vec<Packet>, String> {
    let (little, fraction) = match bytes.get(..4) {
        Some([0xd4, 0xc3, 0xb2, 0xa1]) => (true, 1_000),
        Some([0xa1, 0xb2, 0xc3, 0xd4]) => (false, 1_000),
        Some([0x4d, 0x3c, 0xb2, 0xa1]) => (true, 1),
        Some([0xa1, 0xb2, 0x3c, 0x4d]) => (false, 1),
        Some([0x0a, 0x0d, 0x0d, 0x0a]) => {
            return Err("is pcapng; convert it with: editcap -F pcap IN OUT.pcap".into());
        }
        _ => return Err("is no capture file in the pcap format".into()),
    };
    let reader = Reader { bytes, little };
    let link = reader.word(20).ok_or("is cut off in its header")? & 0x0fff_ffff;
    let (mut at, mut first, mut out) = (24, None, Vec::new());
    while at < bytes.len() {
        let cut = || format!("is cut off after {} packets", out.len());
        let field = |offset| reader.word(at + offset).ok_or_else(cut);
        let time = Duration::from_secs(u64::from(field(0)?)) + Duration::from_nanos(u64::from(field(4)?) * fraction);
        let length = field(8)? as usize;
        let frame = bytes.get(at + 16..at.saturating_add(16).saturating_add(length)).ok_or_else(cut)?;
        at += 16 + length;
        let Some(payload) = network(link, frame)?.and_then(udp) else { continue };
        let start = *first.get_or_insert(time);
        if out.len() == PACKETS_MAX || payload.len() > PACKET_BYTES_MAX {
            return Err(format!("has more than {PACKETS_MAX} packets"));
        }
        out.push((time.saturating_sub(start), payload.to_vec()));
    }
    if out.is_empty() { Err("has no UDP packet in it".into()) } else { Ok(out) }
}

/// The IP packet in a frame; `None` for anything else.
fn network(link: u32, frame: &[u8]) -> Result<Option<&[u8]>, String> {
    let ethernet = |mut at: usize| {
        // IEEE 802.1Q and 802.1ad tags.
        while matches!(frame.get(at..at + 2), Some([0x81, 0x00] | [0x88, 0xa8])) {
            at += 4;
        }
        match frame.get(at..at + 2) {
            Some([0x08, 0x00] | [0x86, 0xdd]) => frame.get(at + 2..),
            _ => None,
        }
    };
    Ok(match link {
        0 | 108 => frame.get(4..),
        1 => ethernet(12),
        12 | 14 | 101 | 228 | 229 => Some(frame),
        113 => ethernet(14),
        276 => frame.get(20..),
        other => {
            return Err(format!("is of a link type ({other}) that is not supported: use Ethernet, cooked or raw IP"));
        }
    })
}

/// The payload of a UDP packet over IPv4 or IPv6 without extension headers; fragments are passed over.
fn udp(packet: &[u8]) -> Option<&[u8]> {
    let datagram = match packet.first()? >> 4 {
        4 => {
            let header = usize::from(packet[0] & 15) * 4;
            let fragment = u16::from_be_bytes([*packet.get(6)?, *packet.get(7)?]) & 0x3fff;
            (*packet.get(9)? == 17 && fragment == 0).then(|| packet.get(header..)).flatten()?
        }
        6 => (*packet.get(6)? == 17).then(|| packet.get(40..)).flatten()?,
        _ => return None,
    };
    let length = usize::from(u16::from_be_bytes([*datagram.get(4)?, *datagram.get(5)?]));
    datagram.get(8..length.clamp(8, datagram.len().max(8)))
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A capture of Ethernet frames with these payloads, 20 ms apart.
    pub fn capture(payloads: &[&[u8]]) -> Vec<u8> {
        let mut out = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 1, 0, 0, 0];
        for (number, payload) in (0u32..).zip(payloads) {
            let length = payload.len() as u32;
            let micros = 999_000 + number * 20_000;
            for word in [7 + micros / 1_000_000, micros % 1_000_000, length + 42, length + 42] {
                out.extend_from_slice(&word.to_le_bytes());
            }
            out.extend_from_slice(&[0; 12]);
            out.extend_from_slice(&[8, 0, 0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1]);
            out.extend_from_slice(&[0, 9, 0, 9]);
            out.extend_from_slice(&(length as u16 + 8).to_be_bytes());
            out.extend_from_slice(&[0, 0]);
            out.extend_from_slice(payload);
        }
        out
    }

    #[test]
    fn payloads_come_with_their_times() {
        let packets = read(&capture(&[b"one", b"two"])).unwrap();
        assert_eq!(packets[0], (Duration::ZERO, b"one".to_vec()));
        assert_eq!(packets[1], (Duration::from_millis(20), b"two".to_vec()));
    }

    #[test]
    fn other_files_are_refused_with_a_sentence() {
        let error = |bytes: &[u8]| read(bytes).unwrap_err();
        assert!(error(b"RIFF").contains("no capture"));
        assert!(error(&[0x0a, 0x0d, 0x0d, 0x0a, 0, 0]).contains("editcap"));
        assert!(error(&capture(&[])).contains("no UDP"));
        let whole = capture(&[b"one", b"two"]);
        assert!(error(&whole[..whole.len() - 1]).contains("cut off after 1 packets"));
        let mut odd = whole;
        odd[20] = 99;
        assert!(error(&odd).contains("link type (99)"));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(cut in 0usize..200, bytes: Vec<u8>, link in 0u8..120) {
            let mut whole = capture(&[b"one", b"two"]);
            whole[20] = link;
            whole.truncate(cut);
            whole.extend_from_slice(&bytes);
            let _ = read(&whole);
        }
    }
}
