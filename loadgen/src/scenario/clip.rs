//! RTP to be played: packets of a capture as they are, or samples of G.711 that are put into packets.

use super::pcap;

/// 20 ms of G.711.
pub const SAMPLES_PER_PACKET: usize = 160;
/// Largest WAV or raw file.
const SAMPLES_MAX: usize = 64 << 20;

/// What can be played.
#[derive(Clone, Debug, PartialEq)]
pub enum Clip {
    /// `play_pcap_audio`: packets and when each is due.
    Packets(Vec<pcap::Packet>),
    /// `rtp_stream`.
    Samples {
        /// G.711.
        samples: Vec<u8>,
        /// 0 for µ-law, 8 for A-law.
        payload_type: u8,
        /// How often; `None` for ever.
        times: Option<u32>,
    },
}

impl Clip {
    /// A capture.
    pub fn capture(bytes: &[u8]) -> Result<Self, String> {
        pcap::read(bytes).map(Self::Packets)
    }

    /// A WAV file with G.711 or 16-bit samples of 8 kHz in one channel, or a file of bare G.711.
    pub fn samples(bytes: &[u8], payload_type: u8, times: Option<u32>) -> Result<Self, String> {
        let samples = if bytes.starts_with(b"RIFF") { wav(bytes, payload_type)? } else { bytes.to_vec() };
        match samples.len() {
            0 => Err("has no samples in it".into()),
            length if length > SAMPLES_MAX => Err(format!("has more than {SAMPLES_MAX} samples")),
            _ => Ok(Self::Samples { samples, payload_type, times }),
        }
    }
}

fn wav(bytes: &[u8], payload_type: u8) -> Result<Vec<u8>, String> {
    let (mut at, mut format) = (12, None);
    while let (Some(id), Some(size)) = (bytes.get(at..at + 4), bytes.get(at + 4..at + 8)) {
        let size = u32::from_le_bytes([size[0], size[1], size[2], size[3]]) as usize;
        let body = &bytes[at + 8..bytes.len().min((at + 8).saturating_add(size))];
        match (id, format) {
            (b"fmt ", _) => {
                let half = |at: usize| body.get(at..at + 2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
                format = Some((half(0), half(2), half(4), half(14)));
            }
            (b"data", Some(format)) => return encode(format, body, payload_type),
            _ => {}
        }
        at = (at + 8).saturating_add(size).saturating_add(size & 1);
    }
    Err("is a WAV file without format or data".into())
}

type Format = (Option<u16>, Option<u16>, Option<u16>, Option<u16>);

fn encode(format: Format, body: &[u8], payload_type: u8) -> Result<Vec<u8>, String> {
    match (format, payload_type) {
        ((_, Some(channels), Some(rate), _), _) if channels != 1 || rate != 8000 => {
            Err(format!("has {channels} channels at {rate} Hz; one at 8000 Hz is needed (sox IN -r 8000 -c 1 OUT)"))
        }
        ((Some(7), ..), 0) | ((Some(6), ..), 8) => Ok(body.to_vec()),
        ((Some(7), ..), _) => Err("holds µ-law, whose payload type is 0: write FILE,1,0".into()),
        ((Some(6), ..), _) => Err("holds A-law, whose payload type is 8: write FILE,1,8".into()),
        ((Some(1), _, _, Some(16)), 0) => Ok(words(body).map(mu_law).collect()),
        ((Some(1), _, _, Some(16)), _) => Ok(words(body).map(a_law).collect()),
        ((kind, _, _, bits), _) => Err(format!(
            "is a WAV file of kind {} with {} bits; G.711 or 16-bit linear is needed",
            kind.unwrap_or(0),
            bits.unwrap_or(0)
        )),
    }
}

fn words(body: &[u8]) -> impl Iterator<Item = i16> + '_ {
    body.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]]))
}

/// ITU-T G.711, µ-law.
pub fn mu_law(sample: i16) -> u8 {
    let sign = if sample < 0 { 0x80 } else { 0 };
    let magnitude = (i32::from(sample).abs() + 132).min(32_767);
    let exponent = (magnitude >> 7).ilog2();
    let mantissa = (magnitude >> (exponent + 3)) & 15;
    !(sign | (exponent as u8) << 4 | mantissa as u8)
}

/// ITU-T G.711, A-law.
pub fn a_law(sample: i16) -> u8 {
    let sign = if sample < 0 { 0 } else { 0x80 };
    let magnitude = if sample < 0 { !i32::from(sample) } else { i32::from(sample) } >> 4;
    let exponent = (magnitude >> 4).checked_ilog2().map_or(0, |log| log + 1);
    let mantissa = if exponent < 2 { magnitude } else { magnitude >> (exponent - 1) } & 15;
    (sign | (exponent as u8) << 4 | mantissa as u8) ^ 0x55
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wav_of(kind: u16, rate: u32, bits: u16, data: &[u8]) -> Vec<u8> {
        let mut out = b"RIFF\0\0\0\0WAVELIST\x03\0\0\0abc\0fmt \x10\0\0\0".to_vec();
        out.extend_from_slice(&kind.to_le_bytes());
        out.extend_from_slice(&[1, 0]);
        out.extend_from_slice(&rate.to_le_bytes());
        out.extend_from_slice(&[0; 6]);
        out.extend_from_slice(&bits.to_le_bytes());
        out.extend_from_slice(b"data");
        out.extend_from_slice(&(data.len() as u32).to_le_bytes());
        out.extend_from_slice(data);
        out
    }

    #[test]
    fn g711_is_taken_as_it_is_and_linear_samples_are_encoded() {
        let samples = |bytes: &[u8], payload_type| match Clip::samples(bytes, payload_type, Some(1)) {
            Ok(Clip::Samples { samples, .. }) => samples,
            other => panic!("{other:?}"),
        };
        assert_eq!(samples(&wav_of(7, 8000, 8, &[1, 2, 3]), 0), [1, 2, 3]);
        assert_eq!(samples(&[4, 5], 8), [4, 5], "a bare file");
        // The values of ITU-T G.711 tables 1a and 2a: silence, full scale both ways.
        assert_eq!(samples(&wav_of(1, 8000, 16, &[0, 0, 0xff, 0x7f, 0, 0x80]), 0), [0xff, 0x80, 0x00]);
        assert_eq!(samples(&wav_of(1, 8000, 16, &[0, 0, 0xff, 0x7f, 0, 0x80]), 8), [0xd5, 0xaa, 0x2a]);
        assert_eq!((mu_law(1000), mu_law(-1000), a_law(1000), a_law(-1000)), (0xce, 0x4e, 0xfa, 0x7a));
    }

    #[test]
    fn what_is_no_speech_of_8_khz_is_refused() {
        let error = |bytes: &[u8], payload_type| Clip::samples(bytes, payload_type, None).unwrap_err();
        assert!(error(&wav_of(7, 16000, 8, &[1]), 0).contains("16000 Hz"));
        assert!(error(&wav_of(7, 8000, 8, &[1]), 8).contains("payload type is 0"));
        assert!(error(&wav_of(3, 8000, 32, &[1]), 0).contains("kind 3"));
        assert!(error(b"", 0).contains("no samples"));
        assert!(error(b"RIFF", 0).contains("without format"));
    }
}
