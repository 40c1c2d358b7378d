//! What the screen looks like: a pure function of what there is to see, of the page, and of the room there is.
//!
//! A page is a list of sections. Cells flow into as many lines as the width makes them; when the height does not do, plots go
//! first and then the sections that say least.

mod pages;
mod section;
#[cfg(test)]
mod tests;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::theme::Theme;
use crate::core::Job;
use crate::watch::View;

/// One of the pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// All that matters.
    Overview,
    /// Every latency with its percentiles.
    Latencies,
    /// Every counter that has counted.
    Counters,
}

impl Page {
    const ALL: [(Self, &'static str); 3] =
        [(Self::Overview, "1 overview"), (Self::Latencies, "2 latencies"), (Self::Counters, "3 counters")];
}

/// Paints the whole screen.
pub fn paint(view: &View<'_>, page: Page, theme: &Theme, area: Rect, buffer: &mut Buffer) {
    if area.width < 20 || area.height < 4 {
        buffer.set_stringn(area.x, area.y, "too small", usize::from(area.width), theme.plain);
        return;
    }
    let inside = Rect { y: area.y + 1, height: area.height - 2, ..area };
    head(view, page, theme, area, buffer);
    let width = usize::from(inside.width).saturating_sub(1);
    let sections = match page {
        Page::Overview => pages::overview(view, theme, width),
        Page::Latencies => pages::latencies(view, theme, width),
        Page::Counters => pages::counters(view, theme, width),
    };
    section::stack(sections, theme, inside, buffer);
    foot(view, theme, Rect { y: area.bottom() - 1, height: 1, ..area }, buffer);
}

fn head(view: &View<'_>, page: Page, theme: &Theme, area: Rect, buffer: &mut Buffer) {
    buffer.set_style(Rect { height: 1, ..area }, theme.bar);
    let seconds = view.elapsed.as_secs();
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    let clock = match hours {
        0 => format!("{minutes:02}:{:02}", seconds % 60),
        _ => format!("{hours}:{minutes:02}:{:02}", seconds % 60),
    };
    let state = if view.draining {
        "  ENDING"
    } else if view.paused {
        "  PAUSED"
    } else {
        ""
    };
    let (transport, target) = (view.transport, &view.target);
    let left = match view.job {
        Job::Streams => format!(" {} → {target}  {clock}{state}", view.command),
        Job::Calls { uac: false, .. } => format!(" {} ← {target}/{transport}  {clock}{state}", view.command),
        _ => format!(" {} → {target}/{transport}  {clock}{state}", view.command),
    };
    let width = usize::from(area.width);
    buffer.set_stringn(area.x, area.y, &left, width, theme.bar);
    let names: Vec<String> = Page::ALL
        .iter()
        .map(|&(each, name)| if each == page { format!("[{name}]") } else { format!(" {name} ") })
        .collect();
    let right = names.join("");
    let free = width.saturating_sub(left.chars().count() + 1);
    if right.chars().count() <= free {
        buffer.set_string(area.right() - right.chars().count() as u16, area.y, right, theme.bar);
    }
}

fn foot(view: &View<'_>, theme: &Theme, area: Rect, buffer: &mut Buffer) {
    if let Some(notice) = &view.notice {
        buffer.set_stringn(area.x + 1, area.y, notice, usize::from(area.width) - 1, theme.notice);
        return;
    }
    let has_rate = matches!(view.job, Job::Calls { uac: true, .. } | Job::Register);
    let mut keys = vec![("q", "hang up and end"), ("Q", "end now")];
    if has_rate && !view.draining {
        let pause = if view.paused { "go on" } else { "pause" };
        keys.splice(0..0, [("+ -", "rate"), ("* /", "by 10"), ("p", pause)]);
    }
    let mut line = Line::default();
    for (key, what) in keys {
        line.push_span(Span::styled(format!(" {key} "), theme.bar));
        line.push_span(Span::styled(format!(" {what}  "), theme.plain));
    }
    buffer.set_line(area.x, area.y, &line, area.width);
}
