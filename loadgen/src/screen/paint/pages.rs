//! The pages: which figures stand in which section.

use std::time::Duration;

use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::super::theme::Theme;
use super::section::{Cell, Plot, Section, TITLE_WIDTH, flow};
use crate::core::Job;
use crate::core::quality;
use crate::core::stats::{Counters, Latencies};
use crate::series::Point;
use crate::units::{grouped, human};
use crate::watch::{Gist, View, gist};

/// A column of the table of latencies.
const COLUMN: usize = 9;
const NAME_WIDTH: usize = 14;
const QUANTILES: [(&str, f64); 5] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)];

/// All that matters.
pub fn overview(view: &View<'_>, theme: &Theme, width: usize) -> Vec<Section> {
    let all = gist(view.job, &view.series.total.events);
    let shown: &[&str] = match view.job {
        Job::Calls { uac: true, .. } => &["srd", "setup", "sdd"],
        Job::Calls { .. } => &["sdd"],
        Job::Register => &["rrd"],
        Job::Streams => &["rtp_delay_uas", "rtp_delay_uac"],
    };
    let mut sections = vec![rate(view, theme, width), calls(view, theme, width, &all)];
    sections.push(Section { plot: Some(p99(view, all.latency)), ..table(view, theme, width, shown) });
    sections.push(failures(view, theme, width));
    if view.rtp {
        sections.push(rtp(view, theme, width));
    }
    sections.push(generator(view, theme, width));
    sections
}

/// Every latency with its percentiles.
pub fn latencies(view: &View<'_>, theme: &Theme, width: usize) -> Vec<Section> {
    let section = table(view, theme, width, Latencies::NAMES);
    let latency = gist(view.job, &view.series.total.events).latency;
    vec![Section { plot: Some(p99(view, latency)), ..section }, generator(view, theme, width)]
}

/// Every counter that has counted.
pub fn counters(view: &View<'_>, theme: &Theme, width: usize) -> Vec<Section> {
    let values = view.series.total.events.values();
    let counted = Counters::NAMES.iter().zip(values).filter(|(_, value)| *value > 0);
    let cells: Vec<Cell> = counted.map(|(&name, value)| Cell::new(name, grouped(value), theme.plain)).collect();
    let counted = Section { title: "Counters", rank: 9, lines: flow(cells, theme, width), plot: None };
    vec![counted, failures(view, theme, width)]
}

fn bad(theme: &Theme, count: u64) -> Style {
    if count > 0 { theme.bad } else { theme.good }
}

fn rate(view: &View<'_>, theme: &Theme, width: usize) -> Section {
    let job = view.job;
    let per_second = |of: fn(&Gist) -> u64| {
        view.series.latest().map_or(0.0, |point| of(&gist(job, &point.events)) as f64 / point.seconds())
    };
    let (begun, failed) = (per_second(|gist| gist.begun), per_second(|gist| gist.failed));
    let mut cells = Vec::new();
    if matches!(job, Job::Calls { uac: true, .. } | Job::Register) {
        let style = if view.paused { theme.notice } else { theme.plain };
        cells.push(Cell::new("asked for", format!("{}/s", trimmed(view.rate)), style));
    }
    cells.push(Cell::new("begun", format!("{}/s", trimmed(begun)), theme.plain));
    cells.push(Cell::new("done", format!("{}/s", trimmed(per_second(|gist| gist.done))), theme.plain));
    cells.push(Cell::new("failed", format!("{}/s", trimmed(failed)), bad(theme, failed.ceil() as u64)));
    let values = columns(view, |point| (gist(job, &point.events).begun as f64 / point.seconds()).round() as u64);
    let highest = values.iter().max().copied().unwrap_or(0);
    let caption = format!("begun per second, highest {}; {}", grouped(highest), each_column(view));
    Section { title: "Rate", rank: 9, lines: flow(cells, theme, width), plot: Some(Plot { caption, values }) }
}

fn trimmed(rate: f64) -> String {
    if rate >= 100.0 || rate.fract().abs() < 0.05 { grouped(rate.round() as u64) } else { format!("{rate:.1}") }
}

