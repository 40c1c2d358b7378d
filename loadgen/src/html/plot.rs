//! Line plots as inline SVG: axes, grid, one step line a series, each with its own dash so that colour is not needed.

use std::fmt::Write as _;

use super::frame::escaped;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 250.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 40.0;
/// Parts of an axis, at most: less than what stands beside its ticks would take.
const TICKS_Y: f64 = 5.0;
const TICKS_X: f64 = 10.0;

/// How a trace is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// A line, of its own colour and dash by its place in the plot.
    Line,
    /// A circle for each point, in the colour of the line at this place.
    Circles(usize),
    /// A cross for each point, likewise.
    Crosses(usize),
}

/// One line of a plot.
pub struct Trace {
    /// In the legend.
    pub name: String,
    /// Along the axes, in order of x; where y is no number there is a gap.
    pub points: Vec<(f64, f64)>,
    /// How it is drawn.
    pub style: Style,
}

impl Trace {
    /// A line.
    pub fn line(name: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.into(), points, style: Style::Line }
    }

    fn drawn(&self, index: usize, path: &str, at: impl Iterator<Item = (f64, f64)>) -> String {
        match self.style {
            Style::Line => format!("<path class=\"t t{index}\" d=\"{path}\"/>"),
            Style::Circles(colour) => at
                .map(|(x, y)| format!("<circle class=\"d d{colour}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\"/>"))
                .collect(),
            Style::Crosses(colour) => {
                let cross = |(x, y): (f64, f64)| format!("M{:.1} {:.1}l8 8m-8 0l8 -8", x - 4.0, y - 4.0);
                format!("<path class=\"x d{colour}\" d=\"{}\"/>", at.map(cross).collect::<String>())
            }
        }
    }
}

/// An axis from its lowest to its highest value.
pub struct Axis {
    /// What it measures.
    pub name: String,
    /// Lowest and highest value.
    pub range: (f64, f64),
    /// Where there is a line of the grid, and what stands beside it.
    pub ticks: Vec<(f64, String)>,
}

impl Axis {
    /// From zero to at least `highest`, with round ticks.
    pub fn linear(name: impl Into<String>, highest: f64, show: impl Fn(f64) -> String) -> Self {
        Self::divided(name, highest, TICKS_Y, show)
    }

    /// The same that ends at `last`, for what goes from left to right.
    pub fn along(name: impl Into<String>, last: f64, show: impl Fn(f64) -> String) -> Self {
        let mut axis = Self::divided(name, last, TICKS_X, show);
        axis.ticks.retain(|(at, _)| *at <= last);
        axis.range.1 = last.max(f64::MIN_POSITIVE);
        axis
    }

    fn divided(name: impl Into<String>, highest: f64, parts: f64, show: impl Fn(f64) -> String) -> Self {
        let highest = if highest > 0.0 { highest } else { 1.0 };
        let step = round_step(highest / parts);
        let count = (highest / step).ceil().max(1.0) as u32;
        let ticks = (0..=count).map(|index| (f64::from(index) * step, show(f64::from(index) * step))).collect();
        Self { name: name.into(), range: (0.0, f64::from(count) * step), ticks }
    }

    fn place(&self, value: f64, from: f64, to: f64) -> f64 {
        let share = (value - self.range.0) / (self.range.1 - self.range.0).max(f64::MIN_POSITIVE);
        from + (to - from) * share.clamp(0.0, 1.0)
    }
}

/// 1, 2 or 5 times a power of ten, at least `least`.
pub fn round_step(least: f64) -> f64 {
    let power = 10f64.powf(least.log10().floor());
    [1.0, 2.0, 5.0].into_iter().map(|step| step * power).find(|&step| step >= least * 0.999).unwrap_or(10.0 * power)
}

/// A plot.
pub struct Plot {
    /// Its name, unique on the page.
    pub title: String,
    /// In words what it shows, for whom cannot see it.
    pub description: String,
    /// From left to right.
    pub x: Axis,
    /// From bottom to top.
    pub y: Axis,
    /// Its lines.
    pub traces: Vec<Trace>,
    /// Something happened there.
    pub marks: Vec<(f64, String)>,
    /// Draw values as steps: each holds until the next.
    pub steps: bool,
}

