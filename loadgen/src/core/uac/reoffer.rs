//! Re-INVITEs of a call that is up, ours and the peer's. RFC 3261 §14, RFC 3264 §8.

use bytes::Bytes;

use super::super::message::{Answer, answer, contact};
use super::super::scan::Fields;
use super::super::sdp::{self, Direction};
use super::super::{Context, Path};
use super::acknowledge;
use super::call::{Call, Over, count_refusal};

impl Call {
    /// An answer to the re-INVITE that waits for one.
    pub(super) fn on_reoffer_answer(&mut self, cx: &mut Context<'_>, fields: &Fields<'_>) -> Over {
        match fields.status() {
            ..200 => {
                let (give_up, timer) = (cx.now + cx.plan.timers.t1 * 64, self.slot_timer());
                if let Some(pending) = &mut self.pending {
                    pending.proceeding(cx, give_up, timer);
                }
            }
            200..=299 => {
                self.drop_pending(cx);
                self.ack(cx);
                cx.stats.counters.reinvites_completed += 1;
                self.follow(cx, fields);
                if let (Some(direction), Some((media, _))) = (self.steps.answered(cx.now, true), self.media) {
                    cx.media.set_direction(cx.now, media, direction);
                }
                self.on_step(cx);
            }
            status => {
                acknowledge(cx, fields, self.token, self.invite_serial, Some(&self.line));
                let credentials =
                    if matches!(status, 401 | 407) { self.credentials(cx, "INVITE", fields) } else { None };
                match credentials {
                    Some(line) => {
                        cx.stats.counters.challenges_answered += 1;
                        self.invite(cx, &line);
                    }
                    None => {
                        count_refusal(cx, fields);
                        self.on_reoffer_failed(cx);
                    }
                }
            }
        }
        None
    }

    /// The call goes on as it was.
    pub(super) fn on_reoffer_failed(&mut self, cx: &mut Context<'_>) {
        self.drop_pending(cx);
        cx.stats.counters.reinvites_failed += 1;
        self.steps.answered(cx.now, false);
        self.on_step(cx);
    }

    /// A re-INVITE of the peer: RTP follows its address; what it does not want is not sent any more (RFC 3264 §8.4).
    pub(super) fn answer_reoffer(&mut self, cx: &mut Context<'_>, fields: &Fields<'_>, path: Path) -> Bytes {
        if self.steps.asking().is_some() {
            return answer(cx.templates, &cx.templates.pending, fields, path, Answer::default()); // RFC 3261 §14.2
        }
        self.follow(cx, fields);
        let remote = sdp::remote(fields.body, cx.plan.flow.codec);
        let direction = remote.map_or(Direction::Both, |remote| remote.direction);
        if fields.cseq != self.cseq_remote {
            self.cseq_remote = fields.cseq;
            self.version += 1;
            self.agreed = Some(direction);
        }
        if let (Some((media, _)), false) = (self.media, direction.sends()) {
            cx.media.set_direction(cx.now, media, direction);
        }
        let body = self.describe(cx, direction);
        let contact = contact(&cx.plan.from.fill(self.user), self.line.local, cx.plan);
        answer(cx.templates, &cx.templates.answer, fields, path, Answer { tag: b"", contact: &contact, body: &body })
    }

    /// The peer has our answer: we send again if it wants us to.
    pub(super) fn on_reoffer_ack(&mut self, cx: &mut Context<'_>) {
        if let (Some(direction), Some((media, _))) = (self.agreed.take(), self.media) {
            cx.media.set_direction(cx.now, media, direction);
        }
    }
}