fn columns(view: &View<'_>, of: impl Fn(&Point) -> u64) -> Vec<u64> {
    view.series.points().iter().map(of).collect()
}

fn each_column(view: &View<'_>) -> String {
    match view.series.points().first().map_or(1.0, |point| point.seconds().round()) {
        seconds if seconds > 1.0 => format!("each column {seconds} s"),
        _ => "each column 1 s".into(),
    }
}

fn calls(view: &View<'_>, theme: &Theme, width: usize, all: &Gist) -> Section {
    let total = &view.series.total;
    let (job, c) = (view.job, &total.events);
    let mut cells = Vec::new();
    let of = |count: usize| format!("{} of {}", grouped(count as u64), grouped(u64::from(view.concurrent)));
    let (title, skipped) = match job {
        Job::Register => ("Users", c.registrations_skipped),
        Job::Streams => ("Streams", 0),
        Job::Calls { .. } => ("Calls", c.calls_skipped),
    };
    match job {
        Job::Register => cells.push(Cell::new("open", of(total.states.values().sum()), theme.plain)),
        Job::Calls { uac: false, .. } => {}
        _ => cells.push(Cell::new("up", of(total.up_uac), theme.plain)),
    }
    if total.up_uas > 0 || matches!(job, Job::Calls { uas: true, .. }) {
        cells.push(Cell::new("answering", grouped(total.up_uas as u64), theme.plain));
    }
    if matches!(job, Job::Calls { uac: true, .. }) {
        for state in ["calling", "proceeding", "cancelling", "ending"] {
            if let Some(&count) = total.states.get(state) {
                cells.push(Cell::new(state, grouped(count as u64), theme.plain));
            }
        }
    }
    cells.push(Cell::new("begun", grouped(all.begun), theme.plain));
    if job != Job::Streams {
        cells.push(Cell::new("done", grouped(all.done), theme.plain));
        cells.push(Cell::new("failed", grouped(all.failed - skipped), bad(theme, all.failed - skipped)));
        cells.push(Cell::new("skipped", grouped(skipped), bad(theme, skipped)));
    }
    let retransmitted = c.retransmitted_invite + c.retransmitted_request + c.retransmitted_success;
    cells.push(Cell::new("retransmitted", grouped(retransmitted), bad(theme, retransmitted)));
    if c.calls_attempted > 0 {
        let answered = c.calls_established as f64 * 100.0 / c.calls_attempted as f64;
        cells.push(Cell::new("answered", format!("{answered:.2}%"), theme.plain));
    }
    Section { title, rank: 8, lines: flow(cells, theme, width), plot: None }
}

/// Percentiles since the beginning, and of the latest second.
fn table(view: &View<'_>, theme: &Theme, width: usize, names: &[&str]) -> Section {
    let room = width.saturating_sub(TITLE_WIDTH + NAME_WIDTH) / COLUMN;
    // The latest second matters more than the tails where not all fit.
    let kept = QUANTILES.len().min(room.saturating_sub(1));
    let mut head = format!("{:<NAME_WIDTH$}", "");
    QUANTILES[..kept].iter().for_each(|(name, _)| head += &format!("{name:>COLUMN$}"));
    let mut lines = vec![Line::styled(head + &format!("{:>COLUMN$}", "p99 now"), theme.label)];
    let recent = &view.series.total.recent;
    for &name in names.iter().filter(|name| recent.at(name, 0.5).is_some()) {
        let value = |nanos: Option<u64>| format!("{:>COLUMN$}", nanos.map_or("-".into(), |nanos| human(nanos as f64)));
        let mut text = String::new();
        QUANTILES[..kept].iter().for_each(|&(_, quantile)| text += &value(recent.at(name, quantile)));
        let now = view.series.latest().and_then(|point| point.latencies.get(name)).map(|quantiles| quantiles.p99);
        text += &value(now);
        lines.push(Line::from(vec![Span::styled(format!("{name:<NAME_WIDTH$}"), theme.label), Span::raw(text)]));
    }
    if lines.len() == 1 {
        lines = vec![Line::styled("nothing measured yet", theme.label)];
    }
    Section { title: "Latency", rank: 7, lines, plot: None }
}

