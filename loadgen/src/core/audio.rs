//! What a call may carry instead of the pattern: silence, a tone, or a recording, in frames of 20 ms of G.711.
//!
//! A receiver that knows the frames can tell damage: every payload must be one of them. ITU-T G.711, RFC 3551 §4.5.14.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};

/// Octets of 20 ms.
pub const FRAME_LEN: usize = 160;
/// Frames of a recording that are kept: ten minutes.
const FRAMES_MAX: usize = 30_000;
const TONE_HZ: u32 = 440;
/// -10 dBm0 or so.
const TONE_AMPLITUDE: f64 = 8000.0;

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

/// The frames of something to hear, over and over.
#[derive(Clone, Debug)]
pub struct Frames {
    frames: Vec<[u8; FRAME_LEN]>,
    known: HashSet<u64>,
    keys: RandomState,
}

impl Frames {
    /// From whole frames of the codec.
    pub fn new(frames: Vec<[u8; FRAME_LEN]>) -> Option<Self> {
        let keys = RandomState::new();
        let known = frames.iter().map(|frame| keys.hash_one(frame)).collect();
        (!frames.is_empty() && frames.len() <= FRAMES_MAX).then_some(Self { frames, known, keys })
    }

    /// From samples at 8 kHz; the last frame is filled up with silence.
    pub fn of_samples(codec: Codec, samples: &[i16]) -> Option<Self> {
        let frames = samples.chunks(FRAME_LEN).map(|chunk| {
            let mut frame = [codec.encode(0); FRAME_LEN];
            frame.iter_mut().zip(chunk).for_each(|(octet, &sample)| *octet = codec.encode(sample));
            frame
        });
        Self::new(frames.take(FRAMES_MAX + 1).collect())
    }

    /// Nothing to hear.
    pub fn silence(codec: Codec) -> Option<Self> {
        Self::of_samples(codec, &[0; FRAME_LEN])
    }

    /// 440 Hz.
    pub fn tone(codec: Codec) -> Option<Self> {
        let wave = |at: u32| (f64::from(at * TONE_HZ) / 8000.0 * std::f64::consts::TAU).sin() * TONE_AMPLITUDE;
        // 440 Hz repeats after 200 samples; five frames are four times that.
        Self::of_samples(codec, &(0..800).map(|at| wave(at) as i16).collect::<Vec<_>>())
    }

    /// The frame of the packet with this number.
    pub fn get(&self, number: u32) -> &[u8; FRAME_LEN] {
        &self.frames[number as usize % self.frames.len()]
    }

    /// Is this one of them?
    pub fn contains(&self, payload: &[u8]) -> bool {
        <&[u8; FRAME_LEN]>::try_from(payload).is_ok_and(|frame| self.known.contains(&self.keys.hash_one(frame)))
    }
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
        for codec in [Codec::Pcmu, Codec::Pcma] {
            let heights: Vec<u8> = (0..=i16::MAX).map(|sample| codec.encode(sample)).collect();
            let steps = heights.windows(2).filter(|two| two[0] != two[1]).count();
            assert_eq!(steps, 127, "{codec:?}: 128 heights, each once and in order");
            assert!((1..i16::MAX).all(|sample| codec.encode(sample) ^ codec.encode(-sample - 1) == 0x80));
        }
    }

    #[test]
    fn frames_repeat_and_know_their_own() {
        let tone = Frames::tone(Codec::Pcma).unwrap();
        assert_eq!((tone.get(7), tone.frames.len()), (tone.get(2), 5));
        let mut frame = *tone.get(3);
        assert!(tone.contains(&frame) && !tone.contains(&frame[1..]));
        frame[9] ^= 4;
        assert!(!tone.contains(&frame));
        assert!(Frames::silence(Codec::Pcmu).unwrap().contains(&[0xff; FRAME_LEN]));
        assert!(Frames::new(vec![]).is_none() && Frames::of_samples(Codec::Pcmu, &[]).is_none());
    }
}
