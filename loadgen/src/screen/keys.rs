//! The keys, which are SIPp's: `+ - * /` change the rate by 1 and by 10, `p` pauses, `q` hangs up and ends, `Q` ends at once.

use ratatui::crossterm::event::{Event, KeyCode, KeyEventKind, KeyModifiers};

use super::paint::Page;
use crate::watch::Wish;

/// What an event of the terminal asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Press {
    /// Something of the run.
    Wish(Wish),
    /// Another page.
    Page(Page),
}

/// Reads one event of the terminal; `scale` is what `+` adds.
pub fn read(event: &Event, scale: f64) -> Option<Press> {
    let key = match event {
        Event::Resize(..) => return Some(Press::Wish(Wish::Redraw)),
        Event::Key(key) if key.kind != KeyEventKind::Release => key,
        _ => return None,
    };
    let KeyCode::Char(letter) = key.code else { return None };
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        // The terminal does not turn it into a signal while keys are read one by one.
        return (letter == 'c').then_some(Press::Wish(Wish::Drain));
    }
    Some(match letter {
        '+' => Press::Wish(Wish::Faster(scale)),
        '-' => Press::Wish(Wish::Faster(-scale)),
        '*' => Press::Wish(Wish::Faster(10.0 * scale)),
        '/' => Press::Wish(Wish::Faster(-10.0 * scale)),
        'p' => Press::Wish(Wish::Pause),
        'q' => Press::Wish(Wish::Drain),
        'Q' => Press::Wish(Wish::Quit),
        '1' => Press::Page(Page::Overview),
        '2' => Press::Page(Page::Latencies),
        '3' => Press::Page(Page::Counters),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::crossterm::event::{KeyEvent, KeyEventState};

    fn key(letter: char, modifiers: KeyModifiers) -> Option<Press> {
        read(&Event::Key(KeyEvent::new(KeyCode::Char(letter), modifiers)), 5.0)
    }

    #[test]
    fn the_keys_are_those_of_sipp() {
        let plain = |letter| key(letter, KeyModifiers::NONE);
        let rate = |by| Some(Press::Wish(Wish::Faster(by)));
        assert_eq!([plain('+'), plain('-'), plain('*'), plain('/')], [rate(5.0), rate(-5.0), rate(50.0), rate(-50.0)]);
        assert_eq!(key('*', KeyModifiers::SHIFT), rate(50.0), "most keyboards need the shift key for it");
        assert_eq!(plain('p'), Some(Press::Wish(Wish::Pause)));
        assert_eq!((plain('q'), plain('Q')), (Some(Press::Wish(Wish::Drain)), Some(Press::Wish(Wish::Quit))));
        assert_eq!(key('c', KeyModifiers::CONTROL), plain('q'), "as Ctrl-C without the screen");
        assert_eq!((plain('2'), plain('9'), plain('c')), (Some(Press::Page(Page::Latencies)), None, None));
        assert_eq!(key('q', KeyModifiers::CONTROL), None);
        assert_eq!(read(&Event::Resize(80, 24), 1.0), Some(Press::Wish(Wish::Redraw)));
        assert_eq!(read(&Event::FocusGained, 1.0), None);
    }

    #[test]
    fn a_key_counts_when_it_goes_down() {
        let up = KeyEvent {
            code: KeyCode::Char('+'),
            modifiers: KeyModifiers::NONE,
            kind: KeyEventKind::Release,
            state: KeyEventState::NONE,
        };
        assert_eq!(read(&Event::Key(up), 1.0), None);
        assert_eq!(read(&Event::Key(KeyEvent { code: KeyCode::Enter, ..up }), 1.0), None);
    }
}