fn p99(view: &View<'_>, latency: &'static str) -> Plot {
    let of = |point: &Point| point.latencies.get(latency).map_or(0, |quantiles| quantiles.p99 / 1000);
    let values = columns(view, of);
    let highest = values.iter().max().map_or(0, |micros| micros * 1000);
    let caption = format!("p99 of {latency}, highest {}; {}", human(highest as f64), each_column(view));
    Plot { caption, values }
}

fn failures(view: &View<'_>, theme: &Theme, width: usize) -> Section {
    let total = &view.series.total;
    let causes = crate::causes::of(&total.events);
    let mut cells: Vec<Cell> =
        causes.into_iter().map(|(what, count)| Cell::new(what, grouped(count), theme.bad)).collect();
    for (status, (count, reason)) in &total.refusals {
        cells.push(Cell::new("", format!("{status} {reason}: {}", grouped(*count)), theme.bad));
    }
    if cells.is_empty() {
        cells.push(Cell::new("", "none", theme.good));
    }
    Section { title: "Failures", rank: 6, lines: flow(cells, theme, width), plot: None }
}

fn rtp(view: &View<'_>, theme: &Theme, width: usize) -> Section {
    let total = &view.series.total;
    let c = &total.events;
    let now = |of: fn(&Counters) -> u64| {
        let rate = view.series.latest().map_or(0.0, |point| of(&point.events) as f64 / point.seconds());
        format!("{}/s", grouped(rate.round() as u64))
    };
    let (lost, received) = (c.rtp_lost + total.media.missing, c.rtp_received_uac + c.rtp_received_uas);
    let loss = if lost + received == 0 { 0.0 } else { lost as f64 / (lost + received) as f64 };
    let mut cells = vec![
        Cell::new("sent", now(|c| c.rtp_sent_uac + c.rtp_sent_uas), theme.plain),
        Cell::new("received", now(|c| c.rtp_received_uac + c.rtp_received_uas), theme.plain),
        Cell::new("lost", format!("{} ({:.4}%)", grouped(lost), loss * 100.0), bad(theme, lost)),
    ];
    for (name, count) in [
        ("twice", c.rtp_duplicates),
        ("out of order", c.rtp_reordered),
        ("damaged", c.rtp_corrupted + c.rtp_misdirected),
    ] {
        if count > 0 {
            cells.push(Cell::new(name, grouped(count), theme.bad));
        }
    }
    let jitter = total.media.jitter();
    if let Some(jitter) = jitter {
        cells.push(Cell::new("jitter", human(jitter.as_nanos() as f64), theme.plain));
    }
    if received > 0 {
        let delay = total.recent.at("rtp_delay_uas", 0.5).map_or(Duration::ZERO, Duration::from_nanos);
        let score = quality::mos(loss, 1.0, delay, jitter.unwrap_or_default());
        cells.push(Cell::new("MOS", format!("{score:.2}"), if score < 4.0 { theme.bad } else { theme.good }));
    }
    Section { title: "RTP", rank: 5, lines: flow(cells, theme, width), plot: None }
}

fn generator(view: &View<'_>, theme: &Theme, width: usize) -> Section {
    let total = &view.series.total;
    let late = |name: &'static str| total.recent.at(name, 0.99).map(|nanos| human(nanos as f64));
    let mut cells = Vec::new();
    for (label, name) in [("calls late p99", "late_start"), ("RTP late p99", "late_rtp")] {
        if let Some(late) = late(name) {
            cells.push(Cell::new(label, late, theme.plain));
        }
    }
    let (received, sent) = view.dropped;
    let refused = total.events.send_refused;
    cells.push(Cell::new("dropped by our kernel", grouped(received + sent), bad(theme, received + sent)));
    cells.push(Cell::new("refused by our queues", grouped(refused), bad(theme, refused)));
    cells.push(Cell::new("", format!("{} × {}", view.engine.0, view.engine.1), theme.label));
    Section { title: "Generator", rank: 4, lines: flow(cells, theme, width), plot: None }
}
