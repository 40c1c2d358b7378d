//! ITU-T G.711: one octet for a sample of 16 bits, by either law. RFC 3551 §4.5.14 names them.

/// Octets of 20 ms.
pub const FRAME_LEN: usize = 160;

/// G.711's two laws.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Codec {
    /// µ-law.
    #[default]
    Pcmu,
    /// A-law.
    Pcma,
}

impl Codec {
    /// That of a static payload type (RFC 3551 table 4).
    pub fn of_payload_type(payload_type: u8) -> Option<Self> {
        [Self::Pcmu, Self::Pcma].into_iter().find(|codec| codec.payload_type() == payload_type)
    }

    /// RFC 3551 table 4.
    pub fn payload_type(self) -> u8 {
        match self {
            Self::Pcmu => 0,
            Self::Pcma => 8,
        }
    }

    /// As it stands in SDP.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pcmu => "PCMU",
            Self::Pcma => "PCMA",
        }
    }

    /// One sample of 16 bits as one octet.
    pub fn encode(self, sample: i16) -> u8 {
        match self {
            Self::Pcmu => mu_law(sample),
            Self::Pcma => a_law(sample),
        }
    }
}

/// G.711 table 2: 14 bits, a bias of 33, eight segments; all bits inverted.
fn mu_law(sample: i16) -> u8 {
    let (sign, magnitude) = if sample >= 0 { (0, sample as u32) } else { (0x80, !sample as u32) };
    let magnitude = (magnitude >> 2).min(8158) + 33;
    let segment = magnitude.ilog2() - 5;
    let step = (magnitude >> (segment + 1)) & 0x0f;
    !(sign | (segment << 4) as u8 | step as u8)
}

/// G.711 table 1: 13 bits, eight segments of which the first two are alike; even bits inverted.
fn a_law(sample: i16) -> u8 {
    let (sign, magnitude) = if sample >= 0 { (0x80, (sample as u16) >> 4) } else { (0, (!sample as u16) >> 4) };
    let segment = if magnitude < 32 { u16::from(magnitude >= 16) } else { magnitude.ilog2() as u16 - 3 };
    let step = if segment < 2 { magnitude & 0x0f } else { (magnitude >> (segment - 1)) & 0x0f };
    (sign | (segment << 4) as u8 | step as u8) ^ 0x55
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_are_those_of_the_recommendation() {
        // G.711 tables 1a, 2a: full scale, zero, and the ends of segments.
        let mu = |sample| Codec::Pcmu.encode(sample);
        assert_eq!([mu(0), mu(i16::MAX), mu(i16::MIN), mu(-1)], [0xff, 0x80, 0x00, 0x7f]);
        let a = |sample| Codec::Pcma.encode(sample);
        assert_eq!([a(0), a(i16::MAX), a(i16::MIN), a(-1)], [0xd5, 0xaa, 0x2a, 0x55]);
        assert_eq!([mu(1000), mu(-1000), a(1000), a(-1000)], [0xce, 0x4e, 0xfa, 0x7a]);
        for codec in [Codec::Pcmu, Codec::Pcma] {
            let heights: Vec<u8> = (0..=i16::MAX).map(|sample| codec.encode(sample)).collect();
            let steps = heights.windows(2).filter(|two| two[0] != two[1]).count();
            assert_eq!(steps, 127, "{codec:?}: 128 heights, each once and in order");
            assert!((1..i16::MAX).all(|sample| codec.encode(sample) ^ codec.encode(-sample - 1) == 0x80));
            assert_eq!(Codec::of_payload_type(codec.payload_type()), Some(codec));
        }
        assert_eq!(Codec::of_payload_type(3), None);
    }
}
