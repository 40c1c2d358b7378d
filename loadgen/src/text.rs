//! The report for people.

use crate::core::Job;
use crate::report::{Report, Verdict};
use crate::units::{human, threads};

impl Report<'_> {
    /// The report for people.
    pub fn text(&self, verdict: &Verdict) -> String {
        let mut lines = vec![format!(
            "{}: {} in {:.1?} to {} over {} ({}, {})",
            self.command,
            verdict.result,
            self.outcome.elapsed,
            crate::setup::shown_target(self.common, self.plan),
            self.plan.transport.via_token(),
            threads(self.common.threads),
            self.backend
        )];
        self.counts(&mut lines);
        for (name, histogram) in self.outcome.stats.histograms().filter(|(_, h)| !h.is_empty()) {
            let at = |quantile| human(histogram.value_at_quantile(quantile) as f64);
            lines.push(format!(
                "  {name:<14} p50 {}  p90 {}  p99 {}  p99.9 {}  max {}",
                at(0.5),
                at(0.9),
                at(0.99),
                at(0.999),
                human(histogram.max() as f64)
            ));
        }
        if let Some(last) = self.outcome.changes.last() {
            let count = self.outcome.changes.len();
            lines.push(format!("  rate           changed by hand {count} times, to {}/s in the end", last.rate));
        }
        lines.extend(self.ramp_text());
        for (text, value, holds) in self.asserts() {
            let value = value.unwrap_or_else(|| "nothing measured".into());
            lines.push(format!("  assert         {text}: {} ({value})", if holds { "holds" } else { "FAILED" }));
        }
        let sentences = verdict.sentences.iter().map(|sentence| ("failed", sentence));
        let saturated = verdict.saturated.iter().map(|sentence| ("saturated", sentence));
        let samples = self.outcome.stats.samples.iter().map(|sentence| ("seen", sentence));
        for (what, sentence) in sentences.chain(saturated).chain(samples) {
            lines.push(format!("  {what:<14} {sentence}"));
        }
        lines.join("\n") + "\n"
    }

    fn counts(&self, lines: &mut Vec<String>) {
        let stats = &self.outcome.stats;
        let c = &stats.counters;
        let (uac, uas) = match self.plan.job {
            Job::Calls { uac, uas } => (uac, uas),
            Job::Register | Job::Streams => (false, false),
        };
        if self.plan.job == Job::Register {
            lines.push(format!(
                "  registrations  {} begun, {} done, {} failed, {} skipped, {} challenges answered",
                c.registrations_attempted,
                c.registrations_completed,
                c.registrations_failed,
                c.registrations_skipped,
                c.challenges_answered
            ));
        }
        if self.plan.job == Job::Streams {
            lines.push(format!("  streams        {} pairs begun", c.streams_begun));
            return self.rtp(lines);
        }
        if uac {
            self.placed(lines);
        }
        if uas {
            lines.push(format!(
                "  answered       {} arrived, {} established, {} completed, {} cancelled, {} failed",
                c.uas_calls,
                c.uas_established,
                c.uas_completed,
                c.uas_cancelled,
                c.uas_failed + c.uas_refused
            ));
        }
        lines.push(format!(
            "  messages       {} sent, {} received; retransmitted {} INVITE, {} other, {} 200; {} came again, {} strays",
            c.messages_sent,
            c.messages_received,
            c.retransmitted_invite,
            c.retransmitted_request,
            c.retransmitted_success,
            c.received_again,
            c.strays
        ));
        if !stats.counted.is_empty() {
            let counted: Vec<String> = stats.counted.iter().map(|(name, count)| format!("{name} {count}")).collect();
            lines.push(format!("  counter        {}", counted.join(", ")));
        }
        if c.reinvites_sent > 0 {
            lines.push(format!(
                "  re-INVITEs     {} sent, {} completed, {} failed; {} RTP packets came from peers on hold",
                c.reinvites_sent, c.reinvites_completed, c.reinvites_failed, c.rtp_while_held
            ));
        }
        self.rtp(lines);
    }

    /// What became of the calls of the calling side.
    fn placed(&self, lines: &mut Vec<String>) {
        let stats = &self.outcome.stats;
        let c = &stats.counters;
        let ratios = stats.ratios().map(|r| format!(", SER {:.2}%, ASR {:.2}%, NER {:.2}%", r.ser, r.asr, r.ner));
        lines.push(format!(
            "  calls          {} begun, {} established, {} completed, {} failed, {} skipped{}",
            c.calls_attempted,
            c.calls_established,
            c.calls_completed,
            c.calls_failed,
            c.calls_skipped,
            ratios.unwrap_or_default()
        ));
        if c.calls_cancelled + c.calls_cancel_late + c.calls_refused_as_asked > 0 {
            lines.push(format!(
                "  as asked       {} cancelled ({} answered before), {} refused",
                c.calls_cancelled + c.calls_cancel_late,
                c.calls_cancel_late,
                c.calls_refused_as_asked
            ));
        }
    }

    fn rtp(&self, lines: &mut Vec<String>) {
        let stats = &self.outcome.stats;
        let c = &stats.counters;
        if c.rtp_sent_uac + c.rtp_sent_uas > 0 {
            lines.push(format!(
                "  rtp            {} sent, {} received, {} lost ({:.4}%), {} twice, {} out of order, {} damaged, {} astray",
                c.rtp_sent_uac + c.rtp_sent_uas,
                c.rtp_received_uac + c.rtp_received_uas,
                c.rtp_lost,
                stats.rtp_loss(),
                c.rtp_duplicates,
                c.rtp_reordered,
                c.rtp_corrupted,
                c.rtp_misdirected
            ));
            if c.calls_early > 0 {
                lines.push(format!(
                    "  early media    {} packets in {} calls before the answer",
                    c.rtp_early, c.calls_early
                ));
            }
            if let Some(mos) = stats.scores.summary() {
                lines.push(format!("  mos            min {:.2}  p5 {:.2}  mean {:.2}", mos.min, mos.p5, mos.mean));
            }
        }
    }
}
