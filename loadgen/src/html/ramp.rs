//! What a ramp shows, with the rate as its axis: what is answered of what is offered on the way up and down again, what is not,
//! and how long the answer takes.

use super::frame::per_second;
use super::plot::{Axis, Plot, Trace};
use super::spectrum::linear;
use crate::ramp::Row;
use crate::report::Report;
use crate::units::grouped;

impl Report<'_> {
    /// The plots; nothing where there were no steps.
    pub fn ramp_plots(&self, out: &mut String) {
        let steps = self.rows();
        if steps.len() < 2 {
            return;
        }
        *out += "<h2>Steps of the ramp</h2>\n";
        *out += &plot(&steps, "Answered of what was offered", "answered per second", |step| step.answered());
        let not = |step: &Row<'_>| step.per_second(step.figures.refused + step.figures.failed);
        *out += &match steps.iter().any(|step| not(step) > 0.0) {
            true => plot(&steps, "Refused or lost", "per second", not),
            false => "<p>Nothing was refused or lost at any step.</p>\n".into(),
        };
        let delay = |step: &Row<'_>| match step.figures.srd.is_empty() {
            true => f64::NAN,
            false => step.figures.srd.value_at_quantile(0.99) as f64,
        };
        let top = steps.iter().map(delay).filter(|nanos| !nanos.is_nan()).fold(0.0, f64::max);
        if top > 0.0 {
            let y = Axis { name: "session request delay".into(), ..linear(top) };
            *out += &drawn(&steps, "Delay of what was answered, 99%", y, delay);
        }
    }
}

fn plot(steps: &[Row<'_>], title: &str, name: &str, of: impl Fn(&Row<'_>) -> f64) -> String {
    let top = steps.iter().map(&of).fold(0.0, f64::max);
    drawn(steps, title, Axis::linear(name, top, per_second), of)
}

fn drawn(steps: &[Row<'_>], title: &str, y: Axis, of: impl Fn(&Row<'_>) -> f64) -> String {
    let highest = steps.iter().map(|step| step.rate).fold(0.0, f64::max);
    let top = steps.iter().position(|step| step.rate >= highest).unwrap_or(0);
    let line =
        |name: &str, steps: &[Row<'_>]| Trace::line(name, steps.iter().map(|step| (step.rate, of(step))).collect());
    let each = steps.iter().map(|step| format!("{:.1} offered: {:.1}", step.rate, of(step)));
    let x = Axis::along("offered per second", highest, |rate| grouped(rate.round() as u64));
    let plot = Plot {
        title: title.into(),
        description: format!("{title}, {}. {}", y.name, each.collect::<Vec<_>>().join("; ")),
        x,
        y,
        traces: vec![line("on the way up", &steps[..=top]), line("on the way down", &steps[top..])],
        marks: Vec::new(),
        steps: false,
    };
    plot.svg()
}
