//! A million frames: valid ones, and what becomes of them when fields are changed at random. The seed is printed.

use crate::fixtures::{CLOSED, packet, stage};
use crate::frames::{Frame, check, voice};
use crate::model::Verdict;
use crate::stage::{PORT_MIN, own};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

const FRAMES: usize = 1_000_000;
const SEED: u64 = 0x5374_726f_7767_6572;

struct Dice(ChaCha8Rng);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        (self.0.next_u64() % end as u64) as usize
    }
}

/// A frame near one that is relayed.
fn frame(dice: &mut Dice, sequence: u16) -> Vec<u8> {
    let (v6, pair) = (dice.below(2) == 1, dice.below(usize::from(CLOSED) + 1) as u16);
    let base = packet(v6, pair);
    let length = 12 + dice.below(180);
    let mut payload = voice(8, crate::fixtures::SSRC, sequence);
    payload.resize(length, 0xa5);
    let mut frame = Frame {
        tag: (dice.below(3) == 0).then(|| dice.0.next_u32() as u16),
        class: dice.0.next_u32() as u8,
        ttl: dice.0.next_u32() as u8,
        with_checksum: dice.below(8) > 0,
        padding: if dice.below(4) == 0 { dice.below(20) } else { 0 },
        payload,
        ..base
    };
    match dice.below(12) {
        0 => frame.to = own(v6, PORT_MIN.wrapping_add(dice.below(40) as u16).wrapping_sub(4)),
        1 => frame.from.set_port(4000 + dice.below(2) as u16),
        2 => frame.payload[1] = dice.0.next_u32() as u8,
        3 => frame.payload.truncate(dice.below(16)),
        _ => {}
    }
    let mut octets = frame.build();
    // Half of them are spoilt further, mostly where the headers are.
    for _ in 0..dice.below(6).saturating_sub(2) {
        let reach = if dice.below(4) == 0 { octets.len() } else { octets.len().min(74) };
        let at = dice.below(reach);
        match dice.below(4) {
            0 => octets[at] = dice.0.next_u32() as u8,
            1 => octets[at] ^= 1 << dice.below(8),
            2 => octets.truncate(at.max(14)),
            _ => octets[at] = [0, 0xff, 0x45, 0x60, 17, 44, 0x08, 0x81][dice.below(8)],
        }
    }
    octets
}

#[test]
fn a_million_random_frames_are_treated_as_apply_says() {
    let Some(mut stage) = stage() else { return };
    stage.block("198.51.100.21".parse().unwrap());
    let mut dice = Dice(ChaCha8Rng::seed_from_u64(SEED));
    println!("seed {SEED:#x}");
    let mut seen = [0usize; 5];
    let mut sound = 0usize;
    for sequence in 0..FRAMES {
        let frame = frame(&mut dice, sequence as u16);
        let was_sound = || check(&frame).is_ok();
        let (verdict, out) = stage.agree(&frame);
        seen[verdict as usize] += 1;
        if matches!(verdict, Verdict::Transmit | Verdict::Redirect) && was_sound() {
            check(&out).unwrap_or_else(|wrong| panic!("{wrong} of {out:02x?}"));
            sound += 1;
        }
    }
    stage.counted_alike();
    println!("dropped, passed, sent back, sent on: {:?}; checksums verified: {sound}", &seen[1..]);
    assert!(seen[1..].iter().all(|count| *count > FRAMES / 50), "{seen:?}");
    assert!(sound > FRAMES / 10);
}
