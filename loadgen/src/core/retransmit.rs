//! When to send a message again: timers A/B (INVITE), E/F (other requests), G/H and the repetition of a 2xx.
//! RFC 3261 §17.1.1.2, §17.1.2.2, §17.2.1, §13.3.1.4; the times of table 4.

use strowger::base::Instant;
use strowger::base::time::Duration;

/// T1 and what hangs on it.
#[derive(Clone, Copy, Debug)]
pub struct Timers {
    /// Round-trip estimate.
    pub t1: Duration,
    /// Longest interval of all but INVITE.
    pub t2: Duration,
    /// The transport repeats nothing itself.
    pub unreliable: bool,
}

/// What is being repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// INVITE: doubling without a bound until timer B.
    Invite,
    /// Any other request: doubling up to T2 until timer F.
    Request,
    /// A 2xx to INVITE: as a request, over every transport, until the ACK.
    Success,
    /// Any other final answer to INVITE: as a request, until the ACK (timers G, H).
    Refusal,
}

/// What to do when the timer fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing yet.
    No,
    /// Send it again.
    Again,
    /// Give up: timer B, F, or 64*T1 without ACK.
    GiveUp,
}

/// The clock of one message in flight.
#[derive(Clone, Copy, Debug)]
pub struct Retransmit {
    interval: Duration,
    interval_max: Duration,
    next: Instant,
    give_up: Instant,
}

impl Retransmit {
    /// Starts with the first sending at `now`.
    pub fn new(timers: &Timers, kind: Kind, now: Instant) -> Self {
        let repeats = timers.unreliable || kind == Kind::Success;
        let interval_max = if kind == Kind::Invite { Duration::MAX } else { timers.t2 };
        Self {
            interval: timers.t1,
            interval_max,
            next: if repeats { now + timers.t1 } else { Instant::MAX },
            give_up: now + timers.t1 * 64,
        }
    }

    /// When [`on_timer`](Self::on_timer) must be called.
    pub fn next_deadline(&self) -> Instant {
        self.next.min(self.give_up)
    }

    /// A provisional answer came: an INVITE is not repeated any more and waits until `give_up`.
    pub fn proceeding(&mut self, give_up: Instant) {
        self.next = Instant::MAX;
        self.give_up = give_up;
    }

    /// The time is `now`.
    pub fn on_timer(&mut self, now: Instant) -> Due {
        if now >= self.give_up {
            return Due::GiveUp;
        }
        if now < self.next {
            return Due::No;
        }
        self.interval = self.interval.saturating_mul(2).min(self.interval_max);
        self.next = now + self.interval;
        Due::Again
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fired(kind: Kind, unreliable: bool) -> (Vec<u64>, u64) {
        let timers = Timers { t1: Duration::from_millis(500), t2: Duration::from_secs(4), unreliable };
        let mut clock = Retransmit::new(&timers, kind, Instant::ZERO);
        let mut again = Vec::new();
        loop {
            let now = clock.next_deadline();
            match clock.on_timer(now) {
                Due::Again => again.push(now.as_millis()),
                Due::GiveUp => return (again, now.as_millis()),
                Due::No => unreachable!(),
            }
        }
    }

    #[test]
    fn the_intervals_of_rfc_3261() {
        assert_eq!(fired(Kind::Invite, true), (vec![500, 1500, 3500, 7500, 15500, 31500], 32000));
        let others = vec![500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500];
        assert_eq!(fired(Kind::Request, true), (others.clone(), 32000));
        assert_eq!(fired(Kind::Success, false), (others, 32000));
        assert_eq!(fired(Kind::Refusal, true), fired(Kind::Request, true));
        assert_eq!((fired(Kind::Request, false), fired(Kind::Refusal, false)), ((vec![], 32000), (vec![], 32000)));
    }
}
