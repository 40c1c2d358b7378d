//! RTP packets (RFC 3550 §5.1): checked once, read through a view, built from a small value.

/// Octets of the fixed header.
pub const HEADER_LEN: usize = 12;

/// The fixed header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// Start of a talkspurt, of an event, end of a frame.
    pub marker: bool,
    /// 0–127.
    pub payload_type: u8,
    /// Rises by one per packet.
    pub sequence: u16,
    /// In units of the codec's clock.
    pub timestamp: u32,
    /// The source.
    pub ssrc: u32,
}

impl Header {
    /// Reads the fixed header; what follows it is not checked.
    #[must_use]
    pub fn parse(packet: &[u8]) -> Option<Self> {
        let head = packet.first_chunk::<HEADER_LEN>()?;
        if head[0] >> 6 != 2 {
            return None;
        }
        Some(Self {
            marker: head[1] & 0x80 != 0,
            payload_type: head[1] & 0x7f,
            sequence: u16::from_be_bytes([head[2], head[3]]),
            timestamp: u32::from_be_bytes([head[4], head[5], head[6], head[7]]),
            ssrc: u32::from_be_bytes([head[8], head[9], head[10], head[11]]),
        })
    }

    /// The header as it stands on the wire: no padding, extension or contributing sources.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut out = [0; HEADER_LEN];
        out[0] = 0x80;
        out[1] = u8::from(self.marker) << 7 | self.payload_type & 0x7f;
        out[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        out[4..8].copy_from_slice(&self.timestamp.to_be_bytes());
        out[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
        out
    }

    /// Appends a whole packet to `out`.
    pub fn write(&self, payload: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(&self.encode());
        out.extend_from_slice(payload);
    }
}

/// A packet whose lengths have been checked.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// The fixed header.
    pub header: Header,
    /// Without sources, extension and padding.
    pub payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Reads a packet; none where a length points past its end.
    #[must_use]
    pub fn parse(packet: &'a [u8]) -> Option<Self> {
        let header = Header::parse(packet)?;
        let first = packet[0];
        let mut rest = packet.get(HEADER_LEN + 4 * usize::from(first & 0x0f)..)?;
        if first & 0x10 != 0 {
            // RFC 3550 §5.3.1: the length counts words after the first.
            let words = rest.get(2..4).map(|length| u16::from_be_bytes([length[0], length[1]]))?;
            rest = rest.get(4 + 4 * usize::from(words)..)?;
        }
        if first & 0x20 != 0 {
            let padding = usize::from(*rest.last()?);
            if padding == 0 {
                return None;
            }
            rest = &rest[..rest.len().checked_sub(padding)?];
        }
        Some(Self { header, payload: rest })
    }
}

/// True where a packet on a shared port is RTCP (RFC 5761 §4): types 192–223, which RTP would read as 64–95.
#[must_use]
pub fn is_rtcp(packet: &[u8]) -> bool {
    matches!(packet, [first, 192..=223, ..] if first >> 6 == 2)
}

/// True for DTLS records (RFC 7983 §7), which open an encrypted stream that passes through us.
#[must_use]
pub fn is_dtls(packet: &[u8]) -> bool {
    packet.len() >= 13 && matches!(packet[0], 20..=63)
}

/// The clock of a static payload type (RFC 3551 §6), for streams whose description did not say.
#[must_use]
pub const fn static_clock_rate(payload_type: u8) -> Option<u32> {
    match payload_type {
        0 | 3..=5 | 7..=9 | 12 | 13 | 15 | 18 => Some(8000),
        6 => Some(16_000),
        10 | 11 => Some(44_100),
        14 | 25..=34 => Some(90_000),
        16 => Some(11_025),
        17 => Some(22_050),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn padding_extension_and_sources_are_taken_off() {
        let mut packet = Header { payload_type: 8, sequence: 7, ..Header::default() }.encode().to_vec();
        packet[0] |= 0x20 | 0x10 | 0x01;
        packet.extend_from_slice(&[0; 4]);
        packet.extend_from_slice(&[0xbe, 0xde, 0, 1, 1, 2, 3, 4]);
        packet.extend_from_slice(b"voice\0\0\x03");
        assert_eq!(Packet::parse(&packet).unwrap().payload, b"voice");
        *packet.last_mut().unwrap() = 200;
        assert!(Packet::parse(&packet).is_none());
    }

    proptest! {
        #[test]
        fn a_header_reads_back(marker: bool, payload_type in 0u8..128, sequence: u16, timestamp: u32, ssrc: u32) {
            let header = Header { marker, payload_type, sequence, timestamp, ssrc };
            let mut packet = Vec::new();
            header.write(b"x", &mut packet);
            prop_assert_eq!(Header::parse(&packet), Some(header));
            prop_assert_eq!(Packet::parse(&packet).unwrap().payload, b"x");
        }

        #[test]
        fn any_bytes_are_read_or_refused(packet: Vec<u8>) {
            if let Some(read) = Packet::parse(&packet) {
                prop_assert!(read.payload.len() + HEADER_LEN <= packet.len());
            }
        }
    }
}
