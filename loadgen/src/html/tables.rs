//! The tables of the page, and where the figures come from.

use std::fmt::Write as _;

use hdrhistogram::Histogram;

use super::frame::{escaped, human};
use crate::causes;
use crate::core::stats::{Counters, Stats};
use crate::machine::Machine;
use crate::report::{Report, Verdict};
use crate::units::{grouped, threads};

const QUANTILES: [(&str, f64); 5] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999)];

fn rows(pairs: &[(String, String)]) -> String {
    pairs
        .iter()
        .map(|(name, value)| format!("<tr><th scope=\"row\">{}</th><td>{}</td></tr>", escaped(name), escaped(value)))
        .collect()
}

fn counted(pairs: &[(String, u64)]) -> String {
    pairs
        .iter()
        .map(|(name, value)| {
            format!("<tr><th scope=\"row\">{}</th><td class=\"n\">{}</td></tr>", escaped(name), grouped(*value))
        })
        .collect()
}

/// The conditions asked for.
pub fn asserts(all: &[(&str, Option<String>, bool)], out: &mut String) {
    if all.is_empty() {
        return;
    }
    *out += "<h2>Conditions</h2>\n<table><thead><tr><th scope=\"col\">condition</th><th scope=\"col\">measured</th>\
             <th scope=\"col\">verdict</th></tr></thead><tbody>";
    for (text, value, holds) in all {
        let (class, verdict) = if *holds { ("good", "holds") } else { ("bad", "does not hold") };
        let value = value.as_deref().unwrap_or("nothing");
        let _ = write!(
            out,
            "<tr><th scope=\"row\">{}</th><td>{}</td><td class=\"{class}\">{verdict}</td></tr>",
            escaped(text),
            escaped(value)
        );
    }
    *out += "</tbody></table>\n";
}

/// Percentiles of each latency.
pub fn latencies(all: &[(&str, &Histogram<u64>)], out: &mut String) {
    *out += "<div class=\"scroll\"><table><thead><tr><th scope=\"col\">latency</th><th scope=\"col\" class=\"n\">measured</th>";
    for name in QUANTILES.iter().map(|(name, _)| *name).chain(["longest"]) {
        let _ = write!(out, "<th scope=\"col\" class=\"n\">{name}</th>");
    }
    *out += "</tr></thead><tbody>";
    for (name, histogram) in all {
        let _ = write!(out, "<tr><th scope=\"row\">{name}</th><td class=\"n\">{}</td>", grouped(histogram.len()));
        for (_, quantile) in QUANTILES {
            let _ = write!(out, "<td class=\"n\">{}</td>", human(histogram.value_at_quantile(quantile) as f64));
        }
        let _ = write!(out, "<td class=\"n\">{}</td></tr>", human(histogram.max() as f64));
    }
    *out += "</tbody></table></div>\n";
}

/// What failed, by cause.
pub fn failures(stats: &Stats, out: &mut String) {
    let mut all: Vec<(String, u64)> =
        causes::of(&stats.counters).into_iter().map(|(what, count)| (what.to_string(), count)).collect();
    all.extend(stats.refusals.iter().map(|(status, (count, reason))| (format!("answered {status} {reason}"), *count)));
    *out += "<h2>Failures by cause</h2>\n";
    if all.is_empty() {
        *out += "<p>None.</p>\n";
    } else {
        let _ = writeln!(out, "<table><tbody>{}</tbody></table>", counted(&all));
    }
    if !stats.samples.is_empty() {
        let seen: String = stats.samples.iter().map(|sample| format!("<li>{}</li>", escaped(sample))).collect();
        let _ = writeln!(out, "<p>A few single ones:</p>\n<ul class=\"why\">{seen}</ul>");
    }
}

