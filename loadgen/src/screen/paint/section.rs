//! Sections: a title on the left, lines beside it, and perhaps a plot of the last seconds that takes what room is left.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Sparkline, Widget as _};

use super::super::theme::Theme;

/// The column of titles.
pub const TITLE_WIDTH: usize = 11;
/// Between two cells.
const GAP: usize = 3;
/// A plot takes at most such a part of the height.
const PLOT_SHARE: u16 = 5;
/// Values far below the highest one can still be seen.
const SEEN_SHARE: u64 = 32;

/// Values over the last seconds, the latest last.
pub struct Plot {
    /// What it shows, and its highest value.
    pub caption: String,
    /// One column each.
    pub values: Vec<u64>,
}

/// One section.
pub struct Section {
    /// Its name.
    pub title: &'static str,
    /// The higher, the longer it stays where there is little room.
    pub rank: u8,
    /// What it says.
    pub lines: Vec<Line<'static>>,
    /// What it shows.
    pub plot: Option<Plot>,
}

/// A figure with its name in front.
pub struct Cell {
    label: &'static str,
    text: String,
    style: Style,
}

impl Cell {
    /// `label text`.
    pub fn new(label: &'static str, text: impl Into<String>, style: Style) -> Self {
        Self { label, text: text.into(), style }
    }

    fn width(&self) -> usize {
        let between = usize::from(!self.label.is_empty() && !self.text.is_empty());
        self.label.chars().count() + between + self.text.chars().count()
    }
}

/// Cells in as many lines as they need.
pub fn flow(cells: Vec<Cell>, theme: &Theme, width: usize) -> Vec<Line<'static>> {
    let width = width.saturating_sub(TITLE_WIDTH).max(1);
    let (mut lines, mut line, mut used) = (Vec::new(), Line::default(), 0);
    for cell in cells {
        let needed = cell.width();
        if used > 0 && used + GAP + needed > width {
            lines.push(std::mem::take(&mut line));
            used = 0;
        }
        if used > 0 {
            line.push_span(" ".repeat(GAP));
            used += GAP;
        }
        used += needed;
        line.push_span(Span::styled(cell.label, theme.label));
        if !cell.label.is_empty() && !cell.text.is_empty() {
            line.push_span(" ");
        }
        line.push_span(Span::styled(cell.text, cell.style));
    }
    lines.push(line);
    lines
}

fn height(sections: &[Section]) -> usize {
    sections.iter().map(|section| section.lines.len()).sum()
}

/// Paints as much of the sections as there is room for.
pub fn stack(mut sections: Vec<Section>, theme: &Theme, area: Rect, buffer: &mut Buffer) {
    let room = usize::from(area.height);
    while height(&sections) > room && sections.len() > 1 {
        let least = (0..sections.len()).min_by_key(|&index| sections[index].rank);
        sections.remove(least.unwrap_or_default());
    }
    let mut left = room.saturating_sub(height(&sections));
    let (mut plots, mut heights) = (sections.iter().filter(|section| section.plot.is_some()).count(), Vec::new());
    // A plot takes a line for its caption and at least one for its bars.
    for section in &sections {
        let share = if section.plot.is_some() { left.checked_div(plots).unwrap_or(0) } else { 0 };
        let taken = if share >= 2 { (share as u16).min((area.height / PLOT_SHARE).max(3)) } else { 0 };
        plots -= usize::from(section.plot.is_some());
        left -= usize::from(taken);
        heights.push(taken);
    }
    let mut y = area.y;
    for (section, plot_height) in sections.into_iter().zip(heights) {
        y = paint(section, plot_height, theme, Rect { y, height: area.bottom().saturating_sub(y), ..area }, buffer);
        // An empty line between sections, as far as they go.
        y += u16::from(left > 0);
        left = left.saturating_sub(1);
    }
}

fn paint(section: Section, plot_height: u16, theme: &Theme, area: Rect, buffer: &mut Buffer) -> u16 {
    let indent = (TITLE_WIDTH as u16).min(area.width);
    let (x, width) = (area.x + indent, area.width - indent);
    let mut y = area.y;
    if area.height > 0 {
        buffer.set_stringn(area.x + 1, y, section.title, TITLE_WIDTH - 2, theme.title);
    }
    for line in section.lines {
        if y < area.bottom() {
            buffer.set_line(x, y, &line, width);
        }
        y += 1;
    }
    if let (Some(plot), 2..) = (section.plot, plot_height) {
        let bars = Rect { x, y, width, height: plot_height - 1 };
        let columns = &plot.values[plot.values.len().saturating_sub(usize::from(width))..];
        let highest = columns.iter().max().copied().unwrap_or(0);
        let seen = |&value: &u64| if value > 0 { value.max(highest / SEEN_SHARE) } else { 0 };
        // A little air above: a constant rate is a line of bars, not a wall.
        let columns: Vec<u64> = columns.iter().map(seen).collect();
        Sparkline::default().data(&columns).max(highest + highest / 7).style(theme.plot).render(bars, buffer);
        buffer.set_stringn(x, y + plot_height - 1, &plot.caption, usize::from(width), theme.label);
        y += plot_height;
    }
    y
}
