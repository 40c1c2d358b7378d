//! What a digit looks like on the wire, and what is counted of it (RFC 4733).

use super::*;

fn header(sequence: u16, timestamp: u32) -> Header {
    Header { payload_type: 101, sequence, timestamp, ssrc: 1, marker: false }
}

fn press(detector: &mut Detector, code: u8, timestamp: u32, skip: usize) -> Vec<Noticed> {
    let train: Vec<_> = Press::new(header(0, timestamp), code, 10, 160, 800).collect();
    let keep = train.len() - skip;
    train[..keep].iter().filter_map(|(header, event)| detector.handle(header, *event)).collect()
}

#[test]
fn a_press_is_five_reports_of_which_three_end_it() {
    let train: Vec<_> = Press::new(header(65_535, 1000), 5, 10, 160, 800).collect();
    let ends = train.iter().filter(|(_, event)| event.end).count();
    assert_eq!((train.len(), ends), (7, 3));
    assert!(train[0].0.marker && !train[1].0.marker);
    assert_eq!((train[1].0.sequence, train[1].0.timestamp), (0, 1000));
    assert_eq!(Event::parse(&train[6].1.encode()), Some(train[6].1));
}

#[test]
fn each_press_is_told_once() {
    let mut detector = Detector::default();
    assert_eq!(press(&mut detector, 1, 1000, 0), [Noticed { code: 1, duration: 800 }]);
    assert_eq!(press(&mut detector, 1, 3000, 2), [Noticed { code: 1, duration: 800 }], "two of three ends lost");
    assert_eq!(detector.flush(), None);
}

#[test]
fn a_press_whose_ends_were_all_lost_is_told_by_the_next() {
    let mut detector = Detector::default();
    assert_eq!(press(&mut detector, 7, 1000, 3), []);
    let next = press(&mut detector, 8, 3000, 0);
    assert_eq!(next, [Noticed { code: 7, duration: 640 }, Noticed { code: 8, duration: 800 }]);
}

#[test]
fn late_reports_of_an_older_press_say_nothing() {
    let mut detector = Detector::default();
    press(&mut detector, 1, 1000, 0);
    press(&mut detector, 2, 3000, 0);
    let late = Event { code: 1, end: true, volume: 0, duration: 800 };
    assert_eq!(detector.handle(&header(9, 1000), late), None);
}

#[test]
fn a_long_press_is_one_press() {
    let mut detector = Detector::default();
    let full = Event { code: 3, end: false, volume: 0, duration: 0xffff };
    assert_eq!(detector.handle(&header(1, 0), full), None);
    let rest = Event { code: 3, end: true, volume: 0, duration: 100 };
    assert_eq!(detector.handle(&header(2, 0xffff), rest), Some(Noticed { code: 3, duration: 0xffff + 100 }));
}

#[test]
fn digits_have_codes() {
    for digit in "0123456789*#ABCD".chars() {
        assert_eq!(digit_of(code_of(digit).unwrap()), Some(digit));
    }
    assert_eq!((code_of('d'), code_of('x'), digit_of(16)), (Some(15), None, None));
}
