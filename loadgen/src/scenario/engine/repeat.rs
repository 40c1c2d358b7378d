//! Retransmission as SIPp has it, over UDP: the interval a scenario gives doubles, up to T2 for all but INVITE, so many
//! times; then the call has failed. RFC 3261 §17.1.1.2, §17.1.2.2, §13.3.1.4 are its model.

use bytes::Bytes;
use strowger::base::time::Duration;
use strowger::base::{Slot, TimerKey};

use super::shared::Shared;
use crate::core::scan::{Fields, Start};
use crate::core::{Context, Path, Timer};

/// The last message sent, until it is answered.
pub struct Repeat {
    bytes: Bytes,
    path: Path,
    is_response: bool,
    is_invite: bool,
    method: Vec<u8>,
    cseq: u32,
    interval: Duration,
    interval_max: Duration,
    left: u32,
    timer: Option<TimerKey>,
}

impl Repeat {
    /// Of a message just sent.
    pub fn new(
        shared: &Shared,
        first: Duration,
        is_response: bool,
        method: &[u8],
        cseq: u32,
        path: Path,
        bytes: Bytes,
    ) -> Self {
        let is_invite = !is_response && method == b"INVITE";
        let [invites, others] = shared.env.retransmissions_max;
        Self {
            bytes,
            path,
            is_response,
            is_invite,
            method: method.to_vec(),
            cseq,
            interval: first,
            interval_max: if is_invite { Duration::MAX } else { shared.env.t2 },
            left: if is_invite { invites } else { others },
            timer: None,
        }
    }

    /// Whether this message answers what is being repeated.
    pub fn is_answered(&self, fields: &Fields<'_>) -> bool {
        match fields.start {
            // A provisional answer keeps an INVITE from being repeated, but not any other request (RFC 3261 §17.1.2.2).
            Start::Response { status, .. } => {
                !self.is_response
                    && (fields.cseq, fields.cseq_method) == (self.cseq, &self.method)
                    && (self.is_invite || status >= 200)
            }
            Start::Request { method, .. } => self.is_response && method != b"INVITE",
        }
    }

    /// Begins to repeat it.
    pub fn start(mut self, cx: &mut Context<'_>, slot: Slot) -> Self {
        self.timer = cx.schedule(cx.now + self.interval, Timer::ScenarioRepeat(slot));
        self
    }

    /// Repeats it no more.
    pub fn stop(mut self, cx: &mut Context<'_>) {
        cx.cancel(&mut self.timer);
    }

    /// Sends it again; false once that has been done as often as allowed.
    pub fn again(&mut self, cx: &mut Context<'_>, slot: Slot) -> bool {
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        self.interval = self.interval.saturating_mul(2).min(self.interval_max);
        match (self.is_response, self.is_invite) {
            (true, _) => cx.stats.counters.retransmitted_success += 1,
            (false, true) => cx.stats.counters.retransmitted_invite += 1,
            (false, false) => cx.stats.counters.retransmitted_request += 1,
        }
        cx.send(self.path, self.bytes.clone());
        self.timer = cx.schedule(cx.now + self.interval, Timer::ScenarioRepeat(slot));
        true
    }
}
