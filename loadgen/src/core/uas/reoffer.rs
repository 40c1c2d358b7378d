//! Re-INVITEs of the answering side. RFC 3261 §14.1, RFC 3264 §8.

use super::super::Context;
use super::super::retransmit::Kind;
use super::super::scan::Fields;
use super::super::sdp::{self, Direction};
use super::super::{Pending, Timer};
use super::Own;
use super::call::Call;

impl Call {
    /// Sends one.
    pub(super) fn offer(&mut self, cx: &mut Context<'_>, own: &Own, direction: Direction) {
        cx.stats.counters.reinvites_sent += 1;
        (self.cseq, self.serial, self.version) = (self.cseq + 1, self.serial + 1, self.version + 1);
        let body = self.describe(cx, own, direction);
        let bytes = self.write(cx, &cx.templates.invite, own, self.cseq, &body);
        self.drop_pending(cx);
        let (path, timer) = (self.remote.path(self.path), Timer::UasPending(self.token.slot));
        self.pending = Some(Pending::start(cx, path, bytes, self.serial, Kind::Invite, timer));
    }

    /// An answer to the latest one.
    pub(super) fn on_offer_answer(&mut self, cx: &mut Context<'_>, fields: &Fields<'_>, own: &Own) {
        let status = fields.status();
        if status < 200 {
            let (give_up, timer) = (cx.now + cx.plan.timers.t1 * 64, Timer::UasPending(self.token.slot));
            if let Some(pending) = &mut self.pending {
                pending.proceeding(cx, give_up, timer);
            }
            return;
        }
        let asking = self.steps.asking().is_some();
        let accepted = status < 300;
        if asking {
            self.drop_pending(cx);
        }
        // RFC 3261 §17.1.1.3: a refusal is acknowledged on the branch of its request; §13.2.2.4: a 2xx on a new one.
        self.serial += u32::from(accepted);
        let bytes = self.write(cx, &cx.templates.ack, own, fields.cseq, &[]);
        let path = self.remote.path(self.path);
        cx.send(path, bytes);
        if !asking {
            return;
        }
        if !accepted {
            cx.stats.sample(|| format!("the answering side's re-INVITE was answered {status}"));
            return self.on_reoffer_failed(cx, own);
        }
        cx.stats.counters.reinvites_completed += 1;
        self.follow(cx, sdp::remote(fields.body, cx.plan.flow.codec), cx.now);
        if let (Some(direction), Some((media, _))) = (self.steps.answered(cx.now, true), self.media) {
            cx.media.set_direction(cx.now, media, direction);
        }
        self.on_step(cx, own);
    }

    /// The call goes on as it was.
    pub(super) fn on_reoffer_failed(&mut self, cx: &mut Context<'_>, own: &Own) {
        self.drop_pending(cx);
        cx.stats.counters.reinvites_failed += 1;
        self.steps.answered(cx.now, false);
        self.on_step(cx, own);
    }
}
