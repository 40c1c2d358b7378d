//! What some calls do besides the plain flow: are cancelled or refused, ring with early media, are negotiated again.

use std::sync::Arc;

use strowger::base::time::Duration;
use strowger::base::{Instant, Random};

use super::Role;
use super::audio::Frames;
use super::sdp::Direction;
use crate::draw::chance;
use crate::sound::g711::Codec;

/// Which calls do what.
#[derive(Clone, Debug, Default)]
pub struct Flow {
    /// Offered and taken.
    pub codec: Codec,
    /// Audio instead of the pattern.
    pub frames: Option<Arc<Frames>>,
    /// Calls that the calling side cancels: percent, and how long it lets them ring.
    pub cancel: Option<(f64, Duration)>,
    /// Final answers of the answering side other than 200, each with its percent.
    pub answers: Vec<(u16, f64)>,
    /// Calls that hear something before they are answered, in percent.
    pub early_media: f64,
    /// Calls that are negotiated again.
    pub reinvite: Option<Reinvite>,
}

/// A re-INVITE of some calls.
#[derive(Clone, Copy, Debug)]
pub struct Reinvite {
    /// Of all calls.
    pub percent: f64,
    /// Into the call.
    pub after: Duration,
    /// Puts the peer on hold for so long, then takes it back; otherwise offers the same again.
    pub on_hold: Option<Duration>,
    /// Who sends it.
    pub by: Role,
}

impl Flow {
    /// The final answer this call gets instead of 200.
    pub fn refusal(&self, random: &mut Random) -> Option<u16> {
        let mut left = 100.0;
        self.answers.iter().find_map(|&(status, percent)| {
            let share = percent * 100.0 / left;
            left -= percent;
            chance(random, share).then_some(status)
        })
    }

    /// Is this final answer one of those that were asked for?
    pub fn is_wanted(&self, status: u16) -> bool {
        self.answers.iter().any(|&(wanted, _)| wanted == status)
    }
}

/// Reads `486:5%`.
pub fn parse_answer(text: &str) -> Result<(u16, f64), String> {
    let wrong = || format!("'{text}': write a final answer and its share of calls, as in 486:5%");
    let (status, share) = text.split_once(':').ok_or_else(wrong)?;
    let status = status.parse().ok().filter(|status| (300..700).contains(status)).ok_or_else(wrong)?;
    Ok((status, crate::units::percent(share).map_err(|error| format!("{error}; {}", wrong()))?))
}

/// What falls due in a call that is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Send a re-INVITE.
    Offer(Direction),
    /// Hang up; it was to be done at this instant.
    HangUp(Instant),
}

/// One side's plan for a call that is up. While a re-INVITE of ours is not answered, nothing else is done.
#[derive(Clone, Copy, Debug, Default)]
pub struct Steps {
    hang_up: Option<Instant>,
    offer: Option<(Instant, Direction)>,
    asking: Option<Direction>,
    on_hold: Duration,
}

impl Steps {
    /// For a call that is up since `now`; without `hang_up` it is the peer that will.
    pub fn new(flow: &Flow, role: Role, random: &mut Random, now: Instant, hang_up: Option<Instant>) -> Self {
        let ours = flow.reinvite.filter(|reinvite| reinvite.by == role && chance(random, reinvite.percent));
        let first = |reinvite: Reinvite| {
            let direction = if reinvite.on_hold.is_some() { Direction::Send } else { Direction::Both };
            (now + reinvite.after, direction)
        };
        let on_hold = ours.and_then(|reinvite| reinvite.on_hold).unwrap_or_default();
        Self { hang_up, offer: ours.map(first), asking: None, on_hold }
    }

    /// When something is due.
    pub fn next_deadline(&self) -> Option<Instant> {
        let offer = self.offer.map(|(at, _)| at);
        [offer, self.hang_up].into_iter().flatten().min().filter(|_| self.asking.is_none())
    }

