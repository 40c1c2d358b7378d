//! Retransmission as SIPp has it, over UDP: the interval a scenario gives doubles, up to T2 for all but INVITE, so many
//! times; then the call has failed. RFC 3261 §17.1.1.2, §17.1.2.2, §13.3.1.4 are its model.

use bytes::Bytes;
use strowger::base::TimerKey;
use strowger::base::time::Duration;

use super::Shared;
use super::call::{Call, Failure, Flow};
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
    fn is_answered(&self, fields: &Fields<'_>) -> bool {
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
}

impl Call {
    pub(super) fn start_repeat(&mut self, cx: &mut Context<'_>, mut repeat: Repeat) {
        self.stop_repeat(cx);
        repeat.timer = cx.schedule(cx.now + repeat.interval, Timer::ScenarioRepeat(self.slot));
        self.repeat = Some(repeat);
    }

    pub(super) fn stop_repeat(&mut self, cx: &mut Context<'_>) {
        if let Some(mut repeat) = self.repeat.take() {
            cx.cancel(&mut repeat.timer);
        }
    }

    /// An expected message came.
    pub(super) fn answered(&mut self, cx: &mut Context<'_>, fields: &Fields<'_>) {
        if self.repeat.as_ref().is_some_and(|repeat| repeat.is_answered(fields)) {
            self.stop_repeat(cx);
        }
    }

    /// It is time to send again, or to give up.
    pub fn on_repeat(&mut self, cx: &mut Context<'_>) -> Flow {
        let slot = self.slot;
        let Some(repeat) = &mut self.repeat else { return Flow::Waiting };
        if repeat.left == 0 {
            self.repeat = None;
            return Flow::Over(Err(Failure::Unanswered));
        }
        repeat.left -= 1;
        repeat.interval = repeat.interval.saturating_mul(2).min(repeat.interval_max);
        match (repeat.is_response, repeat.is_invite) {
            (true, _) => cx.stats.counters.retransmitted_success += 1,
            (false, true) => cx.stats.counters.retransmitted_invite += 1,
            (false, false) => cx.stats.counters.retransmitted_request += 1,
        }
        cx.send(repeat.path, repeat.bytes.clone());
        repeat.timer = cx.schedule(cx.now + repeat.interval, Timer::ScenarioRepeat(slot));
        Flow::Waiting
    }
}