/// Every counter that has counted.
pub fn counters(stats: &Stats, out: &mut String) {
    let values = Counters::NAMES.iter().zip(stats.counters.values());
    let all: Vec<(String, u64)> =
        values.filter(|(_, value)| *value > 0).map(|(name, value)| (name.replace('_', " "), value)).collect();
    let scenario = stats.counted.iter().map(|(name, count)| (format!("counter {name}"), *count));
    let all: Vec<(String, u64)> = all.into_iter().chain(scenario).collect();
    if all.is_empty() {
        *out += "<h2>Counters</h2>\n<p>All are zero.</p>\n";
        return;
    }
    let _ = writeln!(
        out,
        "<h2>Counters</h2>\n<div class=\"columns\"><table><tbody>{}</tbody></table></div>\n<p>Those not listed are zero.</p>",
        counted(&all)
    );
}

/// The machine.
pub fn machine(out: &mut String) {
    let _ = writeln!(out, "<table class=\"origin\"><tbody>{}</tbody></table>", rows(&of_machine()));
}

fn of_machine() -> Vec<(String, String)> {
    let machine = Machine::fingerprint();
    let pairs = [
        ("processor", format!("{}, {} of them for this process", machine.cpu, machine.cpus)),
        ("kernel", machine.kernel.clone()),
        ("virtual machine", if machine.virtual_machine { "yes" } else { "no" }.into()),
        ("cheapest system call (getppid)", format!("{} ns", machine.getppid_ns)),
    ];
    pairs.into_iter().map(|(name, value)| (name.to_string(), value)).collect()
}

impl Report<'_> {
    /// Where the figures come from: command line, generator, machine.
    pub fn origin(&self, verdict: &Verdict, out: &mut String) {
        let driver = &self.outcome.driver;
        let _ = writeln!(out, "<h2>Where these figures come from</h2>\n<code>{}</code>", escaped(&self.command_line));
        let late = |name: &str| {
            let all = self.outcome.stats.latencies.each();
            let found = all.iter().find(|(each, histogram)| *each == name && !histogram.is_empty());
            found.map(|(_, histogram)| human(histogram.value_at_quantile(0.99) as f64))
        };
        let mut pairs = vec![
            (
                "generator",
                format!(
                    "{} on {}, {:.2} s of processor time",
                    self.backend,
                    threads(self.common.threads),
                    self.outcome.cpu_s
                ),
            ),
            (
                "datagrams of the generator",
                format!("{} sent, {} received", grouped(driver.sent), grouped(driver.received)),
            ),
            (
                "dropped by the generator's kernel",
                format!("{} received, {} to be sent", grouped(driver.kernel_dropped), grouped(driver.send_dropped)),
            ),
        ];
        for (label, name) in [("calls begun late, p99", "late_start"), ("RTP sent late, p99", "late_rtp")] {
            pairs.extend(late(name).map(|late| (label, late)));
        }
        if !self.outcome.changes.is_empty() {
            pairs.push((
                "rate changed by hand",
                format!("{} times; the dotted lines in the plots", self.outcome.changes.len()),
            ));
        }
        let pairs = pairs.into_iter().map(|(name, value)| (name.to_string(), value));
        let pairs: Vec<(String, String)> = of_machine().into_iter().chain(pairs).collect();
        let _ = writeln!(out, "<table class=\"origin\"><tbody>{}</tbody></table>", rows(&pairs));
        let trust = if verdict.saturated.is_empty() {
            "The generator kept its schedule."
        } else {
            "The generator did not keep its schedule: the figures say more about it than about the target."
        };
        let _ = writeln!(
            out,
            "<footer><p>{trust} Every latency begins at the instant its call was scheduled for, not when it was sent, so that a \
             stall of the target is not hidden by calls that were never placed (open loop). srd: INVITE to the first answer of 180 \
             or above; setup: INVITE to 200; sdd: BYE to 200; rrd: REGISTER to 200 (RFC 6076). rtp delay: sending to arrival at \
             the side in the name. In a plot over time, the percentiles are those of each second alone.</p></footer>"
        );
    }
}
