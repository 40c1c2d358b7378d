//! How calls begin: when they are due, or with a request that has a new Call-ID.

use std::net::SocketAddr;

use strowger::base::{Instant, Slot};

use super::Engine;
use super::call::{Beginning, Call, Flow};
use super::receive::Incoming;
use crate::core::message::{Answer, answer};
use crate::core::pattern;
use crate::core::stats::record;
use crate::core::uac::Line;
use crate::core::{Context, Path, Role};

impl Engine {
    /// Begins every call that is due.
    pub fn handle_schedule(&mut self, cx: &mut Context<'_>) {
        self.late.expire(cx.now);
        if self.role() == Role::Uas {
            return;
        }
        while let Some((number, scheduled)) = self.schedule.take(cx.now) {
            record(&mut cx.stats.latencies.late_start, cx.now.since(scheduled));
            if !self.call(cx, number, scheduled) {
                cx.stats.counters.calls_skipped += 1;
            }
        }
    }

    fn call(&mut self, cx: &mut Context<'_>, number: u64, scheduled: Instant) -> bool {
        let Some(&line) = self.lines.get(number as usize % self.lines.len().max(1)) else { return false };
        let number = number + 1;
        let call_id = format!("{number}-{}@{}", self.shared.env.pid, line.local.ip()).into_bytes();
        let Some(slot) = self.begin(cx, number, call_id, line, cx.plan.target, scheduled) else { return false };
        cx.stats.counters.calls_attempted += 1;
        let flow = self.calls.get_mut(slot).map(|call| call.run(cx, &mut self.shared));
        self.settle(cx, slot, flow.unwrap_or(Flow::Waiting));
        true
    }

    fn begin(
        &mut self,
        cx: &mut Context<'_>,
        number: u64,
        call_id: Vec<u8>,
        line: Line,
        remote: SocketAddr,
        due: Instant,
    ) -> Option<Slot> {
        let slot = self.calls.next_slot()?;
        let media = match self.shared.env.needs_media() {
            true => Some(self.shared.player.take(self.shared.env.echo)?),
            false => None,
        };
        let user = (number - 1) % cx.plan.users.max(1);
        let (local, path) = (line.local, line.path);
        let from = Beginning { slot, number, user, call_id: call_id.clone(), local, remote, path, due, media };
        let call = Call::new(cx, &self.shared, from);
        self.by_id.insert(call_id, slot);
        self.calls.insert(call).ok()
    }

    pub(super) fn answer(&mut self, cx: &mut Context<'_>, id: &[u8], local: SocketAddr, incoming: Incoming<'_>) {
        let number = self.answered * self.core.1 + self.core.0 + 1;
        let remote = match incoming.path {
            Path::Datagram(_, from) => from,
            Path::Stream(_) => cx.plan.target,
        };
        let line = Line { local, path: incoming.path };
        let Some(slot) = self.begin(cx, number, id.to_vec(), line, remote, cx.now) else {
            cx.stats.counters.uas_refused += 1;
            return self.refuse(cx, incoming);
        };
        self.answered += 1;
        cx.stats.counters.uas_calls += 1;
        // Commands before the first message, such as a nop that sets variables.
        let flow = self.calls.get_mut(slot).map(|call| match call.run(cx, &mut self.shared) {
            Flow::Waiting => call.on_message(cx, &mut self.shared, incoming),
            other => other,
        });
        self.settle(cx, slot, flow.unwrap_or(Flow::Waiting));
    }

    pub(super) fn refuse(&self, cx: &mut Context<'_>, incoming: Incoming<'_>) {
        let tag = pattern::word(cx.random);
        let ours = Answer { tag: &tag, ..Answer::default() };
        let bytes = answer(cx.templates, &cx.templates.unavailable, incoming.fields, incoming.path, ours);
        cx.send(incoming.path, bytes);
    }
}
