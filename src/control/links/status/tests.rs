//! Lag, refusals, and figures that outlive a process.

use super::*;

fn status() -> LinkStatus {
    let peers = [("b", "192.0.2.2:7420"), ("c", "192.0.2.3:7420")];
    LinkStatus::new(peers.map(|(name, address)| (name.into(), address.parse().unwrap())), Instant::ZERO)
}

#[test]
fn lag_is_the_round_trip_and_grows_with_silence() {
    let status = status();
    let at = Instant::from_millis;
    assert_eq!(status.lag(0, at(500)), Duration::from_millis(500), "never heard");
    status.up(0, Up { since: at(1_000), incarnation: 1, version: 2, dialled: true });
    status.pinged(0, at(1_000));
    status.echoed(0, at(1_080), at(1_000));
    assert_eq!(status.lag(0, at(1_900)), Duration::from_millis(80));
    status.pinged(0, at(2_000));
    status.pinged(0, at(3_000));
    assert_eq!(status.lag(0, at(3_500)), Duration::from_millis(1_500));
    status.echoed(0, at(3_500), at(1_500));
    assert_eq!(status.lag(0, at(3_600)), Duration::from_millis(1_600), "a stamp that was not sent changes nothing");
    status.heard(0, at(3_700));
    status.down(0, "test");
    assert_eq!(status.lag(0, at(4_700)), Duration::from_millis(1_000));
}

#[test]
fn refusals_are_counted_and_shown_until_the_link_stands() {
    let status = status();
    let from = "192.0.2.2:9999".parse().unwrap();
    assert_eq!(status.peer_at(from), Some(0));
    status.refuse(Instant::ZERO, from, status.peer_at(from), Reason::Certificate, "unknown issuer");
    status.refuse(Instant::ZERO, from, Some(0), Reason::Certificate, "unknown issuer");
    status.refuse(Instant::ZERO, "198.51.100.1:1".parse().unwrap(), None, Reason::Stranger, "who");
    assert_eq!((status.refusals(Reason::Certificate), status.refusals(Reason::Stranger)), (2, 1));
    let rows = status.rows(Instant::from_millis(2_000));
    assert_eq!(rows[0]["refusal"]["reason"], "certificate");
    assert_eq!((rows[0]["state"].as_str(), rows[1]["refusal"].is_null()), (Some("down"), true));
    status.up(0, Up { since: Instant::ZERO, incarnation: 3, version: 2, dialled: false });
    assert!(status.rows(Instant::ZERO)[0]["refusal"].is_null() && status.refusal(0).is_none());
    // It was refused at once again: that is shown, and said when it is for another reason.
    status.down(0, "test");
    assert_eq!(status.refusal(0).as_deref(), Some("certificate: unknown issuer"));
    let later = Instant::ZERO + FORGIVEN;
    status.up(0, Up { since: later, incarnation: 3, version: 2, dialled: false });
    status.down(0, "test");
    assert_eq!(status.refusal(0), None);
}

#[test]
fn figures_go_on_in_another_process() {
    let (old, new) = (status(), status());
    let at = Instant::from_millis;
    let stranger = "198.51.100.1:1".parse().unwrap();
    old.refuse(at(1), stranger, None, Reason::Stranger, "who");
    old.traffic.sent_bytes.fetch_add(7, Relaxed);
    old.traffic.received_frames.fetch_add(3, Relaxed);
    old.up(1, Up { since: at(1_000), incarnation: 1, version: 2, dialled: true });
    old.heard(1, at(1_500));
    old.down(1, "test");
    let octets = rmp_serde::to_vec_named(&old.counted()).unwrap();
    new.take_on(rmp_serde::from_slice(&octets).unwrap());
    assert_eq!((new.refusals(Reason::Stranger), new.refusals(Reason::Silent)), (1, 0));
    assert_eq!(new.counted(), old.counted());
    assert_eq!(new.lag(1, at(2_500)), Duration::from_millis(1_000), "since its last word, to the process before");
    assert_eq!(new.rows(at(2_500))[1]["connections"], 1);
    assert_eq!(new.rows(at(2_500))[1]["state"], "down", "links do not come along");
}
