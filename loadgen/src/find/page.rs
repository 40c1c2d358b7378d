//! The page of a search: a rate axis with the delay and the failures of every trial, and the limit that was found.

use std::fmt::Write as _;

use super::finding::{Finding, Kind, Trial, unit};
use crate::cli::Codec;
use crate::html::frame::{FOOT, escaped, head, headline, human, key};
use crate::html::plot::{Axis, Plot, Style, Trace};
use crate::html::spectrum::{APART, decades, linear};
use crate::html::tables;
use crate::report::began_text;
use crate::units::grouped;

/// The page.
pub fn page(finding: &Finding<'_>) -> String {
    let (options, unit) = (finding.options, unit(finding.options));
    let target = options.calls.common.target.clone().unwrap_or_default();
    let mut out = head(&format!("find-max at {target}: {}", finding.sentence));
    let words = match finding.found {
        Some(found) => format!("{} {unit}", number(found)),
        None if !finding.ended => "The search was interrupted".into(),
        None if finding.code == 4 => "The generator itself was the limit".into(),
        None => "No load was found that passes".into(),
    };
    out += &headline("find-max", &began_text(finding.began), finding.code, &words);
    let bounds: Vec<&str> = options.within.iter().map(|condition| condition.text.as_str()).collect();
    let bounds = if bounds.is_empty() { "nothing fails and nothing is lost".into() } else { bounds.join(" and ") };
    let _ = writeln!(
        out,
        "<p>{}: a trial at {} passes if {}; {} trials of {:?} (and {:?} before that do not count), in {:.0} s.</p>",
        escaped(&finding.sentence),
        escaped(&target),
        escaped(&bounds),
        finding.trials.len(),
        options.step,
        options.settle,
        finding.elapsed.as_secs_f64()
    );
    out += &key(&figures(finding));
    out += "</header>\n<h2>Trials by load</h2>\n";
    if let Some(plot) = delays(finding) {
        out += &plot.svg();
    }
    out += &failures(finding).map_or_else(
        || "<p>Every call of every trial was established, and nothing was lost.</p>\n".into(),
        |plot| plot.svg(),
    );
    trials(finding, &mut out);
    let _ = writeln!(out, "<h2>Where these figures come from</h2>\n<code>{}</code>", escaped(&finding.command_line));
    tables::machine(&mut out);
    out + "<footer><p>Each trial is a run of its own with fresh ports. The load doubles until a trial fails, then the gap between what \
           passed and what failed is halved (RFC 7502 §5). A failure counts when it comes twice; what is found must pass again. Every \
           delay begins at the instant its call was scheduled for (open loop).</p></footer>\n"
        + FOOT
}

/// A load without digits that say nothing.
fn number(value: f64) -> String {
    let tenths = (value * 10.0).round() as u64;
    let whole = grouped(tenths / 10);
    if tenths.is_multiple_of(10) { whole } else { format!("{whole}.{}", tenths % 10) }
}

fn figures(finding: &Finding<'_>) -> Vec<(&'static str, String)> {
    // One failure alone does not count.
    let lowest = finding.trials.iter().filter(|trial| !trial.passed && trial.kind != Kind::First);
    let lowest = lowest.min_by(|a, b| a.value.total_cmp(&b.value));
    // What passed once above that was luck.
    let below = |trial: &&Trial| lowest.is_none_or(|lowest| trial.value < lowest.value);
    let highest = finding.trials.iter().filter(|trial| trial.passed).filter(below);
    let highest = highest.max_by(|a, b| a.value.total_cmp(&b.value));
    let mut out = Vec::new();
    if let Some(trial) = highest {
        out.push(("Highest that passed", number(trial.value)));
        out.extend(trial.srd.map(|srd| ("Session request delay there, p99", human(srd[1] as f64))));
    }
    out.extend(lowest.map(|trial| ("Lowest that failed twice", number(trial.value))));
    out.push(("Trials passed", grouped(finding.trials.iter().filter(|trial| trial.passed).count() as u64)));
    out.push(("Trials failed", grouped(finding.trials.iter().filter(|trial| !trial.passed).count() as u64)));
    out
}

fn loads(finding: &Finding<'_>) -> Axis {
    let highest = finding.trials.iter().map(|trial| trial.value).fold(0.0, f64::max);
    Axis::linear(unit(finding.options), highest * 1.02, number)
}

fn marks(finding: &Finding<'_>) -> Vec<(f64, String)> {
    finding.found.map(|found| (found, format!("found: {}", number(found)))).into_iter().collect()
}

