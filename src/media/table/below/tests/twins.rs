//! Any conversation twice, beside the model of the kernel and without: both must deliver and count alike, and where the
//! kernel has a planted bug they must not.

use super::bench::{Bench, DEAD_MAN, config, remote};
use crate::base::time::Duration;
use crate::base::{Direction, Side};
use crate::media::model::{Bug, Kernel};
use crate::media::path::Waiting;
use crate::media::{RemoteOptions, SideReport};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    /// Numbers forward by so many, of which the last is sent.
    Voice(Side, u16),
    Event(Side),
    /// The last packet comes again.
    Again(Side),
    /// Two packets change places.
    Swap(Side),
    Source(Side),
    Codec(Side),
    /// The sender begins elsewhere.
    Jump(Side, u16),
    Hold(Side, bool),
    Refuse(bool),
    TakeOver(bool),
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let side = || prop::sample::select(&Side::BOTH[..]);
    let step = prop_oneof![
        30 => (side(), prop_oneof![9 => Just(1u16), 1 => 2u16..9]).prop_map(|(side, ahead)| Step::Voice(side, ahead)),
        3 => side().prop_map(Step::Event),
        2 => side().prop_map(Step::Again),
        2 => side().prop_map(Step::Swap),
        1 => side().prop_map(Step::Source),
        1 => side().prop_map(Step::Codec),
        1 => (side(), 4000u16..60_000).prop_map(|(side, by)| Step::Jump(side, by)),
        1 => (side(), any::<bool>()).prop_map(|(side, held)| Step::Hold(side, held)),
        1 => any::<bool>().prop_map(Step::Refuse),
        1 => any::<bool>().prop_map(Step::TakeOver),
        10 => (1u64..40).prop_map(Step::Wait),
        1 => (100u64..1500).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 0..400)
}

/// What each side says of itself now.
#[derive(Clone, Copy, Default)]
struct Speaker {
    sequence: u16,
    ssrc: u32,
    payload_type: u8,
    last: Option<(u8, u32, u16)>,
}

/// The same packets through both; true while both deliver alike.
struct Twins {
    benches: [Bench; 2],
    kernel: Kernel,
    speakers: [Speaker; 2],
}

impl Twins {
    fn new(bug: Option<Bug>) -> Self {
        let kernel = Kernel::new(config(), DEAD_MAN);
        kernel.plant(bug);
        let benches = [Bench::new(None), Bench::new(Some(kernel.clone()))];
        Self { benches, kernel, speakers: [Speaker::default(); 2] }
    }

    fn send(&mut self, side: Side, packet: (u8, u32, u16)) -> Result<(), String> {
        self.speakers[side.index()].last = Some(packet);
        let (payload_type, ssrc, sequence) = packet;
        let [one, two] = self.benches.each_mut().map(|bench| {
            bench.now += Duration::from_micros(1);
            bench.send(side, payload_type, ssrc, sequence)
        });
        if one == two { Ok(()) } else { Err(format!("{packet:?} of {side:?}: {one:?} or {two:?}")) }
    }

    fn voice(&mut self, side: Side, ahead: u16) -> (u8, u32, u16) {
        let speaker = &mut self.speakers[side.index()];
        speaker.sequence = speaker.sequence.wrapping_add(ahead);
        (speaker.payload_type, speaker.ssrc, speaker.sequence)
    }

