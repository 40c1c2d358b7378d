//! WAV files (RIFF) of speech: G.711 or linear samples of 16 bits, 8 kHz, one channel.
//!
//! Nothing is resampled or mixed: what does not fit is a sentence that says how to make it fit. An error is without the file's name.

use super::g711::Codec;

const LINEAR: u16 = 1;
const A_LAW: u16 = 6;
const MU_LAW: u16 = 7;
/// How to make any file of sound fit.
pub const MAKE_IT_FIT: &str = "make it fit with: sox IN -r 8000 -c 1 -b 16 OUT.wav";

/// What the format chunk says.
#[derive(Clone, Copy)]
struct Format {
    coding: u16,
    channels: u16,
    rate_hz: u32,
    bits: u16,
}

impl Format {
    fn read(body: &[u8]) -> Option<Self> {
        let half = |at: usize| Some(u16::from_le_bytes(body.get(at..at + 2)?.try_into().ok()?));
        let rate_hz = u32::from_le_bytes(body.get(4..8)?.try_into().ok()?);
        Some(Self { coding: half(0)?, channels: half(2)?, rate_hz, bits: half(14)? })
    }

    fn encode(self, body: &[u8], codec: Codec) -> Result<Vec<u8>, String> {
        let Self { coding, channels, rate_hz, bits } = self;
        if (channels, rate_hz) != (1, 8000) {
            return Err(format!("is not mono at 8 kHz: it has {channels} channels at {rate_hz} Hz; {MAKE_IT_FIT}"));
        }
        match (coding, bits, codec) {
            (LINEAR, 16, _) => {
                let samples = body.chunks_exact(2).map(|two| i16::from_le_bytes([two[0], two[1]]));
                Ok(samples.map(|sample| codec.encode(sample)).collect())
            }
            (MU_LAW, 8, Codec::Pcmu) | (A_LAW, 8, Codec::Pcma) => Ok(body.to_vec()),
            (MU_LAW, 8, _) => Err("holds µ-law: it can be sent as PCMU only, payload type 0".into()),
            (A_LAW, 8, _) => Err("holds A-law: it can be sent as PCMA only, payload type 8".into()),
            _ => Err(format!("is neither G.711 nor linear of 16 bits (coding {coding}, {bits} bits); {MAKE_IT_FIT}")),
        }
    }
}

/// Does it look like one?
pub fn is_wav(bytes: &[u8]) -> bool {
    bytes.starts_with(b"RIFF")
}

/// The samples of a file in the codec, one octet each.
pub fn read(bytes: &[u8], codec: Codec) -> Result<Vec<u8>, String> {
    let (mut at, mut format) = (12, None);
    while let Some(head) = bytes.get(at..at + 8) {
        let size = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        let body = &bytes[at + 8..bytes.len().min((at + 8).saturating_add(size))];
        match &head[..4] {
            b"fmt " => format = Format::read(body),
            b"data" => return format.ok_or("has no format before its data")?.encode(body, codec),
            _ => {}
        }
        at = (at + 8).saturating_add(size).saturating_add(size & 1);
    }
    Err(format!("has no data; {MAKE_IT_FIT}"))
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A file with another chunk of odd length before its format.
    pub fn wav_of(coding: u16, channels: u16, rate_hz: u32, bits: u16, data: &[u8]) -> Vec<u8> {
        let mut out = b"RIFF\0\0\0\0WAVELIST\x03\0\0\0abc\0fmt \x10\0\0\0".to_vec();
        for value in [coding, channels, rate_hz as u16, (rate_hz >> 16) as u16, 0, 0, 2, bits] {
            out.extend_from_slice(&value.to_le_bytes());
        }
        out.extend_from_slice(b"data");
        out.extend_from_slice(&(data.len() as u32).to_le_bytes());
        [out, data.to_vec()].concat()
    }

    #[test]
    fn g711_is_taken_as_it_is_and_linear_samples_are_encoded() {
        let linear = wav_of(LINEAR, 1, 8000, 16, &[0, 0, 0xff, 0x7f, 0, 0x80]);
        assert_eq!(read(&linear, Codec::Pcmu).unwrap(), [0xff, 0x80, 0x00]);
        assert_eq!(read(&linear, Codec::Pcma).unwrap(), [0xd5, 0xaa, 0x2a]);
        assert_eq!(read(&wav_of(MU_LAW, 1, 8000, 8, &[1, 2, 3]), Codec::Pcmu).unwrap(), [1, 2, 3]);
        assert_eq!(read(&wav_of(A_LAW, 1, 8000, 8, &[7]), Codec::Pcma).unwrap(), [7]);
    }

    #[test]
    fn what_does_not_fit_is_said_with_a_remedy() {
        let error = |bytes: Vec<u8>| read(&bytes, Codec::Pcmu).unwrap_err();
        assert!(error(wav_of(LINEAR, 2, 8000, 16, &[0; 9])).contains("2 channels"));
        assert!(error(wav_of(LINEAR, 1, 44_100, 16, &[0; 9])).contains("44100 Hz; make it fit with: sox"));
        assert!(error(wav_of(A_LAW, 1, 8000, 8, &[0; 320])).contains("PCMA only"));
        assert!(error(wav_of(3, 1, 8000, 32, &[1])).contains("coding 3"));
        assert!(error(b"RIFF".to_vec()).contains("no data"));
        assert!(error(b"RIFF\0\0\0\0WAVEdata\x04\0\0\0abcd".to_vec()).contains("no format before"));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(cut in 0usize..80, bytes: Vec<u8>) {
            let mut whole = wav_of(LINEAR, 1, 8000, 16, &[0; 30]);
            whole.truncate(cut);
            whole.extend_from_slice(&bytes);
            let _ = read(&whole, Codec::Pcmu);
        }
    }
}
