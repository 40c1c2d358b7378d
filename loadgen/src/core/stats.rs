//! What happened, counted and measured: one of these per core, merged for every report.
//!
//! Latencies begin at the scheduled instant, not at the sending (`schedule.rs`). Terms: RFC 6076 (SRD, SDD, RRD, SER).

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use strowger::base::time::Duration;

use super::latency::Latency;
use super::steps::StepFigures;

/// Sentences kept about single failures.
const SAMPLES_MAX: usize = 8;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Event counts. Their names are those of the JSON report and of `--assert`.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct Counters { $($(#[$doc])* pub $name: u64),* }

        impl Counters {
            /// All names, in order.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($name)),*];

            /// All values, in the order of [`NAMES`](Self::NAMES).
            pub fn values(&self) -> Vec<u64> {
                vec![$(self.$name),*]
            }

            /// Adds another core's.
            pub fn merge(&mut self, other: &Self) {
                $(self.$name += other.$name;)*
            }

            /// What was counted after `before`.
            pub fn since(&self, before: &Self) -> Self {
                Self { $($name: self.$name.saturating_sub(before.$name)),* }
            }
        }
    };
}

counters! {
    /// Calls begun by the calling side.
    calls_attempted,
    /// Calls that were due but not begun, because as many as allowed were already up.
    calls_skipped,
    /// Calls answered with 200.
    calls_established,
    /// Calls that went through to the 200 for BYE.
    calls_completed,
    /// Calls cancelled while they rang, as --cancel asks, and answered 487.
    calls_cancelled,
    /// Calls that --cancel came too late for: answered 200, and hung up at once.
    calls_cancel_late,
    /// Calls refused with an answer that --answer-with names.
    calls_refused_as_asked,
    /// Calls that were answered after early media.
    calls_early,
    /// Of them: 500 ms of it and not one packet.
    calls_early_silent,
    /// Calls that failed at any point.
    calls_failed,
    /// Of them: refused with a final answer.
    calls_refused,
    /// Calls refused as user busy, no answer, or declined (480, 486, 600, 603), which RFC 6076 counts apart.
    calls_declined,
    /// Calls answered 3xx.
    calls_redirected,
    /// Of them: no answer at all within 64*T1.
    calls_timed_out,
    /// Of them: rang, but no final answer came in time.
    calls_unanswered,
    /// Of them: credentials refused, or a challenge we cannot answer.
    calls_unauthorized,
    /// Of them: answered, but not hung up properly.
    calls_hangup_failed,
    /// Of them: the path failed (connection lost, port unreachable).
    calls_transport_failed,
    /// Challenges answered.
    challenges_answered,
    /// Calls that reached the answering side.
    uas_calls,
    /// Of them: acknowledged.
    uas_established,
    /// Of them: ended by BYE.
    uas_completed,
    /// Of them: cancelled by the caller.
    uas_cancelled,
    /// Of them: refused as --answer-with asks.
    uas_declined,
    /// Of them: refused by us for want of ports or of our codec.
    uas_refused,
    /// Of them: never acknowledged, or never hung up.
    uas_failed,
    /// Re-INVITEs begun by either side.
    reinvites_sent,
    /// Of them: answered 200.
    reinvites_completed,
    /// Of them: refused or not answered.
    reinvites_failed,
    /// Pairs of streams begun, media alone.
    streams_begun,
    /// Registrations begun.
    registrations_attempted,
    /// Registrations due but not begun: that user's previous one was still open, or too many were.
    registrations_skipped,
    /// Registrations answered 200.
    registrations_completed,
    /// Registrations failed.
    registrations_failed,
    /// Of them: no answer within 64*T1.
    registrations_timed_out,
    /// Messages sent.
    messages_sent,
    /// Messages received.
    messages_received,
    /// INVITE sent again (timer A).
    retransmitted_invite,
    /// Other requests sent again (timer E).
    retransmitted_request,
    /// 200 for INVITE sent again.
    retransmitted_success,
    /// Other final answers for INVITE sent again.
    retransmitted_refusal,
    /// Requests received again.
    received_again,
    /// Messages that belong to nothing here.
    strays,
    /// Messages we cannot read.
    unreadable,
    /// Messages that `--check` read otherwise with rsip.
    check_failed,
    /// Messages read with rsip as well.
    check_passed,
    /// ICMP errors and other failures to send.
    send_errors,
    /// Sends that our own driver refused.
    send_refused,
    /// RTP packets sent by the calling side.
    rtp_sent_uac,
    /// RTP packets sent by the answering side.
    rtp_sent_uas,
    /// RTP packets received by the calling side, each counted once.
    rtp_received_uac,
    /// RTP packets received by the answering side, each counted once.
    rtp_received_uas,
    /// RTP packets received by the calling side before the answer.
    rtp_early,
    /// RTP packets received 500 ms and more after the peer was put on hold.
    rtp_while_held,
    /// RTP packets that never came, both directions.
    rtp_lost,
    /// RTP packets that came again.
    rtp_duplicates,
    /// RTP packets that came after a later one.
    rtp_reordered,
    /// RTP packets that failed verification.
    rtp_corrupted,
    /// RTP packets of another call.
    rtp_misdirected,
    /// RTP packets to a port no call uses now.
    rtp_strays,
    /// Directions of calls in which not one packet came, or none after a hold.
    rtp_silent,
    /// Calls of a scenario ended by a message that it does not expect there.
    scenario_unexpected,
    /// Calls of a scenario in which something was retransmitted as often as allowed.
    scenario_unanswered,
    /// Calls of a scenario for which a message did not come in time.
    scenario_receive_timeouts,
    /// Calls of a scenario ended by `check_it` or `check_it_inverse`.
    scenario_checks_failed,
}

macro_rules! latencies {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Latencies in nanoseconds. Their names are those of the JSON report and of `--assert`.
        #[derive(Clone, Debug)]
        pub struct Latencies { $($(#[$doc])* pub $name: Latency),* }

        impl Default for Latencies {
            fn default() -> Self {
                Self { $($name: Latency::default()),* }
            }
        }

        impl Latencies {
            /// All names, in order.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($name)),*];

            /// All histograms with their names.
            pub fn each(&self) -> Vec<(&'static str, &Histogram<u64>)> {
                vec![$((stringify!($name), &*self.$name)),*]
            }

            /// What came since the last time this was asked, of those that have anything.
            pub fn take_recent(&mut self) -> Vec<(&'static str, Histogram<u32>)> {
                [$((stringify!($name), self.$name.take_recent())),*]
                    .into_iter()
                    .filter_map(|(name, recent)| Some((name, recent?)))
                    .collect()
            }

            fn merge(&mut self, other: &Self) {
                $(self.$name.merge(&other.$name);)*
            }
        }
    };
}

latencies! {
    /// Session request delay: scheduled INVITE to the first 180 (or later) answer of calls that were answered.
    srd,
    /// Post dial delay: scheduled INVITE to the first 180 to 189 of any call.
    pdd,
    /// Scheduled INVITE to 200.
    setup,
    /// Session disconnect delay: scheduled BYE to its 200.
    sdd,
    /// Registration request delay: scheduled REGISTER to its 200.
    rrd,
    /// One-way delay of RTP from the calling to the answering side.
    rtp_delay_uas,
    /// One-way delay of RTP from the answering to the calling side.
    rtp_delay_uac,
    /// RFC 3550 jitter of each direction of each call at its end.
    rtp_jitter,
    /// How late we began calls and registrations ourselves.
    late_start,
    /// How late we sent RTP ourselves.
    late_rtp,
}

/// Records a latency, saturating at the longest.
pub fn record(latency: &mut Latency, value: Duration) {
    latency.record(value);
}

/// Mean opinion scores, one for each direction of each call.
#[derive(Clone, Debug)]
pub struct Scores(Histogram<u64>);

impl Default for Scores {
    fn default() -> Self {
        Self(Histogram::new_with_bounds(1, 5000, 3).expect("constant bounds"))
    }
}

/// What there is to say of them.
#[derive(Clone, Copy, Debug)]
pub struct ScoreSummary {
    /// The worst.
    pub min: f64,
    /// One in twenty is below.
    pub p5: f64,
    /// Mean.
    pub mean: f64,
}

impl Scores {
    /// Adds one, 1.0 to 4.5.
    pub fn record(&mut self, score: f64) {
        self.0.saturating_record((score * 1000.0).round() as u64);
    }

    fn merge(&mut self, other: &Self) {
        // Histograms of the same bounds can always be added.
        let _ = self.0.add(&other.0);
    }

    /// `None` before there is any.
    pub fn summary(&self) -> Option<ScoreSummary> {
        let (min, mean) = (self.0.min() as f64 / 1000.0, self.0.mean() / 1000.0);
        let p5 = self.0.value_at_quantile(0.05) as f64 / 1000.0;
        (!self.0.is_empty()).then_some(ScoreSummary { min, p5, mean })
    }
}

/// Everything counted by one core, or by all once merged.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// Event counts.
    pub counters: Counters,
    /// Latencies.
    pub latencies: Latencies,
    /// Final answers that refused, by status, with the first reason phrase seen.
    pub refusals: BTreeMap<u16, (u64, String)>,
    /// Opinion scores of all directions of calls, in thousandths.
    pub scores: Scores,
    /// The steps of a ramp.
    pub steps: Vec<StepFigures>,
    /// A few sentences about single failures.
    pub samples: Vec<String>,
    /// The timers of a scenario, by name.
    pub timers: Vec<(String, Latency)>,
    /// The counters of a scenario, by name.
    pub counted: Vec<(String, u64)>,
}

impl Stats {
    /// All latencies with their names, those of a scenario's timers last.
    pub fn histograms(&self) -> impl Iterator<Item = (&str, &Histogram<u64>)> {
        let timers = self.timers.iter().map(|(name, latency)| (name.as_str(), &**latency));
        self.latencies.each().into_iter().chain(timers)
    }

    /// What came before counts no more; where media alone is measured, only its delays and lateness are forgotten.
    pub fn settle(&mut self, media_alone: bool) {
        if !media_alone {
            *self = Self::default();
            return;
        }
        let latencies = &mut self.latencies;
        for of_media in [&mut latencies.rtp_delay_uac, &mut latencies.rtp_delay_uas, &mut latencies.late_rtp] {
            *of_media = Latency::default();
        }
    }

    /// Adds another core's.
    pub fn merge(&mut self, other: &Self) {
        self.counters.merge(&other.counters);
        self.latencies.merge(&other.latencies);
        self.scores.merge(&other.scores);
        other.steps.iter().enumerate().for_each(|(index, step)| self.step(index).merge(step));
        for (&status, (count, reason)) in &other.refusals {
            self.refusals.entry(status).or_insert_with(|| (0, reason.clone())).0 += count;
        }
        for (name, histogram) in &other.timers {
            match self.timers.iter_mut().find(|(known, _)| known == name) {
                Some((_, sum)) => sum.merge(histogram),
                None => self.timers.push((name.clone(), histogram.clone())),
            }
        }
        for (name, count) in &other.counted {
            match self.counted.iter_mut().find(|(known, _)| known == name) {
                Some((_, sum)) => *sum += count,
                None => self.counted.push((name.clone(), *count)),
            }
        }
        other.samples.iter().for_each(|sample| self.sample(|| sample.clone()));
    }

    /// The figures of one step.
    pub fn step(&mut self, index: usize) -> &mut StepFigures {
        if self.steps.len() <= index {
            self.steps.resize_with(index + 1, StepFigures::default);
        }
        &mut self.steps[index]
    }

    /// Counts a refusal.
    pub fn refused(&mut self, status: u16, reason: &[u8]) {
        self.refusals.entry(status).or_insert_with(|| (0, String::from_utf8_lossy(reason).into_owned())).0 += 1;
    }

    /// Keeps a sentence once, while there is room.
    pub fn sample(&mut self, sentence: impl FnOnce() -> String) {
        if self.samples.len() < SAMPLES_MAX {
            let sentence = sentence();
            if !self.samples.contains(&sentence) {
                self.samples.push(sentence);
            }
        }
    }

    /// The ratios of RFC 6076 and E.425, in percent; `None` before any call.
    pub fn ratios(&self) -> Option<Ratios> {
        let c = &self.counters;
        let asked = c.calls_attempted.checked_sub(c.calls_redirected).filter(|&asked| asked > 0)?;
        let percent = |part: u64, whole: u64| part as f64 * 100.0 / whole as f64;
        Some(Ratios {
            ser: percent(c.calls_established, asked),
            seer: percent(c.calls_established + c.calls_declined, asked),
            scr: percent(c.calls_completed, c.calls_attempted),
            asr: percent(c.calls_established, c.calls_attempted),
            ner: percent(c.calls_established + c.calls_declined + c.calls_cancelled, c.calls_attempted),
        })
    }

    /// Lost RTP packets as a share of those expected, in percent.
    pub fn rtp_loss(&self) -> f64 {
        let c = &self.counters;
        let expected = c.rtp_received_uac + c.rtp_received_uas + c.rtp_lost;
        if expected == 0 { 0.0 } else { c.rtp_lost as f64 * 100.0 / expected as f64 }
    }
}

/// Ratios in percent.
#[derive(Clone, Copy, Debug)]
pub struct Ratios {
    /// Session establishment ratio, RFC 6076 §4.6.
    pub ser: f64,
    /// Session establishment effectiveness ratio, RFC 6076 §4.7.
    pub seer: f64,
    /// Session completion ratio, RFC 6076 §4.9.
    pub scr: f64,
    /// Answer-seizure ratio.
    pub asr: f64,
    /// Network effectiveness ratio.
    pub ner: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merging_adds_everything() {
        let mut one = Stats::default();
        let mut two = Stats::default();
        one.counters.calls_attempted = 8;
        two.counters.calls_attempted = 2;
        two.counters.calls_established = 4;
        two.counters.calls_declined = 1;
        record(&mut one.latencies.srd, Duration::from_millis(1));
        record(&mut two.latencies.srd, Duration::from_secs(100_000));
        two.refused(486, b"Busy Here");
        one.merge(&two);
        assert_eq!((one.counters.calls_attempted, one.latencies.srd.len(), one.refusals[&486].0), (10, 2, 1));
        let ratios = one.ratios().unwrap();
        assert!((ratios.ser - 40.0).abs() < 1e-9 && (ratios.seer - 50.0).abs() < 1e-9);
        assert_eq!(Counters::NAMES.len(), one.counters.values().len());
    }
}
