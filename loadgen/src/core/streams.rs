//! Media without signalling: pairs of streams through a relay that something else has set up.
//!
//! The two ends of a pair send to where the relay takes their packets and expect each other's. The beginnings are spread
//! over one packet period, as those of independent calls would be.

use std::net::SocketAddr;

use strowger::base::time::Duration;
use strowger::base::{Instant, Slot};

use super::rtp::PERIOD;
use super::{Context, Role};

/// The last packets arrive before the streams are judged.
const TAIL: Duration = Duration::from_millis(500);

/// The pairs of one core.
pub struct Streams {
    /// Where the first and the second end of each pair send.
    remotes: Vec<[SocketAddr; 2]>,
    start: Option<Instant>,
    waiting: usize,
    open: Vec<Slot>,
    until: Option<Instant>,
}

impl Streams {
    /// One pair for each element: where its two ends send. Ends are taken in the order of the media ports.
    pub fn new(remotes: Vec<[SocketAddr; 2]>) -> Self {
        let open = Vec::with_capacity(2 * remotes.len());
        Self { remotes, start: None, waiting: 0, open, until: None }
    }

    /// The first pair begins at `at`; all end together, `hold` later.
    pub fn start(&mut self, at: Instant, hold: Duration) {
        self.start = Some(at);
        self.until = Some(at + hold + TAIL);
    }

    /// Ends at once.
    pub fn drain(&mut self, now: Instant) {
        self.waiting = self.remotes.len();
        self.until = self.until.map(|until| until.min(now + TAIL));
    }

    fn due(&self, number: usize) -> Option<Instant> {
        let spread = PERIOD.as_nanos() as u64 * number as u64 / self.remotes.len().max(1) as u64;
        Some(self.start? + Duration::from_nanos(spread))
    }

    /// Begins what is due, ends what is over.
    pub fn handle_timeout(&mut self, cx: &mut Context<'_>) {
        while self.waiting < self.remotes.len() && self.due(self.waiting).is_some_and(|due| due <= cx.now) {
            let remotes = self.remotes[self.waiting];
            self.waiting += 1;
            cx.stats.counters.streams_begun += 1;
            for (role, remote) in [(Role::Uac, remotes[0]), (Role::Uas, remotes[1])] {
                let Some((slot, _)) = cx.media.open(role, None, cx.random) else { continue };
                cx.media.start(cx.now, slot, remote);
                if role == Role::Uac {
                    cx.media.end_at(slot, cx.now + cx.plan.hold.longest());
                }
                self.open.push(slot);
            }
        }
        if self.until.is_some_and(|until| until <= cx.now) {
            self.until = None;
            for slot in self.open.drain(..) {
                cx.media.close(cx.now, slot, cx.stats);
            }
        }
    }

    /// When there is something to do.
    pub fn next_deadline(&self) -> Option<Instant> {
        let begin = (self.waiting < self.remotes.len()).then(|| self.due(self.waiting)).flatten();
        [begin, self.until].into_iter().flatten().min()
    }

    /// Pairs that send.
    pub fn len(&self) -> usize {
        self.open.len() / 2
    }

    /// True when all have been judged.
    pub fn is_over(&self) -> bool {
        self.start.is_some() && self.until.is_none()
    }
}