    /// What is due now.
    pub fn take_due(&mut self, now: Instant) -> Option<Act> {
        if self.asking.is_some() {
            return None;
        }
        if let Some(due) = self.hang_up.filter(|&due| due <= now) {
            self.hang_up = None;
            return Some(Act::HangUp(due));
        }
        let (_, direction) = self.offer.take_if(|(at, _)| *at <= now)?;
        self.asking = Some(direction);
        Some(Act::Offer(direction))
    }

    /// The direction of the re-INVITE that is not answered yet.
    pub fn asking(&self) -> Option<Direction> {
        self.asking
    }

    /// The re-INVITE was answered; the direction that holds now, if it was accepted.
    pub fn answered(&mut self, now: Instant, accepted: bool) -> Option<Direction> {
        let direction = self.asking.take()?;
        if self.hang_up.is_some_and(|due| due < now) {
            self.hang_up = Some(now); // it waited for the answer: no delay of the BYE's
        }
        if accepted && direction == Direction::Send {
            self.offer = Some((now + self.on_hold, Direction::Both));
        }
        accepted.then_some(direction)
    }

    /// Hangs up as soon as it may.
    pub fn end(&mut self, now: Instant) {
        (self.hang_up, self.offer) = (Some(now), None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_millis(seconds * 1000)
    }

    fn flow(percent: f64, on_hold: Option<Duration>) -> Flow {
        let after = Duration::from_secs(2);
        Flow { reinvite: Some(Reinvite { percent, after, on_hold, by: Role::Uac }), ..Flow::default() }
    }

    #[test]
    fn a_call_is_held_taken_back_and_ended_in_this_order() {
        let flow = flow(100.0, Some(Duration::from_secs(3)));
        let mut steps = Steps::new(&flow, Role::Uac, &mut Random::from_u64(1), at(0), Some(at(9)));
        assert_eq!((steps.next_deadline(), steps.take_due(at(1))), (Some(at(2)), None));
        assert_eq!(steps.take_due(at(2)), Some(Act::Offer(Direction::Send)));
        assert_eq!((steps.next_deadline(), steps.take_due(at(20))), (None, None));
        assert_eq!(steps.answered(at(3), true), Some(Direction::Send));
        assert_eq!((steps.next_deadline(), steps.take_due(at(6))), (Some(at(6)), Some(Act::Offer(Direction::Both))));
        assert_eq!(steps.answered(at(10), true), Some(Direction::Both));
        assert_eq!(steps.take_due(at(10)), Some(Act::HangUp(at(10))), "an answer that took long delays no BYE");
        assert_eq!(steps.next_deadline(), None);
    }

    #[test]
    fn what_is_refused_or_not_ours_is_left() {
        let flow = flow(100.0, Some(Duration::from_secs(3)));
        let mut steps = Steps::new(&flow, Role::Uac, &mut Random::from_u64(1), at(0), None);
        assert_eq!(steps.take_due(at(2)), Some(Act::Offer(Direction::Send)));
        assert_eq!((steps.answered(at(3), false), steps.next_deadline()), (None, None));
        let steps = Steps::new(&flow, Role::Uas, &mut Random::from_u64(1), at(0), Some(at(9)));
        assert_eq!(steps.next_deadline(), Some(at(9)));
    }

    #[test]
    fn answers_are_shared_out() {
        let flow = Flow { answers: vec![(486, 5.0), (603, 20.0)], ..Flow::default() };
        let mut random = Random::from_u64(2);
        let all: Vec<_> = (0..20_000).map(|_| flow.refusal(&mut random)).collect();
        let count = |status| all.iter().filter(|&&found| found == status).count();
        assert!((850..1150).contains(&count(Some(486))) && (3800..4200).contains(&count(Some(603))));
        assert!(flow.is_wanted(603) && !flow.is_wanted(503));
        assert_eq!(parse_answer("486:5%"), Ok((486, 5.0)));
        assert!(
            ["486", "200:5%", "486:5", "x:5%"].iter().all(|text| parse_answer(text).unwrap_err().contains("486:5%"))
        );
    }
}
