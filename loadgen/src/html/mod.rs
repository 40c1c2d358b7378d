//! The report for people who would rather look: one HTML file that needs nothing else, with plots as inline SVG.
//!
//! No script, nothing fetched; light and dark, on paper, and read aloud. What it concludes stands on top.

pub mod frame;
pub mod plot;
mod ramp;
pub mod spectrum;
pub mod tables;

use std::fmt::Write as _;
use std::time::Duration;

use hdrhistogram::Histogram;

use self::frame::{FOOT, escaped, head, headline, human, key, per_second, tick_time};
use self::plot::{Axis, Plot, Trace, round_step};
use crate::core::Job;
use crate::report::{Report, Verdict};
use crate::series::Point;
use crate::units::grouped;
use crate::watch::gist;

/// Latencies in one plot, at most: as many as there are kinds of line.
const TRACES_MAX: usize = 5;

impl Report<'_> {
    /// The page.
    pub fn html(&self, verdict: &Verdict) -> String {
        let target = crate::setup::shown_target(self.common, self.plan);
        let title = format!("{} to {target}: {}", self.command, verdict.result);
        let mut out = head(&title);
        self.conclusion(verdict, &mut out);
        let asserts: Vec<_> = self.asserts().collect();
        tables::asserts(&asserts, &mut out);
        self.ramp_plots(&mut out);
        self.latencies(&mut out);
        self.course(&mut out);
        tables::failures(&self.outcome.stats, &mut out);
        tables::counters(&self.outcome.stats, &mut out);
        self.origin(verdict, &mut out);
        out + FOOT
    }

    fn conclusion(&self, verdict: &Verdict, out: &mut String) {
        let words = match verdict.code {
            0 => "All good".to_string(),
            4 => "The generator itself was the bottleneck".into(),
            _ => capital(verdict.result),
        };
        *out += &headline(self.command, &self.began_text(), verdict.code, &words);
        let c = &self.outcome.stats.counters;
        let all = gist(self.plan.job, c);
        let what = match self.plan.job {
            Job::Register => "registrations",
            Job::Streams => "pairs of streams",
            Job::Calls { .. } => "calls",
        };
        let mut sentence = format!("{} {what} begun", grouped(all.begun));
        if self.plan.job != Job::Streams {
            let _ = write!(sentence, ", {} completed, {} failed or skipped", grouped(all.done), grouped(all.failed));
        }
        let _ = writeln!(
            out,
            "<p>{sentence}, in {:.1} s, {} {} over {}.</p>",
            self.outcome.elapsed.as_secs_f64(),
            if matches!(self.plan.job, Job::Calls { uac: false, .. }) { "answering at" } else { "to" },
            crate::setup::shown_target(self.common, self.plan),
            self.plan.transport.via_token()
        );
        let why: Vec<String> = verdict
            .sentences
            .iter()
            .chain(&verdict.saturated)
            .map(|why| format!("<li>{}</li>", escaped(why)))
            .collect();
        if !why.is_empty() {
            let _ = writeln!(out, "<ul class=\"why\">{}</ul>", why.join(""));
        }
        self.key_figures(out);
        *out += "</header>\n";
    }

    fn key_figures(&self, out: &mut String) {
        let stats = &self.outcome.stats;
        let c = &stats.counters;
        let seconds = self.outcome.elapsed.as_secs_f64().max(1e-3);
        let mut figures = Vec::new();
        if self.plan.job != Job::Streams {
            figures.push(("Begun per second, mean", format!("{:.1}", gist(self.plan.job, c).begun as f64 / seconds)));
        }
        if let Some(ratios) = stats.ratios() {
            figures.push(("Session establishment ratio", format!("{:.2}%", ratios.ser)));
        }
        for (name, histogram) in stats.latencies.each() {
            if ["srd", "rrd", "sdd", "rtp_delay_uas"].contains(&name) && !histogram.is_empty() {
                let label = match name {
                    "srd" => "Session request delay, p99",
                    "rrd" => "Registration delay, p99",
                    "sdd" => "Session disconnect delay, p99",
                    _ => "RTP one-way delay, p99",
                };
                figures.push((label, human(histogram.value_at_quantile(0.99) as f64)));
            }
        }
        if c.rtp_sent_uac + c.rtp_sent_uas > 0 {
            figures.push(("RTP packets lost", format!("{} ({:.4}%)", grouped(c.rtp_lost), stats.rtp_loss())));
        }
        *out += &key(&figures);
    }

    fn latencies(&self, out: &mut String) {
        let all: Vec<(&str, &Histogram<u64>)> =
            self.outcome.stats.histograms().filter(|(_, histogram)| !histogram.is_empty()).collect();
        if all.is_empty() {
            return;
        }
        *out += "<h2>Latency</h2>\n";
        // Jitter and our own lateness are in the table: they are no answers of the target.
        let of_target = |name: &str| !name.starts_with("late_") && name != "rtp_jitter";
        let srd = all.iter().find(|(name, _)| *name == "srd").map(|(_, histogram)| histogram);
        // Where every call was answered, the post dial delay is the session request delay.
        let twice = |name: &str, histogram: &Histogram<u64>| name == "pdd" && srd.is_some_and(|srd| *srd == histogram);
        let worth = |(name, histogram): &(&str, &Histogram<u64>)| of_target(name) && !twice(name, histogram);
        let shown: Vec<_> = all.iter().copied().filter(worth).take(TRACES_MAX).collect();
        if !shown.is_empty() {
            *out += &spectrum::plot(&shown).svg();
        }
        tables::latencies(&all, out);
    }

    fn course(&self, out: &mut String) {
        let points = self.outcome.series.points();
        if points.len() < 2 {
            return;
        }
        *out += "<h2>Course of the run</h2>\n";
        let job = self.plan.job;
        if job != Job::Streams {
            self.rates(points, out);
        }
        let mut up = Vec::new();
        if points.iter().any(|point| point.up_uac > 0) {
            up.push(("calling side", steps(points, |point| point.up_uac as f64)));
        }
        if points.iter().any(|point| point.up_uas > 0) {
            up.push(("answering side", steps(points, |point| point.up_uas as f64)));
        }
        if !up.is_empty() {
            *out += &self.over_time(if job == Job::Streams { "Streams up" } else { "Calls up" }, "up at once", up);
        }
        self.latency_over_time(points, out);
        if points.iter().any(|point| point.events.rtp_sent_uac + point.events.rtp_sent_uas > 0) {
            let per_second = |of: fn(&crate::core::stats::Counters) -> u64| {
                steps(points, move |point| of(&point.events) as f64 / point.seconds())
            };
            let sent = per_second(|c| c.rtp_sent_uac + c.rtp_sent_uas);
            let received = per_second(|c| c.rtp_received_uac + c.rtp_received_uas);
            *out += &self.over_time("RTP packets", "per second", vec![("sent", sent), ("received", received)]);
            let lost = steps(points, |point| point.rtp_lost as f64 / point.seconds());
            *out += &match lost.iter().any(|&(_, lost)| lost > 0.0) {
                true => self.over_time("RTP packets lost", "per second", vec![("lost", lost)]),
                false => "<p>No RTP packet was lost in any second.</p>\n".into(),
            };
        }
    }

    fn rates(&self, points: &[Point], out: &mut String) {
        let job = self.plan.job;
        let per_second = |of: fn(&crate::watch::Gist) -> u64| {
            move |point: &Point| of(&gist(job, &point.events)) as f64 / point.seconds()
        };
        let mut rates = vec![("begun", steps(points, per_second(|gist| gist.begun)))];
        rates.push(("completed", steps(points, per_second(|gist| gist.done))));
        rates.push(("failed or skipped", steps(points, per_second(|gist| gist.failed))));
        if matches!(job, Job::Calls { uac: true, .. } | Job::Register) {
            rates.insert(0, ("asked for", self.asked_for(points)));
        }
        *out += &self.over_time("Rate and failures", "per second", rates);
    }

    /// The rate asked for: exact in a ramp, and where it was changed by hand.
    fn asked_for(&self, points: &[Point]) -> Vec<(f64, f64)> {
        let (changes, last) = (&self.outcome.changes, points.last());
        if changes.is_empty() && !self.plan.steps.is_empty() {
            let steps = self.plan.steps.iter().scan(0.0, |end, &(rate, length)| {
                let begin = *end;
                *end += length.as_secs_f64();
                Some([(begin, rate), (*end, rate)])
            });
            return steps.flatten().collect();
        }
        if changes.is_empty() {
            return steps(points, |point| point.rate);
        }
        let mut out = vec![(0.0, self.plan.load.rate)];
        out.extend(changes.iter().map(|change| (change.at.as_secs_f64(), change.rate)));
        out.extend(last.map(|last| (last.to.as_secs_f64(), last.rate)));
        out
    }

    fn latency_over_time(&self, points: &[Point], out: &mut String) {
        let latency = gist(self.plan.job, &self.outcome.stats.counters).latency;
        let of = |of: fn(&crate::series::Quantiles) -> u64| {
            steps(points, move |point| point.latencies.get(latency).map_or(f64::NAN, |quantiles| of(quantiles) as f64))
        };
        let traces = vec![("p50", of(|q| q.p50)), ("p99", of(|q| q.p99)), ("longest", of(|q| q.max))];
        let top = traces.iter().flat_map(|(_, points)| points).map(|(_, y)| *y).fold(0.0, f64::max);
        if top > 0.0 {
            let step = round_step(top / 5.0);
            let y = Axis::linear("latency", top, |nanos| tick_time(nanos, step));
            *out += &self.plot(&format!("{latency} of each second"), y, traces);
        }
    }

    fn over_time(&self, title: &str, y: &str, traces: Vec<(&'static str, Vec<(f64, f64)>)>) -> String {
        let top = traces.iter().flat_map(|(_, points)| points).map(|(_, y)| *y).fold(0.0, f64::max);
        self.plot(title, Axis::linear(y, top, per_second), traces)
    }

    fn plot(&self, title: &str, y: Axis, traces: Vec<(&'static str, Vec<(f64, f64)>)>) -> String {
        let last = traces.iter().filter_map(|(_, points)| points.last()).map(|(x, _)| *x).fold(0.0, f64::max);
        let x = Axis::along("seconds since the first arrival", last, |seconds| {
            if seconds.fract() > 0.0 { format!("{seconds:.1}") } else { format!("{seconds}") }
        });
        let each = traces.iter().map(|(name, points)| {
            let values = points.iter().map(|(_, y)| *y);
            let (low, high) = values.fold((f64::MAX, 0.0f64), |(low, high), value| (value.min(low), value.max(high)));
            let show = |value: f64| {
                y.ticks
                    .iter()
                    .min_by(|a, b| (a.0 - value).abs().total_cmp(&(b.0 - value).abs()))
                    .map_or("", |tick| &tick.1)
            };
            format!("{name}: about {} to {}", show(low), show(high))
        });
        let description =
            format!("{} {}, over {last:.0} seconds. {}", title, y.name, each.collect::<Vec<_>>().join("; "));
        let changes = self.outcome.changes.iter();
        let marks =
            changes.map(|change| (change.at.as_secs_f64(), format!("rate changed by hand to {}/s", change.rate)));
        let traces = traces.into_iter().map(|(name, points)| Trace::line(name, points));
        Plot { title: title.into(), description, x, y, traces: traces.collect(), marks: marks.collect(), steps: true }
            .svg()
    }
}

/// Each value from the beginning of its point on.
fn steps(points: &[Point], of: impl Fn(&Point) -> f64) -> Vec<(f64, f64)> {
    let mut out: Vec<(f64, f64)> = points.iter().map(|point| (point.from.as_secs_f64(), of(point))).collect();
    if let Some(last) = points.last() {
        out.push((last.to.max(last.from + Duration::from_millis(1)).as_secs_f64(), of(last)));
    }
    out
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