impl Plot {
    /// A figure with its legend.
    pub fn svg(&self) -> String {
        let id: String = self.title.chars().filter(char::is_ascii_alphanumeric).collect();
        let mut out = format!(
            "<figure><figcaption>{}</figcaption><div class=\"scroll\"><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" \
             aria-labelledby=\"{id}-t {id}-d\"><title id=\"{id}-t\">{}</title><desc id=\"{id}-d\">{}</desc>",
            escaped(&self.title),
            escaped(&self.title),
            escaped(&self.description)
        );
        self.axes(&mut out);
        for (at, what) in &self.marks {
            let x = self.x.place(*at, LEFT, WIDTH - RIGHT);
            let _ = write!(
                out,
                "<line class=\"mark\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{:.1}\"><title>{}</title></line>",
                HEIGHT - BOTTOM,
                escaped(what)
            );
        }
        for (index, trace) in self.traces.iter().enumerate() {
            let at =
                trace.points.iter().filter(|(_, value)| !value.is_nan()).map(|&(x, value)| {
                    (self.x.place(x, LEFT, WIDTH - RIGHT), self.y.place(value, HEIGHT - BOTTOM, TOP))
                });
            out += &trace.drawn(index, &self.path(&trace.points), at);
        }
        out += "</svg></div>";
        if self.traces.len() > 1 {
            out += "<ul class=\"legend\">";
            for (index, trace) in self.traces.iter().enumerate() {
                let drawn = trace.drawn(index, "M0 4H28", std::iter::once((14.0, 4.0)));
                let sample = format!("<svg viewBox=\"0 -1 28 10\" aria-hidden=\"true\">{drawn}</svg>");
                let _ = write!(out, "<li>{sample}{}</li>", escaped(&trace.name));
            }
            out += "</ul>";
        }
        out + "</figure>\n"
    }

    fn axes(&self, out: &mut String) {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        for (value, text) in &self.y.ticks {
            let y = self.y.place(*value, bottom, TOP);
            let _ = write!(
                out,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                LEFT - 7.0,
                y + 4.0,
                escaped(text)
            );
        }
        for (value, text) in &self.x.ticks {
            let x = self.x.place(*value, LEFT, right);
            let anchor = if right - x < 20.0 { "end" } else { "middle" };
            let _ = write!(
                out,
                "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{bottom}\"/>\
                 <text class=\"tick\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{}</text>",
                bottom + 16.0,
                escaped(text)
            );
        }
        let _ = write!(
            out,
            "<text class=\"axis\" x=\"{right}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\
             <text class=\"axis\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" transform=\"rotate(-90 {:.1} {:.1})\">{}</text>",
            HEIGHT - 6.0,
            escaped(&self.x.name),
            12.0,
            (TOP + bottom) / 2.0,
            12.0,
            (TOP + bottom) / 2.0,
            escaped(&self.y.name)
        );
    }

    fn path(&self, points: &[(f64, f64)]) -> String {
        let (mut out, mut drawing) = (String::new(), false);
        for &(x, value) in points {
            let x = self.x.place(x, LEFT, WIDTH - RIGHT);
            let y = self.y.place(value, HEIGHT - BOTTOM, TOP);
            let _ = match (value.is_nan(), drawing, self.steps) {
                (true, true, true) => write!(out, "H{x:.1}"),
                (true, ..) => Ok(()),
                (false, false, _) => write!(out, "M{x:.1} {y:.1}"),
                (false, true, true) => write!(out, "H{x:.1}V{y:.1}"),
                (false, true, false) => write!(out, "L{x:.1} {y:.1}"),
            };
            drawing = !value.is_nan();
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_reach_over_the_highest_value() {
        for (highest, last, count) in [(97.0, 100.0, 6), (0.0, 1.0, 6), (1234.0, 1500.0, 4), (0.003, 0.003, 4)] {
            let axis = Axis::linear("y", highest, |value| format!("{value}"));
            assert!((axis.range.1 - last).abs() < 1e-9, "{highest}: {:?}", axis.range);
            assert_eq!((axis.ticks.len(), axis.ticks[0].0), (count, 0.0), "{highest}");
        }
    }

    #[test]
    fn values_stand_where_the_axes_say_and_text_is_escaped() {
        let axis = |name| Axis::linear(name, 10.0, |value| value.to_string());
        let plot = Plot {
            title: "a < b & c".into(),
            description: "d".into(),
            x: axis("x"),
            y: axis("y"),
            traces: vec![Trace::line("one", vec![(0.0, 0.0), (5.0, 10.0), (99.0, 5.0)])],
            marks: vec![(5.0, "here".into())],
            steps: false,
        };
        let svg = plot.svg();
        assert!(svg.contains("M64.0 210.0L385.0 12.0L706.0 111.0"), "{svg}");
        assert!(svg.contains("a &lt; b &amp; c") && !svg.contains("legend"), "{svg}");
        let steps = Plot { steps: true, ..plot };
        assert!(steps.svg().contains("M64.0 210.0H385.0V12.0H706.0V111.0"));
        let points = vec![(0.0, 0.0), (5.0, f64::NAN), (6.0, f64::NAN), (10.0, 10.0)];
        let gap = Plot { traces: vec![Trace::line("one", points)], ..steps };
        assert!(gap.svg().contains("d=\"M64.0 210.0H385.0M706.0 12.0\""), "{}", gap.svg());
        let points = vec![(0.0, 0.0), (5.0, f64::NAN)];
        let dots = [Style::Circles(1), Style::Crosses(0)].map(|style| Trace {
            name: "d".into(),
            points: points.clone(),
            style,
        });
        let dots = Plot { traces: dots.into(), ..gap };
        assert!(
            dots.svg().contains("cx=\"64.0\" cy=\"210.0\"") && dots.svg().contains("\"M60.0 206.0l8 8m-8 0l8 -8\"")
        );
        assert_eq!(dots.svg().matches("<circle").count(), 2, "one drawn, one in the legend");
    }
}
