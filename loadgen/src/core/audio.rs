//! What a call may carry instead of the pattern: silence, a tone, or a recording, in frames of 20 ms of G.711.
//!
//! A receiver that knows the frames can tell damage: every payload must be one of them. ITU-T G.711, RFC 3551 §4.5.14.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};

use crate::sound::g711::{Codec, FRAME_LEN};

/// Frames of a recording that are kept: ten minutes.
const FRAMES_MAX: usize = 30_000;
const TONE_HZ: u32 = 440;
/// -10 dBm0 or so.
const TONE_AMPLITUDE: f64 = 8000.0;

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

    /// From octets of the codec; the last frame is filled up with silence.
    pub fn of_octets(codec: Codec, octets: &[u8]) -> Option<Self> {
        let frames = octets.chunks(FRAME_LEN).map(|chunk| {
            let mut frame = [codec.encode(0); FRAME_LEN];
            frame[..chunk.len()].copy_from_slice(chunk);
            frame
        });
        Self::new(frames.take(FRAMES_MAX + 1).collect())
    }

    /// Nothing to hear.
    pub fn silence(codec: Codec) -> Option<Self> {
        Self::new(vec![[codec.encode(0); FRAME_LEN]])
    }

    /// 440 Hz.
    pub fn tone(codec: Codec) -> Option<Self> {
        let wave = |at: u32| (f64::from(at * TONE_HZ) / 8000.0 * std::f64::consts::TAU).sin() * TONE_AMPLITUDE;
        // 440 Hz repeats after 200 samples; five frames are four times that.
        Self::of_octets(codec, &(0..800).map(|at| codec.encode(wave(at) as i16)).collect::<Vec<_>>())
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
    fn frames_repeat_and_know_their_own() {
        let tone = Frames::tone(Codec::Pcma).unwrap();
        assert_eq!((tone.get(7), tone.frames.len()), (tone.get(2), 5));
        let mut frame = *tone.get(3);
        assert!(tone.contains(&frame) && !tone.contains(&frame[1..]));
        frame[9] ^= 4;
        assert!(!tone.contains(&frame));
        assert!(Frames::silence(Codec::Pcmu).unwrap().contains(&[0xff; FRAME_LEN]));
        assert!(Frames::new(vec![]).is_none() && Frames::of_octets(Codec::Pcmu, &[]).is_none());
    }
}
