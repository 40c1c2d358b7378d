//! What the four machines have in common: the timers' names and lengths, and what a transition asks of the layer.
//!
//! A machine is a function from a state and an event to the next state and a list of actions; it holds no bytes, no
//! clock and no tables. Owned by `layer/`, which carries the actions out.

use crate::base::time::Duration;
use serde::{Deserialize, Serialize};

/// One machine's answer to one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step<S: 'static> {
    /// Where the machine is afterwards.
    pub next: S,
    /// What the layer does, in this order.
    pub actions: &'static [Action],
}

/// Holds a machine to the table of its transitions: whatever is not in there changes nothing and asks for nothing.
#[cfg(test)]
pub(super) fn assert_transitions<S, E>(
    states: &[S],
    events: &[E],
    table: &[(S, E, S, &'static [Action])],
    step: impl Fn(S, E) -> Step<S>,
) where
    S: Copy + std::fmt::Debug + PartialEq + 'static,
    E: Copy + std::fmt::Debug + PartialEq,
{
    for &state in states {
        for &event in events {
            let row = table.iter().find(|row| (row.0, row.1) == (state, event));
            let (next, actions) = row.map_or((state, &[][..]), |row| (row.2, row.3));
            assert_eq!(step(state, event), Step { next, actions }, "{state:?} {event:?}");
        }
    }
}

/// What a transition asks of the layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send what is stored: the client's request, the server's latest response. Nothing, where nothing is stored.
    Send,
    /// Send the ACK to a final response other than 2xx (RFC 3261 §17.1.1.3).
    Acknowledge,
    /// Hand the message to the transaction's user.
    Pass,
    /// Let the stored bytes go; they will not be sent again.
    Forget,
    /// Start a timer, in place of the one running in its slot.
    Start(Timer),
    /// Stop whatever runs in the timer's slot.
    Stop(Slot),
    /// Tell the user.
    Report(Report),
}

/// What a machine tells the user besides messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// No response came in time (timers B and F; §9.1 after a CANCEL). To be treated as a 408 (§8.1.3.1).
    Timeout,
    /// The transport failed. To be treated as a 503 (§8.1.3.1).
    Transport,
    /// No ACK came (timer H; §13.3.1.4 for a 2xx).
    Unacknowledged,
    /// A non-INVITE request still has no response and may now be answered with 100 (RFC 4320 §4.1).
    Unanswered,
}

/// RFC 3261 table 4, RFC 6026 §8, and some that the texts describe without giving them a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Timer {
    /// INVITE request retransmission, unreliable transports only.
    A,
    /// INVITE transaction timeout.
    B,
    /// Wait for response retransmissions.
    D,
    /// Non-INVITE request retransmission, unreliable transports only.
    E,
    /// Non-INVITE transaction timeout.
    F,
    /// INVITE response retransmission, unreliable transports only.
    G,
    /// Wait for the ACK.
    H,
    /// Wait for ACK retransmissions.
    I,
    /// Wait for request retransmissions.
    J,
    /// Wait for response retransmissions.
    K,
    /// Wait for INVITE retransmissions after a 2xx (RFC 6026).
    L,
    /// Wait for further 2xx (RFC 6026).
    M,
    /// Timer E in "Proceeding": every T2 (§17.1.2.2).
    SlowE,
    /// 2xx retransmission by the UAS core, on every transport (§13.3.1.4).
    Success,
    /// A provisional response other than 100 is repeated every minute, so that no proxy gives up (§13.3.1.1).
    Ringing,
    /// A cancelled INVITE is given up (§9.1).
    Cancelled,
    /// A non-INVITE request may be answered with 100 on any transport (RFC 4320 §4.1).
    Trying,
    /// The client has given the non-INVITE request up (its timer F), so that no answer can reach it any more.
    Abandon,
}

/// A transaction has room for one timer of each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// A, E, G, ringing and the 2xx: the next retransmission.
    Retry,
    /// The end of the present state.
    Limit,
}

impl Timer {
    /// Where it runs.
    #[must_use]
    pub const fn slot(self) -> Slot {
        match self {
            Self::A | Self::E | Self::SlowE | Self::G | Self::Success | Self::Ringing => Slot::Retry,
            _ => Slot::Limit,
        }
    }
}

