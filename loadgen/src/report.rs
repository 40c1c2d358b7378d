//! What came of a run, and the verdict with its exit code. `text.rs`, `json.rs`, `html/` and `junit.rs` say it, `outputs.rs`
//! writes it where it was asked for.

use hdrhistogram::Histogram;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::cli::Common;
use crate::core::{Job, Plan};
use crate::run::{End, Outcome};
use crate::units::human;

/// Of late sends, so few are no sign of saturation.
const LATE_FEW: u64 = 3;
/// Everything a report is made of.
pub struct Report<'a> {
    /// `calls` or `register`.
    pub command: &'static str,
    /// What was typed, without the passwords.
    pub command_line: String,
    /// Options of all commands.
    pub common: &'a Common,
    /// What was to be done.
    pub plan: &'a Plan,
    /// What came of it.
    pub outcome: &'a Outcome,
    /// Which driver.
    pub backend: &'static str,
    /// Calls or registrations at once.
    pub concurrent: u32,
    /// Lost RTP that still counts as good, in percent.
    pub rtp_loss_max: f64,
    /// When the run began.
    pub began: OffsetDateTime,
}

/// The verdict.
pub struct Verdict {
    /// Exit code.
    pub code: u8,
    /// In a word.
    pub result: &'static str,
    /// Why, in sentences.
    pub sentences: Vec<String>,
    /// Why the generator itself was the bottleneck.
    pub saturated: Vec<String>,
}

/// When a run began, as it is written everywhere.
pub fn began_text(began: OffsetDateTime) -> String {
    let second = began.replace_nanosecond(0).unwrap_or(began);
    second.format(&Rfc3339).unwrap_or_default()
}

impl Report<'_> {
    /// When the run began.
    pub fn began_text(&self) -> String {
        began_text(self.began)
    }

    /// Judges the run.
    pub fn verdict(&self) -> Verdict {
        let c = &self.outcome.stats.counters;
        let mut sentences = self.outcome.sentences.clone();
        let saturated = self.saturated();
        // What overload costs is what a ramp is to show; it stands in the table.
        let failures = if self.plan.steps.is_empty() { self.failures() } else { Vec::new() };
        let unheld: Vec<&str> = self.asserts().filter(|(_, _, holds)| !holds).map(|(text, ..)| text).collect();
        let begun = c.calls_attempted + c.uas_calls + c.registrations_attempted + c.streams_begun;
        let (code, result) = if self.outcome.end == End::TimedOut {
            (97, "timeout")
        } else if begun + c.calls_skipped == 0 && self.outcome.end == End::Done {
            sentences.push("there was not one call".into());
            (99, "no calls")
        } else if self.outcome.end == End::Broken {
            (1, "failed")
        } else if !saturated.is_empty() {
            (4, "generator saturated")
        } else if !failures.is_empty() {
            (1, "failed")
        } else if !unheld.is_empty() {
            (3, "assertion failed")
        } else {
            (0, "ok")
        };
        sentences.extend(failures);
        sentences.extend(unheld.iter().map(|text| format!("--assert '{text}' does not hold")));
        Verdict { code, result, sentences, saturated }
    }

    /// What went wrong, one sentence each.
    fn failures(&self) -> Vec<String> {
        let stats = &self.outcome.stats;
        let c = &stats.counters;
        let mut out = Vec::new();
        let mut say = |count: u64, what: &str| {
            if count > 0 {
                out.push(format!("{count} {what}"));
            }
        };
        say(c.calls_failed, "calls failed");
        say(c.calls_timed_out, "of them had no answer within 64*T1");
        say(c.calls_unanswered, "of them rang without a final answer within --setup-max");
        say(c.calls_unauthorized, "of them were challenged in vain: check --auth");
        say(c.calls_hangup_failed, "of them were not hung up as they should be");
        say(c.calls_transport_failed, "of them lost their connection");
        say(
            c.calls_skipped,
            "calls were due but not begun: as many as allowed were up already; the target is slow to \
            answer or hang up, or --concurrent is too low",
        );
        say(c.scenario_unexpected, "of them got a message that the scenario does not expect there");
        say(c.scenario_unanswered, "of them had no answer to a message sent again as often as allowed");
        say(c.scenario_receive_timeouts, "of them waited in vain for a message (timeout)");
        say(c.scenario_checks_failed, "of them failed a check (check_it, check_it_inverse)");
        say(c.uas_failed, "calls were not acknowledged or not hung up on the answering side");
        say(c.uas_refused, "calls were refused by the answering side: no port left, or not our codec in the offer");
        say(c.reinvites_failed, "re-INVITEs were refused or not answered");
        say(c.calls_early_silent, "calls had early media of 500 ms and more in which nothing came");
        if matches!(self.plan.job, Job::Register) {
            say(c.registrations_failed, "registrations failed");
            say(
                c.registrations_skipped,
                "registrations were due while the same user's last one, or too many, were open",
            );
        }
        say(c.unreadable, "messages could not be read");
        say(c.check_failed, "messages were read differently by rsip");
        say(c.rtp_corrupted, "RTP packets were damaged");
        say(c.rtp_misdirected, "RTP packets arrived at another call");
        say(
            c.rtp_silent,
            "directions of calls had no audio at all, or none after a hold (if the other end sends none: --rtp off)",
        );
        if stats.rtp_loss() > self.rtp_loss_max {
            out.push(format!("{} RTP packets were lost ({:.4}%)", c.rtp_lost, stats.rtp_loss()));
        }
        let unwanted = stats.refusals.iter().filter(|(status, _)| !self.plan.flow.is_wanted(**status));
        for (status, (count, reason)) in unwanted {
            out.push(format!("{count} requests were answered {status} {reason}"));
        }
        out
    }

    /// Why the figures may say more about us than about the target.
    fn saturated(&self) -> Vec<String> {
        let (stats, driver) = (&self.outcome.stats, &self.outcome.driver);
        let mut out = Vec::new();
        let late_max = u64::try_from(self.common.late_max.as_nanos()).unwrap_or(u64::MAX);
        let late = |histogram: &Histogram<u64>, what: &str| {
            let count = histogram.len() - histogram.count_between(0, late_max);
            let percent = count as f64 * 100.0 / histogram.len().max(1) as f64;
            (count > LATE_FEW && percent > 1.0).then(|| {
                format!(
                    "{percent:.1}% of {what} were sent more than {} late (p99 {}); lower the rate, or give more --threads",
                    human(late_max as f64),
                    human(histogram.value_at_quantile(0.99) as f64)
                )
            })
        };
        out.extend(late(&stats.latencies.late_start, "calls or registrations"));
        out.extend(late(&stats.latencies.late_rtp, "RTP packets"));
        let mut say = |count: u64, what: &str| {
            if count > 0 {
                out.push(format!("{count} {what}"));
            }
        };
        say(
            driver.kernel_dropped,
            "datagrams were dropped from our own receive buffers; give more --threads, or raise \
            net.core.rmem_max",
        );
        say(driver.send_dropped, "datagrams were dropped from our own send buffers; lower the rate");
        say(stats.counters.send_refused, "sends were refused by our own queues; lower the rate");
        out
    }

    /// The conditions asked for: text, value measured, whether it holds.
    pub fn asserts(&self) -> impl Iterator<Item = (&str, Option<String>, bool)> {
        self.common.asserts.iter().map(|assertion| {
            let (value, holds) = assertion.check(&self.outcome.stats);
            (assertion.text.as_str(), value.map(|value| assertion.show(value)), holds)
        })
    }
}
