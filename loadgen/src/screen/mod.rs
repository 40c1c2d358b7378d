//! The live screen: `paint/` says what it looks like, `keys.rs` what a key means; here is the terminal, which is given back
//! as it was whatever happens.

mod keys;
mod paint;
mod theme;

use std::io::{self, IsTerminal as _, Stdout, stdout};
use std::mem::ManuallyDrop;
use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam::channel::{Receiver, bounded};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::event::{self, Event};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};

use self::keys::Press;
use self::paint::Page;
use self::theme::Theme;
use crate::cli::{Common, When};
use crate::preflight::Trouble;
use crate::watch::{Lines, Nobody, View, Watch, Wish};

/// The terminal is ours: set by [`Screen::open`], and cleared by whoever gives it back first.
static OURS: AtomicBool = AtomicBool::new(false);
/// Keys waiting to be taken.
const KEYS_MAX: usize = 64;
/// How often the reader of keys looks whether the terminal is still ours.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Who looks on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Onlooker {
    /// The screen.
    Screen,
    /// A line per second.
    Lines,
    /// Nobody.
    Nobody,
}

impl Onlooker {
    /// By the options and by what standard output is.
    pub fn choose(common: &Common) -> Result<Self, Trouble> {
        let json_there = common.json.as_ref().is_some_and(|path| path.as_os_str() == "-");
        let hindrance = if json_there { Some("--json - goes to standard output") } else { hindrance() };
        match (common.screen, hindrance) {
            (When::On, _) if common.quiet => {
                Err(Trouble::usage("--quiet and --screen on contradict each other; leave one of them out"))
            }
            (When::On, Some(why)) => {
                Err(Trouble::usage(format!("--screen on: {why}; leave it out, or use --screen off")))
            }
            _ if common.quiet => Ok(Self::Nobody),
            (When::On | When::Auto, None) => Ok(Self::Screen),
            _ => Ok(Self::Lines),
        }
    }

    /// Begins to look.
    pub fn open(self, common: &Common) -> Result<Box<dyn Watch>, Trouble> {
        match self {
            Self::Screen => Screen::open(common.rate_scale),
            Self::Lines => Ok(Box::new(Lines)),
            Self::Nobody => Ok(Box::new(Nobody)),
        }
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
    /// Never dropped: it would show the cursor once more, and panic where the terminal has hung up.
    terminal: ManuallyDrop<Terminal<CrosstermBackend<Stdout>>>,
    page: Page,
    theme: Theme,
    scale: f64,
    events: Receiver<Event>,
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
        let terminal = ManuallyDrop::new(Terminal::new(CrosstermBackend::new(stdout())).map_err(failed)?);
        let theme = Theme::choose(std::env::var("NO_COLOR").is_ok_and(|value| !value.is_empty()));
        let events = listen().map_err(failed)?;
        Ok(Box::new(Self { terminal, page: Page::Overview, theme, scale, events }))
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
        while let Ok(event) = self.events.try_recv() {
            match keys::read(&event, self.scale) {
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

/// Reads the keys in a thread of its own: a terminal that has hung up keeps its reader busy for ever.
fn listen() -> io::Result<Receiver<Event>> {
    let (sender, events) = bounded(KEYS_MAX);
    let read = move || {
        while OURS.load(Ordering::SeqCst) {
            match event::poll(LOOK_EVERY) {
                Ok(false) => {}
                // Keys that nobody takes are dropped.
                Ok(true) => match event::read() {
                    Ok(event) => drop(sender.try_send(event)),
                    Err(_) => return,
                },
                Err(_) => return,
            }
        }
    };
    std::thread::Builder::new().name("keys".into()).spawn(read).map(|_| events)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_of_any_thread_gives_the_terminal_back_first() {
        give_back_on_panic();
        OURS.store(true, Ordering::SeqCst);
        let thread = std::thread::spawn(|| panic!("as wanted by the test"));
        assert!(thread.join().is_err());
        assert!(!OURS.load(Ordering::SeqCst));
    }
}
