//! What stands on the screen, at the size of a terminal and at sizes nobody would choose.

use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::Color;

use super::*;
use crate::core::news::Recent;
use crate::core::stats::{Latencies, record};
use crate::series::Series;

fn series(failing: bool) -> Series {
    let mut series = Series::default();
    let mut latencies = Latencies::default();
    for second in 1..=90u64 {
        for call in 0..200u64 {
            let stall = if second == 60 { 180 } else { 0 };
            record(&mut latencies.srd, Duration::from_micros(300 + call * 7 + stall * 1000));
            record(&mut latencies.setup, Duration::from_micros(400 + call * 9));
            record(&mut latencies.late_start, Duration::from_micros(20 + call % 90));
        }
        let mut news = crate::core::news::News { up_uac: 1000, up_uas: 998, ..Default::default() };
        news.recent = Recent(latencies.take_recent().into_iter().collect());
        let c = &mut news.events;
        (c.calls_attempted, c.calls_established, c.calls_completed) = (second * 200, second * 200, second * 195);
        (c.rtp_sent_uac, c.rtp_received_uas) = (second * 50_000, second * 50_000 - second);
        if failing {
            (c.calls_failed, c.calls_timed_out, c.calls_skipped) = (second * 3, second * 2, 7);
            news.refusals.insert(503, (second, "Service Unavailable".into()));
        }
        news.states.extend([("calling", 3), ("proceeding", 12), ("up", 980), ("ending", 5)]);
        news.media.missing = second;
        series.push(Duration::from_secs(second), 200.0, news);
    }
    series
}

fn view(series: &Series) -> View<'_> {
    View {
        command: "calls",
        job: Job::Calls { uac: true, uas: true },
        target: "192.0.2.10:5060".into(),
        transport: "udp",
        rtp: true,
        series,
        elapsed: Duration::from_secs(90),
        rate: 200.0,
        paused: false,
        draining: false,
        concurrent: 1410,
        engine: ("io_uring", 1),
        dropped: (0, 0),
        notice: None,
    }
}

fn screen(view: &View<'_>, page: Page, no_colour: bool, width: u16, height: u16) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    let theme = Theme::choose(no_colour);
    terminal.draw(|frame| paint(view, page, &theme, frame.area(), frame.buffer_mut())).unwrap();
    terminal
}

fn lines(view: &View<'_>, page: Page, width: u16, height: u16) -> Vec<String> {
    let terminal = screen(view, page, false, width, height);
    let buffer = terminal.backend().buffer();
    let row = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
    (0..height).map(|y| row(y).trim_end().to_string()).collect()
}

#[track_caller]
fn has(lines: &[String], words: &[&str]) {
    for word in words {
        assert!(lines.iter().any(|line| line.contains(word)), "'{word}' is not in\n{}", lines.join("\n"));
    }
}

#[test]
fn a_usual_terminal_shows_all_that_matters() {
    let series = series(false);
    let lines = lines(&view(&series), Page::Overview, 80, 24);
    assert!(lines[0].starts_with(" calls → 192.0.2.10:5060/udp  01:30"), "{}", lines[0]);
    has(&lines, &["asked for 200/s", "begun 200/s", "up 1,000 of 1,410", "answering 998", "proceeding 12"]);
    has(&lines, &["begun 18,000", "done 17,550", "failed 0", "skipped 0", "answered 100.00%"]);
    has(&lines, &["p99.9", "p99 now", "srd  ", "setup  ", "p99 of srd, highest", "begun per second, highest 200"]);
    has(&lines, &["Failures  none", "sent 50,000/s", "(0.0020%)", "MOS 4.4", "calls late p99"]);
    has(&lines, &["█", "q  hang up and end"]);
    assert!(lines[0].ends_with("[1 overview] 2 latencies  3 counters"), "{}", lines[0]);
}

#[test]
fn failures_are_named_by_cause_and_red() {
    let series = series(true);
    let view = view(&series);
    has(
        &lines(&view, Page::Overview, 80, 24),
        &["no answer 180", "due but not begun 7", "503 Service Unavailable: 90"],
    );
    has(&lines(&view, Page::Overview, 80, 24), &["failed 270", "skipped 7"]);
    let red = |terminal: &Terminal<TestBackend>| {
        terminal.backend().buffer().content.iter().filter(|cell| cell.fg == Color::Red).count()
    };
    assert!(red(&screen(&view, Page::Overview, false, 80, 24)) > 20);
    let plain = screen(&view, Page::Overview, true, 80, 24);
    assert!(plain.backend().buffer().content.iter().all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset));
}

#[test]
fn every_size_keeps_the_target_and_what_says_most() {
    let series = series(true);
    let view = view(&series);
    for (width, height) in [(40, 24), (80, 10), (60, 14), (200, 60), (30, 8)] {
        for page in [Page::Overview, Page::Latencies, Page::Counters] {
            let lines = lines(&view, page, width, height);
            assert!(lines[0].contains("calls → 192.0.2.10"), "{width}x{height}: {}", lines[0]);
        }
        has(&lines(&view, Page::Overview, width, height), &["begun 200/s", "Rate"]);
    }
    has(&lines(&view, Page::Overview, 40, 24), &["failed 270", "p99 now"]);
    has(&lines(&view, Page::Overview, 80, 10), &["failed 270", "503 Service Unavailable"]);
    for (width, height) in [(1, 1), (19, 3), (5, 40)] {
        let lines = lines(&view, Page::Overview, width, height);
        assert!("too small".starts_with(lines[0].as_str()), "{}", lines[0]);
    }
}

#[test]
fn the_other_pages_show_every_percentile_and_every_counter() {
    let series = series(false);
    let view = view(&series);
    has(&lines(&view, Page::Latencies, 100, 24), &["late_start", "p50", "max", "[2 latencies]"]);
    has(&lines(&view, Page::Counters, 80, 24), &["calls_attempted 18,000", "rtp_received_uas 4,499,910"]);
}

#[test]
fn what_the_user_did_is_seen() {
    let series = series(false);
    let paused = View { paused: true, ..view(&series) };
    let lines_paused = lines(&paused, Page::Overview, 80, 24);
    assert!(lines_paused[0].contains("PAUSED"), "{}", lines_paused[0]);
    has(&lines_paused, &["p  go on"]);
    let draining = View { draining: true, ..view(&series) };
    let ending = lines(&draining, Page::Overview, 80, 24);
    assert!(ending[0].contains("ENDING") && !ending[23].contains("pause"), "{}", ending[23]);
    let notice = View { notice: Some("media alone has no rate to change".into()), ..view(&series) };
    has(&lines(&notice, Page::Overview, 80, 24), &["media alone has no rate"]);
    let registering = View { command: "register", job: Job::Register, rtp: false, ..view(&series) };
    has(&lines(&registering, Page::Overview, 80, 24), &["Users", "open 1,000 of 1,410"]);
}

#[test]
fn before_the_first_second_there_is_nothing_to_show_and_nothing_breaks() {
    let series = Series::default();
    let view = View { elapsed: Duration::ZERO, ..view(&series) };
    has(&lines(&view, Page::Overview, 80, 24), &["nothing measured yet", "asked for 200/s"]);
    lines(&view, Page::Latencies, 80, 24);
    lines(&view, Page::Counters, 80, 24);
}
