//! Ports and their sockets: asked for ahead and once, refused, held by somebody else.

use super::*;

#[test]
fn sockets_are_asked_for_once_and_keep_up_with_dscp() {
    let mut config = RelayConfig::new("203.0.113.1".parse().unwrap(), 30_000, 30_003);
    config.port_rest = Duration::ZERO;
    let mut relay = Relay::new(config, Instant::ZERO, Random::from_u64(1));
    let with_dscp = |dscp| StreamOptions {
        a: SideOptions { v6: false, dscp },
        b: SideOptions { v6: false, dscp },
        ..StreamOptions::default()
    };
    let first = relay.open(Instant::ZERO, with_dscp(0)).unwrap();
    assert_eq!(relay.open(Instant::ZERO, with_dscp(0)), Err(Refused::Ports));
    assert_eq!(std::iter::from_fn(|| relay.poll_socket()).count(), 4);
    relay.close(Instant::ZERO, first).unwrap();
    relay.open(Instant::ZERO, with_dscp(46)).unwrap();
    let requests: Vec<_> = std::iter::from_fn(|| relay.poll_socket()).collect();
    assert!(matches!(requests[..], [SocketRequest::SetDscp { dscp: 46, .. }, _, _, _]), "{requests:?}");
    let v6 = StreamOptions { a: SideOptions { v6: true, dscp: 0 }, ..StreamOptions::default() };
    assert_eq!(relay.open(Instant::ZERO, v6), Err(Refused::Family));
}

#[test]
fn what_no_request_had_room_for_is_opened_ahead_later() {
    let config = RelayConfig::new("203.0.113.1".parse().unwrap(), 30_000, 32_047);
    let mut relay = Relay::new(config, Instant::ZERO, Random::from_u64(1));
    let open = |relay: &mut Relay| relay.open(Instant::ZERO, StreamOptions::default());
    let opened = std::iter::from_fn(|| open(&mut relay).ok()).count();
    let unasked = |relay: &Relay| {
        let upcoming = relay.pools[0].as_ref().unwrap().upcoming(AHEAD_PAIRS);
        let sockets = upcoming.flat_map(|port| [port, port + 1]).map(|port| relay.key(false, port));
        sockets.filter(|key| !relay.sockets[relay.index(*key).unwrap()].is_asked_for).count()
    };
    assert!(unasked(&relay) > 0, "{opened} streams left room for more");
    while relay.poll_socket().is_some() {}
    open(&mut relay).unwrap();
    assert_eq!(unasked(&relay), 0);
}

#[test]
fn a_port_that_somebody_else_holds_costs_no_call() {
    let config = RelayConfig::new("203.0.113.1".parse().unwrap(), 30_000, 30_019);
    let mut relay = Relay::new(config, Instant::ZERO, Random::from_u64(1));
    let ahead: Vec<_> = std::iter::from_fn(|| relay.poll_socket()).collect();
    assert_eq!(ahead.len(), 20);
    for request in &ahead[..8] {
        let SocketRequest::Open { key, .. } = request else { panic!("{request:?}") };
        relay.socket_failed(Instant::ZERO, *key);
    }
    let slot = relay.open(Instant::ZERO, StreamOptions::default()).unwrap();
    let taken = [Side::A, Side::B].map(|side| relay.local(slot, side).unwrap().0);
    let held = |address: &SocketAddr| {
        ahead[..8].iter().any(|request| matches!(request, SocketRequest::Open { bind, .. } if bind == address))
    };
    assert!(!taken.iter().any(held), "{taken:?}");
    assert!(relay.poll_event().is_none());
    assert_eq!(relay.port_counts().failed, 4);
}

#[test]
fn a_port_that_cannot_be_opened_is_told_and_never_given_again() {
    let mut bench = Bench::call();
    let socket = bench.socket(Side::B, 1);
    bench.relay.socket_failed(bench.now, socket);
    assert!(matches!(bench.events()[..], [MediaEvent::Failed { .. }]));
    let before = bench.relay.port_counts();
    bench.relay.close(bench.now, bench.slot);
    let after = bench.relay.port_counts();
    assert_eq!((before.used, after.used, after.failed, after.total), (2, 0, 1, 20));
    assert_eq!(after.free + after.used + after.failed, after.total);
}