    fn take(&mut self, step: &Step) -> Result<(), String> {
        match *step {
            Step::Voice(side, ahead) => {
                let packet = self.voice(side, ahead);
                self.send(side, packet)
            }
            Step::Event(side) => {
                let (_, ssrc, sequence) = self.voice(side, 1);
                self.send(side, (101, ssrc, sequence))
            }
            Step::Again(side) => match self.speakers[side.index()].last.take() {
                Some(packet) => self.send(side, packet),
                None => Ok(()),
            },
            Step::Swap(side) => {
                let (first, second) = (self.voice(side, 1), self.voice(side, 1));
                self.send(side, second)?;
                self.send(side, first)?;
                let third = self.voice(side, 1);
                self.send(side, third)
            }
            Step::Source(side) => {
                self.speakers[side.index()].ssrc += 1;
                Ok(())
            }
            Step::Codec(side) => {
                self.speakers[side.index()].payload_type ^= 8;
                Ok(())
            }
            Step::Jump(side, by) => {
                // Seen by one way from before to after, and two in a row, as RFC 3550 A.1 wants them.
                let before = self.voice(side, 1);
                self.send(side, before)?;
                let (first, second) = (self.voice(side, by), self.voice(side, 1));
                self.send(side, first)?;
                self.send(side, second)
            }
            Step::Hold(side, held) => {
                let direction = if held { Direction::SendOnly } else { Direction::SendReceive };
                for bench in &mut self.benches {
                    bench.relay.set_remote(bench.now, bench.slot, side, &RemoteOptions { direction, ..remote(side) });
                }
                Ok(())
            }
            Step::Refuse(refuse) => {
                self.kernel.refuse(refuse);
                Ok(())
            }
            Step::TakeOver(stays) => {
                let waiting = if stays { Waiting::Below } else { Waiting::OnSockets };
                self.benches.iter_mut().for_each(|bench| bench.take_over(waiting));
                Ok(())
            }
            Step::Wait(millis) => {
                // A packet comes twice within moments or not at all.
                self.speakers.iter_mut().for_each(|speaker| speaker.last = None);
                self.benches.iter_mut().for_each(|bench| bench.wait(millis));
                Ok(())
            }
        }
    }

    /// Ends both; their figures must be the same.
    fn finish(mut self) -> Result<[u64; 2], String> {
        let reports = self.benches.each_mut().map(|bench| bench.relay.close(bench.now, bench.slot).unwrap().sides);
        for (one, two) in reports[0].iter().zip(&reports[1]) {
            let of = |side: &SideReport| {
                (side.packets, side.bytes, side.forwarded, side.lost, side.duplicates, side.payload_type, side.ssrc)
            };
            if of(one) != of(two) {
                return Err(format!("{one:#?}\nbut beside a kernel {two:#?}"));
            }
        }
        let counts = self.benches[1].relay.counts();
        if !counts.is_balanced() || self.kernel.below() + self.kernel.open() > 0 {
            return Err(format!("{counts:?}"));
        }
        Ok([counts.below, counts.moves_up])
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn both_ways_together_say_what_one_way_says(steps in steps()) {
        let mut twins = Twins::new(None);
        for step in &steps {
            twins.take(step).map_err(TestCaseError::fail)?;
        }
        twins.finish().map_err(TestCaseError::fail)?;
    }
}

/// A conversation in which everything happens.
fn eventful() -> Vec<Step> {
    let mut steps = Vec::new();
    let talk = |steps: &mut Vec<Step>| {
        for _ in 0..40 {
            steps.extend([Step::Voice(Side::A, 1), Step::Voice(Side::B, 1), Step::Wait(20)]);
        }
    };
    for event in [Step::Event(Side::A), Step::Source(Side::B), Step::Codec(Side::A), Step::Hold(Side::A, true)] {
        talk(&mut steps);
        steps.push(event);
    }
    talk(&mut steps);
    steps
}

#[test]
fn the_eventful_conversation_goes_down_and_a_faulty_kernel_is_found_out() {
    let run = |bug| {
        std::panic::catch_unwind(|| {
            let mut twins = Twins::new(bug);
            eventful().iter().try_for_each(|step| twins.take(step))?;
            twins.finish()
        })
        .unwrap_or_else(|_| Err("the kernel was asked for what cannot be".into()))
    };
    let [below, moves] = run(None).unwrap();
    assert!(below > 300 && moves >= 4, "{below} packets, {moves} moves");
    for bug in [Bug::DeafToUp, Bug::ForgetsRest, Bug::Careless, Bug::Doubles] {
        assert!(run(Some(bug)).is_err(), "{bug:?}");
    }
}
