//! What every page has: the frame around it, the conclusion on top, and how times, rates and foreign text stand in it.

use crate::units::{self, grouped};

const STYLE: &str = include_str!("style.css");
/// Everything after what a page says.
pub const FOOT: &str = "</main>\n</body>\n</html>\n";

/// Text as it may stand in HTML.
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A duration as it stands on the page.
pub fn human(nanos: f64) -> String {
    let text = units::human(nanos).replace("us", "µs");
    let unit = text.find(char::is_alphabetic).unwrap_or(text.len());
    format!("{}\u{a0}{}", &text[..unit], &text[unit..])
}

/// A time on an axis whose ticks are `step` nanoseconds apart: no more digits than that needs.
pub fn tick_time(nanos: f64, step: f64) -> String {
    let (unit, name) = match nanos {
        nanos if nanos < 1e3 => (1.0, "ns"),
        nanos if nanos < 1e6 => (1e3, "µs"),
        nanos if nanos < 1e9 => (1e6, "ms"),
        _ => (1e9, "s"),
    };
    let digits = (-(step / unit).log10().floor()).clamp(0.0, 3.0) as usize;
    let text = format!("{:.digits$}", nanos / unit);
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    if nanos == 0.0 { "0".into() } else { format!("{text} {name}") }
}

/// Everything before what a page says.
pub fn head(title: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{}</title>\n<style>\n{STYLE}</style>\n\
         </head>\n<body>\n<main>\n",
        escaped(title)
    )
}

/// What stands on top of a page: the conclusion, good, bad or doubtful.
pub fn headline(command: &str, began: &str, code: u8, words: &str) -> String {
    let class = match code {
        0 => "good",
        4 => "warn",
        _ => "bad",
    };
    format!(
        "<header>\n<p class=\"kicker\">strowger-loadgen {} · {command} · {}</p>\n<h1 class=\"{class}\">{} (exit code {code})</h1>\n",
        env!("CARGO_PKG_VERSION"),
        escaped(began),
        escaped(words)
    )
}

/// Figures that are seen first.
pub fn key(figures: &[(&str, String)]) -> String {
    let each = figures.iter().map(|(name, value)| format!("<div><dt>{name}</dt><dd>{}</dd></div>", escaped(value)));
    format!("<dl class=\"key\">{}</dl>\n", each.collect::<String>())
}

/// A rate beside an axis.
pub fn per_second(value: f64) -> String {
    if value < 10.0 && value.fract() > 0.0 { format!("{value:.1}") } else { grouped(value.round() as u64) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_have_the_digits_they_need() {
        let texts =
            [(0.0, 5e5), (5e5, 5e5), (1e6, 5e5), (1.5e6, 5e5), (2e6, 1e6), (1e9, 2e8), (1.2e9, 2e8), (250.0, 50.0)];
        let shown: Vec<String> = texts.iter().map(|&(nanos, step)| tick_time(nanos, step)).collect();
        assert_eq!(shown, ["0", "500 µs", "1 ms", "1.5 ms", "2 ms", "1 s", "1.2 s", "250 ns"]);
        assert_eq!((tick_time(1e7, 1.0), tick_time(1e8, 1.0)), ("10 ms".into(), "100 ms".into()));
    }

    #[test]
    fn a_number_stays_with_its_unit() {
        assert_eq!([382e3, 1.5e6, 2e9].map(human), ["382\u{a0}µs", "1.50\u{a0}ms", "2.00\u{a0}s"]);
    }

    #[test]
    fn markup_in_what_a_peer_said_is_only_text() {
        assert_eq!(escaped("<script>\"&\""), "&lt;script&gt;&quot;&amp;&quot;");
    }
}
