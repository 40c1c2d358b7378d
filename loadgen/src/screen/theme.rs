//! The colours of the screen: few, of the terminal's own sixteen so that they suit its background, and none where
//! `NO_COLOR` is set. No meaning hangs on a colour alone.

use ratatui::style::{Color, Modifier, Style};

/// How things are written.
pub struct Theme {
    /// The first line and the last.
    pub bar: Style,
    /// What a line is about.
    pub title: Style,
    /// What a figure is.
    pub label: Style,
    /// A figure.
    pub plain: Style,
    /// A figure that is as it should be.
    pub good: Style,
    /// A figure that should be zero.
    pub bad: Style,
    /// Something to know.
    pub notice: Style,
    /// The bars of a plot.
    pub plot: Style,
}

impl Theme {
    /// With colours, or without.
    pub fn choose(no_colour: bool) -> Self {
        let plain = Style::new();
        let bold = plain.add_modifier(Modifier::BOLD);
        let colour = |colour, style: Style| if no_colour { style } else { style.fg(colour) };
        Self {
            bar: plain.add_modifier(Modifier::REVERSED),
            title: colour(Color::Cyan, bold),
            label: if no_colour { plain } else { plain.fg(Color::DarkGray) },
            plain,
            good: colour(Color::Green, plain),
            bad: colour(Color::Red, bold),
            notice: colour(Color::Yellow, bold),
            plot: colour(Color::Cyan, plain),
        }
    }
}
