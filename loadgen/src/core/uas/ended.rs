//! Dialogs that are over, remembered while something may still come for them: a BYE whose 200 was lost (RFC 3261 §17.2.2, timer
//! J), an ACK that was doubled, an INVITE that the network kept (RFC 6026 §7.1, timer L).
//!
//! At full speed these are millions, and a processor waits longer for memory than a call may take. So each dialog has its place
//! in one cache line of a table of fixed size: it is fetched when the INVITE is looked up, and at hand when the call ends. A line
//! that is full forgets its oldest.

use strowger::base::Instant;
use strowger::base::time::Duration;

use super::super::arena::touch;

/// 64*T1 by the default T1, whatever T1 is: a peer's may be another.
const LINGER: Duration = Duration::from_secs(32);
/// Lines of the table.
const LINES: usize = 1 << 17;
/// Dialogs in a line of 64 octets.
const PLACES: usize = 8;
/// Time is told in units of 2^28 ns, 0.27 s.
const UNIT_BITS: u32 = 28;

/// Bits of a dialog's place, from below: the end of its time in units, whether its INVITE is absorbed, the lowest bits of that
/// INVITE's CSeq; above stand the highest bits of the dialog's key. The lowest bits of a key choose its line.
const ABSORBS: u64 = 1 << 16;
const CSEQ_BIT: u32 = 17;
const CSEQ_MASK: u64 = 0x7f;
const KEY_BIT: u32 = 24;

/// See the [module](self).
pub(super) struct Ended {
    places: Vec<u64>,
    /// Of the first line: memory comes aligned to less.
    first: usize,
}

/// Units from `now` until the end of a place's time; 0 if that is past. Once in five hours what ended long ago seems to have
/// time left, and is known by forty bits of its key then.
fn left(place: u64, now: Instant) -> u16 {
    const MOST: u16 = (LINGER.as_nanos() >> UNIT_BITS) as u16 + 2;
    let left = (place as u16).wrapping_sub((now.as_nanos() >> UNIT_BITS) as u16);
    if left <= MOST { left } else { 0 }
}

impl Ended {
    pub(super) fn new() -> Self {
        let mut places = vec![0u64; (LINES + 1) * PLACES];
        touch(&mut places);
        let first = places.as_ptr().align_offset(PLACES * size_of::<u64>());
        Self { places, first: if first < PLACES { first } else { 0 } }
    }

    fn line(&self, key: u64) -> std::ops::Range<usize> {
        let start = self.first + key as usize % LINES * PLACES;
        start..start + PLACES
    }

    fn find(&self, now: Instant, key: u64) -> Option<u64> {
        let mut line = self.places[self.line(key)].iter().copied();
        line.find(|place| place >> KEY_BIT == key >> KEY_BIT && left(*place, now) > 0)
    }

    /// One of this key has ended. `invite` is the CSeq of the INVITE that began it, unless that is to be answered anew when it
    /// comes again.
    pub(super) fn remember(&mut self, now: Instant, key: u64, invite: Option<u32>) {
        let until = ((now + LINGER).as_nanos() >> UNIT_BITS) as u16;
        let absorbs = invite.map_or(0, |cseq| ABSORBS | (u64::from(cseq) & CSEQ_MASK) << CSEQ_BIT);
        let place = key >> KEY_BIT << KEY_BIT | absorbs | u64::from(until.wrapping_add(1));
        let line = self.line(key);
        let worth = |old: u64| if old >> KEY_BIT == key >> KEY_BIT { 0 } else { left(old, now) };
        if let Some(oldest) = self.places[line].iter_mut().min_by_key(|old| worth(**old)) {
            *oldest = place;
        }
    }

    /// Whether one of this key ended lately.
    pub(super) fn knows(&self, now: Instant, key: u64) -> bool {
        self.find(now, key).is_some()
    }

    /// Whether this INVITE has had its final answer and its ACK.
    pub(super) fn absorbs(&self, now: Instant, key: u64, cseq: u32) -> bool {
        let same = |place: u64| (place >> CSEQ_BIT ^ u64::from(cseq)) & CSEQ_MASK == 0;
        self.find(now, key).is_some_and(|place| place & ABSORBS != 0 && same(place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: u64 = 0x1234_5678_9abc_def0;

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    #[test]
    fn what_ended_is_known_for_its_time_and_its_invite_absorbed() {
        let mut ended = Ended::new();
        // The clock of the units turns over in between.
        let begin = (1u64 << (16 + UNIT_BITS)) / 1_000_000 - 10_000;
        assert!(!ended.knows(at(begin), KEY) && !ended.absorbs(at(begin), KEY, 1));
        ended.remember(at(begin), KEY, Some(1));
        for later in [0, 1, 9_999, 20_000, 32_000] {
            let now = at(begin + later);
            assert!(ended.knows(now, KEY) && ended.absorbs(now, KEY, 1), "{later}");
            assert!(!ended.absorbs(now, KEY, 2) && !ended.knows(now, KEY ^ 1 << 63) && !ended.knows(now, KEY ^ 1));
        }
        assert!(!ended.knows(at(begin + 33_000), KEY) && !ended.absorbs(at(begin + 40_000), KEY, 1));
    }

    #[test]
    fn what_was_refused_at_once_is_asked_again() {
        let mut ended = Ended::new();
        ended.remember(at(1), KEY, None);
        assert!(ended.knows(at(2), KEY) && !ended.absorbs(at(2), KEY, 0));
        ended.remember(at(3), KEY, Some(5));
        assert!(ended.absorbs(at(4), KEY, 5), "the same dialog takes its old place");
    }

    #[test]
    fn a_full_line_forgets_its_oldest() {
        let mut ended = Ended::new();
        let key = |number: u64| KEY ^ number << 40;
        (0..9).for_each(|number| ended.remember(at(number * 1000), key(number), Some(1)));
        let known = (0..9).map(|number| ended.knows(at(9000), key(number)));
        assert_eq!(known.collect::<Vec<_>>(), [false, true, true, true, true, true, true, true, true]);
    }
}