/// The base values of all timers (RFC 3261 §17.1.1.1, table 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timers {
    /// Estimate of the round trip: 500 ms.
    pub t1: Duration,
    /// Longest retransmission interval of non-INVITE requests and INVITE responses: 4 s.
    pub t2: Duration,
    /// Longest time a message stays in the network: 5 s.
    pub t4: Duration,
}

impl Default for Timers {
    fn default() -> Self {
        Self { t1: Duration::from_millis(500), t2: Duration::from_secs(4), t4: Duration::from_secs(5) }
    }
}

impl Timers {
    /// How long `timer` runs, where `previous` is the interval before in the same slot, if this is a repetition. `None`:
    /// the timer is not used on this transport. Zero: it fires at once.
    #[must_use]
    pub fn length(&self, timer: Timer, reliable: bool, previous: Option<Duration>) -> Option<Duration> {
        let doubled = previous.map_or(self.t1, |interval| interval * 2);
        match timer {
            Timer::A | Timer::E | Timer::SlowE | Timer::G if reliable => None,
            Timer::A => Some(doubled),
            Timer::E | Timer::G | Timer::Success => Some(doubled.min(self.t2)),
            Timer::SlowE => Some(self.t2),
            Timer::Ringing => Some(Duration::from_secs(60)),
            Timer::D | Timer::I | Timer::J | Timer::K if reliable => Some(Duration::ZERO),
            Timer::D => Some((self.t1 * 64).max(Duration::from_secs(32))),
            Timer::I | Timer::K => Some(self.t4),
            Timer::B | Timer::F | Timer::H | Timer::J | Timer::L | Timer::M | Timer::Cancelled => Some(self.t1 * 64),
            Timer::Trying => Some(self.until_slow()),
            Timer::Abandon => Some((self.t1 * 64).saturating_sub(self.until_slow())),
        }
    }

    /// The time it takes a client's timer E to be reset to T2 (RFC 4320 §4.1): T1 + 2·T1 + … while below T2; 3.5 s.
    #[must_use]
    pub fn until_slow(&self) -> Duration {
        let (mut total, mut interval) = (Duration::ZERO, self.t1);
        while interval < self.t2 && !interval.is_zero() {
            total += interval;
            interval *= 2;
        }
        total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repeated(timer: Timer, times: usize) -> Vec<u128> {
        let timers = Timers::default();
        let mut interval = None;
        let mut lengths = Vec::new();
        for _ in 0..times {
            interval = timers.length(timer, false, interval);
            lengths.push(interval.unwrap().as_millis());
        }
        lengths
    }

    #[test]
    fn intervals_are_those_of_table_4() {
        assert_eq!(repeated(Timer::A, 7), [500, 1000, 2000, 4000, 8000, 16000, 32000]);
        assert_eq!(repeated(Timer::E, 6), [500, 1000, 2000, 4000, 4000, 4000]);
        assert_eq!(repeated(Timer::G, 5), [500, 1000, 2000, 4000, 4000]);
        assert_eq!(repeated(Timer::Success, 5), [500, 1000, 2000, 4000, 4000]);
        assert_eq!(repeated(Timer::SlowE, 2), [4000, 4000]);
        let timers = Timers::default();
        let millis = |timer, reliable| timers.length(timer, reliable, None).map(|length| length.as_millis());
        for timer in [Timer::B, Timer::F, Timer::H, Timer::L, Timer::M, Timer::Cancelled] {
            assert_eq!((millis(timer, false), millis(timer, true)), (Some(32_000), Some(32_000)), "{timer:?}");
        }
        for (timer, long) in [(Timer::D, 32_000), (Timer::J, 32_000), (Timer::I, 5_000), (Timer::K, 5_000)] {
            assert_eq!((millis(timer, false), millis(timer, true)), (Some(long), Some(0)), "{timer:?}");
        }
        for timer in [Timer::A, Timer::E, Timer::G, Timer::SlowE] {
            assert_eq!(millis(timer, true), None, "{timer:?}");
        }
        assert_eq!(millis(Timer::Success, true), Some(500));
        assert_eq!((millis(Timer::Trying, false), millis(Timer::Abandon, false)), (Some(3_500), Some(28_500)));
    }
}