/// The trials that passed and those that did not, each with what `of` says of it.
fn divided(finding: &Finding<'_>, name: &str, colour: usize, of: impl Fn(&Trial) -> f64) -> [Trace; 2] {
    [(true, Style::Circles(colour)), (false, Style::Crosses(colour))].map(|(passed, style)| {
        let trials = finding.trials.iter().filter(|trial| trial.passed == passed);
        let name = format!("{name}, {}", if passed { "passed" } else { "failed" });
        Trace { name, points: trials.map(|trial| (trial.value, of(trial))).collect(), style }
    })
}

fn delays(finding: &Finding<'_>) -> Option<Plot> {
    let measured = finding.trials.iter().filter_map(|trial| trial.srd);
    let (low, top) =
        measured.fold((f64::MAX, 0.0f64), |(low, top), [p50, p99]| (low.min(p50 as f64), top.max(p99 as f64)));
    if top == 0.0 {
        return None;
    }
    let logarithmic = top / low.max(1.0) > APART;
    let mut y = if logarithmic { decades(low.max(1.0), top) } else { linear(top) };
    y.name = y.name.replace("latency", "delay");
    let at = |index: usize| {
        move |trial: &Trial| {
            let nanos = trial.srd.map_or(f64::NAN, |srd| srd[index] as f64);
            if logarithmic { nanos.max(1.0).log10() } else { nanos }
        }
    };
    let traces = divided(finding, "median", 0, at(0)).into_iter().chain(divided(finding, "99%", 1, at(1)));
    Some(Plot {
        title: titled(finding, "Delay until it rings, or is answered"),
        description: describe(finding),
        x: loads(finding),
        y,
        traces: traces.filter(|trace| !trace.points.is_empty()).collect(),
        marks: marks(finding),
        steps: false,
    })
}

/// Nothing where no trial had any.
fn failures(finding: &Finding<'_>) -> Option<Plot> {
    let not_established = |trial: &Trial| trial.ser.map_or(f64::NAN, |ser| 100.0 - ser);
    let lost = |trial: &Trial| trial.rtp_loss;
    let mut traces: Vec<Trace> = divided(finding, "calls not established", 0, not_established).into();
    if has_rtp(finding) {
        traces.extend(divided(finding, "RTP lost", 2, lost));
    }
    traces.retain(|trace| !trace.points.is_empty());
    let values = traces.iter().flat_map(|trace| &trace.points).map(|(_, y)| *y).filter(|y| !y.is_nan());
    let top = values.fold(0.0, f64::max);
    if top == 0.0 {
        return None;
    }
    let show = |percent: f64| if percent.fract() == 0.0 { format!("{percent}%") } else { format!("{percent:.2}%") };
    Some(Plot {
        title: titled(finding, "Calls not established, and packets lost"),
        description: describe(finding),
        x: loads(finding),
        y: Axis::linear("share", top, show),
        traces,
        marks: marks(finding),
        steps: false,
    })
}

fn has_rtp(finding: &Finding<'_>) -> bool {
    finding.options.calls.rtp != Codec::Off
}

/// With a word on the mark.
fn titled(finding: &Finding<'_>, title: &str) -> String {
    title.to_string() + if finding.found.is_some() { " (dotted: what was found)" } else { "" }
}

fn describe(finding: &Finding<'_>) -> String {
    let each = finding.trials.iter().map(|trial| trial.line(unit(finding.options)).trim().to_string());
    each.collect::<Vec<_>>().join("; ")
}

fn trials(finding: &Finding<'_>, out: &mut String) {
    let heads = ["load", "for", "answered", "SER", "RTP lost", "srd p50", "srd p99", "verdict"];
    let each = heads.map(|name| {
        let class = if matches!(name, "for" | "verdict") { "w" } else { "n" };
        format!("<th scope=\"col\" class=\"{class}\">{name}</th>")
    });
    let _ = write!(
        out,
        "<h2>Trials in their order</h2>\n<div class=\"scroll\"><table><thead><tr>{}</tr></thead><tbody>",
        each.concat()
    );
    for trial in &finding.trials {
        let [p50, p99] = [0, 1].map(|at| trial.srd.map_or("–".into(), |srd| human(srd[at] as f64)));
        let (class, verdict) =
            if trial.passed { ("good", "passed".into()) } else { ("bad", format!("failed: {}", trial.why)) };
        let _ = write!(
            out,
            "<tr><td class=\"n\">{}</td><td class=\"w\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td>\
             <td class=\"n\">{p50}</td><td class=\"n\">{p99}</td><td class=\"w {class}\">{}</td></tr>",
            number(trial.value),
            trial.kind.word(),
            grouped(trial.established),
            trial.ser.map_or("–".into(), |ser| format!("{ser:.2}%")),
            if has_rtp(finding) { format!("{:.3}%", trial.rtp_loss) } else { "–".into() },
            escaped(&verdict)
        );
    }
    *out += "</tbody></table></div>\n";
}
