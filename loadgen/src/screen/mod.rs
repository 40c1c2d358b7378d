//! The live screen: `paint/` says what it looks like, `keys.rs` what a key means; here is the terminal, which is given back
//! as it was whatever happens.

mod keys;
mod paint;
mod theme;

use std::io::{self, IsTerminal as _, Stdout, stdout};
use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use ratatui::crossterm::{event, execute};

use self::keys::Press;
use self::paint::Page;
use self::theme::Theme;
use crate::cli::{Common, When};
use crate::preflight::Trouble;
use crate::watch::{Lines, Nobody, View, Watch, Wish};

/// The terminal is ours: set by [`Screen::open`], and cleared by whoever gives it back first.
static OURS: AtomicBool = AtomicBool::new(false);

/// Who looks on, by the options and by what standard output is.
pub fn choose(common: &Common) -> Result<Box<dyn Watch>, Trouble> {
    let json_there = common.json.as_ref().is_some_and(|path| path.as_os_str() == "-");
    let hindrance = if json_there { Some("--json - goes to standard output") } else { hindrance() };
    if common.quiet && common.screen == When::On {
        return Err(Trouble::usage("--quiet and --screen on contradict each other; leave one of them out"));
    }
    match (common.screen, hindrance) {
        (When::On, Some(why)) => Err(Trouble::usage(format!("--screen on: {why}; leave it out, or use --screen off"))),
        (When::Auto, None) if !common.quiet => Screen::open(common.rate_scale),
        (When::On, None) => Screen::open(common.rate_scale),
        _ if common.quiet => Ok(Box::new(Nobody)),
        _ => Ok(Box::new(Lines)),
    }
}

/// Why there can be no screen.
fn hindrance() -> Option<&'static str> {
    if !stdout().is_terminal() || !io::stdin().is_terminal() {
        return Some("standard input and output are not both a terminal");
    }
    if std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb") {
        return Some("the environment's TERM names no terminal that can be drawn on");
    }
    // A job in the background is stopped by the kernel when it changes its terminal.
    let foreground = rustix::termios::tcgetpgrp(stdout()).ok();
    (foreground != Some(rustix::process::getpgrp())).then_some("this process is in the background of its terminal")
}

/// The terminal as a screen.
struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
    page: Page,
    theme: Theme,
    scale: f64,
}

impl Screen {
    fn open(scale: f64) -> Result<Box<dyn Watch>, Trouble> {
        let failed = |error: io::Error| {
            give_back();
            Trouble::outside(format!("the terminal cannot be drawn on: {error}; use --screen off"))
        };
        give_back_on_panic();
        OURS.store(true, Ordering::SeqCst);
        enable_raw_mode().map_err(failed)?;
        execute!(stdout(), EnterAlternateScreen).map_err(failed)?;
        let terminal = Terminal::new(CrosstermBackend::new(stdout())).map_err(failed)?;
        let theme = Theme::choose(std::env::var("NO_COLOR").is_ok_and(|value| !value.is_empty()));
        Ok(Box::new(Self { terminal, page: Page::Overview, theme, scale }))
    }
}

impl Watch for Screen {
    fn show(&mut self, view: &View<'_>) {
        if OURS.load(Ordering::SeqCst) {
            let (page, theme) = (self.page, &self.theme);
            let drawn = self.terminal.draw(|frame| paint::paint(view, page, theme, frame.area(), frame.buffer_mut()));
            if drawn.is_err() {
                give_back();
            }
        }
    }

    fn poll(&mut self) -> Option<Wish> {
        while OURS.load(Ordering::SeqCst) && event::poll(Duration::ZERO).unwrap_or(false) {
            match keys::read(&event::read().ok()?, self.scale) {
                Some(Press::Wish(Wish::Redraw)) => {
                    // The terminal has said how large it is now; what stood there is gone.
                    let _ = self.terminal.autoresize();
                    return Some(Wish::Redraw);
                }
                Some(Press::Wish(wish)) => return Some(wish),
                Some(Press::Page(page)) => {
                    self.page = page;
                    return Some(Wish::Redraw);
                }
                None => {}
            }
        }
        None
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// The terminal as it was; once, whoever comes first.
fn give_back() {
    if OURS.swap(false, Ordering::SeqCst) {
        // If the terminal is gone, there is nobody to tell.
        let _ = execute!(stdout(), LeaveAlternateScreen, Show);
        let _ = disable_raw_mode();
    }
}

/// A panic of any thread is written on the terminal as it was.
fn give_back_on_panic() {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        give_back();
        before(info);
    }));
}
