//! RTP to be played: packets of a capture as they are, or samples of G.711 that are put into packets.

use crate::sound::g711::Codec;
use crate::sound::{pcap, wav};

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

    /// A WAV file (`sound::wav`), or a file of bare samples.
    pub fn samples(bytes: &[u8], payload_type: u8, times: Option<u32>) -> Result<Self, String> {
        let samples = if wav::is_wav(bytes) { decoded(bytes, payload_type)? } else { bytes.to_vec() };
        match samples.len() {
            0 => Err("has no samples in it".into()),
            length if length > SAMPLES_MAX => Err(format!("has more than {SAMPLES_MAX} samples")),
            _ => Ok(Self::Samples { samples, payload_type, times }),
        }
    }
}

/// The samples of a WAV file; no other payload type has a codec here.
fn decoded(bytes: &[u8], payload_type: u8) -> Result<Vec<u8>, String> {
    let codec = Codec::of_payload_type(payload_type).ok_or_else(|| {
        format!("is a WAV file, which payload type {payload_type} cannot carry: write FILE,1,0 or FILE,1,8")
    })?;
    wav::read(bytes, codec)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sound::wav::tests::wav_of;

    #[test]
    fn a_wav_file_is_encoded_and_a_bare_one_taken_as_it_is() {
        let samples = |bytes: &[u8], payload_type| match Clip::samples(bytes, payload_type, Some(1)) {
            Ok(Clip::Samples { samples, .. }) => samples,
            other => panic!("{other:?}"),
        };
        assert_eq!(samples(&wav_of(7, 1, 8000, 8, &[1, 2, 3]), 0), [1, 2, 3]);
        assert_eq!(samples(&wav_of(1, 1, 8000, 16, &[0, 0, 0xff, 0x7f]), 8), [0xd5, 0xaa]);
        assert_eq!(samples(&[4, 5], 3), [4, 5]);
    }

    #[test]
    fn what_cannot_be_played_is_refused() {
        let error = |bytes: &[u8], payload_type| Clip::samples(bytes, payload_type, None).unwrap_err();
        assert!(error(&wav_of(7, 1, 8000, 8, &[1]), 8).contains("payload type 0"));
        assert!(error(&wav_of(7, 1, 8000, 8, &[1]), 3).contains("FILE,1,0"));
        assert!(error(b"", 0).contains("no samples") && error(&wav_of(7, 1, 8000, 8, &[]), 0).contains("no samples"));
    }
}
